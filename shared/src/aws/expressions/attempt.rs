//! Writes of a worker about a task that it takes or holds: each is conditional on the attempt, and all but
//! the claim on the worker.

use super::{Update, entry};
use crate::At;
use crate::protocol::command::Queued;
use crate::protocol::due::{Due, due, due_key};
use crate::protocol::outcome::Decision;
use crate::task::{Artifact, Attempt, DispatchStatus, Event, Status, Task, WorkerId};

/// What an attempt writes when it ends.
pub(super) const LEFT: [&str; 8] = [
    "completedAt",
    "result",
    "statusReason",
    "errorMessage",
    "errorDetails",
    "stdout",
    "stderr",
    "artifacts",
];

/// A worker takes the task: the attempt goes up by one, which fences whoever held it before. `queued` is what the
/// command says of a record that had no history when it was sent.
pub(in crate::aws) fn claim(attempt: Attempt, queued: Option<&Queued>, worker: &WorkerId, now: At) -> Update {
    let mut update = Update::default();
    let claimed = entry(now, Event::Claimed.target(), worker.as_str(), None);
    match queued {
        Some(queued) => update.push_history_after(queued, claimed),
        // How long the history is, the claim cannot know: the writes before and after it trim.
        None => update.push_history(&[], claimed),
    };
    update
        .set("status", Event::Claimed.target().as_str())
        .set("attempt", attempt.next().0)
        .set("workerNodeId", worker.as_str())
        .set("dispatchStatus", DispatchStatus::Dispatched.as_str())
        .set("startedAt", now)
        .set("updatedAt", now)
        .set_if_absent("accountId", "default")
        .set_if_absent("createdAt", now)
        .when_exists("id")
        .when_attempt_is(attempt)
        .when_status_allows(Event::Claimed)
        .when_flag("cancelRequested", false)
        .when_flag("pauseRequested", false)
        .when_due(now);
    // What an interrupted attempt left is not this one's.
    for attribute in LEFT {
        update.remove(attribute);
    }
    update.remove("dueKey");
    update
}

/// What an attempt leaves on the record beside its decision.
#[derive(Clone, Debug, Default)]
pub struct Leavings {
    /// The end of the standard output.
    pub stdout: String,
    /// The end of the standard error.
    pub stderr: String,
    /// Its files.
    pub artifacts: Vec<Artifact>,
}

/// The end of an attempt. `task` is the record as the claim returned it, or newer.
pub(in crate::aws) fn end_attempt(
    task: &Task,
    worker: &WorkerId,
    by: &str,
    decision: &Decision,
    left: &Leavings,
    now: At,
) -> Update {
    let next = decision.event.target();
    let reason = decision.reason.as_ref();
    let mut update = Update::default();
    update
        .set("status", next.as_str())
        .set("updatedAt", now)
        .push_history(task.history.as_deref().unwrap_or_default(), entry(now, next, by, reason));
    if let Some(at) = decision.completed_at {
        update.set("completedAt", at);
    }
    if let Some(result) = &decision.result {
        update.set_json("result", result);
    }
    if let Some(reason) = reason {
        update.set_json("statusReason", reason);
    }
    if let Some(error) = &decision.error {
        update.set_json("errorDetails", error);
        update.set("errorMessage", reason.map_or("", |r| r.message.as_str()));
    }
    if let Some(failures) = decision.failures {
        update.set("failures", failures);
    }
    if let Some(interruptions) = decision.interruptions {
        update.set("interruptions", interruptions);
    }
    for (attribute, text) in [("stdout", &left.stdout), ("stderr", &left.stderr)] {
        if !text.is_empty() {
            update.set(attribute, text.as_str());
        }
    }
    if !left.artifacts.is_empty() {
        update.set_json("artifacts", &left.artifacts);
    }
    if matches!(next, Status::Pending | Status::Retrying) {
        update.set("dispatchStatus", DispatchStatus::Pending.as_str()).remove("workerNodeId");
    }
    if let Some(not_before) = decision.not_before {
        update.set("notBefore", not_before);
        // Written at once, the dispatcher need not write it.
        if due(Some(not_before), now) == Due::InTable {
            update.set("dueKey", due_key(&task.id).as_str());
        }
    }
    update.when_worker_is(worker).when_attempt_is(task.attempt).when_status_allows(decision.event);
    update
}

/// The worker has stopped the task's processes where they are.
pub(in crate::aws) fn hold_running(task: &Task, worker: &WorkerId, now: At) -> Update {
    let mut update = changed(task, worker, Event::Held, now);
    update.when_flag("pauseRequested", true);
    update
}

/// The worker lets the task's processes go on.
pub(in crate::aws) fn continue_running(task: &Task, worker: &WorkerId, now: At) -> Update {
    let mut update = changed(task, worker, Event::Continued, now);
    update.when_flag("pauseRequested", false);
    update
}

fn changed(task: &Task, worker: &WorkerId, event: Event, now: At) -> Update {
    let mut update = Update::default();
    update
        .set("status", event.target().as_str())
        .set("updatedAt", now)
        .push_history_of(task, entry(now, event.target(), worker.as_str(), None))
        .when_worker_is(worker)
        .when_attempt_is(task.attempt)
        .when_status_allows(event);
    update
}
