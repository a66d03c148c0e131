//! What a record says is shown at a terminal as text and nothing else, whoever wrote it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use aws_sdk_dynamodb::Client;
use serde_json::{Value, json};
use stageline::task::ENGINES;
use support::{Dev, Place, Run};

/// Clears the screen, sets the title, and begins a row of its own; as C0, and as C1.
const HOSTILE: &str = "a\u{1b}[2J\u{1b}]0;title\u{7}\u{9b}31m\u{7f}\rstatus     COMPLETED\r\nb\u{202e}c";

async fn put(dev: &Dev, table: &str, item: &Value) {
    let client = Client::new(&stageline_local::sdk_config(dev.endpoint()));
    let item = serde_dynamo::to_item(item).unwrap();
    client.put_item().table_name(table).set_item(Some(item)).send().await.unwrap();
}

/// What it wrote, in which there is nothing but text.
#[track_caller]
fn only_text(run: &Run) -> String {
    let text = format!("{}{}", run.stdout, run.stderr);
    let harmful = text.chars().find(|c| c.is_control() && *c != '\n' || *c == '\u{202e}');
    assert_eq!(harmful, None, "{run:?}");
    text
}

/// That nothing but text is written, and that no line of it can be taken for one of ours.
#[track_caller]
fn harmless(run: &Run) {
    let text = only_text(run);
    assert!(text.contains('\u{FFFD}'), "what was left out is seen: {run:?}");
    assert!(text.lines().filter(|line| line.starts_with("status ")).count() <= 1, "{run:?}");
}

/// A record that a client, or somebody's worker, has written.
fn record() -> Value {
    let at = "2026-01-01T00:00:00Z";
    json!({
        "id": "hostile", "status": "FAILED", "attempt": 1, "accountId": "default", "createdAt": at,
        "engine": HOSTILE, "command": HOSTILE, "description": HOSTILE,
        "statusReason": {"code": HOSTILE, "message": HOSTILE}, "errorMessage": HOSTILE,
        "history": [{"status": "FAILED", "at": at, "by": HOSTILE, "reason": HOSTILE, "message": HOSTILE}],
        "result": {HOSTILE: HOSTILE}, "stdout": HOSTILE, "stderr": HOSTILE,
        "artifacts": [{"name": HOSTILE, "uri": HOSTILE}],
    })
}

#[tokio::test]
async fn what_anybody_wrote_into_a_record_does_not_reach_the_terminal_as_it_is() {
    let place = Place::new();
    let dev = place.dev(&["--no-worker"]);
    let stages = dev.stages_table();
    let stage = json!({
        "taskId": "hostile", "order": 1, "name": HOSTILE, "status": "RUNNING", "attempt": 1,
        "statusMessage": HOSTILE, "updatedAt": "2026-01-01T00:00:00Z",
    });
    put(&dev, stages, &stage).await;
    put(&dev, dev.tasks_table(), &record()).await;
    for args in [&["status", "hostile"][..], &["watch", "hostile"], &["list"]] {
        let run = place.run(args);
        assert!(run.stdout.contains("hostile"), "{run:?}");
        harmless(&run);
    }
    // JSON escapes them, and a program gets what is there.
    for args in [&["watch", "hostile"][..], &["status", "hostile"], &["logs", "hostile"], &["list"]] {
        let run = place.run([&["--output", "json"], args].concat());
        assert!(run.stdout.contains("hostile"), "{run:?}");
        only_text(&run);
    }
    let run = place.run(["--output", "json", "status", "hostile"]);
    let document = run.document();
    assert_eq!(document["task"]["stdout"], HOSTILE);
    assert_eq!(document["stages"][0]["name"], HOSTILE);
}

#[test]
fn what_a_program_prints_does_not_reach_the_terminal_as_it_is() {
    let place = Place::new();
    let _dev = place.dev(&[]);
    let id = place.submit(["--", "printf", r"a\033[2J\033]0;title\007\rb\n"]);
    assert_eq!(place.ended(&id)["stdout"], "a\u{1b}[2J\u{1b}]0;title\u{7}\rb\n");
    for command in ["status", "watch"] {
        harmless(&place.run([command, &id]));
    }
}

#[test]
fn a_malformed_record_is_quoted_harmlessly() {
    let run = Place::new().run(["submit", "--engine", "demo", "--json", "\u{1b}[2J"]);
    assert_eq!(run.code, Some(1), "{run:?}");
    harmless(&run);
}

#[test]
fn the_help_lists_every_engine() {
    let help = Place::new().run(["submit", "--help"]);
    let text = help.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(text.contains(&format!("The engine: {} [default: command]", ENGINES.join(", "))), "{text}");
}

#[test]
fn what_a_task_takes_of_its_worker_is_on_its_record() {
    let place = Place::new();
    let _dev = place.dev(&["--no-worker"]);
    let id = place.submit(["--cpus", "2", "--memory-mb", "256", "--gpus", "0", "--", "true"]);
    let resources = &place.task(&id)["resources"];
    assert_eq!((&resources["cpus"], &resources["memoryMb"]), (&json!(2), &json!(256)), "{resources}");
    for args in [&["--cpus", "0"][..], &["--memory-mb", "0"], &["--gpus", "5000"]] {
        let run = place.run([&["submit"], args, &["--", "true"]].concat());
        run.refused(2, "RECORD_MALFORMED", &["attribute `resources."]);
    }
    let run = place.run(["submit", "--cpus", "-1", "--", "true"]);
    assert_eq!((run.code, run.stdout.as_str()), (Some(2), ""), "{run:?}");
}
