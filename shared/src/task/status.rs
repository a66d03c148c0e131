//! The states of a task. What moves it from one to the next is in [`super::event`].

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
    /// Held by a person, on no queue, or stopped at its worker when the record names one. Resuming brings it
    /// back to where it was.
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
    fn names_are_the_records_spelling() {
        for status in Status::ALL {
            assert_eq!(serde_json::to_value(status).unwrap(), status.as_str());
        }
    }
}
