//! The worker under measurement: the release binary as a process of its own.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use crate::procfs;
use crate::rig::{Rig, Role};

const START: Duration = Duration::from_secs(20);
/// For a worker to be stopped where it is.
const STOP: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(5);

/// A worker's process. Dropped, it and its children are stopped.
#[derive(Debug)]
pub struct WorkerProcess {
    child: Child,
    log: PathBuf,
    _folder: tempfile::TempDir,
}

impl WorkerProcess {
    /// Starts a worker with the default settings but for those given, and waits until it takes tasks. It logs
    /// as it does when it is deployed, into a file.
    ///
    /// # Errors
    /// It cannot be started, or ends.
    pub async fn start(rig: &Rig, slots: u32, settings: &[(&str, &str)]) -> Result<Self> {
        Self::start_program(&own_worker()?, rig, slots, settings).await
    }

    /// The same of another build of the worker.
    ///
    /// # Errors
    /// It cannot be started, or ends.
    pub async fn start_program(
        program: &Path,
        rig: &Rig,
        slots: u32,
        settings: &[(&str, &str)],
    ) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let inputs = folder.path().join("inputs");
        std::fs::create_dir(&inputs)?;
        let log = folder.path().join("worker.log");
        let child = Command::new(program)
            .current_dir(folder.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .envs(rig.deployment.to_env())
            .env("AWS_ENDPOINT_URL", rig.endpoint(Role::Worker))
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "local")
            .env("AWS_SECRET_ACCESS_KEY", "local")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("STAGELINE_WORKER_WORK_DIR", folder.path().join("jobs"))
            .env("STAGELINE_WORKER_INPUTS_DIR", inputs)
            .env("STAGELINE_WORKER_SLOTS", slots.to_string())
            .env("STAGELINE_WORKER_ALLOW_ANY_PROGRAM", "true")
            .env("STAGELINE_WORKER_TERM_GRACE_SECONDS", "1")
            .envs(settings.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log)?)
            .spawn()
            .context("the worker cannot be started")?;
        let mut worker = Self { child, log, _folder: folder };
        let begun = Instant::now();
        while !worker.read().contains("worker started") {
            worker.lives()?;
            if begun.elapsed() > START {
                bail!("the worker did not start within {START:?}\n{}", worker.last_words());
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(worker)
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its CPU seconds so far, its children's not. The kernel counts a process in hundredths and its threads exactly,
    /// but those only while they live.
    ///
    /// # Errors
    /// It has ended.
    pub fn cpu(&self) -> Result<f64> {
        let of_threads = procfs::threads_cpu_millis(self.pid())? / 1e3;
        Ok(procfs::cpu_seconds(self.pid())?.max(of_threads))
    }

    /// That it has not ended.
    ///
    /// # Errors
    /// It has.
    pub fn lives(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("the worker ended: {status}\n{}", self.last_words()),
        }
    }

    /// The end of its log.
    pub fn last_words(&self) -> String {
        let log = self.read();
        let lines: Vec<_> = log.lines().rev().take(5).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    fn read(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for WorkerProcess {
    /// Nothing of it is worth an orderly end. Stopped first, so that it starts no further children, which have
    /// process groups of their own and would outlive it.
    fn drop(&mut self) {
        let Ok(pid) = i32::try_from(self.child.id()).map(Pid::from_raw) else { return };
        if matches!(self.child.try_wait(), Ok(None)) {
            kill(pid, Signal::SIGSTOP).ok();
            let begun = Instant::now();
            while !procfs::is_stopped(self.child.id()) && begun.elapsed() < STOP {
                std::thread::sleep(LOOK);
            }
        }
        let children = procfs::children(self.child.id());
        self.child.kill().ok();
        self.child.wait().ok();
        for child in children.into_iter().map(Pid::from_raw) {
            // Gone already, or not yet the leader of its group.
            killpg(child, Signal::SIGKILL).ok();
            kill(child, Signal::SIGKILL).ok();
        }
    }
}

/// This revision's worker.
///
/// # Errors
/// It has not been built.
pub fn own_worker() -> Result<PathBuf> {
    binary("stageline-worker")
}

/// A binary of this workspace, beside this one.
///
/// # Errors
/// It has not been built.
pub fn binary(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    found(own.parent().unwrap_or(Path::new(".")).join(name), "--release")
}

/// A binary that is built as functions are deployed.
///
/// # Errors
/// It has not been built.
pub fn function(name: &str) -> Result<PathBuf> {
    of_profile("function", name)
}

/// A binary that is built for speed alone.
///
/// # Errors
/// It has not been built.
pub fn fast(name: &str) -> Result<PathBuf> {
    of_profile("fast", name)
}

fn of_profile(profile: &str, name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let target = own.ancestors().nth(2).unwrap_or(Path::new("."));
    found(target.join(profile).join(name), &format!("--profile {profile}"))
}

fn found(path: PathBuf, profile: &str) -> Result<PathBuf> {
    if !path.is_file() {
        bail!("{} is not there; build it first: cargo build {profile}, or ./scripts/bench", path.display());
    }
    Ok(path)
}
