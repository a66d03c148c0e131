//! What a crash left running: a worker that was killed could not end its children, and the next one
//! would run their tasks beside them.

use std::fs;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getpid};
use stageline::task::WorkerId;
use tracing::{error, info};

use super::environment::{JOB_DIR, WORKER_ID};

/// Rounds of ending what is left; more than one only if it forks meanwhile.
const ROUNDS: u32 = 50;
const PAUSE: Duration = Duration::from_millis(20);

/// Ends every process that was started for a task in a job folder below `work_dir`. The caller makes sure
/// that no living worker has the folder.
pub async fn end_leftovers(work_dir: &Path) {
    // A folder that is not there has no jobs.
    let Ok(work_dir) = work_dir.canonicalize() else { return };
    let prefix = format!("{JOB_DIR}={}/", work_dir.display());
    end_all(|variable| variable.starts_with(prefix.as_bytes())).await;
}

/// Ends every process that was started for a task of this worker, which does not live any more.
pub(crate) async fn end_children_of(worker: &WorkerId) {
    let wanted = format!("{WORKER_ID}={worker}");
    end_all(|variable| variable == wanted.as_bytes()).await;
}

async fn end_all(wanted: impl Fn(&[u8]) -> bool) {
    for round in 0..ROUNDS {
        let left = with_variable(&wanted);
        if left.is_empty() {
            return;
        }
        if round == 0 {
            info!(processes = ?left, "a crash left these running; they are ended");
        }
        for pid in left {
            let _gone_already = kill(pid, Signal::SIGKILL);
        }
        tokio::time::sleep(PAUSE).await;
    }
    error!(processes = ?with_variable(&wanted), "what a crash left cannot be ended");
}

/// The processes with such a variable. The environment of one that has ended is empty.
fn with_variable(wanted: &impl Fn(&[u8]) -> bool) -> Vec<Pid> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let matching = |entry: fs::DirEntry| {
        let pid = Pid::from_raw(entry.file_name().to_str()?.parse().ok()?);
        let environment = fs::read(entry.path().join("environ")).ok()?;
        let mut variables = environment.split(|byte| *byte == 0);
        let found = variables.any(wanted);
        (found && pid != getpid()).then_some(pid)
    };
    entries.flatten().filter_map(matching).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    use super::*;

    #[tokio::test]
    async fn only_what_runs_below_the_folder_is_ended() {
        let folder = tempfile::tempdir().unwrap();
        let jobs = folder.path().canonicalize().unwrap().join("jobs");
        fs::create_dir(&jobs).unwrap();
        let start =
            |dir: std::path::PathBuf| Command::new("sleep").arg("600").env(JOB_DIR, dir).spawn().unwrap();
        let mut ours = start(jobs.join("t/1"));
        let mut others = start(folder.path().join("jobs-of-others/t/1"));
        end_leftovers(&jobs).await;
        assert_eq!(ours.wait().unwrap().signal(), Some(9));
        assert!(others.try_wait().unwrap().is_none());
        others.kill().unwrap();
        others.wait().unwrap();
        end_leftovers(&folder.path().join("absent")).await;
    }
}
