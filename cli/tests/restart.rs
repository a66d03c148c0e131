//! `stageline dev` over its ends: a crash, SIGTERM, and SIGTERM twice. What was submitted is done in the
//! end, and what was done stays as it is.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use nix::sys::signal::{Signal, kill};
use serde_json::{Value, json};
use support::{Mark, Place, eventually};

/// A task that runs for ever the first time, and ends at once the second time.
fn endless_once(place: &Place, mark: &Mark) -> String {
    let script = format!("test $STAGELINE_ATTEMPT -gt 1 || exec sleep {}; echo again", mark.as_str());
    let id = place.submit(["--", "sh", "-c", &script]);
    place.reaches(&id, "RUNNING");
    // The mark is the argument of the shell as well, so wait for `sleep` itself.
    eventually("it sleeps", || mark.processes().iter().any(|p| p.is_called("sleep")).then_some(()));
    id
}

/// That the task's first attempt was interrupted, and that this is not held against it.
#[track_caller]
fn interrupted_once(task: &Value) {
    assert_eq!((&task["status"], &task["stdout"]), (&json!("COMPLETED"), &json!("again\n")), "{task}");
    assert_eq!((&task["attempt"], &task["interruptions"]), (&json!(2), &json!(1)), "{task}");
    assert!(task.get("failures").is_none() && task.get("errorMessage").is_none(), "{task}");
}

#[track_caller]
fn completed_at_first(task: &Value) {
    assert_eq!((&task["status"], &task["attempt"]), (&json!("COMPLETED"), &json!(1)), "{task}");
    assert!(task.get("failures").is_none() && task.get("interruptions").is_none(), "{task}");
}

#[test]
fn every_task_completes_after_a_crash_and_finished_ones_are_untouched() {
    let (place, mark) = (Place::new(), Mark::new());
    let mut dev = place.dev(&["--slots", "1"]);
    let (good, bad) = (place.submit(["--", "echo", "done"]), place.submit(["--", "false"]));
    let finished = [place.ended(&good), place.ended(&bad)];
    let running = endless_once(&place, &mark);
    let queued = ["LOW", "MEDIUM", "HIGH"]
        .map(|priority| place.submit(["--priority", priority, "--", "echo", "it's my turn"]));
    for id in &queued {
        place.reaches(id, "QUEUED");
    }
    dev.killed();

    let _again = place.dev(&["--slots", "1"]);
    interrupted_once(&place.ended(&running));
    for id in &queued {
        completed_at_first(&place.ended(id));
    }
    assert_eq!([place.task(&good), place.task(&bad)], finished);
    let listed = place.json(["list"]);
    assert_eq!(listed["tasks"].as_array().unwrap().len(), 6, "{listed}");
}

#[test]
fn a_crash_leaves_no_process_of_its_tasks_to_the_next_start() {
    let (place, mark) = (Place::new(), Mark::new());
    let mut dev = place.dev(&["--slots", "1"]);
    let running = endless_once(&place, &mark);
    dev.killed();
    let _again = place.dev(&["--slots", "1"]);
    interrupted_once(&place.ended(&running));
    assert!(mark.processes().is_empty(), "attempt 1 still runs: {:?}", mark.processes());
}

#[test]
fn a_crash_is_one_even_while_nobody_has_waited_for_the_process() {
    let (place, mark) = (Place::new(), Mark::new());
    let dev = place.dev(&["--slots", "1"]);
    let running = endless_once(&place, &mark);
    // It stays in the process table as a zombie until the test ends.
    kill(dev.pid(), Signal::SIGKILL).unwrap();
    eventually("the folder is free", || {
        let lock = std::fs::File::open(place.state().join("lock")).unwrap();
        lock.try_lock().ok()
    });
    let _again = place.dev(&["--slots", "1"]);
    interrupted_once(&place.ended(&running));
}

