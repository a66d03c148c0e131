//! One attempt: take the task, run it, end it, acknowledge.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures::FutureExt;
use stageline::aws::Leavings;
use stageline::protocol::command::Command;
use stageline::protocol::outcome::{Failure, Outcome, decide};
use stageline::task::{ErrorKind, Status, Task};
use stageline::trace;
use tracing::{Instrument, info, info_span, warn};

use crate::acknowledge::{Acknowledger, Handle};
use crate::child::{self, TimeLimits};
use crate::context::Context;
use crate::control::{Order, Orders};
use crate::engines::{Execution, InlineRun, Site};
use crate::gpus::assigned;
use crate::guard;
use crate::hooks::Ended;
use crate::observed::{self, Observed};
use crate::progress::Reporter;
use crate::running::Begun;
use crate::store::{self, LogParts};
use crate::take::{Taken, take};

mod ending;

pub(crate) use ending::Written;
use ending::{end_unreadable, write_end};

/// The variable that names a process's parent in a trace (OpenTelemetry, environment variables as carriers).
const TRACEPARENT: &str = "TRACEPARENT";

/// An attempt was stopped because its task is not this worker's any more: nothing is written about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Abandoned(pub &'static str);

/// What becomes of a message.
enum Settled {
    Delete,
    Leave,
    Later(Duration),
}

/// What follows once the message is dealt with.
#[derive(Default)]
struct Afterwards {
    /// What the hooks are told.
    ended: Option<Ended>,
    /// How long the slot takes nothing, so that another worker gets what this one has handed back.
    yields: Duration,
    /// What became of the task, for the metrics, and the reason's code.
    outcome: Option<Observed>,
}

/// Handles one command from a queue to its end.
pub(crate) async fn run(context: Arc<Context>, command: Command, handle: Handle, acknowledger: Acknowledger) {
    let span = info_span!("attempt", task.id = %command.task_id, attempt = %command.attempt.next(), worker.id = %context.id);
    async {
        let begun = context.running.begin(&command, context.clock.now(), handle.clone());
        let mut afterwards = Afterwards::default();
        let (settled, message) = match begun {
            Begun::First => {
                let settled = to_its_end(&context, &command, &mut afterwards).await;
                // Left: a message that is still there comes back, and the registry does not list the task
                // any more, by which a repair pass finds it.
                (settled, context.running.end(&command.task_id))
            }
            Begun::Remembered => (Settled::Delete, Some(handle)),
            Begun::InHand => (Settled::Leave, None),
            Begun::TooSoon => (Settled::Later(context.lease.busy()), Some(handle)),
        };
        if begun != Begun::First {
            info!(?begun, "a message of a task in hand");
        }
        match (settled, message) {
            (Settled::Delete, Some(handle)) => acknowledger.delete(handle),
            (Settled::Later(wait), Some(handle)) => hand_back(&context, handle, wait).await,
            (Settled::Leave, _) | (_, None) => {}
        }
        // Last, so that nobody waits for it but its own slot.
        if let Some(ended) = afterwards.ended {
            Box::pin(context.hooks.after(&context, &ended)).await;
        }
        tokio::select! {
            () = tokio::time::sleep(afterwards.yields) => {}
            () = context.stop.cancelled() => {}
        }
    }
    .instrument(span)
    .await;
}

async fn hand_back(context: &Context, handle: Handle, wait: Duration) {
    let Handle { queue_url, receipt_handle } = handle;
    match context.aws.queues.hand_back(&queue_url, &[receipt_handle], wait).await {
        Ok(()) => context.meters.handed_back.one(),
        Err(error) => warn!(%error, "message not handed back; it comes back by itself"),
    }
}

