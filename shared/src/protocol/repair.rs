//! The repair scan: what every other path missed. Pure: it says of each record whether it is as it should
//! be, and what would have to be known to be sure; the sweeper looks that up.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use super::dispatch::{Cause, Dispatch, Rules, Triage, is_foreign, triage, untouched};
use crate::At;
use crate::task::{Status, Task, WorkerId};

/// A record that waits is looked at once the ordinary path has had this long.
pub const STALE: Duration = Duration::from_secs(60);

/// A message counts as gone when workers have received ones from the same queue that were sent this much
/// later: SQS keeps no order, but it does not hold messages back for minutes.
pub const OVERTAKEN: Duration = Duration::from_secs(300);

/// What the sweeper knows before it looks at records.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The deployment's rules.
    pub rules: Rules<'a>,
    /// Every worker that has a heartbeat item, dead or alive, with its latest beat where it can be read.
    pub workers: &'a BTreeMap<WorkerId, Option<At>>,
    /// The present.
    pub now: At,
}

/// What is found about one record.
#[derive(Clone, Debug, PartialEq)]
pub enum Finding {
    /// It is as it should be, or somebody else's.
    Fine,
    /// It waits to be dispatched, and nobody has done it.
    Overdue(Triage),
    /// It is queued: its message may be gone.
    Queued(Box<Dispatch>),
    /// It is held by a worker that does not exist any more.
    UnderNobody(Box<Task>, WorkerId),
    /// It is held by a worker that exists: that worker's registry must list it.
    Held(Box<Task>, WorkerId),
    /// No path leads into this state; a person has to look.
    Impossible(String),
}

/// What is known of the queue that a task's message should be on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueView {
    /// SQS counts no message on it, visible, delayed or in flight.
    pub empty: bool,
    /// When the latest of the messages was sent that workers lately received from it.
    pub received_until: Option<At>,
}

/// Looks at one record.
pub fn inspect(key: &str, image: Value, view: View<'_>) -> Finding {
    if is_foreign(&image, view.rules.foreign_modes) {
        return Finding::Fine;
    }
    let ours = !untouched(&image);
    let status = match image.get("status") {
        None | Some(Value::Null) => Status::Pending,
        Some(value) => match serde_json::from_value::<Status>(value.clone()) {
            Ok(status) => status,
            Err(_) if ours => return Finding::Impossible(format!("`status` is {value}, which is no state")),
            Err(_) => return Finding::Fine,
        },
    };
    if status.is_terminal() || (!ours && status != Status::Pending) {
        return Finding::Fine;
    }
    match status {
        Status::Preparing | Status::Running => held(image, view),
        Status::Paused if !image.get("workerNodeId").is_none_or(Value::is_null) => held(image, view),
        _ => waiting(key, image, view),
    }
}

fn held(image: Value, view: View<'_>) -> Finding {
    let task = match Task::from_json(image) {
        Ok(task) => task,
        Err(rejection) => return Finding::Impossible(format!("it runs and cannot be read: {rejection}")),
    };
    match &task.worker_node_id {
        None => Finding::Impossible(format!("it is {} and names no worker", task.status)),
        Some(_) if task.attempt.0 == 0 => {
            Finding::Impossible(format!("it is {} and was never claimed", task.status))
        }
        Some(worker) => {
            let worker = worker.clone();
            match view.workers.contains_key(&worker) {
                true => Finding::Held(Box::new(task), worker),
                false => Finding::UnderNobody(Box::new(task), worker),
            }
        }
    }
}

fn waiting(key: &str, image: Value, view: View<'_>) -> Finding {
    let at = |name: &str| image.get(name).and_then(Value::as_str).and_then(At::parse);
    // When it was last touched. By whose clock does not matter: too soon costs a duplicate that the claim
    // drops, too late costs minutes.
    let touched = at("updatedAt").max(at("createdAt")).max(at("queuedAt"));
    if touched.is_some_and(|touched| view.now.since(touched) < STALE && touched.since(view.now) < STALE) {
        return Finding::Fine;
    }
    match triage(key, image, Cause::Repair, view.rules, view.now) {
        Triage::Leave(_) => Finding::Fine,
        Triage::Send(dispatch) if dispatch.task.status == Status::Queued => Finding::Queued(dispatch),
        overdue => Finding::Overdue(overdue),
    }
}

/// Whether a queued task's message is gone. A wrong guess costs one duplicate that the claim drops.
pub fn is_message_gone(task: &Task, queue: QueueView) -> bool {
    let visible_from = task.queued_at.max(task.not_before);
    let overtaken = || match (visible_from, queue.received_until) {
        (Some(ours), Some(received)) => received.since(ours) >= OVERTAKEN,
        _ => false,
    };
    queue.empty || overtaken()
}

#[cfg(test)]
#[path = "repair_tests.rs"]
mod tests;
