//! What a worker does with a message whose claim was refused.

use std::time::Duration;

use crate::At;
use crate::task::{Attempt, Status, Task, WorkerId};

/// What becomes of the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Nothing is left to do for it.
    Delete(&'static str),
    /// It comes back by itself when its visibility runs out.
    Leave(&'static str),
    /// The task is not due yet: it is to come back after this long.
    Later(Duration),
    /// The record says that this very worker runs the task: an earlier claim's answer was lost. The caller
    /// makes sure that none of its attempts holds it, and takes it as claimed.
    Adopt,
    /// The task runs under this worker, if that one lives ([`super::lease::turn`]).
    RunsUnder(WorkerId),
}

/// The record as a refused claim returned it.
#[derive(Debug)]
pub enum Current {
    /// There is none.
    Missing,
    /// There is one, and it cannot be read.
    Unreadable,
    /// This one.
    Task(Box<Task>),
}

/// The longest that a message is made invisible. SQS allows twelve hours from the receive on, a little of which
/// is over by now.
const LONGEST_INVISIBLE: Duration = Duration::from_secs(11 * 60 * 60);

/// Decides for the worker `me` by the record as the refused claim returned it.
pub fn refused(current: &Current, command_attempt: Attempt, me: &WorkerId, now: At) -> Refused {
    let task = match current {
        Current::Missing => return Refused::Delete("the task does not exist"),
        Current::Unreadable => return Refused::Leave("the task's record cannot be read"),
        Current::Task(task) => task,
    };
    match (task.status, &task.worker_node_id) {
        (status, _) if status.is_terminal() => Refused::Delete("the task has ended"),
        (Status::Running | Status::Preparing | Status::Paused, Some(worker)) if worker == me => {
            Refused::Adopt
        }
        // Its worker may have died before anything else remembered the task: the message stays until the
        // registry lists the task, or it ends, or it is rescued.
        (Status::Running | Status::Preparing | Status::Paused, Some(worker)) => {
            Refused::RunsUnder(worker.clone())
        }
        (Status::Running | Status::Preparing, None) => Refused::Leave("the record names no worker"),
        (Status::Paused, None) => {
            Refused::Delete("the task is paused; its own command comes when it goes on")
        }
        (Status::Waiting, _) => Refused::Delete("the task waits; its own command comes when it is released"),
        _ if task.attempt != command_attempt => {
            Refused::Delete("the task has moved on; its own command is on a queue")
        }
        _ if task.cancel_requested == Some(true) => Refused::Delete("the task's end was asked for"),
        // Until the pause is written the message is what remembers the task.
        _ if task.pause_requested == Some(true) => Refused::Leave("the task is about to be paused"),
        _ if task.waits_in_table() => Refused::Delete("the task waits in the table"),
        _ => match task.not_before.map(|due| due.since(now)) {
            Some(wait) if !wait.is_zero() => Refused::Later(wait.min(LONGEST_INVISIBLE)),
            _ => Refused::Leave("the task is not ready"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn me() -> WorkerId {
        "me:1:a".parse().unwrap()
    }

    fn task(status: Status, attempt: u32) -> Task {
        let mut task = Task::new("t".parse().unwrap());
        (task.status, task.attempt) = (status, Attempt(attempt));
        task
    }

    fn on(task: Task) -> Refused {
        refused(&Current::Task(Box::new(task)), Attempt(0), &me(), At::from_millis(0))
    }

    #[test]
    fn a_message_is_deleted_only_when_nothing_is_left_to_do_for_it() {
        use Status::{
            Cancelled, Completed, Failed, Paused, Pending, Queued, Retrying, Running, Scheduled, TimedOut,
            Waiting,
        };
        for (status, attempt, deleted) in [
            (Completed, 1, true),
            (Failed, 1, true),
            (Cancelled, 0, true),
            (TimedOut, 1, true),
            (Pending, 1, true),
            (Queued, 2, true),
            (Retrying, 1, true),
            (Waiting, 0, true),
            (Paused, 0, true),
            (Pending, 0, false),
            (Queued, 0, false),
            (Scheduled, 0, false),
            (Running, 1, false),
        ] {
            let decision = on(task(status, attempt));
            assert_eq!(matches!(decision, Refused::Delete(_)), deleted, "{status} {attempt}");
        }
        let no_task = |current| refused(&current, Attempt(0), &me(), At::from_millis(0));
        assert!(matches!(no_task(Current::Missing), Refused::Delete(_)));
        assert!(matches!(no_task(Current::Unreadable), Refused::Leave(_)));
    }

    #[test]
    fn a_running_task_is_its_workers() {
        for status in [Status::Running, Status::Preparing, Status::Paused] {
            for (worker, expected) in
                [("me:1:a", Refused::Adopt), ("other:1:a", Refused::RunsUnder("other:1:a".parse().unwrap()))]
            {
                let task = Task { worker_node_id: worker.parse().ok(), ..task(status, 1) };
                assert_eq!(on(task), expected, "{status} {worker}");
            }
        }
    }

    #[test]
    fn a_message_that_came_too_soon_comes_back_when_its_task_is_due() {
        let due = |ms| Task { not_before: Some(At::from_millis(ms)), ..task(Status::Queued, 0) };
        assert_eq!(on(due(90_000)), Refused::Later(Duration::from_secs(90)));
        assert_eq!(on(due(i64::MAX)), Refused::Later(LONGEST_INVISIBLE));
        let in_table = Task { due_key: Some("due#1".to_owned()), ..due(90_000) };
        assert!(matches!(on(in_table), Refused::Delete(_)));
    }

    #[test]
    fn a_task_that_is_to_be_cancelled_or_paused_is_not_started() {
        let cancel = Task { cancel_requested: Some(true), ..task(Status::Queued, 0) };
        assert!(matches!(on(cancel), Refused::Delete(_)));
        let pause = Task { pause_requested: Some(true), ..task(Status::Queued, 0) };
        assert!(matches!(on(pause), Refused::Leave(_)), "it may be taken back before it is written");
    }
}
