//! `stageline status`: one task and its stages.

use std::time::Duration;

use serde_json::json;
use stageline::aws::Aws;
use stageline::task::{HistoryEntry, Reference, Stage, Status, Task, TaskId};
use stageline::{At, Clock};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{self, Format, colour};
use crate::plain::{plain, plain_line};
use crate::stored::bring;

/// The transitions that are shown; the record keeps more.
const HISTORY_SHOWN: usize = 5;
/// The beginning of a row after its first line.
const INDENT: &str = "\n           ";

pub(super) async fn run(aws: &Aws, id: &TaskId, format: Format) -> Result<Exit, Failure> {
    let (mut task, stages) = read(aws, id).await?;
    if format == Format::Json {
        bring(&mut task, aws).await;
    }
    show(&task, &stages, format);
    Ok(Exit::Success)
}

/// The task and its stages; those of earlier attempts are left out.
pub(super) async fn read(aws: &Aws, id: &TaskId) -> Result<(Task, Vec<Stage>), Failure> {
    let (task, stages) = futures::join!(aws.tasks.get(id), aws.stages.of(id));
    let task = task?.ok_or_else(|| Failure::NotFound(id.clone()))?;
    let stages = stages?.into_iter().filter(|stage| stage.attempt == task.attempt).collect();
    Ok((task, stages))
}

/// Writes both.
pub(super) fn show(task: &Task, stages: &[Stage], format: Format) {
    match format {
        Format::Json => output::json(&json!({ "task": task, "stages": stages })),
        Format::Text => text(task, stages),
    }
}

fn text(task: &Task, stages: &[Stage]) {
    let row = |name: &str, value: String| output::line(row(name, &value));
    row("task", task.id.to_string());
    let asked = asked(task).map(|what| format!(" ({what})")).unwrap_or_default();
    // The one row with colours of its own.
    let status = colour(task.status).apply_to(task.status);
    output::line(format_args!("{:<10} {status}{asked}", "status"));
    if let Some(reason) = &task.status_reason {
        row("reason", format!("{}: {}", reason.code, reason.message));
    }
    row("engine", task.engine().to_owned());
    if let Some(worker) = &task.worker_node_id {
        row("worker", format!("{worker} (attempt {})", task.attempt));
    }
    if let Some(counts) = counts(task) {
        row("counts", counts);
    }
    if let (Some(due), Some(at)) = (due(task, Clock::system().now()), task.not_before) {
        row("due", format!("{due} ({at})"));
    }
    if let Some(times) = times(task) {
        row("times", times);
    }
    for stage in stages {
        row(&format!("stage {}", stage.order), stage_line(stage));
    }
    if let Some(entries) = task.history.as_ref().filter(|entries| !entries.is_empty()) {
        let last = &entries[entries.len().saturating_sub(HISTORY_SHOWN)..];
        row("history", last.iter().map(history_line).collect::<Vec<_>>().join("\n"));
    }
    if let Some(result) = &task.result {
        let elsewhere = Reference::of_value(result);
        let elsewhere = elsewhere.map(|at| format!("{} bytes in {}", at.size_bytes, at.uri));
        row("result", elsewhere.unwrap_or_else(|| result.to_string()));
    }
    for artifact in task.artifacts.iter().flatten() {
        let size = artifact.size_bytes.map(|bytes| format!(" ({bytes} bytes)")).unwrap_or_default();
        row("file", format!("{}{size}", artifact.uri));
    }
    for (name, tail) in [("stdout", &task.stdout), ("stderr", &task.stderr)] {
        if let Some(tail) = tail {
            let tail = plain(tail.trim_end());
            let lines: Vec<_> = tail.lines().collect();
            row(name, lines[lines.len().saturating_sub(5)..].join("\n"));
        }
    }
}

/// A row of whatever a record says; further lines stand below the first one.
fn row(name: &str, value: &str) -> String {
    format!("{name:<10} {}", plain(value).replace('\n', INDENT))
}

/// What was asked of the task and is not done yet.
pub(super) fn asked(task: &Task) -> Option<&'static str> {
    let pause = task.pause_requested == Some(true);
    match task.status {
        status if status.is_terminal() => None,
        _ if task.cancel_requested == Some(true) => Some("cancel asked for"),
        Status::Paused if !pause => Some("resume asked for"),
        Status::Paused => None,
        _ if pause => Some("pause asked for"),
        _ => None,
    }
}

/// How long the task still waits for its time, if it does.
pub(super) fn due(task: &Task, now: At) -> Option<String> {
    let wait = task.not_before.filter(|at| !task.status.is_terminal() && *at > now)?.since(now);
    Some(format!("in {}", rounded(wait)))
}

