//! When a task that is ready may run: at once, after a delay that SQS can hold, or later than that.

use std::hash::Hasher;
use std::time::Duration;

use crate::At;
use crate::hash::Fnv;
use crate::task::{Task, TaskId};

/// The longest `DelaySeconds` of a message (SQS quota).
pub const LONGEST_SQS_DELAY: Duration = Duration::from_secs(15 * 60);

/// Partitions of the index of waiting tasks. The sweeper reads each once a minute, and a partition takes
/// about 1,000 writes a second.
pub const DUE_PARTITIONS: u64 = 4;

/// How a ready task gets to a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// By a message with this delay, in whole seconds (SQS has no finer ones); zero is at once.
    After(Duration),
    /// It waits in the table until a message can hold the rest of its delay.
    InTable,
}

/// Decides for a task that must not start before `not_before`.
pub fn due(not_before: Option<At>, now: At) -> Due {
    let wait = not_before.map_or(Duration::ZERO, |at| at.since(now));
    // Rounded up: a message that comes too soon is refused by the claim and costs a round.
    let whole =
        Duration::from_millis(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).saturating_add(999));
    let whole = Duration::from_secs(whole.as_secs());
    if whole <= LONGEST_SQS_DELAY { Due::After(whole) } else { Due::InTable }
}

/// The partition of the index of waiting tasks that a task's entry is in.
pub fn due_key(id: &TaskId) -> String {
    let mut hash = Fnv::default();
    hash.write(id.as_str().as_bytes());
    due_partition(hash.finish() % DUE_PARTITIONS)
}

/// The name of a partition of that index.
pub fn due_partition(number: u64) -> String {
    format!("due#{number}")
}

impl Task {
    /// Whether the task waits in the index of waiting tasks, from which the sweeper takes it.
    pub fn waits_in_table(&self) -> bool {
        self.due_key.is_some() && self.not_before.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_rides_on_the_message_while_sqs_can_hold_it() {
        let now = At::from_millis(1_000_000);
        let at = |ms: i64| Some(At::from_millis(1_000_000 + ms));
        let after = |seconds| Due::After(Duration::from_secs(seconds));
        for (not_before, expected) in [
            (None, after(0)),
            (at(-5_000), after(0)),
            (at(0), after(0)),
            (at(1), after(1)),
            (at(1_000), after(1)),
            (at(899_001), after(900)),
            (at(900_000), after(900)),
            (at(900_001), Due::InTable),
            (at(i64::MAX / 2), Due::InTable),
        ] {
            assert_eq!(due(not_before, now), expected, "{not_before:?}");
        }
    }

    #[test]
    fn a_task_has_one_partition_among_those_that_are_read() {
        let partitions: Vec<_> = (0..DUE_PARTITIONS).map(due_partition).collect();
        for n in 0..100 {
            let id: TaskId = format!("t-{n}").parse().unwrap();
            assert_eq!(due_key(&id), due_key(&id));
            assert!(partitions.contains(&due_key(&id)));
        }
    }
}
