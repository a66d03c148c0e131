//! What `resources` bound, on a real worker with real processes.
#![allow(clippy::unwrap_used, reason = "a test's helpers fail as the test does")]

mod support;

use std::time::{Duration, Instant};

use serde_json::json;
use stageline::aws::Request;
use stageline::task::{ErrorDetails, ErrorKind, Status, Task};
use support::{Bench, reason};

fn kind(task: &Task) -> ErrorKind {
    let ErrorDetails { kind, .. } = task.error_details.clone().unwrap();
    kind
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_grows_beyond_its_limit_ends_its_task_with_what_to_raise() {
    let bench = Bench::start(&[]).await;
    let task = bench.run("head -c 3000000 /dev/zero > big; exit $?", json!({"fileSizeMb": 1})).await;
    let (code, message) = reason(&task);
    assert_eq!((code.as_str(), kind(&task)), ("EXIT_NON_ZERO", ErrorKind::Fatal), "{message}");
    assert!(message.contains("larger than the 1 MiB") && message.contains("fileSizeMb"), "{message}");
    assert_eq!(bench.job(&task.id).join("big").metadata().unwrap().len(), 1024 * 1024);
    let alone = bench
        .submit(json!({"command": "dd if=/dev/zero of=big bs=1M count=9", "resources": {"fileSizeMb": 2}}));
    let alone = bench.ended(&alone.await).await;
    let details = alone.error_details.clone().unwrap();
    assert_eq!((reason(&alone).0.as_str(), details.signal), ("EXIT_SIGNAL", Some(25)));
    assert!(reason(&alone).1.contains("larger than the 2 MiB"), "{}", reason(&alone).1);
    bench.system.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_workers_own_limits_hold_for_every_task_and_for_what_it_starts() {
    let bench = Bench::start(&[("MAX_OPEN_FILES", "64"), ("MAX_PROCESSES", "5000")]).await;
    let ask = "sh -c 'ulimit -n; ulimit -Hn; ulimit -c'";
    assert_eq!(bench.printed(ask, json!({})).await, "64\n64\n0\n");
    assert_eq!(bench.printed(ask, json!({"openFiles": 9999})).await, "64\n64\n0\n");
    assert_eq!(bench.printed(ask, json!({"openFiles": 20})).await, "20\n20\n0\n");
    let limits = bench.printed("grep processes /proc/self/limits", json!({"processes": 900})).await;
    assert_eq!(limits.split_whitespace().filter(|word| *word == "900").count(), 2, "{limits}");
    bench.system.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_that_together_use_too_much_memory_are_stopped() {
    let bench = Bench::start(&[]).await;
    let use_some = "python3 -c 'import time; x = bytearray(b\"x\") * (80 << 20); time.sleep(600)'";
    let started = Instant::now();
    let both = bench.run(&format!("{use_some} & {use_some}"), json!({"memoryMb": 120})).await;
    assert!(started.elapsed() < Duration::from_secs(30));
    let (code, message) = reason(&both);
    assert_eq!((code.as_str(), kind(&both)), ("OUT_OF_MEMORY", ErrorKind::OutOfMemory));
    assert!(message.contains("more than the 120 MiB"), "{message}");
    let one = "python3 -c 'import time; x = bytearray(b\"x\") * (60 << 20); time.sleep(2.5); print(len(x))'";
    assert_eq!(bench.printed(one, json!({"memoryMb": 120})).await, "62914560\n");
    // What is mapped and not used is no memory.
    let mapped = "python3 -c 'import mmap, time; m = mmap.mmap(-1, 4 << 30); time.sleep(2.5); print(len(m))'";
    assert_eq!(bench.printed(mapped, json!({"memoryMb": 120})).await, "4294967296\n");
    bench.system.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_that_is_refused_is_a_want_of_memory_and_a_stray_kill_is_not() {
    let bench = Bench::start(&[]).await;
    let refused = bench.run("python3 -c 'bytearray(1 << 30)'", json!({"addressSpaceMb": 400})).await;
    let (code, message) = reason(&refused);
    assert_eq!((code.as_str(), kind(&refused)), ("OUT_OF_MEMORY", ErrorKind::OutOfMemory), "{message}");
    assert!(message.contains("addressSpaceMb") && message.contains("MemoryError"), "{message}");
    let killed = bench.submit(json!({"command": "sh -c 'kill -9 $$'"})).await;
    let killed = bench.ended(&killed).await;
    assert_eq!((reason(&killed).0.as_str(), kind(&killed)), ("EXIT_SIGNAL", ErrorKind::Retryable));
    bench.system.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_is_not_there_is_told_though_it_would_start_behind_a_wrapper() {
    let bench = Bench::start(&[("MAX_OPEN_FILES", "64")]).await;
    let absent = bench.submit(json!({"command": "./absent"})).await;
    assert_eq!(reason(&bench.ended(&absent).await).0, "SPAWN_FAILED");
    bench.system.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_belongs_to_one_task_at_a_time() {
    let bench = Bench::start(&[("GPUS", r#"["0", "1"]"#)]).await;
    let held = bench.folder.path().join("held");
    std::fs::create_dir(&held).unwrap();
    let own = format!(
        "cd {}; own=$(echo $CUDA_VISIBLE_DEVICES | tr , ' '); mkdir $own && sleep 0.3 && rmdir $own",
        held.display()
    );
    let mut ids = Vec::new();
    for n in [1, 2, 1, 1, 2, 1] {
        ids.push(bench.script(&own, json!({"gpus": n})).await);
    }
    for id in &ids {
        let task = bench.ended(id).await;
        assert_eq!(task.status, Status::Completed, "{:?} {:?}", task.status_reason, task.stderr);
    }
    let none = "echo \"${CUDA_VISIBLE_DEVICES-unset}.$OMP_NUM_THREADS\"";
    assert_eq!(bench.printed(none, json!({})).await, ".1\n");
    assert_eq!(bench.printed(none, json!({"gpus": 2, "cpus": 3})).await, "0,1.3\n");
    let (code, message) = reason(&bench.run("true", json!({"gpus": 3})).await);
    assert_eq!(code, "RESOURCES_UNAVAILABLE", "{message}");
    bench.system.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_waits_for_a_device_can_be_cancelled_and_leaves_it_to_the_next() {
    let bench = Bench::start(&[("GPUS", r#"["0"]"#)]).await;
    let go = bench.folder.path().join("go");
    let holder = bench
        .script(&format!("while ! test -e {}; do sleep 0.05; done", go.display()), json!({"gpus": 1}))
        .await;
    bench.until_there(&bench.job(&holder)).await;
    let waiting = bench.script("true", json!({"gpus": 1})).await;
    bench.until(&waiting, |task| task.status == Status::Running).await;
    let next = bench.script("echo got $CUDA_VISIBLE_DEVICES", json!({"gpus": 1})).await;
    bench.until(&next, |task| task.status == Status::Running).await;
    bench.ask(&waiting, Request::Cancel).await;
    assert_eq!(bench.ended(&waiting).await.status, Status::Cancelled);
    assert!(!bench.job(&waiting).exists(), "nothing of it was started");
    std::fs::write(&go, "").unwrap();
    assert_eq!(bench.ended(&holder).await.status, Status::Completed);
    assert_eq!(bench.ended(&next).await.stdout.unwrap(), "got 0\n");
    bench.system.shutdown().await;
}

/// The most memory that a process had, in MiB.
fn most_memory_mb(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap() / 1024
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_output_neither_fills_the_worker_nor_holds_up_its_heartbeat() {
    const BYTES: u64 = 300_000_000;
    let bench = Bench::start(&[("LOG_LIMIT_BYTES", "1000000")]).await;
    let pid = bench.worker.id().unwrap();
    let before = most_memory_mb(pid);
    // Long lines, so that the flood is the pipe's and not the reader's.
    let text = format!("head -c {BYTES} /dev/zero | tr '\\0' x | fold -w 9999 >&2");
    let started = Instant::now();
    // Short ones in every other slot: each is looked at, and a debug build takes its time over it.
    for _ in 0..3 {
        bench.script("yes | head -c 20000000", json!({})).await;
    }
    let id = bench.script(&text, json!({})).await;
    let workers = &bench.system.aws().workers;
    let (mut beats, mut last) = (Vec::new(), None);
    while !bench.system.aws().tasks.get(&id).await.unwrap().unwrap().status.is_terminal() {
        let beat = workers.all().await.unwrap().values().next().map(|worker| worker.beat.clone());
        if beat != last {
            beats.push(Instant::now());
            last = beat;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    beats.push(Instant::now());
    let longest = beats.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default();
    let task = bench.ended(&id).await;
    let most = most_memory_mb(pid);
    let artifact = task.artifacts.as_ref().unwrap().first().unwrap().size_bytes;
    eprintln!(
        "{BYTES} bytes in {:?}; memory {before} MiB, then {most} MiB; {} beats, longest gap {longest:?}",
        started.elapsed(),
        beats.len()
    );
    assert_eq!(task.status, Status::Completed, "{:?}", task.status_reason);
    assert_eq!(artifact, Some(1_000_000));
    assert!(most < 64 + before, "{before} MiB became {most} MiB");
    // Two thirds of the lease of 2 s without a heartbeat, and the worker would have stopped its tasks.
    assert_eq!((task.attempt.0, task.interruptions), (1, None));
    assert!(longest < Duration::from_secs(2), "no heartbeat for {longest:?}");
    bench.system.shutdown().await;
}
