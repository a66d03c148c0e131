//! Hooks before and after attempts.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use stageline::task::Status;
use stageline_tests::process::WorkerProcess;
use stageline_tests::system::{Stack, eventually, id};
use stageline_worker::Config;

use crate::receiver::Receiver;

const SECRET: &str = "a-secret-that-no-log-may-hold";

/// A hook in `folder` that runs `script`.
fn hook(folder: &Path, name: &str, script: &str) -> Result<Vec<String>> {
    let path = folder.join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n"))?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
    Ok(vec![path.to_string_lossy().into_owned(), folder.to_string_lossy().into_owned()])
}

/// Lines of a file that hooks and tasks write; none while it is not there.
fn lines(folder: &Path, name: &str) -> Vec<String> {
    let text = std::fs::read_to_string(folder.join(name)).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

async fn until_lines(folder: &Path, name: &str, count: usize) -> Result<Vec<String>> {
    eventually("the hooks have run", || async {
        Some(lines(folder, name)).filter(|lines| lines.len() >= count).map(Ok).transpose()
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn hooks_run_before_and_after_the_engine_and_see_no_secret() -> Result<()> {
    let stack = Stack::embedded().await?;
    let folder = tempfile::tempdir()?;
    let path = folder.path();
    let note = r#"echo "$STAGELINE_EVENT $STAGELINE_TASK_ID $STAGELINE_ATTEMPT $STAGELINE_ENGINE $STAGELINE_STATUS $STAGELINE_REASON" >> $1/order
env > $1/env-$STAGELINE_EVENT; cat > $1/json-$STAGELINE_EVENT"#;
    let worker = stack.worker(Config {
        hook_before: hook(path, "before", note)?,
        hook_after: hook(path, "after", &format!("{note}; exit 9"))?,
        ..stack.worker_config(1)
    })?;
    let order = path.join("order");
    let command = format!("sh -c 'echo engine >> {}; exit 3'", order.display());
    let task = id("hooked");
    let ended = stack.ended(&stack.put(&json!({"id": task, "command": command})).await?).await?;
    assert_eq!(
        ended.status_reason.context("reason")?.code,
        "EXIT_NON_ZERO",
        "a failing `hook_after` changes nothing"
    );
    let lines = until_lines(path, "order", 3).await?;
    let before = format!("before {task} 1 command  ");
    let after = format!("after {task} 1 command FAILED EXIT_NON_ZERO");
    assert_eq!(lines, [before, "engine".to_owned(), after]);
    worker.drained().await?;
    for event in ["before", "after"] {
        let env = std::fs::read_to_string(path.join(format!("env-{event}")))?;
        assert!(!env.contains("AWS_") && !env.contains("CARGO_"), "{env}");
        let told: Value =
            serde_json::from_str(&std::fs::read_to_string(path.join(format!("json-{event}")))?)?;
        assert_eq!((&told["event"], &told["taskId"], &told["v"]), (&json!(event), &json!(task), &json!(1)));
        let status = if event == "after" { json!("FAILED") } else { Value::Null };
        assert_eq!(told["status"], status);
    }
    stack.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_hook_before_keeps_the_engine_from_running_and_is_worth_a_retry() -> Result<()> {
    let stack = Stack::embedded().await?;
    let folder = tempfile::tempdir()?;
    let path = folder.path();
    let script = r#"if [ "$STAGELINE_ATTEMPT" = 1 ]; then echo no scratch disk >&2; exit 4; fi"#;
    let worker = stack.worker(Config {
        hook_before: hook(path, "before", script)?,
        hook_after: hook(path, "after", "echo $STAGELINE_STATUS $STAGELINE_REASON >> $1/after-each")?,
        ..stack.worker_config(1)
    })?;
    let record = json!({
        "id": id("refused"),
        "command": format!("sh -c 'echo ran $STAGELINE_ATTEMPT >> {}'", path.join("ran").display()),
        "retry": {"strategy": "IMMEDIATE", "maxRetries": 1},
    });
    let task = stack.completed(&stack.put(&record).await?).await?;
    assert_eq!((task.attempt.0, task.failures), (2, Some(1)));
    let history = task.history.context("history")?;
    let refused = history.iter().find(|e| e.status == Status::Retrying).context("retrying")?;
    assert_eq!(refused.reason.as_deref(), Some("HOOK_FAILED"));
    assert!(refused.message.as_deref().unwrap_or_default().contains("no scratch disk"), "{refused:?}");
    assert_eq!(lines(path, "ran"), ["ran 2"]);
    assert_eq!(until_lines(path, "after-each", 2).await?, ["RETRYING HOOK_FAILED", "COMPLETED"]);
    worker.drained().await?;
    stack.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_cancelled_while_its_hook_runs() -> Result<()> {
    let stack = Stack::embedded_with_lease(2).await?;
    let folder = tempfile::tempdir()?;
    let worker = stack.worker(Config {
        hook_before: hook(folder.path(), "before", "sleep 300")?,
        ..stack.worker_config(1)
    })?;
    let task = stack.put(&json!({"id": id("cancel"), "command": "true"})).await?;
    stack.until(&task, |task| task.status == Status::Running).await?;
    let text = |text: &str| aws_sdk_dynamodb::types::AttributeValue::S(text.to_owned());
    let edit = stack.dynamodb().update_item().table_name(&stack.deployment.tasks_table);
    let edit = edit.key("id", text(task.as_str())).update_expression("SET cancelRequested = :true");
    let yes = aws_sdk_dynamodb::types::AttributeValue::Bool(true);
    edit.expression_attribute_values(":true", yes).send().await?;
    let started = std::time::Instant::now();
    assert_eq!(stack.ended(&task).await?.status, Status::Cancelled);
    assert!(started.elapsed() < Duration::from_secs(25), "not by the hook's own limit");
    worker.drained().await?;
    stack.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_is_signed_and_tried_again_and_its_secret_is_in_no_log() -> Result<()> {
    let stack = Stack::embedded().await?;
    let folder = tempfile::tempdir()?;
    let secret = folder.path().join("secret");
    std::fs::write(&secret, format!("{SECRET}\n"))?;
    // The first call fails once.
    let mut receiver = Receiver::start(SECRET, [500]).await?;
    let url = format!("{}/hook?token=url-secret", receiver.url());
    let worker = WorkerProcess::start(
        env!("CARGO_BIN_EXE_test-worker"),
        stack.config.endpoint_url().context("it has an endpoint")?,
        &stack.deployment,
        folder.path(),
        &[
            ("STAGELINE_WORKER_WEBHOOK_URL", &url),
            ("STAGELINE_WORKER_WEBHOOK_SECRET_FILE", &secret.to_string_lossy()),
            ("STAGELINE_WORKER_POLL_WAIT_SECONDS", "1"),
            ("RUST_LOG", "trace"),
        ],
    );
    let mut worker = worker?;
    worker.started().await?;
    let task = id("told");
    stack.completed(&stack.put(&json!({"id": task, "command": "true"})).await?).await?;
    let mut calls = Vec::new();
    for _ in 0..3 {
        calls.push(receiver.next().await?);
    }
    assert!(calls.iter().all(|call| call.signed && call.age < 60), "{calls:?}");
    let events: Vec<_> = calls.iter().map(|call| call.body["event"].as_str().unwrap_or_default()).collect();
    assert_eq!(events, ["before", "before", "after"]);
    assert_eq!(calls[0].delivery, calls[1].delivery, "the same call, tried again");
    assert_ne!(calls[0].delivery, calls[2].delivery);
    assert_eq!((&calls[2].body["taskId"], &calls[2].body["status"]), (&json!(task), &json!("COMPLETED")));
    worker.signal(nix::sys::signal::Signal::SIGTERM)?;
    assert!(worker.ended().await?.success());
    for line in worker.log().lines() {
        let line = line.to_string();
        assert!(!line.contains(SECRET) && !line.contains("url-secret"), "{line}");
    }
    stack.shutdown().await;
    Ok(())
}
