//! What the dispatcher does with one record: leave it alone, refuse it, send it, or write what somebody
//! asked for.

use std::time::Duration;

use serde_json::Value;

use super::due::{Due, due};
use super::pools::Pools;
use crate::task::{Attempt, Status, Task, TaskId, WorkerId};
use crate::{At, Rejection};

/// Why the dispatcher looks at a record.
#[derive(Clone, Copy, Debug)]
pub enum Cause<'a> {
    /// The record is new.
    Insert,
    /// The record has changed; this is what it was.
    Modify {
        /// The former image.
        old: &'a Value,
    },
    /// A repair pass found the record, and it is high time.
    Repair,
}

/// What to do with a record.
#[derive(Clone, Debug, PartialEq)]
pub enum Triage {
    /// Nothing; the words say why.
    Leave(&'static str),
    /// Mark it FAILED with the reason, unless it has changed since.
    Reject {
        /// The key as it stands, which may be no valid [`TaskId`].
        id: String,
        /// The reason.
        rejection: Rejection,
        /// `updatedAt` as the record had it, whatever its type; null when it had none.
        seen: Value,
    },
    /// Send its command, then mark it QUEUED.
    Send(Box<Dispatch>),
    /// Write down that it waits in the table until it is due.
    Defer(Box<Task>),
    /// Put it back to PENDING; that change is what dispatches it.
    RunAgain {
        /// The task.
        id: TaskId,
        /// The attempt it ended with.
        attempt: Attempt,
    },
    /// Its end was asked for and no worker holds it: mark it CANCELLED.
    Cancel(Box<Task>),
    /// It is to be held and no worker holds it: mark it PAUSED.
    Hold(Box<Task>),
    /// It is to go on and no worker holds it: put it back to PENDING; that change is what dispatches it.
    Resume(Box<Task>),
    /// Something was asked of a task that a worker holds: tell the worker to look at its record.
    Signal {
        /// The worker.
        worker: WorkerId,
        /// The task.
        id: TaskId,
    },
}

/// A record that is ready to be sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Dispatch {
    /// The record.
    pub task: Task,
    /// The pool that takes it.
    pub pool: String,
    /// The address of the queue.
    pub queue_url: String,
    /// How long SQS is to hold the message back, in whole seconds.
    pub delay: Duration,
}

/// The rules of one deployment that a decision needs.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// The pools.
    pub pools: &'a Pools,
    /// Values of `metadata.dispatch_mode` that say that somebody else runs the task.
    pub foreign_modes: &'a [String],
}

/// Decides about one record.
///
/// `key` is the record's key as the stream carries it; `image` is the record's JSON.
pub fn triage(key: &str, image: Value, cause: Cause<'_>, rules: Rules<'_>, now: At) -> Triage {
    let status = text(&image, "status");
    // Whether a record is ours at all comes before whether it is well-formed.
    if is_foreign(&image, rules.foreign_modes) {
        return Triage::Leave("its dispatch_mode says that somebody else runs it");
    }
    let wanted = text(&image, "dispatchStatus");
    match cause {
        Cause::Insert => {
            if status.is_some_and(|s| s != Status::Pending.as_str()) {
                return Triage::Leave("it was inserted in another status");
            }
            if wanted.is_some_and(|w| w != "PENDING") {
                return Triage::Leave("it was inserted as dispatched by somebody else");
            }
        }
        Cause::Modify { old } => {
            let ready = matches!(status, Some("PENDING" | "RETRYING"));
            let ended = matches!(status, Some("COMPLETED" | "FAILED" | "CANCELLED" | "TIMED_OUT"));
            // The change itself must ask: a task that ended before it was dispatched still says PENDING.
            if ended && wanted == Some("PENDING") && text(old, "dispatchStatus") != wanted {
                return run_again(key, image);
            }
            let asked = ["cancelRequested", "pauseRequested"]
                .iter()
                .any(|name| flag(&image, name) != flag(old, name));
            let became_ready = ready && text(old, "status") != status;
            if ended || !(became_ready || asked) {
                return Triage::Leave("the change asks for nothing");
            }
            // A record that nobody of ours has touched is somebody else's, whatever is asked of it.
            if asked && !became_ready && untouched(&image) && !matches!(status, None | Some("PENDING")) {
                return Triage::Leave("somebody else runs it");
            }
        }
        Cause::Repair => {
            // Left alone when it was inserted, and still not ours: none of our writes has touched it.
            if untouched(&image)
                && (wanted.is_some_and(|w| w != "PENDING") || !matches!(status, None | Some("PENDING")))
            {
                return Triage::Leave("it was inserted as somebody else's");
            }
        }
    }
    let seen = image.get("updatedAt").cloned().unwrap_or(Value::Null);
    let task = match Task::from_json(image) {
        Ok(task) => task,
        Err(rejection) => return Triage::Reject { id: key.to_owned(), rejection, seen },
    };
    match asked_of(task) {
        Ok(triage) => triage,
        Err(task) => match ready(*task, cause, rules.pools, now) {
            Ok(triage) => triage,
            Err(rejection) => Triage::Reject { id: key.to_owned(), rejection, seen },
        },
    }
}

