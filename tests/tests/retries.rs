//! Failed attempts and what follows them, through the whole system.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use anyhow::{Context, Result};
use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::json;
use stageline::task::Status;
use stageline_tests::system::{Stack, eventually, id};
use stageline_worker::Config;

#[tokio::test(flavor = "multi_thread")]
async fn three_retries_are_four_attempts_and_all_four_errors_are_in_the_history() -> Result<()> {
    let stack = Stack::embedded().await?;
    let worker = stack.worker(stack.worker_config(1))?;
    let record = json!({
        "id": id("retry"),
        "command": "sh -c 'echo error of attempt $STAGELINE_ATTEMPT >&2; exit 7'",
        "retry": {"strategy": "IMMEDIATE", "maxRetries": 3},
    });
    let task = stack.ended(&stack.put(&record).await?).await?;
    assert_eq!((task.status, task.attempt.0, task.failures), (Status::Failed, 4, Some(4)));
    let history = task.history.context("history")?;
    let failed: Vec<_> = history.iter().filter(|e| e.reason.as_deref() == Some("EXIT_NON_ZERO")).collect();
    let states: Vec<_> = failed.iter().map(|entry| entry.status).collect();
    assert_eq!(states, [Status::Retrying, Status::Retrying, Status::Retrying, Status::Failed]);
    for (n, entry) in failed.iter().enumerate() {
        let message = entry.message.as_deref().context("message")?;
        assert!(message.contains(&format!("error of attempt {}", n + 1)), "{message}");
    }
    worker.drained().await?;
    stack.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_waits_for_its_delay_on_the_queue_and_can_succeed() -> Result<()> {
    let stack = Stack::embedded().await?;
    let worker = stack.worker(stack.worker_config(1))?;
    let record = json!({
        "id": id("delay"),
        "command": "sh -c 'test $STAGELINE_ATTEMPT = 2'",
        "retry": {"strategy": "FIXED_DELAY", "maxRetries": 1, "delaySeconds": 2},
    });
    let task = stack.completed(&stack.put(&record).await?).await?;
    assert_eq!((task.attempt.0, task.failures), (2, Some(1)));
    let history = task.history.context("history")?;
    let failed = history.iter().find(|e| e.status == Status::Retrying).context("retrying")?.at;
    let waited = task.started_at.context("started")?.since(failed);
    assert!(waited >= Duration::from_secs(2), "{waited:?}");
    worker.drained().await?;
    stack.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_is_wrong_in_itself_is_not_tried_again() -> Result<()> {
    let stack = Stack::embedded().await?;
    let worker = stack.worker(stack.worker_config(1))?;
    let record = json!({
        "id": id("fatal"), "command": "/no/such/program",
        "retry": {"strategy": "IMMEDIATE", "maxRetries": 3},
    });
    let task = stack.ended(&stack.put(&record).await?).await?;
    assert_eq!((task.status, task.attempt.0), (Status::Failed, 1));
    worker.drained().await?;
    stack.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_is_due_later_starts_when_it_is() -> Result<()> {
    let stack = Stack::embedded().await?;
    let worker = stack.worker(stack.worker_config(1))?;
    let due = stageline::Clock::system().now().plus(Duration::from_secs(2));
    let soon = stack.put(&json!({"id": id("due"), "command": "true", "notBefore": due.to_string()})).await?;
    let late = due.plus(Duration::from_secs(3600)).to_string();
    let late = stack.put(&json!({"id": id("late"), "command": "true", "scheduledTime": late})).await?;
    let task = stack.completed(&soon).await?;
    assert!(task.started_at >= Some(due), "{:?} {due}", task.started_at);
    let waiting = stack.until(&late, |task| task.status == Status::Scheduled).await?;
    assert!(waiting.waits_in_table(), "beyond what SQS can hold back");
    worker.drained().await?;
    stack.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_soft_limit_lets_the_engine_save_its_state() -> Result<()> {
    let stack = Stack::embedded().await?;
    let worker = stack.worker(stack.worker_config(1))?;
    let script = "trap \"echo saved; exit 0\" TERM; while :; do sleep 0.1; done";
    let record = json!({
        "id": id("soft"), "command": format!("sh -c '{script}'"),
        "softTimeoutSeconds": 1, "timeoutSeconds": 60,
    });
    let task = stack.ended(&stack.put(&record).await?).await?;
    assert_eq!(task.status, Status::TimedOut);
    assert_eq!(task.status_reason.context("reason")?.code, "SOFT_TIMED_OUT");
    assert_eq!(task.stdout.as_deref().map(str::trim), Some("saved"));
    worker.drained().await?;
    stack.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_comes_to_its_end_after_the_soft_limit_has_completed() -> Result<()> {
    let stack = Stack::embedded().await?;
    // A LAMMPS that does not hear of TERM, and is all but done.
    let folder = tempfile::tempdir()?;
    let (lammps, input) = (folder.path().join("lmp"), folder.path().join("in.short"));
    let recorded = "Step Temp\n0 1.0\n10 0.9\nLoop time of 0.1 on 1 procs for 10 steps with 4 atoms\n";
    let end = "Total wall time: 0:00:02\n";
    std::fs::write(&lammps, format!("#!/bin/sh\ntrap '' TERM\nsleep 2\nprintf '{recorded}{end}'\n"))?;
    std::fs::set_permissions(&lammps, std::fs::Permissions::from_mode(0o755))?;
    std::fs::write(&input, "run 10\n")?;
    let worker = stack.worker(Config {
        inputs_dir: folder.path().to_owned(),
        lammps_program: lammps.to_string_lossy().into_owned(),
        ..stack.worker_config(1)
    })?;
    let record = json!({
        "id": id("just"), "engine": "lammps", "script": "in.short",
        "softTimeoutSeconds": 1, "timeoutSeconds": 60,
    });
    let task = stack.completed(&stack.put(&record).await?).await?;
    assert_eq!(task.result.context("result")?["steps"], 10);
    worker.drained().await?;
    stack.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_runs_again_though_somebody_wrote_nonsense_into_its_history() -> Result<()> {
    let stack = Stack::embedded().await?;
    let worker = stack.worker(stack.worker_config(1))?;
    let task = stack.put(&json!({"id": id("again"), "command": "true"})).await?;
    stack.completed(&task).await?;
    let text = |text: &str| AttributeValue::S(text.to_owned());
    let edit = stack.dynamodb().update_item().table_name(&stack.deployment.tasks_table);
    let edit = edit.key("id", text(task.as_str())).update_expression("SET history = :h, dispatchStatus = :d");
    let edit = edit.expression_attribute_values(":h", text("gone"));
    edit.expression_attribute_values(":d", text("PENDING")).send().await?;
    let ends = eventually("it ends once more", || async {
        // Until the next run begins, its record is one that cannot be read.
        let task = stack.aws.tasks.get(&task).await.ok().flatten();
        Ok(task.filter(|task| task.attempt.0 == 2 && task.status.is_terminal()))
    })
    .await?;
    assert_eq!(ends.status, Status::Completed);
    assert_eq!(ends.history.context("history")?[0].status, Status::Pending);
    worker.drained().await?;
    stack.shutdown().await;
    Ok(())
}
