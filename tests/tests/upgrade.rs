//! Parts of different versions beside each other: what another version sends and writes loses no task and runs
//! none twice. Heartbeats and signals of other versions are in `leases/versions.rs`; whole programs of an
//! earlier revision are run by `scripts/test-upgrade`.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Value, json};
use stageline::aws::RegistryPage;
use stageline::protocol::lease::Lease;
use stageline::task::{Attempt, AttemptRef, Item, Lane, Status, Task, TaskId, WorkerId};
use stageline::{At, Clock};
use stageline_sweeper::Limits;
use stageline_tests::parts::Parts;
use stageline_tests::system::{Stack, eventually, id};

/// A file to which each run of a task adds a line.
struct Runs(tempfile::TempDir);

impl Runs {
    fn new() -> Result<Self> {
        Ok(Self(tempfile::tempdir()?))
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("runs")
    }

    fn command(&self) -> String {
        self.command_and("true")
    }

    fn command_and(&self, then: &str) -> String {
        format!("sh -c 'echo run >> {}; {then}'", self.file().display())
    }

    fn count(&self) -> usize {
        std::fs::read_to_string(self.file()).unwrap_or_default().lines().count()
    }
}

/// A record as a dispatcher left it an hour ago.
fn queued(name: &str, command: &str) -> Value {
    let old = At::from_millis(Clock::system().now().millis() - 3_600_000);
    json!({
        "id": id(name), "command": command, "status": "QUEUED", "dispatchStatus": "DISPATCHED", "attempt": 0,
        "createdAt": old, "updatedAt": old, "queuedAt": old,
    })
}

