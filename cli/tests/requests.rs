//! `cancel`, `pause`, `resume` and `retry` of tasks that are not there, that wait, run and have ended: what
//! each answers and with which exit code, and that a refused one changes nothing.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use serde_json::{Value, json};
use support::{Mark, Place, eventually};

const ALL: [&str; 4] = ["cancel", "pause", "resume", "retry"];

/// The documents on standard output, one a line.
fn documents(run: &support::Run) -> Vec<Value> {
    run.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn an_unknown_task_is_not_found() {
    let place = Place::new();
    let _dev = place.dev(&["--no-worker"]);
    for command in ALL {
        let run = place.run([command, "nobody"]);
        run.refused(4, "TASK_NOT_FOUND", &["nobody", "next: see what there is: stageline list"]);
        assert_eq!(place.run(["status", "nobody"]).code, Some(4), "it was not made by asking");
    }
}

#[test]
fn no_id_and_one_that_is_none_are_refused() {
    for command in ALL {
        for args in [&[command][..], &[command, "../up"]] {
            let run = Place::new().run(args);
            assert_eq!((run.code, run.stdout.as_str()), (Some(2), ""), "{run:?}");
        }
    }
}

#[test]
fn a_finished_task_is_left_as_it_is_until_it_is_to_run_again() {
    let place = Place::new();
    let _dev = place.dev(&[]);
    let id = place.submit(["--", "false"]);
    let ended = place.ended(&id);
    for command in ["cancel", "pause", "resume"] {
        let again = format!("next: run it again: stageline retry {id}");
        place.run([command, &id]).refused(2, "TASK_ENDED", &["is FAILED", "left as it is", &again]);
    }
    assert_eq!(place.task(&id), ended);
    let answer = place.json(["retry", &id]);
    assert_eq!(answer, json!({"id": id, "request": "retry", "answer": "asked"}));
    let task = eventually("its second attempt ends", || {
        let task = place.task(&id);
        (task["attempt"] == 2 && task["status"] == "FAILED").then_some(task)
    });
    assert_eq!(task["failures"], 1, "the first run's failures do not count: {task}");
    let asked = task["history"].as_array().unwrap().iter().find(|entry| entry["by"] == "command line");
    assert_eq!(asked.unwrap()["status"], "PENDING");
}

#[test]
fn a_running_task_cannot_run_again_and_goes_on() {
    let (place, mark) = (Place::new(), Mark::new());
    let _dev = place.dev(&[]);
    let id = place.submit(["--", "sleep", mark.as_str()]);
    place.reaches(&id, "RUNNING");
    let cancel = format!("next: end it first: stageline cancel {id}");
    place.run(["retry", &id]).refused(2, "TASK_NOT_ENDED", &["is RUNNING", "left as it is", &cancel]);
    let task = place.task(&id);
    assert_eq!((&task["status"], &task["attempt"]), (&json!("RUNNING"), &json!(1)));
}

#[test]
fn a_task_without_a_worker_is_cancelled_once_and_runs_again_when_asked() {
    let place = Place::new();
    let _dev = place.dev(&["--no-worker"]);
    let id = place.submit(["--", "true"]);
    place.reaches(&id, "QUEUED");
    let watch = format!("next: it runs by itself: stageline watch {id}");
    place.run(["retry", &id]).refused(2, "TASK_NOT_ENDED", &["is QUEUED", &watch]);

    let run = place.run(["cancel", &id]);
    assert_eq!((run.code, run.stdout.as_str()), (Some(0), ""), "{run:?}");
    assert_eq!(run.stderr, format!("{id}: cancel asked for\nnext: stageline watch {id}\n"));
    let task = place.ended(&id);
    assert_eq!((&task["status"], &task["attempt"]), (&json!("CANCELLED"), &json!(0)), "{task}");
    assert_eq!(task["statusReason"]["code"], "CANCELLED");
    assert!(task["completedAt"].is_string() && task.get("errorDetails").is_none(), "{task}");

    let run = place.run(["cancel", &id]);
    assert_eq!((run.code, run.stdout.as_str()), (Some(0), ""), "{run:?}");
    assert_eq!(run.stderr, format!("{id}: cancel: it is CANCELLED already\n"));
    let answer = place.json(["cancel", &id]);
    assert_eq!(answer, json!({"id": id, "request": "cancel", "answer": "done"}));
    for command in ["pause", "resume"] {
        place.run([command, &id]).refused(2, "TASK_ENDED", &["is CANCELLED"]);
    }
    assert_eq!(place.task(&id), task);

    place.json(["retry", &id]);
    let task = place.reaches(&id, "QUEUED");
    assert!(task.get("cancelRequested").is_none() && task.get("statusReason").is_none(), "{task}");
}

#[test]
fn every_id_is_tried_and_the_worst_exit_code_is_the_commands() {
    let place = Place::new();
    let _dev = place.dev(&["--no-worker"]);
    let ids = [(); 2].map(|()| place.submit(["--", "true"]));
    let run = place.run(["--output", "json", "cancel", &ids[0], "nobody", &ids[1]]);
    assert_eq!(run.code, Some(4), "{run:?}");
    let asked: Vec<_> = documents(&run).iter().map(|answer| answer["id"].clone()).collect();
    assert_eq!(asked, ids);
    let error: Value = serde_json::from_str(run.stderr.trim()).unwrap();
    assert_eq!(error["error"]["code"], "TASK_NOT_FOUND");
    for id in &ids {
        place.reaches(id, "CANCELLED");
    }
    // What is refused comes to 2, what is not there to 4, whichever comes last.
    assert_eq!(place.run(["pause", "nobody", &ids[0]]).code, Some(4));
    assert_eq!(place.run(["pause", &ids[0]]).code, Some(2));
}

#[test]
fn a_task_that_is_due_later_says_when_and_can_be_cancelled() {
    let place = Place::new();
    let _dev = place.dev(&["--no-worker"]);
    let id = place.submit(["--not-before", "+2h", "--retries", "3", "--", "true"]);
    let task = place.reaches(&id, "SCHEDULED");
    assert_eq!(
        (&task["retry"]["strategy"], &task["retry"]["maxRetries"]),
        (&json!("EXPONENTIAL_BACKOFF"), &json!(3))
    );
    let shown = place.run(["status", &id]);
    assert!(shown.stdout.contains("\ndue        in "), "{shown:?}");
    assert!(shown.stdout.contains(" SCHEDULED by dispatcher"), "{shown:?}");
    place.json(["cancel", &id]);
    assert_eq!(place.ended(&id)["status"], "CANCELLED");
}

#[test]
fn times_and_retries_that_make_no_sense_are_refused() {
    for (args, words) in [
        (&["--not-before", "tomorrow"][..], "+90s, +5m or +2h"),
        (&["--not-before", "2026-11-21T18:00:00"], "an offset"),
        (&["--retry-delay", "5"], "--retries"),
        (&["--retry-strategy", "immediate"], "--retries"),
        (&["--retries", "2", "--retry-strategy", "now"], "exponential-backoff"),
        (&["--retries", "-1"], "-1"),
        (&["--timeout", "5", "--soft-timeout", "9"], "softTimeoutSeconds"),
    ] {
        let run = Place::new().run([&["submit"], args, &["--", "true"]].concat());
        assert_eq!((run.code, run.stdout.as_str()), (Some(2), ""), "{run:?}");
        assert!(run.stderr.contains(words), "{words}: {run:?}");
    }
}
