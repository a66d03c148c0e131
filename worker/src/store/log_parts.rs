//! Stores the logs of a running attempt, so that a killed worker's attempt leaves its log, and that of a running
//! one can be read.
//!
//! `TASK/log/ATTEMPT/stdout.log/000001` and so on: S3 cannot append, so a log is in parts, of which all but the
//! last have [`PART_BYTES`], and the last is replaced by a longer one as the log grows. They are read from the
//! file in the job folder, one at a time, whatever a child prints. When the whole log is stored they are removed.

use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use object_store::path::Path as Key;
use stageline::task::{Artifact, Attempt, Task, TaskId};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{Store, StoreError, beneath, task_part};
use crate::context::Context;

/// The logs of an attempt.
pub(super) const LOGS: [&str; 2] = ["stdout.log", "stderr.log"];
/// One of them is in memory at a time.
const PART_BYTES: u64 = 1 << 20;
/// The client tries again by itself; what takes longer is left to the next look.
const TO_STORE: Duration = Duration::from_secs(60);
/// For what is on its way when the attempt ends.
const TO_END: Duration = Duration::from_secs(5);
/// Few requests, but it may take as long as the store does.
const TO_FORGET: Duration = Duration::from_secs(15);

/// What the keys of a log's parts begin with.
pub(super) fn folder(id: &TaskId, attempt: Attempt, name: &str) -> String {
    format!("{}/log/{attempt}/{name}", task_part(id))
}

/// Stores parts beside the attempt, until it is told to end.
pub(crate) struct LogParts {
    over: CancellationToken,
    stored: Stored,
    storing: JoinHandle<()>,
}

/// What may be in the store of an attempt's parts.
pub(crate) struct Stored {
    store: Store,
    id: TaskId,
    attempt: Attempt,
    /// How many parts of each log were begun.
    begun: Arc<[AtomicU32; 2]>,
}

impl LogParts {
    /// Begins; `None` where logs are not stored while they grow.
    pub fn begin(task: &Task, job_dir: &Path, context: &Context) -> Option<Self> {
        let every = Duration::from_secs(context.config.log_part_seconds);
        let store = context.artifacts.clone().filter(|_| !every.is_zero())?;
        let (id, attempt, begun) = (task.id.clone(), task.attempt, Arc::<[AtomicU32; 2]>::default());
        let over = CancellationToken::new();
        let storing = Storing {
            to: Stored { store: store.clone(), id: id.clone(), attempt, begun: Arc::clone(&begun) },
            job_dir: job_dir.to_path_buf(),
            most: context.config.log_limit_bytes,
            over: over.clone(),
            logs: <[Log; 2]>::default(),
        };
        let storing = tokio::spawn(tracing::Instrument::in_current_span(storing.every(every)));
        Some(Self { over, stored: Stored { store, id, attempt, begun }, storing })
    }

    /// Ends it; gives what it has stored.
    pub async fn end(mut self) -> Stored {
        self.over.cancel();
        if tokio::time::timeout(TO_END, &mut self.storing).await.is_err() {
            self.storing.abort();
        }
        let Stored { store, id, attempt, begun } = &self.stored;
        Stored { store: store.clone(), id: id.clone(), attempt: *attempt, begun: Arc::clone(begun) }
    }
}

impl Drop for LogParts {
    fn drop(&mut self) {
        self.over.cancel();
    }
}

impl Stored {
    fn key(&self, log: usize, part: u32) -> Result<Key, StoreError> {
        self.store.key(&format!("{}/{part:06}", folder(&self.id, self.attempt, LOGS[log])))
    }

