//! `stageline status`: one task and its stages.

use serde_json::json;
use stageline::At;
use stageline::aws::Aws;
use stageline::task::{Stage, Task, TaskId};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{self, Format, colour};

pub(super) async fn run(aws: &Aws, id: &TaskId, format: Format) -> Result<Exit, Failure> {
    let (task, stages) = read(aws, id).await?;
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
    let row = |name: &str, value: String| output::line(format!("{name:<10} {value}"));
    row("task", task.id.to_string());
    row("status", colour(task.status).apply_to(task.status).to_string());
    if let Some(reason) = &task.status_reason {
        row("reason", format!("{}: {}", reason.code, reason.message));
    }
    row("engine", task.engine().to_owned());
    if let Some(worker) = &task.worker_node_id {
        row("worker", format!("{worker} (attempt {})", task.attempt));
    }
    if let Some(times) = times(task) {
        row("times", times);
    }
    for stage in stages {
        row(&format!("stage {}", stage.order), stage_line(stage));
    }
    if let Some(result) = &task.result {
        row("result", result.to_string());
    }
    for artifact in task.artifacts.iter().flatten() {
        let size = artifact.size_bytes.map(|bytes| format!(" ({bytes} bytes)")).unwrap_or_default();
        row("file", format!("{}{size}", artifact.uri));
    }
    for (name, tail) in [("stdout", &task.stdout), ("stderr", &task.stderr)] {
        if let Some(tail) = tail {
            let lines: Vec<_> = tail.trim_end().lines().collect();
            let shown = lines[lines.len().saturating_sub(5)..].join("\n           ");
            row(name, shown);
        }
    }
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
    line
}
