//! From what an attempt came to, to what is written on the record.

use std::hash::Hasher;
use std::time::Duration;

use serde_json::Value;

use super::retry::OUT_OF_MEMORY_RETRIES;
use crate::hash::Fnv;
use crate::task::{ErrorDetails, ErrorKind, Event, RetryPolicy, StatusReason, Task};
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
        /// Whether the engine itself stopped at the soft limit, so that it had time to save its state.
        soft: bool,
    },
    /// Its worker is being stopped.
    Interrupted,
    /// Its worker cannot run it, through no fault of the task: it goes back, for another worker or for later.
    HandedBack {
        /// What its worker cannot do.
        failure: Failure,
        /// How long nobody is to take it.
        wait: Duration,
        /// Whether it counts as an interruption: not while another worker may be able to, which may be busy
        /// for as long as it likes.
        charged: bool,
    },
    /// Its worker was not heard of any more.
    Lost,
    /// Somebody asked for its end, and it was stopped.
    Cancelled,
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
    /// When the next attempt may begin, if it has to wait.
    pub not_before: Option<At>,
}

impl Decision {
    fn of(event: Event, reason: Option<StatusReason>, now: At) -> Self {
        let ended = event.target().is_terminal();
        Self {
            event,
            result: None,
            reason,
            error: None,
            failures: None,
            interruptions: None,
            completed_at: ended.then_some(now),
            not_before: None,
        }
    }
}

/// Decides what is written about an attempt. `task` is the record as the claim returned it, or newer.
///
/// A failure uses up a retry; an interruption never does, and has a budget of its own. Whoever asked for the
/// task's end gets it: what would run again is cancelled instead.
pub fn decide(outcome: Outcome, task: &Task, now: At) -> Decision {
    let cancelled = task.cancel_requested == Some(true);
    let decision = match outcome {
        Outcome::Succeeded { result } => Decision {
            result: (!result.is_null()).then_some(result),
            ..Decision::of(Event::Completed, None, now)
        },
        Outcome::Failed(failure) => failed(failure, task, now),
        Outcome::TimedOut { seconds, soft } => failed(timed_out(seconds, soft, task), task, now),
        Outcome::Interrupted => interrupted(Code::Interrupted, ErrorKind::Interrupted, task, now),
        Outcome::HandedBack { failure, wait, charged } => handed_back(failure, wait, charged, task, now),
        Outcome::Lost => interrupted(Code::WorkerLost, ErrorKind::Lost, task, now),
        Outcome::Cancelled => cancellation(now),
    };
    if cancelled && !decision.event.target().is_terminal() { cancellation(now) } else { decision }
}

fn cancellation(now: At) -> Decision {
    Decision::of(Event::Cancelled, Some(StatusReason::new(Code::Cancelled, "cancelled on request")), now)
}

fn timed_out(seconds: u64, soft: bool, task: &Task) -> Failure {
    let (code, message) = if soft {
        let message = format!(
            "stopped by itself after its `softTimeoutSeconds` of {seconds} s; what it saved is in its folder"
        );
        (Code::SoftTimedOut, message)
    } else {
        let limit = match task.timeout_seconds {
            Some(_) => "its `timeoutSeconds` of",
            None => "its `softTimeoutSeconds` and the time to save its state, together",
        };
        (Code::TimedOut, format!("stopped after {limit} {seconds} s; raise it, or make the task smaller"))
    };
    Failure { kind: ErrorKind::TimedOut, ..Failure::fatal(code, message) }
}

