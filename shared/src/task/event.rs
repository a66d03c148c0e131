//! What can happen to a task: the one table of legal moves. Conditions of writes, the documentation and
//! the model checker are all derived from it.

use std::fmt;

use super::Status;
use super::Status::{
    Cancelled, Completed, Failed, Paused, Pending, Preparing, Queued, Retrying, Running, Scheduled, TimedOut,
    Waiting,
};

/// Every state in which nothing has claimed the task and nothing has ended it.
const UNCLAIMED: &[Status] = &[Pending, Waiting, Scheduled, Queued, Retrying, Paused];
/// Every state in which a worker may hold the task. A paused task is held when its record names a worker.
const HELD: &[Status] = &[Preparing, Running, Paused];
const READY: &[Status] = &[Pending, Scheduled, Retrying];
const CLAIMABLE: &[Status] = &[Pending, Scheduled, Queued, Retrying];
const UNFINISHED: &[Status] = &[Pending, Waiting, Scheduled, Queued, Preparing, Running, Retrying, Paused];
const FINISHED: &[Status] = &[Completed, Failed, Cancelled, TimedOut];

macro_rules! events {
    ($($variant:ident: $sources:expr => $target:ident, by $by:literal, $doc:literal;)+) => {
        /// What can happen to a task. Each event leads to one state, whatever it starts from.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Event {
            $(#[doc = $doc] $variant,)+
        }

        impl Event {
            /// Every event.
            pub const ALL: &[Event] = &[$(Event::$variant,)+];

            /// The state it leads to.
            pub const fn target(self) -> Status {
                match self { $(Event::$variant => $target,)+ }
            }

            /// The states in which it can happen; what a write's condition asks for.
            pub const fn sources(self) -> &'static [Status] {
                match self { $(Event::$variant => $sources,)+ }
            }

            /// Who writes it, for people.
            pub const fn by(self) -> &'static str {
                match self { $(Event::$variant => $by,)+ }
            }

            /// What happened, for people.
            pub const fn meaning(self) -> &'static str {
                match self { $(Event::$variant => $doc,)+ }
            }
        }
    };
}

events! {
    Sent: READY => Queued, by "dispatcher, sweeper",
        "Its command was sent to a queue. Sending comes first: a crash between the two sends twice.";
    SentAgain: &[Queued] => Queued, by "sweeper",
        "The message of a queued task is gone, and its command was sent once more.";
    Deferred: &[Pending, Retrying, Scheduled] => Scheduled, by "dispatcher, sweeper",
        "It is due later than SQS can delay; it waits in the table.";
    // From PENDING too: the command is sent before QUEUED is written.
    Claimed: CLAIMABLE => Running, by "worker",
        "A worker took it and starts its engine. The attempt goes up by one, which fences every earlier holder.";
    Held: UNFINISHED => Paused, by "dispatcher, worker",
        "Somebody asked to pause it: it is not started, or its processes are stopped where they are.";
    Resumed: &[Paused] => Pending, by "dispatcher",
        "A paused task that no worker holds goes on: it is dispatched by what its record says.";
    Continued: &[Paused] => Running, by "worker",
        "The processes of a paused task go on.";
    Released: &[Waiting] => Pending, by "dispatcher",
        "The last task that it waited for is done.";
    Completed: &[Running, Paused] => Completed, by "worker",
        "Its engine succeeded.";
    Failed: HELD => Failed, by "worker, sweeper",
        "Its engine did not succeed, and no retry is left.";
    TimedOut: HELD => TimedOut, by "worker",
        "Its time was up, and no retry is left.";
    Retried: HELD => Retrying, by "worker",
        "It failed with retries left, and is to run again when it is due.";
    Interrupted: HELD => Pending, by "worker, sweeper",
        "Its worker stopped, died or handed it back unrun; it starts over without being charged a failure.";
    Cancelled: UNFINISHED => Cancelled, by "dispatcher, worker, sweeper",
        "Somebody asked for its end.";
    Rejected: UNCLAIMED => Failed, by "dispatcher, sweeper",
        "The record cannot be run as it is.";
    DeadLettered: CLAIMABLE => Failed, by "sweeper",
        "Its command was received many times and never settled.";
    RunAgain: FINISHED => Pending, by "dispatcher, command line",
        "Somebody asked for a new run of an ended task.";
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// An event that does not happen to a task in this state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a task that is {from} cannot be {event}")]
pub struct IllegalTransition {
    /// The state the task is in.
    pub from: Status,
    /// The event that was tried.
    pub event: Event,
}

impl Status {
    /// The one table: where `event` takes a task that is in this state.
    ///
    /// # Errors
    /// [`IllegalTransition`] for every pair that is not listed.
    pub fn next(self, event: Event) -> Result<Status, IllegalTransition> {
        if event.sources().contains(&self) {
            Ok(event.target())
        } else {
            Err(IllegalTransition { from: self, event })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_new_run_leaves_a_terminal_state() {
        for status in Status::ALL.into_iter().filter(|s| s.is_terminal()) {
            for event in Event::ALL.iter().filter(|e| **e != Event::RunAgain) {
                assert!(status.next(*event).is_err(), "{status} {event}");
            }
        }
    }

    #[test]
    fn every_state_can_reach_an_end() {
        for start in Status::ALL {
            let mut reached = vec![start];
            let mut index = 0;
            while let Some(status) = reached.get(index).copied() {
                for next in Event::ALL.iter().filter_map(|e| status.next(*e).ok()) {
                    if !reached.contains(&next) {
                        reached.push(next);
                    }
                }
                index += 1;
            }
            assert!(reached.iter().any(|s| s.is_terminal()), "{start} is a trap");
        }
    }

    #[test]
    fn whatever_is_not_finished_can_be_cancelled_and_nothing_else_can() {
        for status in Status::ALL {
            assert_eq!(status.next(Event::Cancelled).is_ok(), !status.is_terminal(), "{status}");
        }
    }
}
