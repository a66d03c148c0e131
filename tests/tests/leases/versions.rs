//! Heartbeats that another version wrote, and ones that nobody can read.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};
use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::json;
use stageline::Clock;
use stageline::aws::{RegistryPage, Request, Write};
use stageline::task::{Attempt, AttemptRef, Item, Status, Task, TaskId, WorkerId};
use stageline_tests::system::{Stack, eventually};
use tokio::task::JoinHandle;

use crate::engine::Engine;
use crate::{received, send_again};

/// A worker that is played: it beats, and runs nothing.
struct Played {
    id: WorkerId,
    task: TaskId,
    beats: Arc<AtomicU32>,
    beating: JoinHandle<()>,
}

/// A worker whose item is what `edit` leaves of the ordinary one, and whose beats are as `beat` says; with a
/// task that is its own according to the record, and has been for a long time.
async fn played(
    stack: &Stack,
    engine: &Engine,
    name: &str,
    edit: impl Fn(&mut Item),
    beat: impl Fn(u32) -> String + Send + 'static,
) -> Result<Played> {
    let id: WorkerId = format!("{name}:1:a").parse()?;
    let heartbeat = serde_json::from_value(json!({"workerId": id, "heartbeatAt": Clock::system().now()}))?;
    stack.aws.workers.beat(&heartbeat, &[], true).await?;
    let (dynamodb, table) = (stack.dynamodb(), stack.deployment.control_table.clone());
    let mut item = control_item(stack, id.as_str()).await?;
    edit(&mut item);
    dynamodb.put_item().table_name(&table).set_item(Some(item.clone())).send().await?;

    let mut record = engine.task(name);
    // As long ago as no registry would have to be waited for.
    let long_ago = "2026-01-01T00:00:00.000Z";
    let held = json!({"status": "RUNNING", "attempt": 1, "workerNodeId": id, "startedAt": long_ago,
        "createdAt": long_ago, "updatedAt": long_ago, "dispatchStatus": "DISPATCHED", "history": []});
    record.as_object_mut().context("an object")?.extend(held.as_object().context("an object")?.clone());
    let task = stack.put(&record).await?;
    stack
        .aws
        .workers
        .register(
            &id,
            &RegistryPage { page: 0, attempts: vec![AttemptRef { id: task.clone(), attempt: Attempt(1) }] },
        )
        .await?;

    let beats = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&beats);
    let every = stack.deployment.lease.busy();
    let beating = tokio::spawn(async move {
        loop {
            tokio::time::sleep(every).await;
            let n = counted.load(Ordering::Relaxed) + 1;
            let written = dynamodb
                .update_item()
                .table_name(&table)
                .key("pk", item["pk"].clone())
                .key("sk", item["sk"].clone())
                .update_expression("SET heartbeatAt = :at")
                .condition_expression("attribute_exists(pk)")
                .expression_attribute_values(":at", AttributeValue::S(beat(n)))
                .send()
                .await;
            if written.is_ok() {
                counted.store(n, Ordering::Relaxed);
            }
        }
    });
    Ok(Played { id, task, beats, beating })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_its_workers_as_long_as_the_beat_changes_whatever_else_the_item_says() -> Result<()> {
    let stack = Stack::embedded_with_lease(3).await?;
    let engines = [Engine::new()?, Engine::new()?];
    // What the oldest versions wrote, and nothing more.
    let oldest = |item: &mut Item| {
        item.retain(|name, _| ["pk", "sk", "workerId", "heartbeatAt"].contains(&name.as_str()));
    };
    let garbled = |item: &mut Item| {
        for name in ["workerId", "pool", "slots", "signals", "receivedUntil", "engines"] {
            item.insert(name.to_owned(), AttributeValue::L(vec![AttributeValue::Bool(true)]));
        }
    };
    let by_clock = |_| Clock::system().now().to_string();
    let played = [
        played(&stack, &engines[0], "oldest", oldest, by_clock).await?,
        played(&stack, &engines[1], "garbled", garbled, |n| format!("{n} o'clock")).await?,
    ];
    // An item that is nobody's.
    let nobody = [("pk", "workers#3"), ("sk", "#?! nobody")].map(|(n, v)| (n.to_owned(), v.to_owned()));
    let nobody = nobody.map(|(name, value)| (name, AttributeValue::S(value)));
    let put = stack.dynamodb().put_item().table_name(&stack.deployment.control_table);
    put.set_item(Some(Item::from(nobody))).send().await?;
    let records = [held(&stack, &played[0]).await?, held(&stack, &played[1]).await?];

    // A worker of today, which meets the messages of both tasks again and again.
    let today = stack.worker(stack.worker_config(2))?;
    // A lease is ten beats: three leases, and so at least two of the sweeper's rounds.
    for round in 1..=6 {
        for worker in &played {
            send_again(&stack, &worker.task, 0).await?;
            eventually("it beats on", || async {
                Ok((worker.beats.load(Ordering::Relaxed) >= round * 5).then_some(()))
            })
            .await?;
        }
    }
    received(&stack).await?;
    crate::one_more(&stack).await?;
    for (worker, record) in played.iter().zip(records) {
        assert_eq!(held(&stack, worker).await?, record, "{}", worker.id);
    }
    // Without beats they are dead like any other.
    for (worker, engine) in played.iter().zip(&engines) {
        worker.beating.abort();
        engine.let_go(2)?;
        let done = stack.completed(&worker.task).await?;
        assert_eq!((done.attempt.0, done.interruptions), (2, Some(1)), "{}", worker.id);
        assert_eq!(done.worker_node_id.as_ref(), Some(&today.id));
    }
    today.drained().await?;
    stack.shutdown().await;
    Ok(())
}

