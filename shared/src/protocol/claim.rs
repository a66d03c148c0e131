//! What a worker does with a message whose claim was refused.

use crate::task::{Attempt, Status, Task};

/// What becomes of the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Nothing is left to do for it.
    Delete(&'static str),
    /// It comes back by itself when its visibility runs out.
    Leave(&'static str),
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

/// Decides by the record as the refused claim returned it.
pub fn refused(current: &Current, command_attempt: Attempt) -> Refused {
    let task = match current {
        Current::Missing => return Refused::Delete("the task does not exist"),
        Current::Unreadable => return Refused::Leave("the task's record cannot be read"),
        Current::Task(task) => task,
    };
    if task.status.is_terminal() {
        return Refused::Delete("the task has ended");
    }
    if task.cancel_requested == Some(true) && task.worker_node_id.is_none() {
        return Refused::Delete("the task's cancellation was asked for");
    }
    match task.status {
        // Its worker may have died before anything else remembered the task: the message stays until
        // the task ends or is rescued.
        Status::Running | Status::Preparing => Refused::Leave("another worker runs the task"),
        _ if task.attempt > command_attempt => {
            Refused::Delete("the task has moved on; its own command is on a queue")
        }
        _ => Refused::Leave("the task is not ready"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(status: Status, attempt: u32) -> Task {
        let mut task = Task::new("t".parse().unwrap());
        (task.status, task.attempt) = (status, Attempt(attempt));
        task
    }

    #[test]
    fn a_message_is_deleted_only_when_nothing_is_left_to_do() {
        use Status::{Cancelled, Completed, Failed, Paused, Pending, Queued, Running, TimedOut, Waiting};
        for (status, attempt, deleted) in [
            (Completed, 1, true),
            (Failed, 1, true),
            (Cancelled, 0, true),
            (TimedOut, 1, true),
            (Running, 1, false),
            (Pending, 1, true),
            (Queued, 2, true),
            (Waiting, 0, false),
            (Paused, 0, false),
        ] {
            let decision = refused(&Current::Task(Box::new(task(status, attempt))), Attempt(0));
            assert_eq!(matches!(decision, Refused::Delete(_)), deleted, "{status} {attempt}");
        }
        assert!(matches!(refused(&Current::Missing, Attempt(0)), Refused::Delete(_)));
        assert!(matches!(refused(&Current::Unreadable, Attempt(0)), Refused::Leave(_)));
    }
}