/// For people: one number, in a unit in which it is neither tiny nor long.
fn rounded(time: Duration) -> String {
    // Up, so that what is due is never "in 0 s".
    let seconds = time.as_millis().div_ceil(1_000);
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// What went wrong so far, and how much of it is allowed.
fn counts(task: &Task) -> Option<String> {
    let some = |count: Option<u32>, one: &str, many: &str| {
        let count = count.filter(|count| *count > 0)?;
        Some(format!("{count} {}", if count == 1 { one } else { many }))
    };
    let failures = some(task.failures, "failure", "failures");
    let failures = failures.map(|text| match &task.retry {
        Some(policy) => format!("{text} (retries: {})", policy.max_retries),
        None => text,
    });
    let parts = [failures, some(task.interruptions, "interruption", "interruptions")];
    let parts: Vec<_> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn history_line(entry: &HistoryEntry) -> String {
    let mut line = format!("{} {} by {}", entry.at, entry.status, entry.by);
    if let Some(reason) = &entry.reason {
        line.push_str(&format!(", {reason}"));
    }
    // One line an entry, whatever the engine's words were.
    if let Some(message) = entry.message.as_deref().and_then(|message| message.lines().next()) {
        line.push_str(&format!(": {message}"));
    }
    plain_line(&line).into_owned()
}

fn times(task: &Task) -> Option<String> {
    let (started, completed) = (task.started_at?, task.completed_at);
    let waited = task.created_at.map(|created| seconds(created, started));
    let ran = completed.map(|completed| seconds(started, completed));
    let part = |what: &str, time: Option<String>| time.map(|time| format!("{what} {time} s"));
    Some([part("waited", waited), part("ran", ran)].into_iter().flatten().collect::<Vec<_>>().join(", "))
}

fn seconds(from: At, to: At) -> String {
    format!("{:.1}", to.since(from).as_secs_f64())
}

/// A stage on one line, without a bar.
pub(super) fn stage_line(stage: &Stage) -> String {
    let mut line = format!("{}: ", stage.name);
    match (stage.processed_items, stage.total_items) {
        (Some(done), Some(total)) => line.push_str(&format!("{done}/{total}")),
        (Some(done), None) => line.push_str(&done.to_string()),
        _ => line.push_str(&stage.status.to_string()),
    }
    if let Some(rate) = stage.items_per_second {
        line.push_str(&format!(", {rate:.1}/s"));
    }
    if let Some(message) = &stage.status_message {
        line.push_str(&format!(", {message}"));
    }
    plain_line(&line).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(record: serde_json::Value) -> Task {
        Task::from_json(record).unwrap()
    }

    #[test]
    fn what_a_record_says_cannot_be_taken_for_another_row() {
        assert_eq!(
            row("reason", "one\nstatus     COMPLETED"),
            "reason     one\n           status     COMPLETED"
        );
        assert_eq!(row("stdout", "a\u{1b}[2Jb\r\nc"), "stdout     a\u{FFFD}[2Jb\n           c");
        let stage = json!({"taskId": "t", "order": 1, "name": "Run\u{1b}[31m", "attempt": 1, "status": "RUNNING",
            "statusMessage": "a\nb\rc"});
        let stage: Stage = serde_json::from_value(stage).unwrap();
        assert_eq!(stage_line(&stage), "Run\u{FFFD}[31m: running, a b c");
    }

    #[test]
    fn what_was_asked_for_is_shown_until_it_is_done() {
        for (status, cancel, pause, expected) in [
            ("RUNNING", false, false, None),
            ("RUNNING", true, false, Some("cancel asked for")),
            ("RUNNING", true, true, Some("cancel asked for")),
            ("QUEUED", false, true, Some("pause asked for")),
            ("PAUSED", false, true, None),
            ("PAUSED", true, true, Some("cancel asked for")),
            ("PAUSED", false, false, Some("resume asked for")),
            ("CANCELLED", true, true, None),
            ("COMPLETED", true, false, None),
        ] {
            let record =
                json!({"id": "t", "status": status, "cancelRequested": cancel, "pauseRequested": pause});
            assert_eq!(asked(&task(record)), expected, "{status} {cancel} {pause}");
        }
    }

    #[test]
    fn a_time_to_come_is_shown_in_one_unit() {
        let now = At::from_millis(1_000_000);
        let waits = |status: &str, millis: i64| {
            let at = At::from_millis(1_000_000 + millis);
            due(&task(json!({"id": "t", "status": status, "notBefore": at})), now)
        };
        for (millis, expected) in [
            (-5, None),
            (0, None),
            (1, Some("in 1 s")),
            (119_000, Some("in 119 s")),
            (180_000, Some("in 3 min")),
            (7_200_000, Some("in 2 h")),
            (400_000_000, Some("in 4 days")),
        ] {
            assert_eq!(waits("SCHEDULED", millis).as_deref(), expected, "{millis}");
        }
        assert_eq!(waits("FAILED", 180_000), None);
    }

    #[test]
    fn failures_are_counted_beside_the_retries_and_interruptions() {
        let of = |record| counts(&task(record));
        assert_eq!(of(json!({"id": "t", "failures": 0})), None);
        assert_eq!(of(json!({"id": "t", "failures": 1})).unwrap(), "1 failure");
        let record = json!({"id": "t", "failures": 2, "interruptions": 1, "retry": {"maxRetries": 3}});
        assert_eq!(of(record).unwrap(), "2 failures (retries: 3), 1 interruption");
    }
}
