//! Takes a command's task: the claim, and what follows when it is refused.

use std::time::Duration;

use stageline::Rejection;
use stageline::aws::{AwsError, Claimed};
use stageline::protocol::claim::{Current, Refused, refused};
use stageline::protocol::command::Command;
use stageline::protocol::lease::{Turn, turn};
use stageline::task::{Attempt, Task};
use tracing::info;

use crate::context::Context;
use crate::rescue::{Rescued, holder, rescue};

/// What came of a command.
pub(crate) enum Taken {
    /// The task is this worker's.
    Won(Box<Task>),
    /// It is, at this attempt, but its record cannot be read; it still has to be ended.
    WonUnreadable(Attempt, Rejection),
    /// It is not, and the message is not needed.
    Delete(&'static str),
    /// It is not, and the message comes back when its visibility runs out.
    Leave(&'static str),
    /// It is not due: the message is to come back after this long.
    Later(Duration),
}

/// Claims the task of `command`, once more after it was rescued from a dead worker.
pub(crate) async fn take(context: &Context, command: &Command) -> Result<Taken, AwsError> {
    let (id, mut attempt) = (&command.task_id, command.attempt);
    // What is known of the record as it was sent is nothing of one that was rescued since.
    let (mut queued, mut rescued) = (command.queued.as_ref(), false);
    loop {
        let now = context.clock.now();
        let current = match context.aws.tasks.claim(id, attempt, queued, &context.id, now).await? {
            Claimed::Won(task) => return Ok(Taken::Won(task)),
            Claimed::WonUnreadable(rejection) => return Ok(Taken::WonUnreadable(attempt.next(), rejection)),
            Claimed::Refused(current) => current,
        };
        match (refused(&current, attempt, &context.id, now), current) {
            (Refused::Delete(why), _) => return Ok(Taken::Delete(why)),
            (Refused::Leave(why), _) => return Ok(Taken::Leave(why)),
            (Refused::Later(wait), _) => return Ok(Taken::Later(wait)),
            (Refused::Adopt, Current::Task(task)) => {
                info!("an earlier claim of this worker has won; taken as claimed");
                return Ok(Taken::Won(task));
            }
            (Refused::RunsUnder(worker), Current::Task(task)) => {
                match turn(holder(context, &worker, &task).await?) {
                    Turn::Remembered => return Ok(Taken::Delete("it runs under a worker that lists it")),
                    Turn::Unsure => {
                        return Ok(Taken::Leave("it runs under a worker that may not list it yet"));
                    }
                    Turn::Rescue if rescued => return Ok(Taken::Leave("it was taken again at once")),
                    Turn::Rescue => {}
                }
                match rescue(&context.aws, &task, &worker, &context.id, now).await? {
                    Rescued::Claimable => (attempt, queued, rescued) = (task.attempt, None, true),
                    Rescued::Ended => return Ok(Taken::Delete("its worker was lost, and it has ended")),
                    Rescued::Moved => return Ok(Taken::Leave("its record has just changed")),
                }
            }
            (Refused::Adopt | Refused::RunsUnder(_), Current::Missing | Current::Unreadable) => {
                return Ok(Taken::Leave("the task's record cannot be read"));
            }
        }
    }
}
