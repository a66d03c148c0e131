//! From what an attempt came to, to what is written on the record.

use std::hash::Hasher;

use serde_json::Value;

use crate::hash::Fnv;
use crate::task::{ErrorDetails, ErrorKind, Event, StatusReason, Task};
use crate::{At, Code, Rejection};

/// What an attempt came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The engine agrees that it is done.
    Succeeded {
        /// What it found.
        result: Value,
    },
    /// It did not succeed.
    Failed(Failure),
    /// Its time was up and it was stopped.
    TimedOut {
        /// The limit, in seconds.
        seconds: u64,
    },
    /// Its worker is being stopped.
    Interrupted,
}

/// Why an attempt did not succeed.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// The stable code.
    pub code: Code,
    /// What went wrong, in the engine's own words where there are any.
    pub message: String,
    /// The class of the failure.
    pub kind: ErrorKind,
    /// The process's exit code.
    pub exit_code: Option<i32>,
    /// The signal that ended the process.
    pub signal: Option<i32>,
}

impl Failure {
    /// A failure that no process caused: trying the same again cannot help.
    pub fn fatal(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), kind: ErrorKind::Fatal, exit_code: None, signal: None }
    }

    /// A failure that is not the task's doing: trying again may help.
    pub fn of_the_worker(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Retryable, ..Self::fatal(Code::WorkerFault, message) }
    }
}

/// What to write.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// The event, and with it the next state and the states it may be written from.
    pub event: Event,
    /// The engine's result.
    pub result: Option<Value>,
    /// Why the task is in its new state.
    pub reason: Option<StatusReason>,
    /// The failure, for programs.
    pub error: Option<ErrorDetails>,
    /// The attempts that failed, when that has changed.
    pub failures: Option<u32>,
    /// The attempts that were interrupted, when that has changed.
    pub interruptions: Option<u32>,
    /// When the task ended, if it did.
    pub completed_at: Option<At>,
}

/// Decides what is written about an attempt. Retries are not built yet: a failure ends the task.
pub fn decide(outcome: Outcome, task: &Task, now: At) -> Decision {
    let failed = |event, failure: Failure| Decision {
        event,
        result: None,
        error: Some(ErrorDetails {
            code: failure.code.as_str().to_owned(),
            kind: failure.kind,
            exit_code: failure.exit_code,
            signal: failure.signal,
            fingerprint: Some(fingerprint(failure.code, &failure.message)),
        }),
        reason: Some(StatusReason::new(failure.code, Rejection::new(failure.code, failure.message).message)),
        failures: Some(task.failures.unwrap_or(0).saturating_add(1)),
        interruptions: None,
        completed_at: Some(now),
    };
    match outcome {
        Outcome::Succeeded { result } => Decision {
            event: Event::Completed,
            result: (!result.is_null()).then_some(result),
            reason: None,
            error: None,
            failures: None,
            interruptions: None,
            completed_at: Some(now),
        },
        Outcome::Failed(failure) => failed(Event::Failed, failure),
        Outcome::TimedOut { seconds } => failed(
            Event::TimedOut,
            Failure {
                kind: ErrorKind::TimedOut,
                ..Failure::fatal(
                    Code::TimedOut,
                    format!(
                        "stopped after its `timeoutSeconds` of {seconds} s; raise it, or make the task smaller"
                    ),
                )
            },
        ),
        Outcome::Interrupted => Decision {
            event: Event::Interrupted,
            result: None,
            reason: Some(StatusReason::new(Code::Interrupted, "its worker was stopped; it starts over")),
            error: None,
            failures: None,
            interruptions: Some(task.interruptions.unwrap_or(0).saturating_add(1)),
            completed_at: None,
        },
    }
}

/// Equal for messages that differ only in digits (times, ids, counts, line numbers).
fn fingerprint(code: Code, message: &str) -> String {
    let mut hash = Fnv::default();
    let mut in_number = false;
    for byte in code.as_str().bytes().chain(message.bytes()) {
        let digit = byte.is_ascii_digit();
        if !(digit && in_number) {
            hash.write_u8(if digit { b'#' } else { byte });
        }
        in_number = digit;
    }
    format!("{:016x}", hash.finish())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::task::Status;

    fn running() -> Task {
        let mut task = Task::new("t".parse().unwrap());
        task.status = Status::Running;
        task.failures = Some(1);
        task
    }

    #[test]
    fn each_outcome_has_its_end() {
        let failure = Failure::fatal(Code::ExitNonZero, "exit code 3");
        for (outcome, next, failures, interruptions) in [
            (Outcome::Succeeded { result: json!({"a": 1}) }, Status::Completed, None, None),
            (Outcome::Failed(failure), Status::Failed, Some(2), None),
            (Outcome::TimedOut { seconds: 5 }, Status::TimedOut, Some(2), None),
            (Outcome::Interrupted, Status::Pending, None, Some(1)),
        ] {
            let decision = decide(outcome, &running(), At::from_millis(9));
            assert_eq!(Status::Running.next(decision.event), Ok(next));
            assert_eq!((decision.failures, decision.interruptions), (failures, interruptions));
            assert_eq!(decision.completed_at.is_some(), next.is_terminal());
        }
    }

    #[test]
    fn failures_that_differ_in_numbers_only_look_alike() {
        let a = fingerprint(Code::ExitNonZero, "lost 12 of 4000 atoms at step 77");
        assert_eq!(a, fingerprint(Code::ExitNonZero, "lost 3 of 50 atoms at step 1"));
        assert_ne!(a, fingerprint(Code::ExitSignal, "lost 3 of 50 atoms at step 1"));
        assert_ne!(a, fingerprint(Code::ExitNonZero, "lost no atoms"));
    }
}
