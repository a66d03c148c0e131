//! The end of an attempt on the record: tried for minutes, and never lost for what the engine left.

use std::time::Duration;

use stageline::aws::{AwsError, Leavings, Write};
use stageline::protocol::outcome::{Decision, Failure, Outcome, decide};
use stageline::task::{Attempt, Status, Task, TaskId};
use stageline::{Code, Rejection};
use tracing::{error, warn};

use crate::context::Context;

/// How long the end of an attempt is tried to be written before it is left to the rescue.
const WRITE_TRIES: u32 = 40;
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// What became of the record at the end of an attempt.
pub(crate) enum Written {
    /// It says this.
    As(Status),
    /// It had moved on, or is gone.
    ByOthers,
    /// Nothing could be written.
    Nothing,
}

/// Writes what `decision` says.
pub(super) async fn write_end(
    context: &Context,
    task: &Task,
    decision: &Decision,
    left: &Leavings,
) -> Written {
    let (me, now) = (&context.id, context.clock.now());
    let mut pause = FIRST_PAUSE;
    for _ in 0..WRITE_TRIES {
        match context.aws.tasks.end_attempt(task, me, me.as_str(), decision, left, now).await {
            Ok(Write::Applied | Write::AlreadyApplied) => return Written::As(decision.event.target()),
            Ok(Write::Fenced) => {
                context.meters.fenced_outcome();
                warn!("outcome not written: the task has moved on");
                return Written::ByOthers;
            }
            Ok(Write::NotFound) => {
                warn!("outcome not written: the task was deleted");
                return Written::ByOthers;
            }
            Err(error) if !is_by_content(&error) => {
                warn!(%error, "outcome not written, trying again");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            Err(error) => {
                // What the engine left may be the reason (a value that DynamoDB does not take).
                error!(%error, "outcome not written");
                let ended = end_with_fault(context, task, &error.to_string()).await;
                return if ended { Written::As(Status::Failed) } else { Written::Nothing };
            }
        }
    }
    error!("outcome not written, given up; the task stays RUNNING until it is rescued");
    Written::Nothing
}

/// Whether what was to be written is the reason: a value that DynamoDB does not take. Everything else may pass,
/// a missing permission too, and until then the attempt's work is not thrown away.
fn is_by_content(error: &AwsError) -> bool {
    match error {
        AwsError::Refused { code, .. } => code == "ValidationException",
        AwsError::Unreadable { .. } => true,
        _ => false,
    }
}

/// The claim was won, but the record it returned cannot be read: somebody edited it after it was sent.
pub(super) async fn end_unreadable(
    context: &Context,
    id: &TaskId,
    attempt: Attempt,
    rejection: &Rejection,
) -> bool {
    let mut task = Task::new(id.clone());
    task.attempt = attempt;
    let failure = Failure::fatal(rejection.code, rejection.message.clone());
    end_minimally(context, &task, Outcome::Failed(failure)).await
}

/// Without what the engine left.
async fn end_with_fault(context: &Context, task: &Task, reason: &str) -> bool {
    let mut minimal = Task::new(task.id.clone());
    (minimal.attempt, minimal.failures) = (task.attempt, task.failures);
    let message = format!("the outcome could not be written: {reason}");
    end_minimally(context, &minimal, Outcome::Failed(Failure::fatal(Code::WorkerFault, message))).await
}

/// Once, of a task of which only this is known.
async fn end_minimally(context: &Context, task: &Task, outcome: Outcome) -> bool {
    let (me, now) = (&context.id, context.clock.now());
    let decision = decide(outcome, task, now);
    let left = Leavings::default();
    match context.aws.tasks.end_attempt(task, me, me.as_str(), &decision, &left, now).await {
        Ok(answer) => {
            warn!(?answer, "ended without its outcome");
            true
        }
        Err(error) => {
            error!(%error, "not ended; the task stays RUNNING until it is rescued");
            false
        }
    }
}
