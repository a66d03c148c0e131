//! `stageline watch`: follows tasks until they end. Bars at a terminal, lines elsewhere; the task's own
//! data goes to standard output once, at the end.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget};
use serde_json::json;
use stageline::aws::{Aws, Retry};
use stageline::clock::{At, Clock};
use stageline::task::{Attempt, Stage, StageStatus, Status, Task, TaskId};

use super::status::{asked, due, read, show, stage_line};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{self, Format, colour};
use crate::plain::plain_line;
use crate::progress::style;
use crate::stored::bring;

const PERIOD: Duration = Duration::from_millis(500);
/// Failed reads in a row before watching is given up: a moment without network is no reason to.
const MOST_FAILURES: u32 = 20;

pub(super) async fn run(aws: &Aws, ids: &[TaskId], format: Format) -> Result<Exit, Failure> {
    let mut view: Box<dyn View> = match format {
        Format::Json => Box::new(JsonLines::default()),
        Format::Text if std::io::stderr().is_terminal() => Box::new(Bars::default()),
        Format::Text => Box::new(Lines::default()),
    };
    let mut failures = 0;
    let mut open: Vec<&TaskId> = ids.iter().collect();
    let mut ended = BTreeMap::new();
    loop {
        // The first read tells whether there is anything to watch; later ones may fail for a while.
        match futures::future::try_join_all(open.iter().map(|id| read(aws, id))).await {
            Ok(all) => {
                failures = 0;
                for (task, stages) in all {
                    view.update(&task, &stages);
                    if task.status.is_terminal() {
                        ended.insert(task.id.clone(), (task, stages));
                    }
                }
            }
            Err(Failure::Aws(error))
                if error.retry() == Retry::Later && view.has_shown() && failures < MOST_FAILURES =>
            {
                failures += 1;
            }
            Err(failure) => return Err(failure),
        }
        open.retain(|id| !ended.contains_key(id));
        if open.is_empty() {
            break;
        }
        tokio::select! {
            () = tokio::time::sleep(PERIOD) => {}
            _ = tokio::signal::ctrl_c() => {
                view.close();
                let ids: Vec<_> = open.iter().map(ToString::to_string).collect();
                eprintln!("not watching any more; the work goes on: stageline watch {}", ids.join(" "));
                return Ok(Exit::Interrupted);
            }
        }
    }
    view.close();
    if format == Format::Json {
        for (task, _) in ended.values_mut() {
            bring(task, aws).await;
        }
    }
    for (n, (task, stages)) in ids.iter().filter_map(|id| ended.get(id)).enumerate() {
        if n > 0 && format == Format::Text {
            output::line("");
        }
        show(task, stages, format);
    }
    let completed = ended.values().all(|(task, _)| task.status == Status::Completed);
    Ok(if completed { Exit::Success } else { Exit::NotCompleted })
}

trait View {
    fn update(&mut self, task: &Task, stages: &[Stage]);
    fn has_shown(&self) -> bool;
    /// Nothing more is shown; what is there stays.
    fn close(&mut self) {}
}

/// A line a task, and below it a bar a stage.
struct Bars {
    all: MultiProgress,
    tasks: BTreeMap<TaskId, TaskBars>,
}

struct TaskBars {
    head: ProgressBar,
    attempt: Attempt,
    stages: BTreeMap<u32, ProgressBar>,
}

impl Default for Bars {
    fn default() -> Self {
        Self { all: MultiProgress::with_draw_target(ProgressDrawTarget::stderr()), tasks: BTreeMap::new() }
    }
}

const WITH_TOTAL: &str = "  {prefix:<12} {bar:28.cyan/dim} {percent:>3}%  {pos}/{len}  {msg}";
const WITHOUT_TOTAL: &str = "  {prefix:<12} {msg}";

impl View for Bars {
    fn update(&mut self, task: &Task, stages: &[Stage]) {
        let all = &self.all;
        let bars = self.tasks.entry(task.id.clone()).or_insert_with(|| {
            let head = all.add(ProgressBar::new_spinner());
            head.set_style(style("{spinner:.cyan} {prefix}  {msg}"));
            head.set_prefix(plain_line(&format!("{} {}", task.engine(), task.id)).into_owned());
            head.enable_steady_tick(Duration::from_millis(120));
            TaskBars { head, attempt: task.attempt, stages: BTreeMap::new() }
        });
        let now = Clock::system().now();
        bars.head.set_message(headline(task, now));
        if bars.attempt != task.attempt {
            // The next attempt begins again with its first stage.
            for (_, bar) in std::mem::take(&mut bars.stages) {
                bar.finish_and_clear();
                all.remove(&bar);
            }
            bars.attempt = task.attempt;
        }
        for stage in stages {
            let above = bars.stages.values().next_back().unwrap_or(&bars.head).clone();
            let bar = bars.stages.entry(stage.order).or_insert_with(|| {
                let bar = all.insert_after(&above, ProgressBar::no_length());
                bar.set_prefix(plain_line(&stage.name).into_owned());
                bar
            });
            match stage.total_items {
                Some(total) => {
                    bar.set_style(style(WITH_TOTAL));
                    bar.set_length(total);
                    bar.set_position(stage.processed_items.unwrap_or(0));
                }
                None => bar.set_style(style(WITHOUT_TOTAL)),
            }
            bar.set_message(details(stage));
        }
        if task.status.is_terminal() {
            bars.stages.values().for_each(ProgressBar::abandon);
            bars.head.set_style(style("  {prefix}  {msg}"));
            bars.head.abandon_with_message(headline(task, now));
        }
    }

