//! Two workers after one another with a store between them: what the first has saved, the second goes on from.

use std::path::PathBuf;

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use stageline::task::TaskId;
use stageline_tests::process::WorkerProcess;
use stageline_tests::system::{RunningWorker, Stack};
use stageline_worker::Config;

use crate::bench::pids;
use crate::found;

pub struct Place {
    pub stack: Stack,
    folder: tempfile::TempDir,
}

impl Place {
    /// A place for both, with the examples as inputs.
    pub async fn with_lease(seconds: u64) -> Result<Self> {
        Ok(Self { stack: Stack::embedded_with_lease(seconds).await?, folder: tempfile::tempdir()? })
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn store(&self) -> String {
        format!("file://{}", self.path("store").display())
    }

    /// The first, a process of its own, with `inputs` and seconds between two checkpoints.
    pub fn first(&self, inputs: PathBuf, checkpoint_seconds: u32) -> Result<WorkerProcess> {
        let endpoint = self.stack.embedded.as_ref().context("embedded")?.local().endpoint().to_owned();
        let (inputs, url) = (inputs.display().to_string(), self.store());
        let (pw, python) = (found::pw(), found::fenicsx_python());
        let seconds = checkpoint_seconds.to_string();
        let settings = [
            ("STAGELINE_WORKER_INPUTS_DIR", inputs.as_str()),
            ("STAGELINE_WORKER_ARTIFACTS_URL", url.as_str()),
            ("STAGELINE_WORKER_CHECKPOINT_SECONDS", seconds.as_str()),
            ("STAGELINE_WORKER_PW_PROGRAM", pw.as_str()),
            ("STAGELINE_WORKER_FENICSX_PYTHON", python.as_str()),
            ("STAGELINE_WORKER_DRAIN_GRACE_SECONDS", "0"),
            // Long: a busy machine.
            ("STAGELINE_WORKER_TERM_GRACE_SECONDS", "30"),
        ];
        let at = self.path("first");
        std::fs::create_dir(&at)?;
        let program = env!("CARGO_BIN_EXE_test-worker");
        WorkerProcess::start(program, &endpoint, &self.stack.deployment, &at, &settings)
    }

    /// The second, which only goes on.
    pub fn second(&self, inputs: PathBuf) -> Result<RunningWorker> {
        self.stack.worker(Config {
            inputs_dir: inputs,
            artifacts_url: Some(self.store()),
            work_dir: self.path("second"),
            checkpoint_seconds: 3_600,
            pw_program: found::pw(),
            fenicsx_python: found::fenicsx_python(),
            ..self.stack.worker_config(1)
        })
    }

    /// What a task has printed so far in an attempt on the worker of this name.
    pub fn output(&self, worker: &str, task: &TaskId, attempt: u32) -> String {
        let jobs = if worker == "first" { "first/jobs" } else { worker };
        let log = self.path(jobs).join(task.as_str()).join(attempt.to_string()).join("stdout.log");
        std::fs::read_to_string(log).unwrap_or_default()
    }
}

/// Ends the whole machine: the worker, and the processes of its task with it.
pub async fn dies(worker: &mut WorkerProcess, task: &TaskId) -> Result<()> {
    worker.kill().await?;
    for pid in pids(task) {
        kill(Pid::from_raw(pid), Signal::SIGKILL)?;
    }
    Ok(())
}

pub fn is_stored(line: &Value) -> bool {
    line["message"] == "checkpoint stored"
}
