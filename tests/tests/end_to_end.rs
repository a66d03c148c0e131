//! From a Task record to a finished simulation, on the embedded system or on the deployed template with
//! the real Lambda zip: the same tests.

#[path = "end_to_end/sweeper.rs"]
mod sweeper;

use anyhow::{Context, Result};
use serde_json::json;
use stageline::task::{DispatchStatus, StageStatus, Status};
use stageline_tests::system::{Stack, eventually, has_lammps, id};

#[tokio::test(flavor = "multi_thread")]
async fn an_amplify_shaped_record_of_a_foreign_client_completes_with_output_exit_code_and_times() -> Result<()>
{
    let stack = Stack::start().await?;
    let worker = stack.worker(stack.worker_config(2))?;
    let record = json!({
        "__typename": "Task", "id": id("amplify"), "accountId": "acct-1", "type": "report",
        "status": "PENDING", "dispatchStatus": "PENDING", "command": "echo hello",
        "metadata": "{\"dispatch_mode\":\"cloud\"}", "workerNodeId": null, "startedAt": null,
        "createdAt": "2026-11-21T09:25:00.123Z", "updatedAt": "2026-11-21T09:25:00.123Z",
    });
    let task = stack.completed(&stack.put(&record).await?).await?;
    assert_eq!(task.stdout.as_deref(), Some("hello\n"));
    assert_eq!(task.result, Some(json!({"exitCode": 0})));
    assert_eq!((task.attempt.0, task.dispatch_status), (1, Some(DispatchStatus::Dispatched)));
    assert!(task.started_at.is_some() && task.completed_at >= task.started_at);
    assert_eq!(task.worker_node_id.as_ref(), Some(&worker.id));
    assert_eq!(task.other["__typename"], "Task");
    assert_eq!(task.created_at.map(|at| at.to_string()).as_deref(), Some("2026-11-21T09:25:00.123Z"));
    let log = &task.artifacts.context("artifacts")?[0];
    let path = log.uri.strip_prefix("file://").context("a file")?;
    assert_eq!(std::fs::read_to_string(path)?, "hello\n");
    assert!(stack.aws.stages.of(&task.id).await?.is_empty(), "a silent task pays for no stage");
    worker.drained().await?;
    stack.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lammps_melt_completes_with_its_last_row_and_every_step_counted() -> Result<()> {
    if !has_lammps("a_lammps_melt_completes_with_its_last_row_and_every_step_counted") {
        return Ok(());
    }
    let stack = Stack::start().await?;
    let worker = stack.worker(stack.worker_config(1))?;
    let record = json!({
        "id": id("melt"), "status": "PENDING", "engine": "lammps", "script": "lammps/melt/in.melt",
        "params": {"nsteps": 400, "cells": 4},
    });
    let task = stack.completed(&stack.put(&record).await?).await?;
    let result = task.result.context("a result")?;
    assert_eq!((&result["steps"], &result["lastRow"]["Step"]), (&json!(400), &json!(400)));
    assert!(result["loopTimeSeconds"].as_f64().is_some_and(|seconds| seconds > 0.0), "{result}");
    assert!(result["lastRow"]["Temp"].is_number() && result["stepsPerSecond"].is_number(), "{result}");
    let stages = stack.aws.stages.of(&task.id).await?;
    assert_eq!(stages.iter().map(|stage| stage.name.as_str()).collect::<Vec<_>>(), ["Setup", "Run"]);
    assert!(stages.iter().all(|stage| stage.status == StageStatus::Completed && stage.attempt.0 == 1));
    assert_eq!((stages[1].processed_items, stages[1].total_items), (Some(400), Some(400)));
    assert!(stages[1].metrics.contains_key("Temp"));
    worker.drained().await?;
    stack.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_shows_its_three_stages_and_only_one_with_a_total() -> Result<()> {
    let stack = Stack::start().await?;
    let worker = stack.worker(stack.worker_config(1))?;
    let record = json!({
        "id": id("demo"), "status": "PENDING", "engine": "demo", "params": {"items": 200, "seconds": 2},
        "priority": "HIGH",
    });
    let task = stack.completed(&stack.put(&record).await?).await?;
    let stages = stack.aws.stages.of(&task.id).await?;
    let seen: Vec<_> = stages.iter().map(|s| (s.name.as_str(), s.total_items, s.status)).collect();
    let done = StageStatus::Completed;
    assert_eq!(seen, [("Setup", None, done), ("Processing", Some(200), done), ("Finalizing", None, done)]);
    assert_eq!(stages[1].processed_items, Some(200));
    worker.drained().await?;
    stack.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_record_fails_alone_and_says_why() -> Result<()> {
    let stack = Stack::start().await?;
    let worker = stack.worker(stack.worker_config(2))?;
    let pending = |name: &str, more: serde_json::Value| {
        let mut record = json!({"id": id(name), "status": "PENDING"});
        if let (Some(record), Some(more)) = (record.as_object_mut(), more.as_object()) {
            record.extend(more.clone());
        }
        record
    };
    let big = "x".repeat(300 * 1024);
    let bad = [
        ("TARGET_UNROUTABLE", pending("bad", json!({"command": "true", "target": "nowhere/at/all"}))),
        ("ENGINE_UNKNOWN", pending("bad", json!({"engine": "lamps"}))),
        ("RECORD_MALFORMED", pending("bad", json!({"command": 5}))),
        ("RECORD_MALFORMED", pending("bad", json!({"command": "true", "timeoutSeconds": "soon"}))),
        ("RECORD_TOO_LARGE", pending("bad", json!({"command": "true", "params": {"data": big}}))),
        ("PATH_UNSAFE", pending("bad", json!({"engine": "lammps", "script": "../in.melt"}))),
        ("COMMAND_INVALID", pending("bad", json!({}))),
    ];
    let mut ids = Vec::new();
    for (code, record) in &bad {
        ids.push((*code, stack.put(record).await?));
    }
    let good = stack.put(&pending("good", json!({"command": "true"}))).await?;
    stack.completed(&good).await?;
    for (code, id) in ids {
        // A malformed record cannot be read as a task, so it is looked at as it stands.
        let item = eventually("the record is FAILED", || async {
            let key = aws_sdk_dynamodb::types::AttributeValue::S(id.to_string());
            let get = stack.dynamodb().get_item().table_name(&stack.deployment.tasks_table).key("id", key);
            let item = get.consistent_read(true).send().await?.item.unwrap_or_default();
            let failed = item.get("status").and_then(|s| s.as_s().ok()).is_some_and(|s| s == "FAILED");
            Ok(failed.then_some(item))
        })
        .await?;
        let json: serde_json::Value = serde_dynamo::from_item(item)?;
        assert_eq!(json["statusReason"]["code"], code, "{}", json["errorMessage"]);
        assert_eq!((&json["errorDetails"]["code"], &json["dispatchStatus"]), (&json!(code), &json!("ERROR")));
        assert!(json["errorMessage"].as_str().is_some_and(|message| message.len() > 10));
    }
    worker.drained().await?;
    stack.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn setting_dispatch_status_back_to_pending_runs_an_ended_task_again() -> Result<()> {
    let stack = Stack::start().await?;
    let worker = stack.worker(stack.worker_config(1))?;
    let id = stack.put(&json!({"id": id("again"), "status": "PENDING", "command": "false"})).await?;
    let first = stack.ended(&id).await?;
    assert_eq!((first.status, first.attempt.0), (Status::Failed, 1));
    assert_eq!(first.error_details.context("details")?.exit_code, Some(1));
    stack
        .dynamodb()
        .update_item()
        .table_name(&stack.deployment.tasks_table)
        .key("id", aws_sdk_dynamodb::types::AttributeValue::S(id.to_string()))
        .update_expression("SET dispatchStatus = :p, command = :c")
        .expression_attribute_values(":p", aws_sdk_dynamodb::types::AttributeValue::S("PENDING".into()))
        .expression_attribute_values(":c", aws_sdk_dynamodb::types::AttributeValue::S("true".into()))
        .send()
        .await?;
    let second = stack.until(&id, |task| task.status == Status::Completed).await?;
    assert_eq!((second.attempt.0, second.error_details, second.error_message), (2, None, None));
    worker.drained().await?;
    stack.shutdown().await;
    Ok(())
}