    /// Removes the parts of the logs that are in the store as a whole, as well as can be.
    pub async fn forget(&self, kept: &[Artifact]) {
        let whole = |name: &str| {
            kept.iter()
                .any(|file| file.name == name && file.uri.starts_with(&format!("{}/", self.store.base)))
        };
        let mut keys = Vec::new();
        for (log, name) in LOGS.iter().enumerate().filter(|(_, name)| whole(name)) {
            let begun = self.begun[log].load(Ordering::Relaxed);
            keys.extend((1..=begun).map(|part| self.key(log, part).map_err(|_| *name)));
        }
        let keys: Vec<_> = keys.into_iter().flatten().map(Ok).collect();
        if keys.is_empty() {
            return;
        }
        let removed = self.store.objects.delete_stream(futures::stream::iter(keys).boxed());
        // One that was never stored is as good as removed.
        let removed = removed.filter(|one| {
            let absent = matches!(one, Err(object_store::Error::NotFound { .. }));
            std::future::ready(!absent)
        });
        match tokio::time::timeout(TO_FORGET, removed.try_for_each(|_| async { Ok(()) })).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(%error, "parts of the log not removed"),
            Err(_elapsed) => warn!("parts of the log not removed in time"),
        }
    }
}

/// How far a log is stored.
#[derive(Default)]
struct Log {
    /// By which it is known whether it is still the same file.
    inode: Option<u64>,
    bytes: u64,
}

struct Storing {
    to: Stored,
    job_dir: PathBuf,
    /// Bytes that a log may have.
    most: u64,
    over: CancellationToken,
    logs: [Log; 2],
}

impl Storing {
    async fn every(mut self, every: Duration) {
        loop {
            tokio::select! {
                () = self.over.cancelled() => return,
                () = tokio::time::sleep(every) => {}
            }
            for (log, name) in LOGS.into_iter().enumerate() {
                match self.look(log).await {
                    Ok(0) => {}
                    Ok(bytes) => info!(name, bytes, "log stored so far"),
                    Err(error) => {
                        warn!(%error, name, "log not stored so far; tried again the next time");
                    }
                }
            }
        }
    }

    /// Stores what is new of a log; gives how much of it is stored then, or 0 for nothing new.
    async fn look(&mut self, log: usize) -> Result<u64, StoreError> {
        let mut news = 0;
        while !self.over.is_cancelled() {
            let (job_dir, most, from) = (self.job_dir.clone(), self.most, self.logs[log].bytes);
            let known = self.logs[log].inode;
            let read = move || read_part(&job_dir, LOGS[log], known, from / PART_BYTES, most);
            let read = tokio::task::spawn_blocking(read).await.map_err(io::Error::other)?;
            let Part { index, inode, bytes } = match read {
                Ok(part) => part,
                // Nothing was printed yet, or the task has removed it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(news),
                Err(error) => return Err(error.into()),
            };
            let (begins, length) = (index * PART_BYTES, bytes.len() as u64);
            if known == Some(inode) && begins + length <= from {
                return Ok(news);
            }
            let number = u32::try_from(index + 1).map_err(io::Error::other)?;
            self.to.begun[log].fetch_max(number, Ordering::Relaxed);
            let key = self.to.key(log, number)?;
            match tokio::time::timeout(TO_STORE, self.to.store.put_bytes(bytes, &key)).await {
                Ok(put) => put?,
                Err(_elapsed) => return Err(StoreError::Silent(TO_STORE.as_secs())),
            }
            news = begins + length;
            self.logs[log] = Log { inode: Some(inode), bytes: news };
            if length < PART_BYTES {
                break;
            }
        }
        Ok(news)
    }
}

struct Part {
    index: u64,
    inode: u64,
    bytes: Vec<u8>,
}

