//! `stageline watch`: follows a task until it ends. Bars at a terminal, lines elsewhere; the task's own
//! data goes to standard output once, at the end.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;
use stageline::aws::{Aws, AwsError};
use stageline::clock::Clock;
use stageline::task::{Stage, StageStatus, Status, Task, TaskId};

use super::status::{read, show, stage_line};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Format, colour};

const PERIOD: Duration = Duration::from_millis(500);
/// Failed reads in a row before watching is given up: a moment without network is no reason to.
const MOST_FAILURES: u32 = 20;

pub(super) async fn run(aws: &Aws, id: &TaskId, format: Format) -> Result<Exit, Failure> {
    let mut view: Box<dyn View> = match format {
        Format::Json => Box::new(JsonLines::default()),
        Format::Text if std::io::stderr().is_terminal() => Box::new(Bars::new(id)),
        Format::Text => Box::new(Lines::default()),
    };
    let mut failures = 0;
    loop {
        match read(aws, id).await {
            Ok((task, stages)) => {
                failures = 0;
                view.update(&task, &stages);
                if task.status.is_terminal() {
                    view.end(&task);
                    show(&task, &stages, format);
                    let completed = task.status == Status::Completed;
                    return Ok(if completed { Exit::Success } else { Exit::NotCompleted });
                }
            }
            Err(Failure::Aws(AwsError::Unreachable { .. }))
                if view.has_shown() && failures < MOST_FAILURES =>
            {
                failures += 1;
            }
            // The very first read tells whether there is anything to watch.
            Err(failure) => return Err(failure),
        }
        tokio::select! {
            () = tokio::time::sleep(PERIOD) => {}
            _ = tokio::signal::ctrl_c() => {
                view.interrupted();
                eprintln!("not watching any more; the task goes on: stageline watch {id}");
                return Ok(Exit::Interrupted);
            }
        }
    }
}

trait View {
    fn update(&mut self, task: &Task, stages: &[Stage]);
    fn has_shown(&self) -> bool;
    fn end(&mut self, _task: &Task) {}
    fn interrupted(&mut self) {}
}

/// A bar a stage, below a line for the task.
struct Bars {
    all: MultiProgress,
    head: ProgressBar,
    stages: BTreeMap<u32, ProgressBar>,
    shown: bool,
}

impl Bars {
    fn new(id: &TaskId) -> Self {
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        let head = all.add(ProgressBar::new_spinner());
        head.set_style(style("{spinner:.cyan} {prefix}  {msg}"));
        head.set_prefix(id.to_string());
        head.enable_steady_tick(Duration::from_millis(120));
        Self { all, head, stages: BTreeMap::new(), shown: false }
    }
}

/// Templates are constants of this file, so a broken one shows in the first test; then the default serves.
fn style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    style.progress_chars("━╸─").tick_chars("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏ ")
}

const WITH_TOTAL: &str = "  {prefix:<12} {bar:28.cyan/dim} {percent:>3}%  {pos}/{len}  {msg}";
const WITHOUT_TOTAL: &str = "  {prefix:<12} {msg}";

impl View for Bars {
    fn update(&mut self, task: &Task, stages: &[Stage]) {
        self.shown = true;
        self.head.set_message(headline(task));
        for stage in stages {
            let bar = self.stages.entry(stage.order).or_insert_with(|| {
                let bar = self.all.add(ProgressBar::no_length());
                bar.set_prefix(stage.name.clone());
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
    }

    fn has_shown(&self) -> bool {
        self.shown
    }

    fn end(&mut self, task: &Task) {
        self.stages.values().for_each(|bar| bar.abandon());
        self.head.set_style(style("{prefix}  {msg}"));
        self.head.abandon_with_message(headline(task));
    }

    fn interrupted(&mut self) {
        self.stages.values().for_each(|bar| bar.abandon());
        self.head.abandon();
    }
}

fn headline(task: &Task) -> String {
    let status = colour(task.status).for_stderr().apply_to(task.status).to_string();
    let how = match (task.status, &task.worker_node_id, &task.status_reason) {
        (Status::Pending | Status::Queued, None, _) => "waits for a worker".to_owned(),
        (status, _, Some(reason)) if status.is_terminal() => reason.message.clone(),
        (Status::Running, Some(worker), _) => format!("on {worker}, attempt {}", task.attempt),
        _ => String::new(),
    };
    format!("{status}  {how}")
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
        parts.push(message.clone());
    }
    parts.join("  ")
}

/// One line a change.
#[derive(Default)]
struct Lines {
    status: Option<Status>,
    stages: BTreeMap<u32, String>,
}

impl View for Lines {
    fn update(&mut self, task: &Task, stages: &[Stage]) {
        if self.status != Some(task.status) {
            self.status = Some(task.status);
            eprintln!("{} {}", task.id, headline(task).trim_end());
        }
        for stage in stages {
            let line = stage_line(stage);
            if self.stages.get(&stage.order) != Some(&line) {
                eprintln!("{} {line}", task.id);
                self.stages.insert(stage.order, line);
            }
        }
    }

    fn has_shown(&self) -> bool {
        self.status.is_some()
    }
}

/// One JSON document a change on standard error; the last, on standard output, is the whole task.
#[derive(Default)]
struct JsonLines {
    last: Option<String>,
}

impl View for JsonLines {
    fn update(&mut self, task: &Task, stages: &[Stage]) {
        let line = json!({ "id": task.id, "status": task.status, "stages": stages }).to_string();
        if self.last.as_ref() != Some(&line) {
            eprintln!("{line}");
            self.last = Some(line);
        }
    }

    fn has_shown(&self) -> bool {
        self.last.is_some()
    }
}
