//! What a restart brings back. The table survives, the queues do not, and neither do the workers of the
//! former process: tasks that wait are sent again, tasks that ran under nobody start over.

use std::collections::HashSet;
use std::time::Duration;

use stageline::At;
use stageline::aws::{Aws, AwsError, Deployment, Leavings, Write};
use stageline::protocol::dispatch::{Cause, Triage, triage};
use stageline::protocol::outcome::{Outcome, decide};
use stageline::task::{Item, Status, Task, WorkerId};
use stageline_dispatcher::Dispatcher;
use tracing::{info, warn};

use crate::process::is_running;

/// No heartbeat for this long is death.
const DEAD_AFTER: Duration = Duration::from_secs(30);

/// What was brought back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Tasks whose command was sent again.
    pub sent_again: usize,
    /// Tasks that ran under a worker that is gone.
    pub rescued: usize,
}

/// Goes through the whole table once.
pub(crate) async fn recover(
    aws: &Aws,
    dispatcher: &Dispatcher,
    deployment: &Deployment,
    now: At,
) -> Result<Recovered, AwsError> {
    let alive = living_workers(aws, now).await?;
    let mut recovered = Recovered::default();
    let mut start = None;
    loop {
        let (items, next) = aws.tasks.scan_page(start).await?;
        let mut waiting = Vec::new();
        for item in items {
            match rescue(aws, &item, &alive, now).await? {
                true => recovered.rescued += 1,
                false => waiting.extend(command_to_send(item, deployment)),
            }
        }
        let count = waiting.iter().filter(|triage| matches!(triage, Triage::Send(_))).count();
        match dispatcher.repair(waiting).await {
            Ok(()) => recovered.sent_again += count,
            Err(failed) => {
                warn!(tasks = ?failed, "not sent again");
                recovered.sent_again += count.saturating_sub(failed.len());
            }
        }
        start = next;
        if start.is_none() {
            break;
        }
    }
    forget_dead_workers(aws, &alive).await?;
    Ok(recovered)
}

/// Their registries are not needed any more: what they ran has been brought back.
async fn forget_dead_workers(aws: &Aws, alive: &HashSet<WorkerId>) -> Result<(), AwsError> {
    for beat in aws.workers.heartbeats().await? {
        if !alive.contains(&beat.worker_id) {
            aws.workers.remove(&beat.worker_id).await?;
        }
    }
    Ok(())
}

async fn living_workers(aws: &Aws, now: At) -> Result<HashSet<WorkerId>, AwsError> {
    let beats = aws.workers.heartbeats().await?;
    let alive = beats.into_iter().filter(|beat| now.since(beat.heartbeat_at) < DEAD_AFTER);
    Ok(alive.map(|beat| beat.worker_id).filter(has_process).collect())
}

/// On one machine the process tells sooner than the heartbeat. The id is `host:process:incarnation`.
fn has_process(worker: &WorkerId) -> bool {
    let process = worker.as_str().split(':').nth(1);
    process.is_none_or(|pid| pid != std::process::id().to_string() && is_running(pid))
}

fn command_to_send(item: Item, deployment: &Deployment) -> Option<Triage> {
    let key = item.get("id")?.as_s().ok()?.clone();
    let image = serde_dynamo::from_item(item).ok()?;
    let triage = triage(&key, image, Cause::Repair, &deployment.pools, &deployment.foreign_dispatch_modes);
    (!matches!(triage, Triage::Leave(_))).then_some(triage)
}

/// Starts the task over if it runs under nobody. The write wakes the dispatcher, as on any other day.
async fn rescue(aws: &Aws, item: &Item, alive: &HashSet<WorkerId>, now: At) -> Result<bool, AwsError> {
    let Ok(task) = Task::from_item(item.clone()) else { return Ok(false) };
    let (Status::Running | Status::Preparing, Some(worker)) = (task.status, &task.worker_node_id) else {
        return Ok(false);
    };
    if alive.contains(worker) {
        return Ok(false);
    }
    let decision = decide(Outcome::Interrupted, &task, now);
    match aws.tasks.end_attempt(&task, worker, &decision, &Leavings::default(), now).await? {
        Write::Applied | Write::AlreadyApplied => {
            info!(task.id = %task.id, attempt = %task.attempt, worker.id = %worker, "rescued");
            Ok(true)
        }
        // Somebody else was faster, or it was deleted: nothing to bring back.
        Write::Fenced | Write::NotFound => Ok(false),
    }
}
