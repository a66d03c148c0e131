//! 1 GB of a child's output through a worker with an artifact store: memory, heartbeats, and every byte.
#![allow(clippy::unwrap_used, reason = "a test's helpers fail as the test does")]

mod support;

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use stageline::task::Status;
use support::Bench;

const BYTES: u64 = 1 << 30;
const MOST_MB: u64 = 64;

/// What a process has of memory now, in KiB.
fn resident_kb(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse().ok()).unwrap_or_default()
}

fn sha256(path: &str) -> String {
    let said = Command::new("sha256sum").arg(path).output().unwrap();
    assert!(said.status.success(), "{said:?}");
    String::from_utf8(said.stdout).unwrap().split(' ').next().unwrap().to_owned()
}

/// `scripts/flood` runs it, optimised: unoptimised it takes two cores for the better part of a minute, and the disk
/// for three GB. Of the same kind in the suite: the flood of 300 MB in `limits.rs`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes long; scripts/flood runs it"]
async fn a_gigabyte_of_output_is_stored_to_the_last_byte_by_a_worker_of_less_than_64_mib() {
    let store = tempfile::tempdir().unwrap();
    let url = format!("file://{}", store.path().display());
    let limit = BYTES.to_string();
    // Parts of the log are stored meanwhile, as in a task that takes longer.
    let settings =
        [("ARTIFACTS_URL", url.as_str()), ("LOG_LIMIT_BYTES", limit.as_str()), ("LOG_PART_SECONDS", "1")];
    let bench = Bench::start(&settings).await;
    let pid = bench.worker.id().unwrap();
    let (over, most) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let sampling = std::thread::spawn({
        let (over, most) = (Arc::clone(&over), Arc::clone(&most));
        move || {
            let mut samples = 0;
            while !over.load(Ordering::Relaxed) {
                most.fetch_max(resident_kb(pid), Ordering::Relaxed);
                samples += 1;
                std::thread::sleep(Duration::from_millis(10));
            }
            samples
        }
    });
    // Numbered lines, so that none can take the place of another. The child itself says what it has printed.
    let text = format!(
        "mkfifo copy; sha256sum < copy > sum & seq -f 'step %012g of a long run, energy -1234.5678, residual 1e-07' \
         20000000 | head -c {BYTES} | tee copy; wait"
    );
    let started = Instant::now();
    let id = bench.script(&text, json!({})).await;
    let workers = &bench.system.aws().workers;
    let (mut beats, mut last) = (vec![Instant::now()], None);
    let mut printed = None;
    while !bench.system.aws().tasks.get(&id).await.unwrap().unwrap().status.is_terminal() {
        let beat = workers.all().await.unwrap().values().next().map(|worker| worker.beat.clone());
        if beat != last {
            beats.push(Instant::now());
            last = beat;
        }
        let sum = bench.job(&id).join("sum");
        if printed.is_none() && sum.metadata().is_ok_and(|about| about.len() > 0) {
            printed = Some(started.elapsed());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    beats.push(Instant::now());
    let took = started.elapsed();
    let longest = beats.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default();
    over.store(true, Ordering::Relaxed);
    let samples = sampling.join().unwrap();
    let most_mb = most.load(Ordering::Relaxed) / 1024;
    eprintln!(
        "{BYTES} bytes: printed in {printed:?}, ended after {took:?}; at most {most_mb} MiB resident ({samples} samples); {} \
         beats, longest gap {longest:?}",
        beats.len()
    );
    let task = bench.ended(&id).await;
    assert_eq!(task.status, Status::Completed, "{:?}", task.status_reason);
    let log = task.artifacts.as_deref().unwrap().first().unwrap();
    let stored = log.uri.strip_prefix("file://").unwrap();
    assert!(stored.starts_with(store.path().canonicalize().unwrap().to_str().unwrap()), "{log:?}");
    assert_eq!((log.size_bytes, std::fs::metadata(stored).unwrap().len()), (Some(BYTES), BYTES));
    let said = std::fs::read_to_string(bench.job(&id).join("sum")).unwrap();
    let said = said.split(' ').next().map(str::to_owned);
    assert_eq!((log.sha256.as_ref(), Some(sha256(stored))), (said.as_ref(), said.clone()));
    let parts = store.path().join(id.as_str()).join("log/1/stdout.log");
    assert!(parts.is_dir() && parts.read_dir().unwrap().next().is_none(), "parts were stored and are gone");
    assert!(most_mb < MOST_MB, "{most_mb} MiB");
    // Two thirds of the lease of 2 s without a heartbeat, and the worker would have stopped its tasks.
    assert_eq!((task.attempt.0, task.interruptions), (1, None));
    assert!(longest < Duration::from_secs(2), "no heartbeat for {longest:?}");
    bench.system.shutdown().await;
}
