//! The processes of the machine: which there are, and which of them a test has marked.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A process of the machine.
#[derive(Debug)]
pub struct Process {
    pub pid: Pid,
    path: PathBuf,
}

impl Process {
    fn strings(&self, file: &str) -> Vec<Vec<u8>> {
        let bytes = std::fs::read(self.path.join(file)).unwrap_or_default();
        bytes.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect()
    }

    /// Whether it runs this program.
    pub fn is_called(&self, name: &str) -> bool {
        std::fs::read_to_string(self.path.join("comm")).is_ok_and(|comm| comm.trim_end() == name)
    }

    pub(super) fn parent(&self) -> Option<Pid> {
        let stat = std::fs::read_to_string(self.path.join("stat")).ok()?;
        let parent = stat[stat.rfind(')')? + 1..].split_whitespace().nth(1)?;
        Some(Pid::from_raw(parent.parse().ok()?))
    }

    pub(super) fn environment(&self) -> impl Iterator<Item = Vec<u8>> {
        self.strings("environ").into_iter()
    }
}

pub(super) fn processes() -> Vec<Process> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let process = |entry: std::fs::DirEntry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        Some(Process { pid: Pid::from_raw(pid), path: entry.path() })
    };
    entries.filter_map(process).collect()
}

/// A duration for `sleep`, of ten minutes, that no other process of the machine has among its arguments.
/// Dropped, the processes that have it are killed.
pub struct Mark(String);

impl Mark {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        Self(format!("600.{:07}{:03}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The running processes with the mark among their arguments.
    pub fn processes(&self) -> Vec<Process> {
        let marked = |arg: &Vec<u8>| String::from_utf8_lossy(arg).contains(&self.0);
        processes().into_iter().filter(|process| process.strings("cmdline").iter().any(marked)).collect()
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        for process in self.processes() {
            let _gone_already = kill(process.pid, Signal::SIGKILL);
        }
    }
}
