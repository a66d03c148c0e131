//! Tasks that another worker holds according to their records: whether that one lives, and how they are
//! taken from it when it does not.

use std::sync::PoisonError;

use stageline::At;
use stageline::aws::{Aws, AwsError, Leavings, Write};
use stageline::metrics::table::TASKS_RESCUED;
use stageline::protocol::lease::{Holder, had_time};
use stageline::protocol::outcome::{Outcome, decide};
use stageline::task::{Status, Task, WorkerId};
use tracing::info;

use crate::context::Context;

/// What is known of `worker`, which holds `task` according to its record.
pub(crate) async fn holder(context: &Context, worker: &WorkerId, task: &Task) -> Result<Holder, AwsError> {
    let item = context.aws.workers.get(worker).await?;
    let now = context.clock.now();
    let dead = {
        let mut seen = context.observations.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(item) = &item else {
            seen.retain(|other| other != worker);
            return Ok(Holder::Gone);
        };
        seen.observe(worker, &item.beat, now, context.lease)
    };
    if dead {
        return Ok(Holder::Dead);
    }
    // After the beat was read: what that beat had time to list is on the pages that are read now.
    let lists = context.aws.workers.registered(worker).await?.contains(&task.attempt_ref());
    let beat = item.and_then(|item| item.heartbeat).map(|heartbeat| heartbeat.heartbeat_at);
    let had_time = beat.is_some_and(|beat| had_time(task.started_at, beat, context.lease));
    Ok(Holder::Alive { lists, had_time })
}

/// What became of a task that was to be rescued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rescued {
    /// It can be claimed.
    Claimable,
    /// It has ended: it was cancelled meanwhile, or was lost too often.
    Ended,
    /// Its record has moved on.
    Moved,
}

/// Takes `task` from `worker`, which is dead; `me` is who does it.
pub(crate) async fn rescue(
    aws: &Aws,
    task: &Task,
    worker: &WorkerId,
    me: &WorkerId,
    now: At,
) -> Result<Rescued, AwsError> {
    let decision = decide(Outcome::Lost, task, now);
    let left = Leavings::default();
    Ok(match aws.tasks.end_attempt(task, worker, me.as_str(), &decision, &left, now).await? {
        Write::Applied | Write::AlreadyApplied => {
            aws.meters.number(&TASKS_RESCUED, &[]).one();
            info!(task.id = %task.id, lost.by = %worker, event = ?decision.event, "rescued");
            if decision.event.target() == Status::Pending { Rescued::Claimable } else { Rescued::Ended }
        }
        Write::Fenced => Rescued::Moved,
        Write::NotFound => Rescued::Ended,
    })
}
