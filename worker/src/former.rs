//! Former selves: workers that had the same folder and died. Each living one holds the lock of a file that
//! is called after it, which the system gives back when the process ends, however it ends. Whoever can take
//! the lock of another's file knows that one to be dead, without waiting for its lease.

use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use stageline::Clock;
use stageline::aws::{Aws, AwsError};
use stageline::task::WorkerId;
use tracing::{info, warn};

use crate::Config;
use crate::child::end_children_of;
use crate::engines::remove_containers_of;
use crate::rescue::rescue;

/// The folder of these files below the worker's own.
const FOLDER: &str = "workers";
const EXTENSION: &str = "lock";

/// A worker's proof of life to others on the same host. A child does not inherit it past its `exec`.
pub(crate) struct LifeLock {
    path: PathBuf,
    _locked: File,
}

impl LifeLock {
    /// Takes the lock of `worker`.
    pub fn take(work_dir: &Path, worker: &WorkerId) -> io::Result<Self> {
        let folder = work_dir.join(FOLDER);
        fs::create_dir_all(&folder)?;
        let path = folder.join(file_name(worker));
        // Locked before it has the name under which others look at it.
        let unnamed = path.with_extension("new");
        let file = File::create(&unnamed)?;
        file.try_lock()?;
        fs::rename(&unnamed, &path)?;
        Ok(Self { path, _locked: file })
    }

    /// A clean end: there is nothing that a successor has to do.
    pub fn give_up(self) {
        if let Err(error) = fs::remove_file(&self.path) {
            warn!(%error, path = %self.path.display(), "not removed; the next worker finds nothing to do for it");
        }
    }
}

/// Ends what dead workers left on this host, and takes their tasks from them; `me` is who does it. What
/// cannot be done now is left to whoever comes next, and to the sweeper.
pub(crate) async fn settle_former_selves(config: &Config, aws: &Aws, me: &WorkerId, clock: &Clock) {
    for (former, dead) in dead_workers(&config.work_dir.join(FOLDER)) {
        info!(worker.id = %former, "a former self died on this host");
        end_children_of(&former).await;
        remove_containers_of(&former, config).await;
        match rescue_all(aws, &former, me, clock).await {
            Ok(()) => dead.give_up(),
            Err(error) => warn!(%error, worker.id = %former, "a former self's tasks are not rescued yet"),
        }
    }
}

async fn rescue_all(aws: &Aws, former: &WorkerId, me: &WorkerId, clock: &Clock) -> Result<(), AwsError> {
    let listed = aws.workers.registered(former).await?.into_iter().map(|listed| listed.id);
    // A task may be on two pages, and a read takes a key once.
    let listed: Vec<_> = listed.collect::<BTreeSet<_>>().into_iter().collect();
    for task in aws.tasks.read(&listed).await?.values() {
        if task.is_held_by(former) {
            let _moved_on_otherwise = rescue(aws, task, former, me, clock.now()).await?;
        }
    }
    aws.workers.remove(former).await
}

/// The workers of this folder that do not live, each with its lock.
fn dead_workers(folder: &Path) -> Vec<(WorkerId, LifeLock)> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let dead = |entry: fs::DirEntry| {
        let path = entry.path();
        let worker = worker_of(&path)?;
        let file = File::open(&path).ok()?;
        match file.try_lock() {
            Ok(()) => Some((worker, LifeLock { path, _locked: file })),
            Err(TryLockError::WouldBlock) => None,
            Err(TryLockError::Error(error)) => {
                warn!(%error, path = %path.display(), "whether this worker lives cannot be told");
                None
            }
        }
    };
    entries.flatten().filter_map(dead).collect()
}

/// The tilde is no character of ids, so two ids never share a file.
fn file_name(worker: &WorkerId) -> String {
    format!("{}.{EXTENSION}", worker.as_str().replace(':', "~"))
}

fn worker_of(path: &Path) -> Option<WorkerId> {
    let name = path.file_name()?.to_str()?.strip_suffix(EXTENSION)?.strip_suffix('.')?;
    name.replace('~', ":").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_worker_whose_lock_is_free_is_dead() {
        let work_dir = tempfile::tempdir().unwrap();
        let folder = work_dir.path().join(FOLDER);
        assert!(dead_workers(&folder).is_empty(), "no folder, nobody");
        let [living, dead, gone] = ["host.a:1:a", "host.a:2:b", "host.a:3:c"].map(|id| id.parse().unwrap());
        let _living = LifeLock::take(work_dir.path(), &living).unwrap();
        drop(LifeLock::take(work_dir.path(), &dead).unwrap());
        LifeLock::take(work_dir.path(), &gone).unwrap().give_up();
        fs::write(folder.join("somebody's notes"), "").unwrap();
        let found = dead_workers(&folder);
        assert_eq!(found.iter().map(|(id, _)| id).collect::<Vec<_>>(), [&dead]);
        assert!(dead_workers(&folder).is_empty(), "another one is at it");
        found.into_iter().for_each(|(_, lock)| lock.give_up());
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 2);
    }

    #[test]
    fn a_worker_is_found_again_by_its_file() {
        for host in ["h", "my.host-1", "ünïcode"] {
            let id = WorkerId::fresh(host);
            assert_eq!(worker_of(Path::new("/w").join(file_name(&id)).as_path()), Some(id));
        }
    }
}
