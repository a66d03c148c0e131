//! A worker without an engine's program, beside one that has it and alone.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use stageline::aws::Heartbeat;
use stageline::task::{Status, WorkerId};
use stageline_tests::system::{Stack, eventually, id};
use stageline_worker::Config;

/// A lease of these seconds, so that beats are quick.
const LEASE: u64 = 5;

/// The engine `python` with `program` as its Python, and its script in `inputs`.
fn config(stack: &Stack, inputs: &Path, work: &str, program: &Path) -> Config {
    let config = stack.worker_config(1);
    Config {
        work_dir: config.work_dir.join(work),
        inputs_dir: inputs.to_path_buf(),
        python_program: program.to_string_lossy().into_owned(),
        breaker_pause_seconds: 2,
        poll_wait_seconds: 1,
        ..config
    }
}

fn inputs() -> Result<(tempfile::TempDir, PathBuf)> {
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("task.py"), "print('done')\n")?;
    let absent = folder.path().join("python-that-is-not-there");
    Ok((folder, absent))
}

fn record(name: &str) -> Value {
    json!({"id": id(name), "engine": "python", "script": "task.py", "target": "default/default"})
}

async fn beat(stack: &Stack, worker: &WorkerId) -> Result<Option<Heartbeat>> {
    Ok(stack.aws.workers.get(worker).await?.and_then(|item| item.heartbeat))
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_complete_on_the_worker_that_has_the_engine_and_the_other_one_says_that_it_has_not()
-> Result<()> {
    let stack = Stack::embedded_with_lease(LEASE).await?;
    let (folder, program) = inputs()?;
    let without = stack.worker(config(&stack, folder.path(), "without", &program))?;
    let with = stack.worker(Config {
        python_program: "python3".to_owned(),
        ..config(&stack, folder.path(), "with", Path::new("python3"))
    })?;
    eventually("both workers beat", || async {
        Ok((beat(&stack, &with.id).await?.is_some() && beat(&stack, &without.id).await?.is_some())
            .then_some(()))
    })
    .await?;
    // Both are idle, so the tasks go to either, until the worker without the program has met three.
    let mut tasks = Vec::new();
    while !beat(&stack, &without.id).await?.context("it beats")?.broken.contains_key("python") {
        assert!(tasks.len() < 400, "the breaker does not open");
        tasks.push(stack.put(&record("handed")).await?);
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    let mut handed_back = 0;
    for task in &tasks {
        let task = stack.completed(task).await?;
        assert_eq!(task.worker_node_id.as_ref(), Some(&with.id));
        let history = task.history.unwrap_or_default();
        let reasons: Vec<_> = history.iter().filter_map(|entry| entry.reason.as_deref()).collect();
        assert!(reasons.iter().all(|r| ["ENGINE_MISSING", "ENGINE_UNAVAILABLE"].contains(r)), "{reasons:?}");
        handed_back += usize::from(!reasons.is_empty());
        assert_eq!(task.failures.unwrap_or(0), 0, "no task is charged a failure");
    }
    assert!(handed_back >= 3, "{handed_back}");

    // The program appears: the next probe finds it, and the worker takes tasks again.
    with.drained().await?;
    std::fs::write(&program, "#!/bin/sh\nexec python3 \"$@\"\n")?;
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755))?;
    let probe = stack.completed(&stack.put(&record("probe")).await?).await?;
    assert_eq!(probe.worker_node_id.as_ref(), Some(&without.id));
    eventually("the breaker is closed", || async {
        Ok(beat(&stack, &without.id).await?.filter(|beat| beat.broken.is_empty()))
    })
    .await?;
    without.drained().await?;
    stack.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_worker_has_the_engine_every_task_ends_with_the_reason() -> Result<()> {
    let stack = Stack::embedded_with_lease(LEASE).await?;
    let (folder, program) = inputs()?;
    let worker = stack.worker(config(&stack, folder.path(), "alone", &program))?;
    let retry = json!({"strategy": "NONE", "maxRetries": 0, "maxInterruptions": 1});
    // Nobody else can do better: the first ones fail at once, as they would without a breaker.
    for _ in 0..3 {
        let task = stack.ended(&stack.put(&record("first")).await?).await?;
        assert_eq!((task.status, task.attempt.0), (Status::Failed, 1));
        assert_eq!(task.status_reason.context("reason")?.code, "ENGINE_MISSING");
    }
    // Later ones wait for the engine, and for no longer than their interruptions last.
    let mut waiting = Vec::new();
    for _ in 0..4 {
        let mut record = record("later");
        record["retry"] = retry.clone();
        waiting.push(stack.put(&record).await?);
    }
    let mut charged = 0;
    for task in &waiting {
        let task = stack.ended(task).await?;
        assert_eq!(task.status, Status::Failed);
        let reason = task.status_reason.context("reason")?;
        assert!(["ENGINE_MISSING", "ENGINE_UNAVAILABLE"].contains(&reason.code.as_str()), "{reason:?}");
        assert!(reason.message.contains("python-that-is-not-there"), "{reason:?}");
        assert!(task.interruptions.unwrap_or(0) <= 2);
        charged += task.interruptions.unwrap_or(0);
    }
    assert!(charged > 0, "at least one of them met the open breaker");
    worker.drained().await?;
    stack.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_that_do_not_exist_keep_no_other_command_from_running() -> Result<()> {
    let stack = Stack::embedded_with_lease(LEASE).await?;
    let worker = stack.worker(stack.worker_config(1))?;
    for _ in 0..4 {
        let task = stack.put(&json!({"id": id("typo"), "command": "no-such-program"})).await?;
        assert_eq!(stack.ended(&task).await?.attempt.0, 1);
    }
    stack.completed(&stack.put(&json!({"id": id("good"), "command": "true"})).await?).await?;
    assert!(beat(&stack, &worker.id).await?.context("it beats")?.broken.is_empty());
    worker.drained().await?;
    stack.shutdown().await;
    Ok(())
}