/// What the two requests on the record come to; gives the task back when it is to be dispatched.
fn asked_of(task: Task) -> Result<Triage, Box<Task>> {
    let task = Box::new(task);
    let (cancel, pause) = (task.cancel_requested == Some(true), task.pause_requested == Some(true));
    Ok(match (task.status, &task.worker_node_id) {
        (status, _) if status.is_terminal() => Triage::Leave("it has ended"),
        (Status::Running | Status::Preparing, Some(worker)) if cancel || pause => {
            Triage::Signal { worker: worker.clone(), id: task.id.clone() }
        }
        (Status::Running | Status::Preparing, _) => Triage::Leave("it runs"),
        // Whatever was asked for, the worker finds it on the record.
        (Status::Paused, Some(worker)) => Triage::Signal { worker: worker.clone(), id: task.id.clone() },
        _ if cancel => Triage::Cancel(task),
        (Status::Paused, None) if !pause => Triage::Resume(task),
        (Status::Paused, None) => Triage::Leave("it is paused"),
        _ if pause => Triage::Hold(task),
        (Status::Waiting, _) => Triage::Leave("it waits for other tasks"),
        _ => return Err(task),
    })
}

/// How a task that waits for nothing but its time gets to a queue.
fn ready(task: Task, cause: Cause<'_>, pools: &Pools, now: At) -> Result<Triage, Rejection> {
    match task.status {
        Status::Pending | Status::Retrying => {}
        Status::Queued | Status::Scheduled if matches!(cause, Cause::Repair) => {}
        _ => return Ok(Triage::Leave("it has been dispatched")),
    }
    task.validate()?;
    let route = pools.route(&task.target, task.priority)?;
    Ok(match due(task.not_before, now) {
        Due::InTable if task.status == Status::Queued => {
            Triage::Leave("its message is refused until it is due")
        }
        Due::InTable if task.waits_in_table() && task.status != Status::Pending => {
            Triage::Leave("it waits in the table")
        }
        Due::InTable => Triage::Defer(Box::new(task)),
        Due::After(delay) => {
            let (pool, queue_url) = (route.pool.to_owned(), route.queue_url.to_owned());
            Triage::Send(Box::new(Dispatch { task, pool, queue_url, delay }))
        }
    })
}

fn run_again(key: &str, image: Value) -> Triage {
    match (key.parse::<TaskId>(), image.get("attempt")) {
        (Ok(id), attempt) => {
            let attempt = attempt.and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok());
            Triage::RunAgain { id, attempt: Attempt(attempt.unwrap_or_default()) }
        }
        (Err(_), _) => Triage::Leave("its id was refused before and cannot become valid"),
    }
}

fn text<'a>(image: &'a Value, attribute: &str) -> Option<&'a str> {
    image.get(attribute).and_then(Value::as_str)
}

fn flag(image: &Value, attribute: &str) -> bool {
    image.get(attribute).and_then(Value::as_bool) == Some(true)
}

/// Whether none of our writes has touched the record.
pub(super) fn untouched(image: &Value) -> bool {
    let absent = |name| image.get(name).is_none_or(Value::is_null);
    let never_claimed = absent("attempt") || image.get("attempt").and_then(Value::as_u64) == Some(0);
    never_claimed && absent("queuedAt") && absent("history")
}

/// Whether `metadata.dispatch_mode` says that somebody else runs the task.
pub(super) fn is_foreign(image: &Value, foreign_modes: &[String]) -> bool {
    dispatch_mode(image).is_some_and(|mode| foreign_modes.contains(&mode))
}

/// `metadata.dispatch_mode`, whether `metadata` is a map or a string with the JSON of one.
fn dispatch_mode(image: &Value) -> Option<String> {
    let mode = |metadata: &Value| metadata.get("dispatch_mode")?.as_str().map(str::to_owned);
    match image.get("metadata")? {
        Value::String(json) => serde_json::from_str(json).ok().as_ref().and_then(mode),
        metadata => mode(metadata),
    }
}

#[cfg(test)]
#[path = "dispatch_tests.rs"]
mod tests;
