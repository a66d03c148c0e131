//! Tasks that waited in the table for their time: they are sent a little early, and SQS holds them back for
//! the rest, to the second.

use std::time::Duration;

use stageline::aws::AwsError;
use stageline::protocol::dispatch::{Cause, Triage, triage};
use stageline::protocol::due::{DUE_PARTITIONS, due_partition};
use stageline::task::{Status, Task};
use tracing::error;

use crate::pass::Pass;

/// How early: two calls of the schedule, so that one may fail.
const AHEAD: Duration = Duration::from_secs(120);

impl Pass<'_> {
    /// Sends what is due in each partition of the index.
    pub async fn send_due(&mut self) {
        for number in 0..DUE_PARTITIONS {
            let partition = due_partition(number);
            if let Err(error) = self.send_due_of(&partition).await {
                self.report.errors += 1;
                error!(partition, %error, "due tasks not sent; the next sweep tries again");
            }
        }
    }

    async fn send_due_of(&mut self, partition: &str) -> Result<(), AwsError> {
        let now = self.clock.now();
        let ids = self.aws.tasks.due(partition, now.plus(AHEAD), self.limits.due).await?;
        if ids.is_empty() {
            return Ok(());
        }
        // The index may be behind its table, and an entry says nothing of the state.
        let tasks = self.aws.tasks.read(&ids).await?;
        let rules = self.deployment.rules();
        let waiting = tasks.into_values().filter(waits);
        let decided = waiting.filter_map(|task| {
            let id = task.id.clone();
            // Nothing in a record that was read is without a JSON form.
            let image = serde_json::to_value(&task).ok()?;
            Some(triage(id.as_str(), image, Cause::Repair, rules, now))
        });
        let decided = decided.filter(|triage| !matches!(triage, Triage::Leave(_))).collect();
        self.report.due += self.carry_out(decided).await.len();
        Ok(())
    }
}

fn waits(task: &Task) -> bool {
    task.waits_in_table() && matches!(task.status, Status::Scheduled | Status::Retrying | Status::Pending)
}
