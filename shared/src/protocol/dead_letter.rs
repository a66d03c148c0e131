//! What becomes of a message on the dead-letter queue: many receives, and no worker could settle it.

use super::claim::Current;
use crate::task::{Attempt, Event, Task};
use crate::{At, Code, Rejection};

/// What to do; the message is deleted in either case.
#[derive(Clone, Debug, PartialEq)]
pub enum DeadLetter {
    /// Nothing: the record shows that the message was not needed any more, or another one is coming.
    Drop(&'static str),
    /// Mark the task FAILED with this reason.
    Fail(Box<Task>, Rejection),
}

/// Decides about a dead command for the attempt `attempt`.
pub fn decide(current: Current, attempt: Attempt, now: At) -> DeadLetter {
    let task = match current {
        Current::Missing => return DeadLetter::Drop("the task does not exist"),
        // The repair scan reports it.
        Current::Unreadable => return DeadLetter::Drop("the task's record cannot be read"),
        Current::Task(task) => task,
    };
    if task.status.next(Event::DeadLettered).is_err() {
        return DeadLetter::Drop("the task does not wait for this message");
    }
    if task.attempt != attempt {
        return DeadLetter::Drop("the task has moved on");
    }
    if task.cancel_requested == Some(true) || task.pause_requested == Some(true) {
        return DeadLetter::Drop("the task's cancellation or pause was asked for");
    }
    if task.waits_in_table() || task.not_before.is_some_and(|due| due > now) {
        return DeadLetter::Drop("the task is not due; the sweeper sends it when it is");
    }
    let message = "its message was received many times and no worker settled it: look at the workers' logs for \
                   this task, then `stageline retry` it";
    DeadLetter::Fail(task, Rejection::new(Code::DeadLettered, message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::Status;

    #[test]
    fn only_a_task_that_waits_for_this_very_message_fails() {
        let task = |status, attempt| {
            let mut task = Task::new("t".parse().unwrap());
            (task.status, task.attempt) = (status, Attempt(attempt));
            task
        };
        let on = |task| decide(Current::Task(Box::new(task)), Attempt(1), At::from_millis(0));
        for (status, attempt, fails) in [
            (Status::Queued, 1, true),
            (Status::Pending, 1, true),
            (Status::Retrying, 1, true),
            (Status::Queued, 2, false),
            (Status::Queued, 0, false),
            (Status::Running, 1, false),
            (Status::Paused, 1, false),
            (Status::Waiting, 1, false),
            (Status::Completed, 1, false),
        ] {
            let decision = on(task(status, attempt));
            assert_eq!(matches!(decision, DeadLetter::Fail(..)), fails, "{status} {attempt}");
        }
        let later = Task { not_before: Some(At::from_millis(5)), ..task(Status::Queued, 1) };
        assert!(matches!(on(later), DeadLetter::Drop(_)));
        let cancelled = Task { cancel_requested: Some(true), ..task(Status::Queued, 1) };
        assert!(matches!(on(cancelled), DeadLetter::Drop(_)));
        for current in [Current::Missing, Current::Unreadable] {
            assert!(matches!(decide(current, Attempt(1), At::from_millis(0)), DeadLetter::Drop(_)));
        }
    }
}