async fn control_item(stack: &Stack, sort: &str) -> Result<Item> {
    let scan = stack.dynamodb().scan().table_name(&stack.deployment.control_table);
    let items = scan.consistent_read(true).send().await?.items.context("items")?;
    let mine = |item: &Item| item.get("sk").and_then(|sk| sk.as_s().ok()).is_some_and(|sk| sk == sort);
    items.into_iter().find(mine).with_context(|| format!("no item {sort}"))
}

async fn held(stack: &Stack, worker: &Played) -> Result<Task> {
    let task = stack.aws.tasks.get(&worker.task).await?.context("task")?;
    anyhow::ensure!(task.status == Status::Running && task.attempt.0 == 1, "{task:#?}");
    Ok(task)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_goes_on_beside_signals_that_it_does_not_know() -> Result<()> {
    let stack = Stack::embedded_with_lease(3).await?;
    let engine = Engine::new()?;
    let worker = stack.worker(stack.worker_config(1))?;
    let task = stack.put(&engine.task("edited")).await?;
    engine.started(1).await?;
    crate::listed(&stack, &worker.id, &task).await?;
    let item = control_item(&stack, worker.id.as_str()).await?;
    let update = stack.dynamodb().update_item().table_name(&stack.deployment.control_table);
    let signals = AttributeValue::Ss(vec!["fly to the moon".to_owned(), "look".to_owned()]);
    update
        .key("pk", item["pk"].clone())
        .key("sk", item["sk"].clone())
        .update_expression("SET signals = :signals, later = :signals REMOVE workerId, slots")
        .expression_attribute_values(":signals", signals)
        .send()
        .await?;
    let edited = stack.aws.workers.get(&worker.id).await?.context("item")?.beat;
    eventually("it beats on", || async {
        let item = stack.aws.workers.get(&worker.id).await?.context("item")?;
        Ok((item.beat != edited && item.heartbeat.is_some()).then_some(()))
    })
    .await?;
    // And hears what it understands.
    assert_eq!(stack.aws.tasks.ask(&task, Request::Cancel, Clock::system().now()).await?, Write::Applied);
    let ended = stack.ended(&task).await?;
    assert_eq!((ended.status, ended.attempt.0), (Status::Cancelled, 1));
    worker.drained().await?;
    stack.shutdown().await;
    Ok(())
}
