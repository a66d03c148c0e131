//! What a worker does with a task in its hands when it has looked at the record again: because a signal on
//! its heartbeat named the task, because a write was fenced, or because it looks once a minute.

use crate::task::{Attempt, Task, WorkerId};

/// A task as the worker holds it.
#[derive(Clone, Copy, Debug)]
pub struct InHand<'a> {
    /// The worker.
    pub worker: &'a WorkerId,
    /// The attempt it runs.
    pub attempt: Attempt,
    /// Whether its processes are stopped where they are.
    pub paused: bool,
}

/// What to do with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Review {
    /// Nothing.
    Keep,
    /// Stop it: somebody asked for its end.
    Cancel,
    /// Stop its processes where they are.
    Pause,
    /// Let its processes go on.
    Continue,
    /// Stop it and write nothing: it is not this worker's any more.
    Abandon(&'static str),
}

/// Decides by the record; `None` is a record that does not exist.
pub fn review(in_hand: InHand<'_>, record: Option<&Task>) -> Review {
    let Some(task) = record else { return Review::Abandon("the task was deleted") };
    if task.attempt != in_hand.attempt || !task.is_held_by(in_hand.worker) {
        return Review::Abandon("the task is not this worker's any more");
    }
    let pause = task.pause_requested == Some(true);
    match (task.cancel_requested == Some(true), pause, in_hand.paused) {
        (true, ..) => Review::Cancel,
        (false, true, false) => Review::Pause,
        (false, false, true) => Review::Continue,
        (false, true, true) | (false, false, false) => Review::Keep,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::Status;

    #[test]
    fn a_task_goes_on_only_while_its_record_says_that_it_is_this_workers() {
        use Status::{Completed, Failed, Paused, Pending, Preparing, Queued, Running};
        let me: WorkerId = "me:1:a".parse().unwrap();
        let record = |status, attempt, worker: &str, cancel, pause| {
            let mut task = Task::new("t".parse().unwrap());
            (task.status, task.attempt) = (status, Attempt(attempt));
            task.worker_node_id = worker.parse().ok();
            (task.cancel_requested, task.pause_requested) = (cancel, pause);
            task
        };
        let (yes, no) = (Some(true), Some(false));
        let gone = Review::Abandon("the task is not this worker's any more");
        for (task, paused, expected) in [
            (record(Running, 2, "me:1:a", None, None), false, Review::Keep),
            (record(Preparing, 2, "me:1:a", no, no), false, Review::Keep),
            (record(Running, 2, "me:1:a", yes, None), false, Review::Cancel),
            (record(Paused, 2, "me:1:a", yes, yes), true, Review::Cancel),
            (record(Running, 2, "me:1:a", None, yes), false, Review::Pause),
            (record(Paused, 2, "me:1:a", None, yes), true, Review::Keep),
            (record(Paused, 2, "me:1:a", None, no), true, Review::Continue),
            // The pause was written, but the children had not been stopped when it was taken back.
            (record(Paused, 2, "me:1:a", None, None), true, Review::Continue),
            (record(Running, 3, "me:1:a", None, None), false, gone),
            (record(Running, 2, "other:1:a", None, None), false, gone),
            (record(Pending, 2, "", None, None), false, gone),
            (record(Queued, 2, "me:1:a", None, None), false, gone),
            (record(Completed, 2, "me:1:a", None, None), false, gone),
            (record(Failed, 2, "me:1:a", yes, None), true, gone),
        ] {
            let in_hand = InHand { worker: &me, attempt: Attempt(2), paused };
            assert_eq!(review(in_hand, Some(&task)), expected, "{} {}", task.status, task.attempt);
        }
        let in_hand = InHand { worker: &me, attempt: Attempt(2), paused: false };
        assert_eq!(review(in_hand, None), Review::Abandon("the task was deleted"));
    }
}
