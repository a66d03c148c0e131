//! One attempt: claim, run, end, acknowledge.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use stageline::aws::{Claimed, Leavings, Retry, Write};
use stageline::protocol::claim::{Refused, refused};
use stageline::protocol::command::Command;
use stageline::protocol::outcome::{Failure, Outcome, decide};
use stageline::task::Task;
use stageline::{Code, Rejection};
use tracing::{Instrument, error, info, info_span, warn};

use crate::acknowledge::{Acknowledger, Handle};
use crate::child;
use crate::context::Context;
use crate::engines::{Execution, InlineRun, Site};
use crate::progress::Reporter;

/// How long the end of an attempt is tried to be written before it is left to the rescue.
const WRITE_TRIES: u32 = 40;
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// Handles one command from a queue to its end.
pub(crate) async fn run(context: Arc<Context>, command: Command, handle: Handle, acknowledger: Acknowledger) {
    let span = info_span!("attempt", task.id = %command.task_id, attempt = %command.attempt.next(), worker.id = %context.id);
    async {
        let now = context.clock.now();
        match context.aws.tasks.claim(&command.task_id, command.attempt, &context.id, now).await {
            Ok(Claimed::Won(task)) => {
                context.running.begin(&task, now, handle);
                let written = perform(&context, &task).await;
                // Not written: a message that is still there comes back, and the registry does not list the
                // task any more, by which a repair pass finds it.
                if let Some(handle) = context.running.end(&task)
                    && written
                {
                    acknowledger.delete(handle).await;
                }
            }
            Ok(Claimed::WonUnreadable(rejection)) => {
                if end_unreadable(&context, &command, &rejection).await {
                    acknowledger.delete(handle).await;
                }
            }
            Ok(Claimed::Refused(current)) => match refused(&current, command.attempt) {
                Refused::Delete(why) => {
                    info!(why, "claim refused, message deleted");
                    acknowledger.delete(handle).await;
                }
                // Every 30 s while it lasts: what a person needs to see of a task that nobody ends.
                Refused::Leave(why) => info!(why, "claim refused, message left"),
            },
            Err(error) => warn!(%error, "claim failed, message left"),
        }
    }
    .instrument(span)
    .await;
}

/// Runs the engine and writes the outcome; whether the record now says what became of the attempt.
async fn perform(context: &Context, task: &Task) -> bool {
    info!(engine = task.engine(), "claimed");
    // An engine that panics over hostile output ends its task, not the worker's knowledge of it.
    let (outcome, left) = match AssertUnwindSafe(execute(context, task)).catch_unwind().await {
        Ok(ended) => ended,
        Err(_panic) => {
            (Outcome::Failed(Failure::of_the_worker("the engine's code failed")), Leavings::default())
        }
    };
    let now = context.clock.now();
    let decision = decide(outcome, task, now);
    let code = decision.reason.as_ref().map(|reason| reason.code.as_str());
    info!(event = ?decision.event, code, "attempt over");
    let mut pause = FIRST_PAUSE;
    for _ in 0..WRITE_TRIES {
        match context.aws.tasks.end_attempt(task, &context.id, &decision, &left, now).await {
            Ok(Write::Applied | Write::AlreadyApplied) => return true,
            Ok(Write::Fenced) => {
                warn!("outcome not written: the task has moved on");
                return true;
            }
            Ok(Write::NotFound) => {
                warn!("outcome not written: the task was deleted");
                return true;
            }
            Err(error) if error.retry() == Retry::Later => {
                warn!(%error, "outcome not written, trying again");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            Err(error) => {
                // What the engine left may be the reason (a value that DynamoDB does not take).
                error!(%error, "outcome not written");
                return end_with_fault(context, task, &error.to_string()).await;
            }
        }
    }
    error!("outcome not written, given up; the task stays RUNNING until it is rescued");
    false
}

async fn execute(context: &Context, task: &Task) -> (Outcome, Leavings) {
    let job_dir = child::job_dir(&context.config, task);
    let site = Site { config: &context.config, job_dir: &job_dir };
    let execution = match context.engines.plan(task, &site) {
        Ok(execution) => execution,
        Err(failure) => return (Outcome::Failed(failure), Leavings::default()),
    };
    let reporter = Reporter::start(task, context.aws.stages.clone(), context.clock.clone());
    let limit = task.timeout_seconds.map(Duration::from_secs);
    let (outcome, left) = match execution {
        Execution::Inline(run) => (run_inline(run, &reporter, context, limit).await, Leavings::default()),
        Execution::Child(plan) => child::run(plan, task, &job_dir, context, &reporter, limit).await,
    };
    reporter.finish(matches!(outcome, Outcome::Succeeded { .. })).await;
    (outcome, left)
}

async fn run_inline(
    run: InlineRun,
    reporter: &Reporter,
    context: &Context,
    limit: Option<Duration>,
) -> Outcome {
    let seconds = limit.unwrap_or(Duration::MAX);
    tokio::select! {
        outcome = run(reporter.sink()) => outcome,
        () = context.stop.cancelled() => Outcome::Interrupted,
        () = tokio::time::sleep(seconds) => Outcome::TimedOut { seconds: seconds.as_secs() },
    }
}

/// The claim was won, but the record it returned cannot be read: somebody edited it after it was sent.
async fn end_unreadable(context: &Context, command: &Command, rejection: &Rejection) -> bool {
    let mut task = Task::new(command.task_id.clone());
    task.attempt = command.attempt.next();
    let failure = Failure::fatal(rejection.code, rejection.message.clone());
    end_minimally(context, &task, Outcome::Failed(failure)).await
}

async fn end_with_fault(context: &Context, task: &Task, reason: &str) -> bool {
    let mut minimal = Task::new(task.id.clone());
    (minimal.attempt, minimal.failures) = (task.attempt, task.failures);
    let message = format!("the outcome could not be written: {reason}");
    end_minimally(context, &minimal, Outcome::Failed(Failure::fatal(Code::WorkerFault, message))).await
}

async fn end_minimally(context: &Context, task: &Task, outcome: Outcome) -> bool {
    let now = context.clock.now();
    let decision = decide(outcome, task, now);
    let left = Leavings::default();
    match context.aws.tasks.end_attempt(task, &context.id, &decision, &left, now).await {
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