    fn has_shown(&self) -> bool {
        !self.tasks.is_empty()
    }

    fn close(&mut self) {
        for bars in self.tasks.values() {
            bars.stages.values().for_each(ProgressBar::abandon);
            bars.head.abandon();
        }
    }
}

fn headline(task: &Task, now: At) -> String {
    let status = colour(task.status).for_stderr().apply_to(task.status).to_string();
    let reason = task.status_reason.as_ref().map(|reason| reason.message.clone());
    let due = due(task, now).map(|due| format!("due {due}"));
    let how = match (task.status, &task.worker_node_id) {
        (status, _) if status.is_terminal() => reason,
        (Status::Running, Some(worker)) => Some(format!("on {worker}, attempt {}", task.attempt)),
        (Status::Paused, Some(worker)) => {
            Some(format!("on {worker}; go on with: stageline resume {}", task.id))
        }
        (Status::Paused, None) => Some(format!("go on with: stageline resume {}", task.id)),
        (Status::Retrying, _) => {
            let parts = [due.or_else(|| Some("due now".to_owned())), reason];
            Some(parts.into_iter().flatten().collect::<Vec<_>>().join(": "))
        }
        (Status::Waiting, _) => Some("waits for other tasks".to_owned()),
        (Status::Pending | Status::Scheduled | Status::Queued, _) => {
            due.or_else(|| Some("waits for a worker".to_owned()))
        }
        _ => None,
    };
    let asked = asked(task).map(str::to_owned);
    let how: Vec<_> = [how, asked].into_iter().flatten().collect();
    format!("{status}  {}", plain_line(&how.join(", ")))
}

/// Rate, time left and what goes on.
fn details(stage: &Stage) -> String {
    let mut parts = Vec::new();
    let running = stage.status == StageStatus::Running;
    if let Some(rate) = stage.items_per_second.filter(|_| running) {
        parts.push(format!("{rate:.0}/s"));
    }
    if let Some(end) = stage.estimated_completion_at.filter(|_| running) {
        parts.push(format!("ETA {} s", end.since(Clock::system().now()).as_secs()));
    }
    if stage.status == StageStatus::Failed {
        parts.push("failed".to_owned());
    } else if !running && stage.total_items.is_none() {
        parts.push("done".to_owned());
    }
    // Of the message's counters the bar says the same already.
    if let Some(message) = stage.status_message.as_ref().filter(|_| running) {
        parts.push(plain_line(message).into_owned());
    }
    parts.join("  ")
}

/// What makes a new line of a task: not the time that its due time is away.
type Seen = (Status, Attempt, Option<&'static str>);

/// One line a change.
#[derive(Default)]
struct Lines {
    tasks: BTreeMap<TaskId, Seen>,
    stages: BTreeMap<(TaskId, u32), String>,
}

impl View for Lines {
    fn update(&mut self, task: &Task, stages: &[Stage]) {
        for stage in stages {
            let (key, line) = ((task.id.clone(), stage.order), stage_line(stage));
            if self.stages.get(&key) != Some(&line) {
                eprintln!("{} {line}", task.id);
                self.stages.insert(key, line);
            }
        }
        let seen = (task.status, task.attempt, asked(task));
        if self.tasks.insert(task.id.clone(), seen) != Some(seen) {
            eprintln!("{} {}", task.id, headline(task, Clock::system().now()).trim_end());
        }
    }

    fn has_shown(&self) -> bool {
        !self.tasks.is_empty()
    }
}

/// One JSON document a change on standard error; the last ones, on standard output, are whole tasks.
#[derive(Default)]
struct JsonLines {
    last: BTreeMap<TaskId, String>,
}

impl View for JsonLines {
    fn update(&mut self, task: &Task, stages: &[Stage]) {
        let line = output::json_text(&json!({ "id": task.id, "status": task.status, "stages": stages }));
        if self.last.get(&task.id) != Some(&line) {
            eprintln!("{line}");
            self.last.insert(task.id.clone(), line);
        }
    }

    fn has_shown(&self) -> bool {
        !self.last.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_a_task_or_stage_is_one_line_of_text() {
        let hostile = "a\u{1b}[2J\nb\rc\u{9b}31m";
        let shown = "a\u{FFFD}[2J b c\u{FFFD}31m";
        let reason = json!({"code": "EXIT_NON_ZERO", "message": hostile});
        let task = Task::from_json(json!({"id": "t", "status": "FAILED", "statusReason": reason})).unwrap();
        assert!(headline(&task, Clock::system().now()).ends_with(&format!("FAILED  {shown}")));
        let stage =
            json!({"taskId": "t", "order": 1, "name": "Run", "status": "RUNNING", "statusMessage": hostile});
        let stage: Stage = serde_json::from_value(stage).unwrap();
        assert_eq!(details(&stage), shown);
    }
}
