//! Writes of the dispatcher and the sweeper: tasks that no worker holds.

use serde_json::Value;

use super::{Condition, Update, entry, text};
use crate::protocol::due::due_key;
use crate::task::{Attempt, DispatchStatus, ErrorDetails, ErrorKind, Event, Status, StatusReason, Task};
use crate::{At, Code, Rejection};

/// The command of this attempt is on a queue. Fills what a minimal record lacks.
pub(in crate::aws) fn mark_queued(task: &Task, by: &str, now: At) -> Update {
    let event = if task.status == Status::Queued { Event::SentAgain } else { Event::Sent };
    let mut update = moved(task, event, by, None, now);
    update.set("dispatchStatus", DispatchStatus::Dispatched.as_str()).set("queuedAt", now);
    list(&mut update, task, now);
    // In the form that sorts as time does: the claim compares it.
    if let Some(not_before) = task.not_before {
        update.set("notBefore", not_before);
    }
    update.remove("dueKey");
    update
}

/// The task waits in the table until it is due.
pub(in crate::aws) fn defer(task: &Task, by: &str, now: At) -> Update {
    let mut update = moved(task, Event::Deferred, by, None, now);
    update.set("dueKey", due_key(&task.id).as_str());
    if let Some(not_before) = task.not_before {
        update.set("notBefore", not_before);
    }
    list(&mut update, task, now);
    update
}

/// Somebody asked for the task's end before a worker took it.
pub(in crate::aws) fn cancel(task: &Task, by: &str, now: At) -> Update {
    let reason = StatusReason::new(Code::Cancelled, "cancelled on request, before it was started");
    let mut update = moved(task, Event::Cancelled, by, Some(&reason), now);
    update.set_json("statusReason", &reason).set("completedAt", now).when_flag("cancelRequested", true);
    update.remove("dueKey");
    list(&mut update, task, now);
    update
}

/// Somebody asked to hold the task before a worker took it.
pub(in crate::aws) fn hold(task: &Task, by: &str, now: At) -> Update {
    let mut update = moved(task, Event::Held, by, None, now);
    update.when_flag("pauseRequested", true).remove("workerNodeId");
    update.remove("dueKey");
    list(&mut update, task, now);
    update
}

/// A paused task that no worker holds goes on.
pub(in crate::aws) fn resume(task: &Task, by: &str, now: At) -> Update {
    let mut update = moved(task, Event::Resumed, by, None, now);
    update.set("dispatchStatus", DispatchStatus::Pending.as_str()).remove("pauseRequested");
    update.when_flag("pauseRequested", false).when_no_worker();
    update
}

/// No worker could settle the task's message.
pub(in crate::aws) fn dead_letter(task: &Task, rejection: &Rejection, by: &str, now: At) -> Update {
    let reason = StatusReason::new(rejection.code, rejection.message.clone());
    let mut update = moved(task, Event::DeadLettered, by, Some(&reason), now);
    update
        .set("dispatchStatus", DispatchStatus::Error.as_str())
        .set_json("statusReason", &reason)
        .set("errorMessage", reason.message.as_str())
        .set_json("errorDetails", &details(&reason, ErrorKind::Retryable))
        .set("completedAt", now);
    update.remove("dueKey");
    list(&mut update, task, now);
    update
}

/// The record cannot be run. Overwrites whole attributes only, since any of them may be malformed.
/// `seen` is `updatedAt` as the rejected image had it: a record that was corrected since is left alone.
pub(in crate::aws) fn reject(rejection: &Rejection, seen: &Value, by: &str, now: At) -> Update {
    let reason = StatusReason::new(rejection.code, rejection.message.clone());
    let mut update = Update::default();
    update
        .set("status", Status::Failed.as_str())
        .set("dispatchStatus", DispatchStatus::Error.as_str())
        .set_json("statusReason", &reason)
        .set("errorMessage", rejection.message.as_str())
        .set_json("errorDetails", &details(&reason, ErrorKind::Fatal))
        .set("completedAt", now)
        .set("updatedAt", now)
        .set_json("history", &[entry(now, Status::Failed, by, Some(&reason))])
        // So that the index lists it; an index key of another type cannot have been written.
        .set_if_absent("accountId", "default")
        .set_if_absent("createdAt", now)
        .remove("dueKey")
        .when_exists("id")
        .when_is("updatedAt", seen);
    // Not "in one of the states that allow it": a status of another type or name is one of the faults
    // that a record is rejected for.
    let others = Status::ALL.into_iter().filter(|status| status.next(Event::Rejected).is_err());
    let others = others.map(|status| text(status.as_str())).collect();
    update.when(Condition::Not(Box::new(Condition::OneOf("status".to_owned(), others))));
    update
}

/// An ended task is to run again: what the last run left is removed. With `asked`, only while
/// `dispatchStatus` asks for it.
pub(in crate::aws) fn run_again(attempt: Attempt, asked: bool, by: &str, now: At) -> Update {
    let next = Event::RunAgain.target();
    let mut update = Update::default();
    update
        .set("status", next.as_str())
        .set("dispatchStatus", DispatchStatus::Pending.as_str())
        .set("updatedAt", now)
        .push_history(&[], entry(now, next, by, None));
    let of_the_run = [
        "startedAt",
        "workerNodeId",
        "cancelRequested",
        "pauseRequested",
        "failures",
        "interruptions",
        "notBefore",
        "dueKey",
    ];
    for attribute in super::attempt::LEFT.into_iter().chain(of_the_run) {
        update.remove(attribute);
    }
    if asked {
        let pending = text(DispatchStatus::Pending.as_str());
        update.when(Condition::Is("dispatchStatus".to_owned(), pending));
    }
    update.when_exists("id").when_attempt_is(attempt).when_status_allows(Event::RunAgain);
    update
}

/// What every move of a task that nobody holds has in common.
fn moved(task: &Task, event: Event, by: &str, reason: Option<&StatusReason>, now: At) -> Update {
    let next = event.target();
    let mut update = Update::default();
    update
        .set("status", next.as_str())
        .set("updatedAt", now)
        .push_history_of(task, entry(now, next, by, reason))
        .when_exists("id")
        .when_attempt_is(task.attempt)
        .when_status_allows(event);
    if task.history.is_none() {
        // An image from before the record had one: whatever gave it one has made a later image.
        update.when(Condition::AbsentOrNull("history".to_owned()));
    }
    update
}

/// Fills what the index of accounts needs to list a minimal record.
fn list(update: &mut Update, task: &Task, now: At) {
    if task.account_id.is_none() {
        update.set("accountId", "default");
    }
    if task.created_at.is_none() {
        update.set("createdAt", now);
    }
}

fn details(reason: &StatusReason, kind: ErrorKind) -> ErrorDetails {
    ErrorDetails { code: reason.code.clone(), kind, exit_code: None, signal: None, fingerprint: None }
}