fn failed(failure: Failure, task: &Task, now: At) -> Decision {
    let failures = task.failures.unwrap_or(0).saturating_add(1);
    let error = Some(ErrorDetails {
        code: failure.code.as_str().to_owned(),
        kind: failure.kind,
        exit_code: failure.exit_code,
        signal: failure.signal,
        fingerprint: Some(fingerprint(failure.code, &failure.message)),
    });
    let kind = failure.kind;
    let reason = Rejection::new(failure.code, failure.message).message;
    let reason = Some(StatusReason::new(failure.code, reason));
    let retry = task
        .retry
        .as_ref()
        .filter(|policy| policy.covers(kind) && failures <= policy.max_retries)
        .filter(|_| kind != ErrorKind::OutOfMemory || out_of_memory_before(task) < OUT_OF_MEMORY_RETRIES)
        .and_then(|policy| policy.jittered_delay(failures, &task.id, task.attempt));
    let event = match (retry, kind) {
        (Some(_), _) => Event::Retried,
        (None, ErrorKind::TimedOut) => Event::TimedOut,
        (None, _) => Event::Failed,
    };
    let not_before = retry.filter(|delay| !delay.is_zero()).map(|delay| now.plus(delay));
    Decision { error, failures: Some(failures), not_before, ..Decision::of(event, reason, now) }
}

/// How many earlier attempts ran out of memory, as far as the history goes back.
fn out_of_memory_before(task: &Task) -> u32 {
    let code = Code::OutOfMemory.as_str();
    let entries = task.history.iter().flatten();
    let count = entries.filter(|entry| entry.reason.as_deref() == Some(code)).count();
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn interrupted(code: Code, kind: ErrorKind, task: &Task, now: At) -> Decision {
    let interruptions = task.interruptions.unwrap_or(0).saturating_add(1);
    let budget = interruption_budget(task);
    let decision = if interruptions > budget {
        let message = format!(
            "its workers were stopped or lost {interruptions} times, more than `retry.maxInterruptions` of \
             {budget}; it may be what ends them (memory, disk)"
        );
        let error = ErrorDetails {
            code: Code::InterruptedTooOften.as_str().to_owned(),
            kind,
            exit_code: None,
            signal: None,
            fingerprint: Some(fingerprint(Code::InterruptedTooOften, &message)),
        };
        let reason = StatusReason::new(Code::InterruptedTooOften, message);
        Decision { error: Some(error), ..Decision::of(Event::Failed, Some(reason), now) }
    } else {
        let message = match code {
            Code::WorkerLost => "its worker was not heard of any more; it starts over",
            _ => "its worker was stopped; it starts over",
        };
        Decision::of(Event::Interrupted, Some(StatusReason::new(code, message)), now)
    };
    Decision { interruptions: Some(interruptions), ..decision }
}

fn interruption_budget(task: &Task) -> u32 {
    task.retry.as_ref().map_or_else(|| RetryPolicy::default().interruptions(), RetryPolicy::interruptions)
}

/// Back to its queue for another worker, or for later; or its end with the worker's own reason, once that has
/// happened too often.
fn handed_back(failure: Failure, wait: Duration, charged: bool, task: &Task, now: At) -> Decision {
    let interruptions = task.interruptions.unwrap_or(0).saturating_add(u32::from(charged));
    let budget = interruption_budget(task);
    let decision = if charged && interruptions > budget {
        let message = format!(
            "{}; workers gave it back or lost it {interruptions} times, more than `retry.maxInterruptions` of \
             {budget}",
            failure.message
        );
        let error = ErrorDetails {
            code: failure.code.as_str().to_owned(),
            kind: failure.kind,
            exit_code: failure.exit_code,
            signal: failure.signal,
            fingerprint: Some(fingerprint(failure.code, &failure.message)),
        };
        let reason = StatusReason::new(failure.code, Rejection::new(failure.code, message).message);
        Decision { error: Some(error), ..Decision::of(Event::Failed, Some(reason), now) }
    } else {
        let message = Rejection::new(failure.code, failure.message).message;
        Decision {
            not_before: (!wait.is_zero()).then(|| now.plus(wait)),
            ..Decision::of(Event::Interrupted, Some(StatusReason::new(failure.code, message)), now)
        }
    };
    Decision { interruptions: charged.then_some(interruptions), ..decision }
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
#[path = "outcome_tests.rs"]
mod tests;
