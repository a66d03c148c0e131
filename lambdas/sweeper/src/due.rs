//! Tasks that waited in the table for their time: they are sent a little early, and SQS holds them back for
//! the rest, to the second.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use stageline::At;
use stageline::aws::AwsError;
use stageline::protocol::dispatch::{Cause, Triage, triage};
use stageline::protocol::due::{DUE_PARTITIONS, due_partition};
use stageline::task::{Status, Task};
use tracing::{error, info, warn};

use crate::pass::Pass;

/// How early: two calls of the schedule, so that one may fail.
const AHEAD: Duration = Duration::from_secs(120);
/// How long an index that is not there is not asked for again.
const RETRY: Duration = Duration::from_secs(15 * 60);

/// Whether the table has the index of waiting tasks, as far as the calls of this process know.
#[derive(Debug, Default)]
pub(crate) struct DueIndex(Mutex<Option<At>>);

impl DueIndex {
    // A panic while the lock was held cannot leave a time half-written.
    fn missing_since(&self) -> MutexGuard<'_, Option<At>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it is worth a query.
    fn is_worth_asking(&self, now: At) -> bool {
        // Also after a clock was set back.
        self.missing_since().is_none_or(|asked| now < asked || now.since(asked) >= RETRY)
    }

    fn was_there(&self) {
        if self.missing_since().take().is_some() {
            info!("the tasks table has the index byDue now");
        }
    }

    fn was_missing(&self, now: At) {
        if self.missing_since().replace(now).is_none() {
            warn!(
                "the tasks table has no index byDue, or one that is not filled yet; what waits for more than 15 \
                 minutes is sent late, by the repair scan; add it (keys dueKey and notBefore, strings, keys \
                 only: docs/deploy.md)"
            );
        }
    }
}

impl Pass<'_> {
    /// Sends what is due in each partition of the index.
    pub async fn send_due(&mut self) {
        if !self.due_index.is_worth_asking(self.clock.now()) {
            return;
        }
        for number in 0..DUE_PARTITIONS {
            let partition = due_partition(number);
            match self.send_due_of(&partition).await {
                Ok(true) => self.due_index.was_there(),
                Ok(false) => return self.due_index.was_missing(self.clock.now()),
                Err(error) => {
                    self.report.errors += 1;
                    error!(partition, %error, "due tasks not sent; the next sweep tries again");
                }
            }
        }
    }

    /// Whether there is such a partition.
    async fn send_due_of(&mut self, partition: &str) -> Result<bool, AwsError> {
        let now = self.clock.now();
        let Some(ids) = self.aws.tasks.due(partition, now.plus(AHEAD), self.limits.due).await? else {
            return Ok(false);
        };
        if ids.is_empty() {
            return Ok(true);
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
        Ok(true)
    }
}

fn waits(task: &Task) -> bool {
    task.waits_in_table() && matches!(task.status, Status::Scheduled | Status::Retrying | Status::Pending)
}
