//! What a job folder may take of the disk, on a real worker with real processes.
#![allow(clippy::unwrap_used, reason = "a test's helpers fail as the test does")]

mod support;

use std::time::{Duration, Instant};

use serde_json::json;
use stageline::task::{ErrorKind, Status, Task};
use support::{Bench, reason};

/// Some 19 MiB, more than twice the quota.
const MUCH: &str = "head -c 20000000 /dev/zero";

#[track_caller]
fn is_over(task: &Task, words: &str) {
    let (code, message) = reason(task);
    assert_eq!(code, "DISK_QUOTA_EXCEEDED", "{message}");
    assert_eq!(task.error_details.as_ref().unwrap().kind, ErrorKind::Fatal);
    assert_eq!((task.status, task.attempt.0), (Status::Failed, 1));
    assert!(message.contains(words) && message.contains("resources.diskMb"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_folder_that_takes_too_much_ends_its_task_however_it_was_filled() {
    let bench = Bench::start(&[("JOB_QUOTA_MB", "8")]).await;
    let many = "python3 -c 'for n in range(3000): open(str(n), \"w\").write(\"x\" * 4096)'; sleep 600";
    let started = Instant::now();
    let (flat, deep) =
        (format!("{MUCH} > big; sleep 600"), format!("mkdir -p a/b; {MUCH} > a/b/c; sleep 600"));
    let (one, many, asks_more, asks_less) = tokio::join!(
        bench.script(&flat, json!({})),
        bench.script(many, json!({})),
        bench.script(&deep, json!({"diskMb": 1000})),
        bench.script("head -c 3000000 /dev/zero > big; sleep 600", json!({"diskMb": 2})),
    );
    is_over(&bench.ended(&one).await, "took 20 MiB of the disk");
    is_over(&bench.ended(&many).await, "names), more than the 8 MiB");
    is_over(&bench.ended(&asks_more).await, "more than the 8 MiB");
    is_over(&bench.ended(&asks_less).await, "more than the 2 MiB");
    assert!(started.elapsed() < Duration::from_secs(30));
    // Nobody can be too quick for it.
    is_over(&bench.run(&format!("{MUCH} > big"), json!({})).await, "took 20 MiB of the disk");
    bench.system.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_name_in_the_job_folder_does_not_count() {
    let bench = Bench::start(&[("JOB_QUOTA_MB", "8")]).await;
    let outside = bench.folder.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("large"), vec![1; 20_000_000]).unwrap();
    let outside = outside.display();
    let links =
        format!("ln -s {outside}/large file; ln -s {outside} folder; ln -s . loop; sleep 2.5; echo fine");
    let deleted = format!("exec 3>gone; rm gone; {MUCH} >&3; sleep 2.5; echo fine");
    let sparse = "truncate -s 1G holes; sleep 2.5; echo fine";
    let logged = format!("{MUCH} | tr '\\0' 'x' | fold; echo fine");
    let (links, deleted, sparse, logged) = tokio::join!(
        bench.script(&links, json!({})),
        bench.script(&deleted, json!({})),
        bench.script(sparse, json!({})),
        bench.script(&logged, json!({})),
    );
    for id in [links, deleted, sparse, logged] {
        let task = bench.ended(&id).await;
        assert_eq!(task.status, Status::Completed, "{:?}", task.status_reason);
        assert!(task.stdout.unwrap().ends_with("fine\n"));
    }
    bench.system.shutdown().await;
}
