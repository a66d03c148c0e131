//! The emulator ministack, started by the project's script.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// A running one. Dropped, it is stopped.
#[derive(Debug)]
pub struct Ministack {
    script: PathBuf,
    pid: String,
    port: String,
}

impl Ministack {
    /// Starts it on a free port.
    ///
    /// # Errors
    /// It cannot be installed, or does not answer.
    pub async fn start(root: &Path) -> Result<Self> {
        let script = root.join("scripts/ministack");
        let run = script.clone();
        let output = tokio::task::spawn_blocking(move || {
            // Not a pipe that the server inherits and keeps open.
            Command::new(run).arg("start").stdin(std::process::Stdio::null()).output()
        });
        let output = output.await?.context("scripts/ministack")?;
        ensure!(
            output.status.success(),
            "scripts/ministack: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        let line = String::from_utf8_lossy(&output.stdout).into_owned();
        let (pid, port) = line.trim().split_once(' ').context("scripts/ministack prints PID PORT")?;
        Ok(Self { script, pid: pid.to_owned(), port: port.to_owned() })
    }

    /// Its address.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for Ministack {
    fn drop(&mut self) {
        Command::new(&self.script).args(["stop", &self.pid]).status().ok();
    }
}
