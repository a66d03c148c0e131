//! Workers that are processes of their own, to be killed, stopped where they are, and read.

use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use stageline::aws::Deployment;
use stageline::task::WorkerId;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;

/// Longer than anything here takes on a busy machine: a test that reaches it has failed.
const DEADLINE: Duration = Duration::from_secs(120);

/// A worker's process. Dropped, it is killed.
#[derive(Debug)]
pub struct WorkerProcess {
    child: Child,
    pid: Pid,
    log: Log,
}

/// What a worker has logged so far. Clones are the same log, which outlives its process.
#[derive(Clone, Debug)]
pub struct Log {
    lines: Arc<Mutex<Vec<Value>>>,
    changed: watch::Receiver<usize>,
}

impl WorkerProcess {
    /// Starts `program` (`env!("CARGO_BIN_EXE_test-worker")`) against `endpoint`, in `folder`, whose `jobs`
    /// is its work folder. Nothing of this process's environment reaches it but `PATH`; `settings` come last.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn start(
        program: &str,
        endpoint: &str,
        deployment: &Deployment,
        folder: &Path,
        settings: &[(&str, &str)],
    ) -> Result<Self> {
        let mut command = Command::new(program);
        command
            .current_dir(folder)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .envs(deployment.to_env())
            .env("AWS_ENDPOINT_URL", endpoint)
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "local")
            .env("AWS_SECRET_ACCESS_KEY", "local")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("STAGELINE_WORKER_WORK_DIR", folder.join("jobs"))
            .env("STAGELINE_WORKER_ALLOW_ANY_PROGRAM", "true")
            .env("STAGELINE_WORKER_TERM_GRACE_SECONDS", "1")
            .envs(settings.iter().copied())
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().with_context(|| format!("{program} cannot be started"))?;
        let pid = child.id().and_then(|id| i32::try_from(id).ok()).context("a new process has an id")?;
        let stderr = child.stderr.take().context("its log is a pipe")?;
        let (sender, changed) = watch::channel(0);
        let lines = Arc::<Mutex<Vec<Value>>>::default();
        let log = Log { lines: Arc::clone(&lines), changed };
        tokio::spawn(async move {
            let mut read = BufReader::new(stderr).lines();
            while let Ok(Some(line)) = read.next_line().await {
                let value = serde_json::from_str(&line).unwrap_or(Value::String(line));
                lines.lock().unwrap_or_else(PoisonError::into_inner).push(value);
                sender.send_modify(|count| *count += 1);
            }
        });
        Ok(Self { child, pid: Pid::from_raw(pid), log })
    }

    /// Waits until it takes tasks; gives its id.
    ///
    /// # Errors
    /// It ended, or takes longer than anything should.
    pub async fn started(&self) -> Result<WorkerId> {
        let line = self.log.until(|line| line["message"] == "worker started").await?;
        Ok(line["worker.id"].as_str().context("the line says which worker")?.parse()?)
    }

    /// What it has logged.
    pub fn log(&self) -> Log {
        self.log.clone()
    }

    /// Its process id.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Sends it a signal. Its children do not get it.
    ///
    /// # Errors
    /// It is not there any more.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill(self.pid, signal)?)
    }

    /// `kill -9`, and waits until it is gone.
    ///
    /// # Errors
    /// The system does not tell of it.
    pub async fn kill(&mut self) -> Result<()> {
        Ok(self.child.kill().await?)
    }

    /// Whether it has ended, by itself or by a signal.
    ///
    /// # Errors
    /// The system does not tell of it.
    pub fn has_ended(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// The system does not tell of it.
    pub async fn ended(&mut self) -> Result<ExitStatus> {
        Ok(self.child.wait().await?)
    }
}

impl Log {
    /// How many lines fulfil `condition`.
    pub fn count(&self, condition: impl Fn(&Value) -> bool) -> usize {
        self.lines().iter().filter(|line| condition(line)).count()
    }

    /// The lines so far: JSON objects, or strings where something else was written.
    pub fn lines(&self) -> Vec<Value> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for a line, now or later; gives the first one.
    ///
    /// # Errors
    /// The process ended without it, or it takes longer than anything should.
    pub async fn until(&self, condition: impl Fn(&Value) -> bool) -> Result<Value> {
        let mut changed = self.changed.clone();
        let search = async {
            loop {
                changed.borrow_and_update();
                if let Some(line) = self.lines().into_iter().find(|line| condition(line)) {
                    return Ok(line);
                }
                if changed.changed().await.is_err() {
                    bail!("the worker ended without the line: {:#?}", self.lines());
                }
            }
        };
        match tokio::time::timeout(DEADLINE, search).await {
            Ok(found) => found,
            Err(_) => bail!("the line does not come: {:#?}", self.lines()),
        }
    }
}
