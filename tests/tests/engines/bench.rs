//! The embedded system with one worker, and a copy of the examples that a test may change.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use stageline::Clock;
use stageline::aws::{Request, Write};
use stageline::task::{Stage, StageStatus, Status, Task, TaskId};
use stageline_tests::system::{RunningWorker, Stack, eventually, id};
use stageline_worker::Config;

use crate::found;

pub struct Bench {
    pub stack: Stack,
    worker: RunningWorker,
    inputs: tempfile::TempDir,
}

/// Runs a test to its end.
pub fn block_on(test: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::runtime::Runtime::new()?.block_on(test)
}

impl Bench {
    pub async fn start() -> Result<Self> {
        let stack = Stack::embedded().await?;
        let inputs = tempfile::tempdir()?;
        let config = stack.worker_config(1);
        copy(&config.inputs_dir, inputs.path())?;
        let worker = stack.worker(Config {
            inputs_dir: inputs.path().to_owned(),
            openfoam_dir: found::openfoam_dir(),
            pw_program: found::pw(),
            fenicsx_python: found::fenicsx_python(),
            ..config
        })?;
        Ok(Self { stack, worker, inputs })
    }

    /// Changes an example's file. What is to be changed has to be in it.
    pub fn edit(&self, file: &str, from: &str, to: &str) -> Result<()> {
        let path = self.inputs.path().join(file);
        let text = std::fs::read_to_string(&path).with_context(|| file.to_owned())?;
        ensure!(text.contains(from), "{file} has no {from:?}");
        Ok(std::fs::write(path, text.replace(from, to))?)
    }

    /// Runs a task until it ends.
    pub async fn run(&self, record: Value) -> Result<Task> {
        let task = self.stack.put(&named(record)).await?;
        self.stack.ended(&task).await
    }

    /// Runs a task that has to complete; gives it with its stages, all of them completed.
    pub async fn completed(&self, record: Value) -> Result<(Task, Vec<Stage>)> {
        let task = self.run(record).await?;
        ensure!(task.status == Status::Completed, "not completed: {task:#?}");
        let stages = self.stack.aws.stages.of(&task.id).await?;
        ensure!(stages.iter().all(|stage| stage.status == StageStatus::Completed), "{stages:#?}");
        Ok((task, stages))
    }

    /// Runs a task that has to fail with this code, and with these words on its record.
    pub async fn fails(&self, record: Value, code: &str, words: &[&str]) -> Result<()> {
        let task = self.run(record).await?;
        let reason = task.status_reason.as_ref().map(|reason| reason.code.as_str());
        ensure!((task.status, reason) == (Status::Failed, Some(code)), "{task:#?}");
        let message = task.error_message.context("a message")?;
        for word in words {
            ensure!(message.contains(word), "{word:?} is not in {message:?}");
        }
        Ok(())
    }

    /// Runs a task until `stage` counts, cancels it, and finds that nothing of it is left.
    pub async fn cancelled_in(&self, stage: &str, record: Value) -> Result<()> {
        let task = self.stack.put(&named(record)).await?;
        eventually(&format!("{stage} counts"), || async {
            let now = self.stack.aws.tasks.get(&task).await?.context("task")?;
            ensure!(!now.status.is_terminal(), "it ended before: {now:#?}");
            let stages = self.stack.aws.stages.of(&task).await?;
            let counts = |one: &Stage| {
                one.name == stage
                    && one.status == StageStatus::Running
                    && one.processed_items.is_some_and(|done| done > 0)
            };
            Ok(stages.iter().any(counts).then_some(()))
        })
        .await?;
        ensure!(!processes(&task).is_empty(), "the engine's processes are found while it runs");
        let asked = self.stack.aws.tasks.ask(&task, Request::Cancel, Clock::system().now()).await?;
        ensure!(asked == Write::Applied, "{asked:?}");
        let ended = self.stack.ended(&task).await?;
        ensure!(ended.status == Status::Cancelled, "{ended:#?}");
        let left = processes(&task);
        ensure!(left.is_empty(), "left: {left:?}");
        Ok(())
    }

    /// The files that the task left in its folder.
    pub fn left(&self, task: &Task) -> Result<Vec<String>> {
        let artifact = task.artifacts.iter().flatten().next().context("a log")?;
        let log = Path::new(artifact.uri.strip_prefix("file://").context("a file")?);
        let entries = std::fs::read_dir(log.parent().context("its folder")?)?;
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    pub async fn end(self) -> Result<()> {
        self.worker.drained().await?;
        self.stack.shutdown().await;
        Ok(())
    }
}

/// The names of stages with what they counted and of how many.
pub fn counted(stages: &[Stage]) -> Vec<(&str, Option<u64>, Option<u64>)> {
    stages.iter().map(|stage| (stage.name.as_str(), stage.processed_items, stage.total_items)).collect()
}

fn named(mut record: Value) -> Value {
    record["id"] = json!(id("engine"));
    record
}

/// The names of the processes of a task.
fn processes(task: &TaskId) -> Vec<String> {
    let name = |pid| std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    pids(task).into_iter().map(name).collect()
}

/// The processes of a task, by the variable that all of them inherit.
pub fn pids(task: &TaskId) -> Vec<i32> {
    let variable = format!("STAGELINE_TASK_ID={task}");
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        if environment.split(|byte| *byte == 0).any(|one| one == variable.as_bytes()) {
            found.extend(entry.file_name().to_str().and_then(|pid| pid.parse::<i32>().ok()));
        }
    }
    found
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            std::fs::create_dir(&to)?;
            copy(&entry.path(), &to)?;
        } else {
            std::fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}