/// Takes the task and runs it.
async fn to_its_end(context: &Context, command: &Command, afterwards: &mut Afterwards) -> Settled {
    let settled = |over| if over { Settled::Delete } else { Settled::Leave };
    let begun = SystemTime::now();
    // Boxed, as what follows: each lasts a moment, and a future holds the room of all that it waits for.
    let taken = Box::pin(take(context, command)).await;
    context.meters.claimed(observed::result(&taken));
    match taken {
        Ok(Taken::Won(task)) => {
            context.meters.won(&task);
            let span = observed::span(context, command, &task, begun);
            let mut orders = context.running.claimed(&task);
            // A claim that is adopted: what was asked of the task meanwhile was said to nobody.
            if task.cancel_requested == Some(true) || orders.latest() == Order::Pause {
                context.reviews.ask(&task.id);
            }
            let over = span.around(perform(context, task, &mut orders, afterwards)).await;
            observed::close(span, afterwards.outcome.take());
            settled(over)
        }
        Ok(Taken::WonUnreadable(attempt, rejection)) => {
            let ended = Box::pin(end_unreadable(context, &command.task_id, attempt, &rejection));
            settled(ended.await)
        }
        Ok(Taken::Delete(why)) => {
            info!(why, "claim refused, message deleted");
            Settled::Delete
        }
        Ok(Taken::Leave(why)) => {
            // With each visibility while it lasts: what a person needs to see of a task that nobody ends.
            info!(why, "claim refused, message left");
            Settled::Leave
        }
        Ok(Taken::Later(wait)) => {
            info!(?wait, "claim refused, message handed back until the task is due");
            Settled::Later(wait)
        }
        Err(error) => {
            warn!(%error, "claim failed, message left");
            Settled::Leave
        }
    }
}

/// Runs the engine and writes the outcome; whether the record now says what became of the attempt.
async fn perform(
    context: &Context,
    task: Box<Task>,
    orders: &mut Orders,
    afterwards: &mut Afterwards,
) -> bool {
    info!(engine = task.engine(), "claimed");
    let mut hooked = false;
    let (outcome, left) = match guarded(context, &task, orders, &mut hooked).await {
        Ok(end) => end,
        Err(Abandoned(why)) => {
            warn!("abandoned: {why}");
            context.meters.ended(&task, "abandoned", None, context.clock.now());
            afterwards.outcome = Some(("abandoned", None));
            afterwards.ended = hooked.then_some(Ended { task, status: None, reason: None });
            return true;
        }
    };
    afterwards.yields = guard::yields(&outcome);
    let decision = decide(outcome, &task, context.clock.now());
    let reason = decision.reason.as_ref().map(|reason| reason.code.clone());
    let code = reason.as_deref();
    info!(event = ?decision.event, code, "attempt over");
    let written = trace::step("end", Box::pin(write_end(context, &task, &decision, &left))).await;
    context.meters.ended(&task, observed::name(&written), reason.as_deref(), context.clock.now());
    context.meters.left(&left);
    afterwards.outcome = Some((observed::name(&written), reason));
    let (over, status) = match written {
        Written::As(status) => (true, Some(status)),
        Written::ByOthers => (true, None),
        Written::Nothing => (false, None),
    };
    // Nothing goes on from what is done, or from what would fail again.
    let fatal = decision.error.as_ref().is_some_and(|error| error.kind == ErrorKind::Fatal);
    if status == Some(Status::Completed) || (status == Some(Status::Failed) && fatal) {
        Box::pin(store::forget_checkpoints(&task, context)).await;
    }
    let reason = decision.reason.filter(|_| status.is_some()).map(|reason| (reason.code, reason.message));
    afterwards.ended = hooked.then_some(Ended { task, status, reason });
    over
}

/// Runs the task unless its engine does not work here, between the hooks; `hooked` says whether the one before
/// was begun.
async fn guarded(
    context: &Context,
    task: &Task,
    orders: &mut Orders,
    hooked: &mut bool,
) -> Result<(Outcome, Leavings), Abandoned> {
    let permit = match context.breakers.admit(task.engine()) {
        Ok(permit) => permit,
        Err(refusal) => {
            return Ok((Box::pin(guard::refused(context, task, refusal)).await, Leavings::default()));
        }
    };
    *hooked = true;
    let (outcome, left) = match Box::pin(context.hooks.before(context, task, orders)).await? {
        Some(outcome) => (outcome, Leavings::default()),
        // An engine that panics over hostile output ends its task, not the worker's knowledge of it.
        None => match AssertUnwindSafe(execute(context, task, orders)).catch_unwind().await {
            Ok(ended) => ended?,
            Err(_panic) => {
                (Outcome::Failed(Failure::of_the_worker("the engine's code failed")), Leavings::default())
            }
        },
    };
    Ok((Box::pin(guard::judged(context, task, permit, outcome, &left.stderr)).await, left))
}