async fn send(stack: &Stack, body: &Value) -> Result<()> {
    let queue = stack.deployment.pools.get("default").context("pool")?.queues.url(Lane::Normal).to_owned();
    let client = aws_sdk_sqs::Client::new(&stack.config);
    client.send_message().queue_url(queue).message_body(body.to_string()).send().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_with_more_in_it_than_this_version_knows_is_taken_and_its_task_runs_once() -> Result<()> {
    let (stack, runs) = (Stack::embedded().await?, Runs::new()?);
    let task = stack.put(&queued("more", &runs.command())).await?;
    let body = json!({"v": 1, "taskId": task, "attempt": 0, "lane": "normal", "hints": {"cores": [1, 2]}});
    for _ in 0..2 {
        send(&stack, &body).await?;
    }
    let worker = stack.worker(stack.worker_config(2))?;
    assert_eq!(stack.completed(&task).await?.attempt.0, 1);
    worker.drained().await?;
    assert_eq!(runs.count(), 1);
    stack.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_a_later_format_is_left_to_later_workers_and_its_task_runs_once_by_the_sweepers()
-> Result<()> {
    // The dispatcher that sent it was rolled back, and no worker that reads it ever comes.
    let (stack, runs) = (Stack::embedded_with_lease(2).await?, Runs::new()?);
    let task = stack.put(&queued("later", &runs.command())).await?;
    send(&stack, &json!({"v": 2, "claim": {"task": task, "generation": 1}, "taskId": task, "attempt": 0}))
        .await?;
    let worker = stack.worker(stack.worker_config(1))?;
    let done = stack.completed(&task).await?;
    assert_eq!((done.attempt.0, done.interruptions, done.failures), (1, None, None));
    assert_eq!(runs.count(), 1);
    let queue = stack.deployment.pools.get("default").context("pool")?.queues.url(Lane::Normal);
    eventually("only the later one's message is there", || async {
        let depth = stack.aws.queues.depth(queue).await?;
        Ok((depth.visible + depth.in_flight + depth.delayed == 1).then_some(()))
    })
    .await?;
    worker.drained().await?;
    stack.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_later_version_writes_into_a_record_stays_through_every_step() -> Result<()> {
    let (stack, runs) = (Stack::embedded().await?, Runs::new()?);
    let worker = stack.worker(stack.worker_config(1))?;
    let later = json!({
        "schemaVersion": 2, "placement": {"zone": "a", "score": 0.5, "tried": ["x", {"y": null}]},
        "generation": 7, "lineage": ["parent"],
    });
    let mut record = json!({
        "id": id("record"), "status": "PENDING", "command": runs.command_and("test $STAGELINE_ATTEMPT = 2"),
        "retry": {"strategy": "IMMEDIATE", "maxRetries": 1, "budget": "shared"},
    });
    let fields = record.as_object_mut().context("an object")?;
    fields.extend(later.as_object().context("an object")?.clone());
    let task = stack.put(&record).await?;
    let done = stack.completed(&task).await?;
    assert_eq!((done.attempt.0, done.failures, runs.count()), (2, Some(1), 2));
    let after = stack.record(&task).await?.context("a record")?;
    for (name, value) in later.as_object().context("an object")? {
        assert_eq!(&after[name], value, "{name}");
    }
    assert_eq!(after["retry"]["budget"], "shared");
    worker.drained().await?;
    stack.shutdown().await;
    Ok(())
}

/// A worker that has beaten once, and a task that is its own.
async fn held(parts: &Parts) -> Result<(WorkerId, TaskId)> {
    let (aws, worker): (_, WorkerId) = (parts.aws(), "old:1:a".parse()?);
    let now = Clock::system().now();
    let heartbeat = serde_json::from_value(json!({"workerId": worker, "heartbeatAt": now}))?;
    aws.workers.beat(&heartbeat, &[], true).await?;
    let record = json!({
        "id": id("held"), "command": "true", "status": "RUNNING", "attempt": 1, "workerNodeId": worker,
        "dispatchStatus": "DISPATCHED", "createdAt": now, "updatedAt": now, "startedAt": now,
    });
    let task = Task::from_json(record)?;
    assert!(aws.tasks.put_new(&task).await?);
    let attempts = vec![AttemptRef { id: task.id.clone(), attempt: Attempt(1) }];
    aws.workers.register(&worker, &RegistryPage { page: 0, attempts }).await?;
    Ok((worker, task.id))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweepers_memory_of_another_version_delays_a_rescue_by_a_lease_and_causes_none() -> Result<()> {
    let parts = Parts::start(Lease::of(Duration::from_secs(30))).await?;
    let (worker, task) = held(&parts).await?;
    let client = aws_sdk_dynamodb::Client::new(&parts.local.sdk_config());
    let text = |text: &str| AttributeValue::S(text.to_owned());
    // Whatever shape it has, and however it is spread over items.
    for sort in ["memory", "memory#0", "memory#7", "v2"] {
        let item = Item::from([
            ("pk".to_owned(), text("sweeper")),
            ("sk".to_owned(), text(sort)),
            ("v".to_owned(), AttributeValue::N("2".to_owned())),
            ("observations".to_owned(), AttributeValue::L(vec![text(worker.as_str()), text("1970-01-01")])),
            ("cursor".to_owned(), text("page 7")),
        ]);
        let put = client.put_item().table_name(&parts.deployment.control_table).set_item(Some(item));
        put.send().await?;
    }
    let now = Arc::new(AtomicI64::new(Clock::system().now().millis()));
    let shown = Arc::clone(&now);
    let clock = Clock::of(move || At::from_millis(shown.load(Ordering::SeqCst)));
    let sdk = parts.local.sdk_config();
    for (wait, rescued) in [(0, 0), (29_000, 0), (1_000, 1)] {
        now.fetch_add(wait, Ordering::SeqCst);
        // A new one each time, as a function may be.
        let report = parts.sweeper(&sdk, clock.clone()).sweep(Limits::default()).await;
        assert_eq!((report.rescued, report.errors), (rescued, 0), "{report:?}");
    }
    let status = parts.aws().tasks.get(&task).await?.context("a task")?.status;
    assert_eq!(status, Status::Pending);
    parts.local.shutdown().await;
    Ok(())
}
