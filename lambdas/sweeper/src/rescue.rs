//! Taking tasks from workers that cannot have them any more.

use futures::{StreamExt, stream};
use stageline::aws::{AwsError, Leavings, Write};
use stageline::protocol::outcome::{Outcome, decide};
use stageline::task::{Task, WorkerId};
use tracing::{error, info};

use crate::pass::{BY, CALLS_AT_ONCE, Pass};

impl Pass<'_> {
    /// Takes what a dead worker's registry lists, then removes the worker, so that it finds out with its next
    /// beat if it lives after all. Whether both are done: a worker stays as long as anything of it is left.
    pub async fn bury(&mut self, worker: &WorkerId) -> bool {
        match self.try_bury(worker).await {
            Ok(done) => done,
            Err(error) => {
                self.report.errors += 1;
                error!(worker.id = %worker, %error, "a dead worker's tasks were not all taken from it");
                false
            }
        }
    }

    async fn try_bury(&mut self, worker: &WorkerId) -> Result<bool, AwsError> {
        let listed = self.aws.workers.registered(worker).await?;
        let mut ids: Vec<_> = listed.into_iter().map(|listed| listed.id).collect();
        ids.sort_unstable();
        ids.dedup();
        let tasks = self.aws.tasks.read(&ids).await?;
        let held = tasks.into_values().filter(|task| task.is_held_by(worker));
        let held: Vec<_> = held.map(|task| (task, worker.clone())).collect();
        let count = held.len();
        if !self.rescue(held).await {
            return Ok(false);
        }
        self.aws.workers.remove(worker).await?;
        info!(worker.id = %worker, tasks = count, "dead worker removed");
        Ok(true)
    }

    /// Ends the attempts of these tasks, each under the worker beside it. Whether nothing is left to do: no
    /// write failed, and the limit was not met.
    pub async fn rescue(&mut self, held: Vec<(Task, WorkerId)>) -> bool {
        let all = held.len();
        let now = self.clock.now();
        let aws = self.aws;
        let writes: Vec<_> = stream::iter(held.into_iter().take(self.rescues_left))
            .map(|(task, worker)| async move {
                let decision = decide(Outcome::Lost, &task, now);
                let left = Leavings::default();
                let answer = aws.tasks.end_attempt(&task, &worker, BY, &decision, &left, now).await;
                (task, worker, decision.event.target(), answer)
            })
            .buffer_unordered(CALLS_AT_ONCE)
            .collect()
            .await;
        self.rescues_left -= writes.len();
        let mut complete = writes.len() == all;
        for (task, worker, to, answer) in writes {
            let (id, attempt) = (&task.id, task.attempt);
            match answer {
                Ok(Write::Applied | Write::AlreadyApplied) => {
                    info!(task.id = %id, %attempt, worker.id = %worker, status = %to, "rescued");
                    self.report.rescued += 1;
                    self.handled.insert(id.to_string());
                }
                // Somebody else was faster, or it was deleted: nothing to bring back.
                Ok(answer @ (Write::Fenced | Write::NotFound)) => {
                    info!(task.id = %id, %attempt, worker.id = %worker, ?answer, "to be rescued, and moved on");
                }
                Err(error) => {
                    complete = false;
                    self.report.errors += 1;
                    error!(task.id = %id, %attempt, worker.id = %worker, %error, "not rescued");
                }
            }
        }
        complete
    }
}
