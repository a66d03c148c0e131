//! What a job folder takes of the disk. A quota of the file system's own needs its administrator, so the folder is
//! walked now and then: what grows faster overshoots by what it writes until the next look.
//!
//! The folder is the task's to fill, so a walk is bounded: it follows no link and leaves the file system nowhere,
//! and what is too much or too deep to be counted is too much. A file that was deleted and is still open has no
//! name and is not counted; its space is free again when its process ends.

use std::collections::HashSet;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat};
use stageline::Code;
use stageline::protocol::outcome::Failure;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::debug;

/// Between two looks at a folder that is quickly walked.
const LOOK: Duration = Duration::from_secs(1);
/// A walk that takes longer is followed by this many times as long a pause: at most a twentieth of a core.
const PAUSES: u32 = 20;
/// How long the look at what a task has left is waited for.
const LAST_LOOK: Duration = Duration::from_secs(10);
/// More names than any job has; counting them takes some fifteen seconds.
const MOST_NAMES: u64 = 5_000_000;
/// Folders in folders. Each that is being looked into takes two file descriptors.
const DEEPEST: usize = 64;
/// Files with several names that are remembered; further ones count with each name.
const MOST_LINKED: usize = 1_000_000;
/// `stat` counts blocks of this size, whatever those of the disk are.
const BLOCK_BYTES: u64 = 512;
const MEBIBYTE: u64 = 1024 * 1024;
/// What the worker writes itself, with a limit of its own.
const LOGS: [&[u8]; 2] = [b"stdout.log", b"stderr.log"];
/// What a log may take beyond its bytes: its last block.
const LAST_BLOCK: u64 = 64 * 1024;

/// Walks at once in this process, however many slots it has.
static WALKS: Semaphore = Semaphore::const_new(2);

/// Watches one job folder.
pub(super) struct DiskWatch {
    job_dir: PathBuf,
    limit_mb: Option<u64>,
    /// How much each log may take without being counted.
    log_bytes: u64,
    /// When the next walk begins.
    next: Instant,
    walk: Option<Walking>,
}

struct Walking {
    over: Arc<AtomicBool>,
    walk: JoinHandle<(io::Result<Usage>, Duration)>,
}

impl Drop for Walking {
    fn drop(&mut self) {
        // A thread cannot be stopped from outside: it looks at this.
        self.over.store(true, Ordering::Relaxed);
    }
}

impl DiskWatch {
    /// Watches `job_dir`, in which each of the worker's logs takes at most `log_bytes`.
    pub fn new(job_dir: &Path, limit_mb: Option<u64>, log_bytes: u64) -> Self {
        let next = Instant::now() + LOOK;
        Self { job_dir: job_dir.to_path_buf(), limit_mb, log_bytes, next, walk: None }
    }

    /// Waits until the folder takes more than it may; for ever without a limit. May be dropped and called again.
    pub async fn exceeded(&mut self) -> Failure {
        let Some(limit_mb) = self.limit_mb else { return std::future::pending().await };
        loop {
            tokio::time::sleep_until(self.next).await;
            if let Some(failure) = self.look(limit_mb).await {
                return failure;
            }
        }
    }

    /// Looks at what was left; nothing is found wrong where that takes too long.
    pub async fn last_look(&mut self) -> Option<Failure> {
        let limit_mb = self.limit_mb?;
        // What was being counted was not all.
        self.walk = None;
        tokio::time::timeout(LAST_LOOK, self.look(limit_mb)).await.ok().flatten()
    }

    async fn look(&mut self, limit_mb: u64) -> Option<Failure> {
        if self.walk.is_none() {
            // Never closed.
            let permit = WALKS.acquire().await.ok()?;
            let (job_dir, log_bytes) = (self.job_dir.clone(), self.log_bytes);
            let over = Arc::new(AtomicBool::new(false));
            let seen = Arc::clone(&over);
            let walk = tokio::task::spawn_blocking(move || {
                let begun = std::time::Instant::now();
                let used = used(&job_dir, log_bytes, &seen);
                drop(permit);
                (used, begun.elapsed())
            });
            self.walk = Some(Walking { over, walk });
        }
        let ended = match &mut self.walk {
            Some(walking) => (&mut walking.walk).await,
            None => return None,
        };
        self.walk = None;
        let (used, took) = ended.unwrap_or_else(|error| (Err(io::Error::other(error)), Duration::ZERO));
        self.next = Instant::now() + pause_after(took);
        match used {
            Ok(used) => verdict(&used, limit_mb),
            Err(error) => {
                debug!(%error, "the job folder was not counted this time");
                None
            }
        }
    }
}

fn pause_after(walk: Duration) -> Duration {
    (walk * PAUSES).max(LOOK)
}

