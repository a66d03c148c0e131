use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

const MB: usize = 1024 * 1024;

fn counted(folder: &Path) -> Usage {
    used(folder, 0, &AtomicBool::new(false)).unwrap()
}

/// In MiB, as disks round a little.
fn taken(folder: &Path) -> u64 {
    counted(folder).bytes.div_ceil(MEBIBYTE / 2) / 2
}

fn fill(path: &Path, bytes: usize) {
    fs::write(path, vec![1; bytes]).unwrap();
}

#[test]
fn files_count_by_their_blocks_and_each_once() {
    let root = tempfile::tempdir().unwrap();
    let (job, outside) = (root.path().join("job"), root.path().join("outside"));
    fs::create_dir_all(job.join("a/b")).unwrap();
    fs::create_dir(&outside).unwrap();
    assert_eq!(taken(&job), 0);
    fill(&job.join("a/b/file"), 2 * MB);
    assert_eq!(taken(&job), 2);
    fs::hard_link(job.join("a/b/file"), job.join("again")).unwrap();
    File::create(job.join("sparse")).unwrap().set_len(1 << 40).unwrap();
    fill(&outside.join("large"), 4 * MB);
    symlink(outside.join("large"), job.join("link")).unwrap();
    symlink(&outside, job.join("folder")).unwrap();
    symlink(&job, job.join("a/loop")).unwrap();
    assert_eq!(taken(&job), 2);
    // Deleted and still open: nobody sees it.
    let path = job.join("open");
    fill(&path, 3 * MB);
    let _open = File::open(&path).unwrap();
    assert_eq!(taken(&job), 5);
    fs::remove_file(&path).unwrap();
    assert_eq!(taken(&job), 2);
    assert_eq!(counted(&root.path().join("absent")), Usage::default());
}

#[test]
fn the_workers_logs_count_only_beyond_their_own_limit() {
    let job = tempfile::tempdir().unwrap();
    fill(&job.path().join("stdout.log"), 3 * MB);
    fs::create_dir(job.path().join("sub")).unwrap();
    let with = |log_bytes| used(job.path(), log_bytes, &AtomicBool::new(false)).unwrap().bytes;
    assert!(with(3 * MEBIBYTE) < MEBIBYTE);
    // What a task puts there under their name is its own.
    assert!(with(MEBIBYTE) > MEBIBYTE);
    fs::rename(job.path().join("stdout.log"), job.path().join("sub/stdout.log")).unwrap();
    assert!(with(3 * MEBIBYTE) >= 3 * MEBIBYTE);
}

#[test]
fn what_cannot_be_counted_is_too_much() {
    let job = tempfile::tempdir().unwrap();
    let mut deep = job.path().to_path_buf();
    for _ in 0..DEEPEST {
        deep.push("d");
    }
    fs::create_dir_all(&deep).unwrap();
    assert_eq!(counted(job.path()).uncounted, None);
    fs::create_dir(deep.join("d")).unwrap();
    let too_deep = counted(job.path());
    let failure = verdict(&too_deep, 1_000).unwrap();
    assert!(failure.message.contains("64 folders") && failure.message.contains("1000 MiB"), "{failure:?}");
    fs::remove_dir(deep.join("d")).unwrap();
    // Root reads everything.
    if !nix::unistd::geteuid().is_root() {
        fs::set_permissions(&deep, fs::Permissions::from_mode(0o300)).unwrap();
        assert!(counted(job.path()).uncounted.unwrap().contains("cannot be read"));
        fs::set_permissions(&deep, fs::Permissions::from_mode(0o700)).unwrap();
    }
}

#[test]
fn the_failure_says_how_much_it_was_and_is_final() {
    let used = |bytes| Usage { bytes, names: 7, uncounted: None };
    assert_eq!(verdict(&used(5 * MEBIBYTE), 5), None);
    let failure = verdict(&used(5 * MEBIBYTE + 1), 5).unwrap();
    assert_eq!((failure.code, failure.kind), (Code::DiskQuotaExceeded, stageline::task::ErrorKind::Fatal));
    for words in ["6 MiB", "7 names", "5 MiB", "resources.diskMb", "job_quota_mb"] {
        assert!(failure.message.contains(words), "{}", failure.message);
    }
}

#[test]
fn a_walk_takes_a_twentieth_of_a_core_at_most_and_can_be_broken_off() {
    assert_eq!(pause_after(Duration::from_millis(1)), LOOK);
    assert_eq!(pause_after(Duration::from_secs(3)), Duration::from_secs(60));
    let job = tempfile::tempdir().unwrap();
    fill(&job.path().join("file"), 1);
    let broken_off = used(job.path(), 0, &AtomicBool::new(true));
    assert_eq!(broken_off.unwrap_err().kind(), io::ErrorKind::Interrupted);
}

#[tokio::test]
async fn a_look_that_is_dropped_half_way_goes_on_and_the_last_one_begins_anew() {
    let job = tempfile::tempdir().unwrap();
    let mut watch = DiskWatch::new(job.path(), Some(1), 0);
    watch.next = Instant::now();
    for _ in 0..3 {
        let dropped = tokio::time::timeout(Duration::ZERO, watch.exceeded()).await;
        assert!(dropped.is_err());
    }
    assert_eq!(watch.last_look().await, None);
    fill(&job.path().join("file"), 2 * MB);
    assert!(watch.last_look().await.is_some());
    watch.next = Instant::now();
    let found = tokio::time::timeout(Duration::from_secs(10), watch.exceeded()).await.unwrap();
    assert_eq!(found.code, Code::DiskQuotaExceeded);
    let mut unlimited = DiskWatch::new(job.path(), None, 0);
    assert_eq!(unlimited.last_look().await, None);
}
