use std::time::Duration;

use serde_json::json;

use super::*;
use crate::task::{HistoryEntry, RetryStrategy, Status};

fn running() -> Task {
    let mut task = Task::new("t".parse().unwrap());
    task.status = Status::Running;
    task.failures = Some(1);
    task
}

fn with_policy(policy: RetryPolicy) -> Task {
    Task { retry: Some(policy), ..running() }
}

fn fixed(max_retries: u32) -> RetryPolicy {
    RetryPolicy {
        strategy: RetryStrategy::FixedDelay,
        max_retries,
        delay_seconds: 7,
        ..RetryPolicy::default()
    }
}

fn failure(kind: ErrorKind) -> Outcome {
    Outcome::Failed(Failure { kind, ..Failure::fatal(Code::ExitNonZero, "exit code 3") })
}

const NOW: i64 = 1_000;

fn next(outcome: Outcome, task: &Task) -> Status {
    decide(outcome, task, At::from_millis(NOW)).event.target()
}

#[test]
fn each_outcome_has_its_end_when_nothing_is_retried() {
    let timed_out = |soft| Outcome::TimedOut { seconds: 5, soft };
    for (outcome, status, failures, interruptions) in [
        (Outcome::Succeeded { result: json!({"a": 1}) }, Status::Completed, None, None),
        (failure(ErrorKind::Retryable), Status::Failed, Some(2), None),
        (timed_out(false), Status::TimedOut, Some(2), None),
        (timed_out(true), Status::TimedOut, Some(2), None),
        (Outcome::Interrupted, Status::Pending, None, Some(1)),
        (Outcome::Lost, Status::Pending, None, Some(1)),
        (Outcome::Cancelled, Status::Cancelled, None, None),
    ] {
        let decision = decide(outcome, &running(), At::from_millis(NOW));
        assert_eq!(Status::Running.next(decision.event), Ok(status));
        assert_eq!((decision.failures, decision.interruptions), (failures, interruptions));
        assert_eq!(decision.completed_at.is_some(), status.is_terminal());
    }
}

#[test]
fn what_is_retried_depends_on_the_class_of_the_failure() {
    use ErrorKind::{Fatal, OutOfMemory, Retryable, TimedOut};
    let only_timeouts = RetryPolicy { retry_on: Some(vec![TimedOut]), ..fixed(9) };
    for (policy, kind, status) in [
        (fixed(9), Retryable, Status::Retrying),
        (fixed(9), OutOfMemory, Status::Retrying),
        (fixed(9), Fatal, Status::Failed),
        (fixed(9), TimedOut, Status::TimedOut),
        (fixed(1), Retryable, Status::Failed),
        (RetryPolicy { strategy: RetryStrategy::None, ..fixed(9) }, Retryable, Status::Failed),
        (only_timeouts.clone(), TimedOut, Status::Retrying),
        (only_timeouts, Retryable, Status::Failed),
    ] {
        let outcome = match kind {
            TimedOut => Outcome::TimedOut { seconds: 5, soft: false },
            kind => failure(kind),
        };
        assert_eq!(next(outcome, &with_policy(policy)), status, "{kind:?}");
    }
}

#[test]
fn a_retry_is_due_after_its_delay_and_an_immediate_one_at_once() {
    let now = At::from_millis(NOW);
    let decision = decide(failure(ErrorKind::Retryable), &with_policy(fixed(9)), now);
    assert_eq!(decision.not_before, Some(now.plus(Duration::from_secs(7))));
    let immediate = RetryPolicy { strategy: RetryStrategy::Immediate, ..fixed(9) };
    let decision = decide(failure(ErrorKind::Retryable), &with_policy(immediate), now);
    assert_eq!((decision.event, decision.not_before), (Event::Retried, None));
}

#[test]
fn running_out_of_memory_is_tried_again_once() {
    let mut task = with_policy(fixed(9));
    assert_eq!(next(failure(ErrorKind::OutOfMemory), &task), Status::Retrying);
    task.history = Some(vec![HistoryEntry {
        at: At::from_millis(0),
        status: Status::Retrying,
        by: "w".to_owned(),
        reason: Some("OUT_OF_MEMORY".to_owned()),
        message: None,
    }]);
    assert_eq!(next(failure(ErrorKind::OutOfMemory), &task), Status::Failed);
}

#[test]
fn interruptions_have_a_budget_of_their_own() {
    let mut task = with_policy(RetryPolicy { max_interruptions: Some(2), ..RetryPolicy::default() });
    for (before, status) in [(0, Status::Pending), (1, Status::Pending), (2, Status::Failed)] {
        task.interruptions = Some(before);
        for outcome in [Outcome::Interrupted, Outcome::Lost] {
            let decision = decide(outcome, &task, At::from_millis(NOW));
            assert_eq!((decision.event.target(), decision.interruptions), (status, Some(before + 1)));
            assert_eq!(decision.failures, None, "an interruption is no failure");
        }
    }
}

#[test]
fn what_a_worker_cannot_run_goes_back_and_ends_with_that_workers_reason() {
    let failure = || Failure::fatal(Code::EngineMissing, "there is no lmp");
    let back = |charged| Outcome::HandedBack { failure: failure(), wait: Duration::from_secs(5), charged };
    let mut task = with_policy(RetryPolicy { max_interruptions: Some(2), ..RetryPolicy::default() });
    let now = At::from_millis(NOW);
    for (before, status) in [(1, Status::Pending), (2, Status::Failed)] {
        task.interruptions = Some(before);
        let decision = decide(back(true), &task, now);
        assert_eq!((decision.event.target(), decision.interruptions), (status, Some(before + 1)));
        let reason = decision.reason.unwrap();
        assert!(reason.code == "ENGINE_MISSING" && reason.message.starts_with("there is no lmp"));
        assert_eq!(decision.failures, None, "it is no failure of the task");
        let waits = (status == Status::Pending).then(|| now.plus(Duration::from_secs(5)));
        assert_eq!((decision.not_before, decision.error.is_some()), (waits, status == Status::Failed));
    }
    let decision = decide(back(false), &task, now);
    assert_eq!((decision.event, decision.interruptions), (Event::Interrupted, None));
    task.cancel_requested = Some(true);
    assert_eq!(next(back(false), &task), Status::Cancelled);
}

#[test]
fn a_task_whose_end_was_asked_for_never_runs_again() {
    let mut task = with_policy(fixed(9));
    task.cancel_requested = Some(true);
    for outcome in [failure(ErrorKind::Retryable), Outcome::Interrupted, Outcome::Lost, Outcome::Cancelled] {
        assert_eq!(next(outcome, &task), Status::Cancelled);
    }
    assert_eq!(next(Outcome::Succeeded { result: json!(null) }, &task), Status::Completed);
    assert_eq!(next(failure(ErrorKind::Fatal), &task), Status::Failed);
}

#[test]
fn failures_that_differ_in_numbers_only_look_alike() {
    let a = fingerprint(Code::ExitNonZero, "lost 12 of 4000 atoms at step 77");
    assert_eq!(a, fingerprint(Code::ExitNonZero, "lost 3 of 50 atoms at step 1"));
    assert_ne!(a, fingerprint(Code::ExitSignal, "lost 3 of 50 atoms at step 1"));
    assert_ne!(a, fingerprint(Code::ExitNonZero, "lost no atoms"));
}