/// Reads the part with this index, or the first one when the file is not the known one.
fn read_part(job_dir: &Path, name: &str, known: Option<u64>, index: u64, most: u64) -> io::Result<Part> {
    let file = beneath::open(job_dir, name)?;
    let about = file.metadata()?;
    let index = if known == Some(about.ino()) { index } else { 0 };
    let begins = index * PART_BYTES;
    let length = about.len().min(most).saturating_sub(begins).min(PART_BYTES);
    let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read_at(&mut bytes[filled..], begins + filled as u64)? {
            0 => break,
            count => filled += count,
        }
    }
    bytes.truncate(filled);
    Ok(Part { index, inode: about.ino(), bytes })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;

    use aws_config::SdkConfig;

    use super::super::Address;
    use super::*;

    struct Bench {
        dir: tempfile::TempDir,
        storing: Storing,
    }

    impl Bench {
        fn new(most: u64) -> Self {
            let dir = tempfile::tempdir().unwrap();
            let address = Address::File(dir.path().join("store"));
            let store = Store::open(&address, &SdkConfig::builder().build()).unwrap();
            fs::create_dir(dir.path().join("job")).unwrap();
            let to = Stored { store, id: "t:1".parse().unwrap(), attempt: Attempt(2), begun: Arc::default() };
            let (job_dir, over) = (dir.path().join("job"), CancellationToken::new());
            Self { dir, storing: Storing { to, job_dir, most, over, logs: Default::default() } }
        }

        fn print(&self, bytes: &[u8]) {
            let path = self.dir.path().join("job/stdout.log");
            fs::File::options().append(true).create(true).open(path).unwrap().write_all(bytes).unwrap();
        }

        fn parts(&self) -> Vec<Vec<u8>> {
            let folder = self.dir.path().join("store/t~1/log/2/stdout.log");
            let mut names: Vec<_> =
                fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.path()).collect();
            names.sort();
            names.iter().map(|path| fs::read(path).unwrap()).collect()
        }
    }

    #[tokio::test]
    async fn the_parts_together_are_the_log_so_far_and_nothing_new_is_no_request() {
        let mut bench = Bench::new(u64::MAX);
        assert_eq!(bench.storing.look(0).await.unwrap(), 0);
        assert!(bench.parts().is_empty());
        let mut whole = Vec::new();
        for bytes in [3, 5, PART_BYTES as usize, 2 * PART_BYTES as usize - 8, 1] {
            let printed = vec![u8::try_from(bytes % 251).unwrap(); bytes];
            bench.print(&printed);
            whole.extend(printed);
            assert_eq!(bench.storing.look(0).await.unwrap(), whole.len() as u64);
            assert!(bench.parts().concat() == whole, "{bytes}");
            assert_eq!(bench.storing.look(0).await.unwrap(), 0, "{bytes}");
        }
        let sizes: Vec<_> = bench.parts().iter().map(|part| part.len() as u64).collect();
        assert_eq!(sizes, [PART_BYTES, PART_BYTES, PART_BYTES, 1]);
        let artifact = |uri: &str| {
            [Artifact { name: LOGS[0].to_owned(), uri: uri.to_owned(), size_bytes: None, sha256: None }]
        };
        bench.storing.to.forget(&artifact("file:///somewhere/else")).await;
        assert_eq!(bench.parts().len(), 4, "the log is not in the store");
        bench
            .storing
            .to
            .forget(&artifact(&format!("{}/t~1/2/stdout.log", bench.storing.to.store.base)))
            .await;
        assert!(bench.parts().is_empty());
    }

    #[tokio::test]
    async fn a_file_that_the_task_puts_in_its_place_is_bounded_and_no_link_is_followed() {
        let mut bench = Bench::new(10);
        bench.print(b"first");
        assert_eq!(bench.storing.look(0).await.unwrap(), 5);
        let job = bench.dir.path().join("job");
        fs::File::create(job.join("huge")).unwrap().set_len(1 << 40).unwrap();
        fs::rename(job.join("huge"), job.join("stdout.log")).unwrap();
        assert_eq!(bench.storing.look(0).await.unwrap(), 10);
        assert_eq!(bench.parts(), [[0; 10]]);
        fs::remove_file(job.join("stdout.log")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", job.join("stdout.log")).unwrap();
        assert!(bench.storing.look(0).await.is_err());
        assert_eq!(bench.parts(), [[0; 10]]);
    }
}
