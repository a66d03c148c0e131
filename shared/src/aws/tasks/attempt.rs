//! What a worker writes about a task that it takes or holds.

use super::{Answer, Claimed, Show, TasksTable, Write};
use crate::At;
use crate::aws::AwsError;
use crate::aws::expressions::{self, Leavings};
use crate::protocol::claim::Current;
use crate::protocol::command::Queued;
use crate::protocol::outcome::Decision;
use crate::task::{Attempt, Status, Task, TaskId, WorkerId};

impl TasksTable {
    /// Takes the task for `worker`, if it is still at `attempt`. `queued` is the command's, at the command's
    /// attempt: with it a claim that comes before the sender's mark is one write, and keeps both in the history.
    ///
    /// # Errors
    /// When the call fails. The SDK repeats a call whose answer was lost, so a refusal that shows this
    /// worker at the next attempt is this very claim, and is won.
    pub async fn claim(
        &self,
        id: &TaskId,
        attempt: Attempt,
        queued: Option<&Queued>,
        worker: &WorkerId,
        now: At,
    ) -> Result<Claimed, AwsError> {
        const CALL: &str = "UpdateItem tasks (claim)";
        let update = expressions::claim(attempt, queued, worker, now);
        Ok(match self.update(CALL, id.as_str(), update, Show::New).await? {
            Answer::Applied(item) => match Task::from_item(item) {
                Ok(task) => Claimed::Won(Box::new(task)),
                Err(rejection) => Claimed::WonUnreadable(rejection),
            },
            Answer::Refused(None) => Claimed::Refused(Current::Missing),
            // Only of an update that may leave it at that.
            Answer::Unseen => Claimed::Refused(Current::Unreadable),
            Answer::Refused(Some(item)) => match Task::from_item(item) {
                Ok(task)
                    if task.status == Status::Running
                        && task.worker_node_id.as_ref() == Some(worker)
                        && task.attempt == attempt.next()
                        && task.started_at == Some(now) =>
                {
                    Claimed::Won(Box::new(task))
                }
                Ok(task) => Claimed::Refused(Current::Task(Box::new(task))),
                Err(_) => Claimed::Refused(Current::Unreadable),
            },
        })
    }

    /// Writes the end of an attempt that `worker` holds. `task` is the record as the claim returned it, or
    /// newer; `by` is who ended it: the worker itself, or whoever rescues the task from it.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn end_attempt(
        &self,
        task: &Task,
        worker: &WorkerId,
        by: &str,
        decision: &Decision,
        left: &Leavings,
        now: At,
    ) -> Result<Write, AwsError> {
        let update = expressions::end_attempt(task, worker, by, decision, left, now);
        self.moved("UpdateItem tasks (end)", task, update, decision.event.target()).await
    }

    /// The worker has stopped the task's processes where they are.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn hold_running(&self, task: &Task, worker: &WorkerId, now: At) -> Result<Write, AwsError> {
        let update = expressions::hold_running(task, worker, now);
        self.moved("UpdateItem tasks (paused)", task, update, Status::Paused).await
    }

    /// The worker lets the task's processes go on.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn continue_running(&self, task: &Task, worker: &WorkerId, now: At) -> Result<Write, AwsError> {
        let update = expressions::continue_running(task, worker, now);
        self.moved("UpdateItem tasks (continued)", task, update, Status::Running).await
    }
}
