//! Removes job folders that are old enough, so that a worker's disk does not fill up for ever.
//!
//! A folder is looked at only if it is called as this worker calls its own, `TASK/ATTEMPT`, with links followed
//! nowhere. Its age is that of its newest name: the time of the folder itself and of what lies right in it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use stageline::task::TaskId;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::context::Context;
use crate::store::STAGING;

const DAY: Duration = Duration::from_secs(24 * 3600);
const BETWEEN: Duration = Duration::from_secs(3600);

/// Removes old folders now and every hour, until `over`.
pub(crate) async fn keep_removing(context: Arc<Context>, over: CancellationToken) {
    let Some(days) = context.config.keep_job_days else { return };
    loop {
        let (work_dir, running) = (context.config.work_dir.clone(), Arc::clone(&context.running));
        let removed = tokio::task::spawn_blocking(move || {
            let inside = working_folders();
            let is_used = |task: &TaskId, folder: &Path| {
                !running.held(Some(std::slice::from_ref(task))).is_empty()
                    || inside.iter().any(|inside| inside.starts_with(folder))
            };
            remove_old(&work_dir, DAY * days, SystemTime::now(), is_used)
        });
        match removed.await.map_err(io::Error::other).flatten() {
            Ok(0) => {}
            Ok(count) => info!(count, days, "old job folders removed"),
            Err(error) => warn!(%error, "old job folders are not looked for"),
        }
        tokio::select! {
            () = over.cancelled() => return,
            () = tokio::time::sleep(BETWEEN) => {}
        }
    }
}

/// Where processes work. Another worker may have the same folder, and its attempts run there.
fn working_folders() -> Vec<PathBuf> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes.filter_map(|process| fs::read_link(process.path().join("cwd")).ok()).collect()
}

/// Removes the folders of attempts that are older than `age` and not used; gives how many.
fn remove_old(
    work_dir: &Path,
    age: Duration,
    now: SystemTime,
    is_used: impl Fn(&TaskId, &Path) -> bool,
) -> io::Result<usize> {
    let mut removed = 0;
    for (name, task_folder) in folders(work_dir)? {
        let Ok(task) = name.replace('~', ":").parse::<TaskId>() else { continue };
        let before = removed;
        for (name, folder) in folders(&task_folder).unwrap_or_default() {
            // Beside it may be what a killed worker had fetched for it.
            let attempt = name.strip_suffix(STAGING).and_then(|rest| rest.strip_suffix('.')).unwrap_or(&name);
            if !attempt.parse().is_ok_and(|number: u32| number.to_string() == attempt) {
                continue;
            }
            let is_old = newest(&folder)
                .is_ok_and(|newest| now.duration_since(newest).is_ok_and(|passed| passed > age));
            if !is_old || is_used(&task, &folder) {
                continue;
            }
            // It does not follow links.
            match fs::remove_dir_all(&folder) {
                Ok(()) => removed += 1,
                Err(error) => warn!(%error, folder = %folder.display(), "old job folder not removed"),
            }
        }
        if removed > before {
            let _has_other_attempts = fs::remove_dir(&task_folder);
        }
    }
    Ok(removed)
}

/// The folders right in one; no links.
fn folders(path: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let entries = fs::read_dir(path)?.flatten();
    let real = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    Ok(real.filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.path()))).collect())
}

fn newest(folder: &Path) -> io::Result<SystemTime> {
    let mut newest = folder.symlink_metadata()?.modified()?;
    for entry in fs::read_dir(folder)? {
        newest = newest.max(entry?.metadata()?.modified()?);
    }
    Ok(newest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_old_folders_of_attempts_that_do_not_run_are_removed() {
        let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let root = dir.path();
        for folder in [
            "t/1",
            "t/2",
            "a~b/1",
            "run/7",
            "a~b/2.resume",
            "t/1.other",
            "t/007",
            ".cache/1",
            "workers/x",
            "u/1",
        ] {
            fs::create_dir_all(root.join(folder)).unwrap();
            fs::write(root.join(folder).join("f"), "").unwrap();
        }
        std::os::unix::fs::symlink(outside.path(), root.join("link")).unwrap();
        fs::create_dir(outside.path().join("1")).unwrap();
        std::os::unix::fs::symlink(outside.path(), root.join("u/2")).unwrap();
        let used = |task: &TaskId, folder: &Path| task.as_str() == "run" && folder.ends_with("run/7");
        let now = SystemTime::now();
        assert_eq!(remove_old(root, DAY, now + DAY / 2, used).unwrap(), 0);
        assert_eq!(remove_old(root, DAY, now + DAY * 2, used).unwrap(), 5);
        for gone in ["t/1", "t/2", "a~b", "u/1"] {
            assert!(!root.join(gone).exists(), "{gone}");
        }
        for kept in ["run/7/f", "t/1.other", "t/007", ".cache/1/f", "workers/x", "u/2", "link/1"] {
            assert!(root.join(kept).exists(), "{kept}");
        }
    }

    #[test]
    fn what_was_written_lately_is_not_old() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("t/1");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("f"), "").unwrap();
        let old = SystemTime::now() - DAY * 9;
        fs::File::open(&folder).unwrap().set_modified(old).unwrap();
        assert_eq!(remove_old(dir.path(), DAY, SystemTime::now(), |_, _| false).unwrap(), 0);
    }
}
