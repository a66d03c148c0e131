//! The life of a task: its states, the events that move it, and the one table of legal moves.
//!
//! Every DynamoDB condition is derived from [`Status::next`], so a move that is not in this table cannot
//! be written. `PAUSED`, `WAITING` and `SCHEDULED` are read and kept; what moves tasks into them is not
//! built yet.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Where a task is. Each state's sentence says who moves a task out of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// Written, not yet on a queue. The dispatcher sends it.
    #[default]
    Pending,
    /// Waits for other tasks. The dispatcher releases it when the last one is done.
    Waiting,
    /// Waits for its time. The sweeper sends it.
    Scheduled,
    /// Its command is on a queue. A worker claims it.
    Queued,
    /// Claimed; its inputs are being fetched. Its worker starts it.
    Preparing,
    /// Its engine runs. Its worker ends it; when the worker dies, whoever notices rescues it.
    Running,
    /// Failed with retries left. The dispatcher sends it again when it is due.
    Retrying,
    /// Held by a person. Resuming brings it back to where it was.
    Paused,
    /// Done, and the engine agrees. Only a new run leaves this state.
    Completed,
    /// Ended without success. Only a new run leaves this state.
    Failed,
    /// Ended because somebody asked. Only a new run leaves this state.
    Cancelled,
    /// Ended because its time was up. Only a new run leaves this state.
    TimedOut,
}

/// What can happen to a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// Its command was sent to a queue.
    Sent,
    /// A worker took it and starts its engine.
    Claimed,
    /// The record cannot be run as it is.
    Rejected,
    /// Its engine succeeded.
    Completed,
    /// Its engine did not succeed.
    Failed,
    /// Its time was up.
    TimedOut,
    /// Its worker stopped or died; the task starts over without being charged a failure.
    Interrupted,
    /// Somebody asked for a new run of an ended task.
    RunAgain,
}

impl Event {
    /// Every event.
    pub const ALL: [Event; 8] = [
        Event::Sent,
        Event::Claimed,
        Event::Rejected,
        Event::Completed,
        Event::Failed,
        Event::TimedOut,
        Event::Interrupted,
        Event::RunAgain,
    ];
}

/// An event that does not happen to a task in this state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a task that is {from} cannot be {event:?}")]
pub struct IllegalTransition {
    /// The state the task is in.
    pub from: Status,
    /// The event that was tried.
    pub event: Event,
}

impl Status {
    /// Every state.
    pub const ALL: [Status; 12] = [
        Status::Pending,
        Status::Waiting,
        Status::Scheduled,
        Status::Queued,
        Status::Preparing,
        Status::Running,
        Status::Retrying,
        Status::Paused,
        Status::Completed,
        Status::Failed,
        Status::Cancelled,
        Status::TimedOut,
    ];

    /// The one table: where `event` takes a task that is in this state.
    ///
    /// # Errors
    /// [`IllegalTransition`] for every pair that is not listed.
    pub fn next(self, event: Event) -> Result<Status, IllegalTransition> {
        use Status::{
            Cancelled, Completed, Failed, Paused, Pending, Preparing, Queued, Retrying, Running, Scheduled,
            TimedOut, Waiting,
        };
        let illegal = Err(IllegalTransition { from: self, event });
        match event {
            Event::Sent => match self {
                Pending | Scheduled | Retrying => Ok(Queued),
                Waiting | Queued | Preparing | Running | Paused | Completed | Failed | Cancelled
                | TimedOut => illegal,
            },
            // From PENDING too: the command is sent before QUEUED is written.
            Event::Claimed => match self {
                Pending | Scheduled | Queued | Retrying => Ok(Running),
                Waiting | Preparing | Running | Paused | Completed | Failed | Cancelled | TimedOut => illegal,
            },
            Event::Rejected => match self {
                Pending | Waiting | Scheduled | Queued | Retrying | Paused => Ok(Failed),
                Preparing | Running | Completed | Failed | Cancelled | TimedOut => illegal,
            },
            Event::Completed => match self {
                Running => Ok(Completed),
                Pending | Waiting | Scheduled | Queued | Preparing | Retrying | Paused | Completed
                | Failed | Cancelled | TimedOut => illegal,
            },
            Event::Failed => self.end_of_attempt(Failed).ok_or(()).or(illegal),
            Event::TimedOut => self.end_of_attempt(TimedOut).ok_or(()).or(illegal),
            Event::Interrupted => self.end_of_attempt(Pending).ok_or(()).or(illegal),
            Event::RunAgain => match self {
                Completed | Failed | Cancelled | TimedOut => Ok(Pending),
                Pending | Waiting | Scheduled | Queued | Preparing | Running | Retrying | Paused => illegal,
            },
        }
    }

    fn end_of_attempt(self, to: Status) -> Option<Status> {
        matches!(self, Status::Preparing | Status::Running).then_some(to)
    }

    /// The states from which `event` is legal; what a write's condition asks for.
    pub fn sources(event: Event) -> impl Iterator<Item = Status> {
        Self::ALL.into_iter().filter(move |status| status.next(event).is_ok())
    }

    /// Whether the task has ended.
    pub fn is_terminal(self) -> bool {
        matches!(self, Status::Completed | Status::Failed | Status::Cancelled | Status::TimedOut)
    }

    /// The state as records write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Status::Pending => "PENDING",
            Status::Waiting => "WAITING",
            Status::Scheduled => "SCHEDULED",
            Status::Queued => "QUEUED",
            Status::Preparing => "PREPARING",
            Status::Running => "RUNNING",
            Status::Retrying => "RETRYING",
            Status::Paused => "PAUSED",
            Status::Completed => "COMPLETED",
            Status::Failed => "FAILED",
            Status::Cancelled => "CANCELLED",
            Status::TimedOut => "TIMED_OUT",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What a dashboard of the reference kind shows about the dispatch itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum DispatchStatus {
    /// Asked for. On an ended record it asks for a new run.
    Pending,
    /// On a queue, or beyond.
    Dispatched,
    /// The record could not be dispatched.
    Error,
}

impl DispatchStatus {
    /// The state as records write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            DispatchStatus::Pending => "PENDING",
            DispatchStatus::Dispatched => "DISPATCHED",
            DispatchStatus::Error => "ERROR",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_by_event_table_is_the_recorded_one() {
        let mut table = String::new();
        for event in Event::ALL {
            for status in Status::ALL {
                if let Ok(next) = status.next(event) {
                    table.push_str(&format!("{event:?}: {status} -> {next}\n"));
                }
            }
        }
        insta::assert_snapshot!(table);
    }

    #[test]
    fn only_a_new_run_leaves_a_terminal_state() {
        for status in Status::ALL.into_iter().filter(|s| s.is_terminal()) {
            for event in Event::ALL.into_iter().filter(|e| *e != Event::RunAgain) {
                assert!(status.next(event).is_err(), "{status} {event:?}");
            }
        }
    }

    #[test]
    fn every_state_that_a_task_can_be_in_here_can_reach_an_end() {
        for start in Status::ALL {
            let mut reached = vec![start];
            let mut index = 0;
            while let Some(status) = reached.get(index).copied() {
                for next in Event::ALL.into_iter().filter_map(|e| status.next(e).ok()) {
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
    fn names_are_the_records_spelling() {
        for status in Status::ALL {
            assert_eq!(serde_json::to_value(status).unwrap(), status.as_str());
        }
    }
}