#[test]
fn a_second_crash_is_survived_like_the_first() {
    let (place, mark) = (Place::new(), Mark::new());
    let script = format!("test $STAGELINE_ATTEMPT -gt 2 || exec sleep {}; echo again", mark.as_str());
    let mut dev = place.dev(&["--slots", "1"]);
    let id = place.submit(["--", "sh", "-c", &script]);
    let queued = place.submit(["--", "true"]);
    for attempt in 1..=2 {
        eventually("it runs again", || (place.reaches(&id, "RUNNING")["attempt"] == attempt).then_some(()));
        dev.killed();
        dev = place.dev(&["--slots", "1"]);
    }
    let task = place.ended(&id);
    assert_eq!(
        (&task["status"], &task["attempt"], &task["interruptions"]),
        (&json!("COMPLETED"), &json!(3), &json!(2))
    );
    assert!(task.get("failures").is_none(), "{task}");
    completed_at_first(&place.ended(&queued));
}

#[test]
fn records_written_while_no_worker_runs_are_done_by_the_next_start() {
    let place = Place::new();
    let mut dev = place.dev(&["--no-worker"]);
    let ids = [(); 3].map(|()| place.submit(["--", "true"]));
    let lost = place.submit(["--target", "nowhere/at-all", "--", "true"]);
    place.reaches(&ids[2], "QUEUED");
    place.reaches(&lost, "FAILED");
    assert_eq!(dev.ended_after_sigterm(), Some(0));
    let _again = place.dev(&[]);
    for id in &ids {
        completed_at_first(&place.ended(id));
    }
    assert_eq!(place.task(&lost)["statusReason"]["code"], "TARGET_UNROUTABLE");
}

#[test]
fn sigterm_lets_a_running_task_complete_and_leaves_waiting_ones_to_the_next_start() {
    let place = Place::new();
    let mut dev = place.dev(&["--slots", "1"]);
    let go = place.path().join("go");
    let wait = format!("while ! test -e {}; do sleep 0.05; done; echo drained", go.display());
    let running = place.submit(["--", "sh", "-c", &wait]);
    place.reaches(&running, "RUNNING");
    let waiting = place.submit(["--", "true"]);
    place.reaches(&waiting, "QUEUED");
    dev.signal(Signal::SIGTERM);
    dev.says("stopping when the running tasks are done");
    assert_eq!(place.task(&running)["status"], "RUNNING");
    assert!(place.state().join("dev.json").exists(), "it can be watched while it drains");
    std::fs::write(&go, "").unwrap();
    let (code, log) = dev.ended();
    assert_eq!(code, Some(0), "{log}");
    assert!(!place.state().join("dev.json").exists());

    let _again = place.dev(&["--slots", "1"]);
    let task = place.task(&running);
    completed_at_first(&task);
    assert_eq!(task["stdout"], "drained\n");
    completed_at_first(&place.ended(&waiting));
}

#[test]
fn a_second_signal_stops_running_tasks_at_once_and_they_start_over_next_time() {
    let (place, mark) = (Place::new(), Mark::new());
    let mut dev = place.dev(&["--slots", "1"]);
    let running = endless_once(&place, &mark);
    dev.signal(Signal::SIGINT);
    dev.says("once more to stop them now");
    assert_eq!(place.task(&running)["status"], "RUNNING");
    dev.signal(Signal::SIGTERM);
    let (code, log) = dev.ended();
    assert_eq!(code, Some(0), "{log}");
    assert!(mark.processes().is_empty());
    assert!(!place.state().join("dev.json").exists());
    let _again = place.dev(&["--slots", "1"]);
    interrupted_once(&place.ended(&running));
}

#[test]
fn an_idle_dev_ends_at_the_first_signal_of_either_kind() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let place = Place::new();
        let mut dev = place.dev(&[]);
        // As early as anybody can know that it runs.
        dev.signal(signal);
        let (code, log) = dev.ended();
        assert_eq!(code, Some(0), "{log}");
        assert!(!place.state().join("dev.json").exists());
    }
}