/// What a folder takes.
#[derive(Debug, Default, PartialEq, Eq)]
struct Usage {
    bytes: u64,
    names: u64,
    /// Why it cannot be counted to its end.
    uncounted: Option<&'static str>,
}

fn verdict(used: &Usage, limit_mb: u64) -> Option<Failure> {
    let advice = "raise `resources.diskMb` (or `job_quota_mb` of the worker's configuration), or let the task write less";
    let message = if used.bytes > limit_mb.saturating_mul(MEBIBYTE) {
        format!(
            "its job folder took {} MiB of the disk ({} names), more than the {limit_mb} MiB that it may; {advice}",
            used.bytes.div_ceil(MEBIBYTE),
            used.names
        )
    } else {
        let why = used.uncounted?;
        format!("its job folder may take {limit_mb} MiB of the disk, and cannot be counted: {why}")
    };
    // The next attempt would write as much.
    Some(Failure::fatal(Code::DiskQuotaExceeded, message))
}

const FOLDER: OFlag =
    OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// Counts what the folder takes; `over` breaks it off.
fn used(job_dir: &Path, log_bytes: u64, over: &AtomicBool) -> io::Result<Usage> {
    let root = match open(job_dir, FOLDER, Mode::empty()) {
        Err(Errno::ENOENT) => return Ok(Usage::default()),
        opened => opened?,
    };
    let device = fstat(&root)?.st_dev;
    let me = nix::unistd::geteuid().as_raw();
    let mut walk = Walk { device, me, log_bytes, over, linked: HashSet::new(), usage: Usage::default() };
    walk.folder(root, 0)?;
    Ok(walk.usage)
}

struct Walk<'a> {
    device: nix::libc::dev_t,
    me: u32,
    log_bytes: u64,
    over: &'a AtomicBool,
    /// Files with several names that were met.
    linked: HashSet<u64>,
    usage: Usage,
}

impl Walk<'_> {
    fn folder(&mut self, fd: OwnedFd, depth: usize) -> io::Result<()> {
        // What lies in it is opened beside the handle that lists it.
        let mut listed = Dir::from_fd(fd.try_clone()?)?;
        for entry in listed.iter() {
            if self.over.load(Ordering::Relaxed) {
                return Err(io::ErrorKind::Interrupted.into());
            }
            if self.usage.uncounted.is_some() {
                return Ok(());
            }
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            self.usage.names += 1;
            if self.usage.names > MOST_NAMES {
                self.usage.uncounted = Some("there are more than five million names in it");
                return Ok(());
            }
            let found = match fstatat(&fd, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
                // Gone meanwhile.
                Err(Errno::ENOENT) => continue,
                found => found?,
            };
            // Another file system begins here.
            if found.st_dev != self.device {
                continue;
            }
            let is_log = depth == 0 && LOGS.contains(&name.to_bytes());
            self.usage.bytes = self.usage.bytes.saturating_add(self.counts(&found, is_log));
            if kind(&found) == SFlag::S_IFDIR {
                self.enter(&fd, name, &found, depth + 1)?;
            }
        }
        Ok(())
    }

    fn enter(
        &mut self,
        above: impl AsFd,
        name: &std::ffi::CStr,
        found: &FileStat,
        depth: usize,
    ) -> io::Result<()> {
        if depth > DEEPEST {
            self.usage.uncounted = Some("there are more than 64 folders in each other");
            return Ok(());
        }
        match openat(above, name, FOLDER, Mode::empty()) {
            Ok(fd) => self.folder(fd, depth),
            // Gone meanwhile, or no folder any more.
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => Ok(()),
            Err(Errno::EACCES) => {
                // Of another user, such as a container's, it is nobody's fault.
                if found.st_uid == self.me {
                    self.usage.uncounted = Some("there is a folder in it that cannot be read");
                }
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// What a name takes: blocks, so that what was never written of a file does not count.
    fn counts(&mut self, found: &FileStat, is_log: bool) -> u64 {
        let is_folder = kind(found) == SFlag::S_IFDIR;
        if found.st_nlink > 1 && !is_folder {
            let known = self.linked.contains(&found.st_ino);
            if known {
                return 0;
            }
            if self.linked.len() < MOST_LINKED {
                self.linked.insert(found.st_ino);
            }
        }
        let bytes = u64::try_from(found.st_blocks).unwrap_or(0).saturating_mul(BLOCK_BYTES);
        match is_log {
            true => bytes.saturating_sub(self.log_bytes.saturating_add(LAST_BLOCK)),
            false => bytes,
        }
    }
}

fn kind(found: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(found.st_mode & SFlag::S_IFMT.bits())
}

#[cfg(test)]
#[path = "disk_tests.rs"]
mod tests;