async fn execute(
    context: &Context,
    task: &Task,
    orders: &mut Orders,
) -> Result<(Outcome, Leavings), Abandoned> {
    let brought = match Box::pin(store::with_params(task, context, orders)).await? {
        Ok(brought) => brought,
        Err(outcome) => return Ok((outcome, Leavings::default())),
    };
    let task = brought.as_deref().unwrap_or(task);
    let job_dir = child::job_dir(&context.config, task);
    let planning = async {
        let search = store::earlier_checkpoint(task, &job_dir, context);
        let resume = match store::unless_ended(search, context, orders).await? {
            Ok(resume) => resume,
            Err(outcome) => return Ok(Err(outcome)),
        };
        let told = resume.as_ref().map(|resume| &resume.told);
        let site = Site { config: &context.config, job_dir: &job_dir, resume: told };
        let planned = context.engines.plan(task, &site);
        Ok(planned.map(|execution| (resume, execution)).map_err(Outcome::Failed))
    };
    let (resume, execution) = match trace::step("plan", Box::pin(planning)).await? {
        Ok(planned) => planned,
        Err(outcome) => return Ok((outcome, Leavings::default())),
    };
    let (reviews, id) = (context.reviews.clone(), task.id.clone());
    let when_fenced = move || reviews.ask(&id);
    let (stages, clock, meter) =
        (context.aws.stages.clone(), context.clock.clone(), context.meters.progress.clone());
    let reporter = Reporter::start(task, context.config.counter_period(), stages, clock, meter, when_fenced);
    let ended = match execution {
        Execution::Inline(run) => {
            let running = run_inline(run, &reporter, context, TimeLimits::of(task), orders);
            match trace::step("engine", running).await {
                Ok(outcome) => {
                    let left = Leavings::default();
                    Box::pin(store::keep((outcome, left), task, None, context, orders)).await
                }
                Err(abandoned) => Err(abandoned),
            }
        }
        Execution::Child(mut plan) => {
            if let Some(resume) = &resume {
                resume.put_into(&mut plan);
            }
            let mut logs = None;
            let ended = match assigned(plan.confines_itself, task, context, orders).await {
                Ok(gpus) => {
                    logs = LogParts::begin(task, &job_dir, context);
                    let running = async {
                        // What the task's own instruments record goes below this span.
                        let parent = trace::current().map(|parent| parent.to_string());
                        plan.env.extend(parent.map(|parent| (TRACEPARENT.to_owned(), parent)));
                        let gpus = gpus.ids();
                        Box::pin(child::run(plan, task, &job_dir, gpus, context, &reporter, orders)).await
                    };
                    trace::step("engine", running).await
                }
                Err(stopped) => stopped.map(|outcome| (outcome, Leavings::default())),
            };
            match ended {
                Ok(ended) => {
                    let parts = match logs {
                        Some(logs) => Some(Box::pin(logs.end()).await),
                        None => None,
                    };
                    let keeping = Box::pin(store::keep(ended, task, Some(&job_dir), context, orders));
                    let kept = trace::step("keep", keeping).await;
                    if let (Some(parts), Ok((_, left))) = (parts, &kept) {
                        Box::pin(parts.forget(&left.artifacts)).await;
                    }
                    kept
                }
                // What is stored of its logs stays.
                abandoned => abandoned,
            }
        }
    };
    match &ended {
        Ok((outcome, _)) => reporter.finish(matches!(outcome, Outcome::Succeeded { .. })).await,
        Err(Abandoned(_)) => reporter.abandon(),
    }
    ended
}

async fn run_inline(
    run: InlineRun,
    reporter: &Reporter,
    context: &Context,
    limits: TimeLimits,
    orders: &mut Orders,
) -> Result<Outcome, Abandoned> {
    // There is no process to ask: the soft limit is the end.
    let soft = limits.soft.is_some();
    let limit = limits.next(false).unwrap_or(Duration::MAX);
    let work = run(reporter.sink());
    let time_is_up = tokio::time::sleep(limit);
    tokio::pin!(work, time_is_up);
    loop {
        match orders.latest() {
            Order::Go => {}
            Order::Pause => info!("an engine inside the worker cannot be paused; it goes on"),
            Order::Cancel => return Ok(Outcome::Cancelled),
            Order::Interrupt => return Ok(Outcome::Interrupted),
            Order::Abandon(why) => return Err(Abandoned(why)),
        }
        tokio::select! {
            outcome = &mut work => return Ok(outcome),
            () = context.stop.cancelled() => return Ok(Outcome::Interrupted),
            () = &mut time_is_up => return Ok(Outcome::TimedOut { seconds: limit.as_secs(), soft }),
            () = orders.changed() => {}
        }
    }
}
