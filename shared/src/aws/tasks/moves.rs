//! What the dispatcher, the sweeper and clients write: tasks that no worker holds, and requests.

use serde_json::Value;

use super::{Show, TasksTable, Write, has_status};
use crate::aws::AwsError;
use crate::aws::expressions::{self, Request};
use crate::task::{Attempt, Status, Task, TaskId};
use crate::{At, Rejection};

impl TasksTable {
    /// The command of the task's current attempt is on a queue. `by` is who says so, in the history. A record that
    /// was deleted meanwhile may count as one that has moved on.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn mark_queued(&self, task: &Task, by: &str, now: At) -> Result<Write, AwsError> {
        let update = expressions::mark_queued(task, by, now);
        self.moved_showing(Show::Least, "UpdateItem tasks (queued)", task, update, Status::Queued).await
    }

    /// The task waits in the table until it is due.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn defer(&self, task: &Task, by: &str, now: At) -> Result<Write, AwsError> {
        let update = expressions::defer(task, by, now);
        self.moved("UpdateItem tasks (deferred)", task, update, Status::Scheduled).await
    }

    /// The end of a task that no worker holds was asked for.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn cancel(&self, task: &Task, by: &str, now: At) -> Result<Write, AwsError> {
        let update = expressions::cancel(task, by, now);
        self.moved("UpdateItem tasks (cancelled)", task, update, Status::Cancelled).await
    }

    /// A task that no worker holds is to be held.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn hold(&self, task: &Task, by: &str, now: At) -> Result<Write, AwsError> {
        let update = expressions::hold(task, by, now);
        self.moved("UpdateItem tasks (held)", task, update, Status::Paused).await
    }

    /// A paused task that no worker holds goes on.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn resume(&self, task: &Task, by: &str, now: At) -> Result<Write, AwsError> {
        let update = expressions::resume(task, by, now);
        self.moved("UpdateItem tasks (resumed)", task, update, Status::Pending).await
    }

    /// No worker could settle the task's message.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn dead_letter(
        &self,
        task: &Task,
        rejection: &Rejection,
        by: &str,
        now: At,
    ) -> Result<Write, AwsError> {
        let update = expressions::dead_letter(task, rejection, by, now);
        self.moved("UpdateItem tasks (dead-lettered)", task, update, Status::Failed).await
    }

    /// The record `id` (any key, also one that is no valid id) cannot be run. `seen` is `updatedAt` of the
    /// record that was looked at: one that was changed since is left alone.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn reject(
        &self,
        id: &str,
        rejection: &Rejection,
        seen: &Value,
        by: &str,
        now: At,
    ) -> Result<Write, AwsError> {
        let update = expressions::reject(rejection, seen, by, now);
        self.write("UpdateItem tasks (rejected)", id, update, Show::Old, |item| {
            has_status(item, Status::Failed)
        })
        .await
    }

    /// An ended task is to run again; with `asked`, only while its `dispatchStatus` is PENDING.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn run_again(
        &self,
        id: &TaskId,
        attempt: Attempt,
        asked: bool,
        by: &str,
        now: At,
    ) -> Result<Write, AwsError> {
        let update = expressions::run_again(attempt, asked, by, now);
        self.write("UpdateItem tasks (run again)", id.as_str(), update, Show::Old, |item| {
            has_status(item, Status::Pending)
        })
        .await
    }

    /// What any client may ask of a task that has not ended: [`Write::Fenced`] when it has.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn ask(&self, id: &TaskId, request: Request, now: At) -> Result<Write, AwsError> {
        self.write(
            "UpdateItem tasks (request)",
            id.as_str(),
            expressions::ask(request, now),
            Show::Old,
            |_| false,
        )
        .await
    }
}
