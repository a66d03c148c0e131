//! What only the embedded system can show: counts of dispatcher calls, and records that not every
//! emulator delivers.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, Result};
use aws_sdk_sqs::types::QueueAttributeName;
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::json;
use stageline::task::{Lane, Status, TaskId};
use stageline_tests::system::{Stack, eventually, id};

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_tasks_complete_with_one_attempt_each_and_the_dispatcher_sees_inserts_only() -> Result<()>
{
    const TASKS: usize = 1_000;
    let stack = Stack::embedded().await?;
    let worker = stack.worker(stack.worker_config(16))?;
    let records = (0..TASKS).map(|_| json!({"id": id("many"), "command": "true"}));
    let ids: HashSet<TaskId> = stream::iter(records.collect::<Vec<_>>())
        .map(|record| {
            let stack = &stack;
            async move { stack.put(&record).await }
        })
        .buffer_unordered(32)
        .try_collect()
        .await?;
    assert_eq!(ids.len(), TASKS);
    // One with progress among them: its stage writes must wake nobody.
    let demo = json!({"id": id("demo"), "engine": "demo", "params": {"items": 50, "seconds": 5}});
    let demo = stack.put(&demo).await?;
    for id in &ids {
        let task = stack.completed(id).await?;
        assert_eq!((task.attempt.0, task.failures, task.interruptions), (1, None, None));
        let states: Vec<_> = task.history.context("history")?.iter().map(|entry| entry.status).collect();
        assert!(states.ends_with(&[Status::Running, Status::Completed]), "{states:?}");
    }
    stack.completed(&demo).await?;
    let system = stack.embedded.as_ref().context("embedded")?;
    let tally = system.dispatcher().tally();
    assert_eq!(tally.sent.load(Ordering::Relaxed), TASKS as u64 + 1);
    assert_eq!(tally.records.load(Ordering::Relaxed), TASKS as u64 + 1, "inserts only");
    assert_eq!(tally.left.load(Ordering::Relaxed) + tally.rejected.load(Ordering::Relaxed), 0);
    assert_eq!(system.pump_stats().failed_batches.load(Ordering::Relaxed), 0);
    worker.drained().await?;
    stack.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_smallest_record_is_filled_and_completes() -> Result<()> {
    let stack = Stack::embedded().await?;
    let worker = stack.worker(stack.worker_config(1))?;
    let task = stack.completed(&stack.put(&json!({"id": id("small"), "command": "true"})).await?).await?;
    assert_eq!(task.account_id.as_deref(), Some("default"));
    assert!(task.created_at.is_some());
    let listed = stack.aws.tasks.newest("default", 10).await?;
    assert_eq!(listed.iter().map(|t| &t.id).collect::<Vec<_>>(), [&task.id]);
    worker.drained().await?;
    stack.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_elses_records_are_left_alone() -> Result<()> {
    let stack = Stack::embedded().await?;
    let records = [
        json!({"id": id("foreign"), "status": "RUNNING", "command": "true"}),
        json!({"id": id("foreign"), "status": "PENDING", "command": 5, "metadata": {"dispatch_mode": "local"}}),
        json!({"id": id("foreign"), "status": "PENDING", "dispatchStatus": "DISPATCHED", "command": "true"}),
    ];
    let mut before = Vec::new();
    for record in &records {
        before.push(stack.put(record).await?);
    }
    // A task of ours, written later, is through: the others have been looked at.
    let worker = stack.worker(stack.worker_config(1))?;
    stack.completed(&stack.put(&json!({"id": id("ours"), "command": "true"})).await?).await?;
    for (id, record) in before.iter().zip(&records) {
        let key = aws_sdk_dynamodb::types::AttributeValue::S(id.to_string());
        let get = stack.dynamodb().get_item().table_name(&stack.deployment.tasks_table).key("id", key);
        let item = get.send().await?.item.context("still there")?;
        assert_eq!(&serde_dynamo::from_item::<_, serde_json::Value>(item)?, record);
    }
    worker.drained().await?;
    stack.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_that_share_a_queue_never_run_a_task_twice() -> Result<()> {
    let stack = Stack::embedded().await?;
    let workers = [stack.worker(stack.worker_config(4))?, stack.worker(stack.worker_config(4))?];
    let marks = tempfile::tempdir()?;
    let mut ids = Vec::new();
    for n in 0..100 {
        // Leaves one file a run.
        let command = format!("mktemp {}/{n}.XXXXXX", marks.path().display());
        ids.push(stack.put(&json!({"id": id("shared"), "command": command})).await?);
    }
    let mut by = HashSet::new();
    for id in &ids {
        by.extend(stack.completed(id).await?.worker_node_id);
    }
    assert_eq!(marks.path().read_dir()?.count(), ids.len());
    assert_eq!(by.len(), 2, "both had their share");
    for worker in workers {
        worker.drained().await?;
    }
    stack.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_task_leaves_the_queue_once_the_registry_remembers_it() -> Result<()> {
    let stack = Stack::embedded().await?;
    let worker = stack.worker(stack.worker_config(1))?;
    let id = stack.put(&json!({"id": id("long"), "command": "sleep 600"})).await?;
    stack.until(&id, |task| task.status == Status::Running).await?;
    let queue = stack.deployment.pools.get("default").context("pool")?.queues.url(Lane::Normal).to_owned();
    let sqs = aws_sdk_sqs::Client::new(&stack.config);
    eventually("the message is deleted", || async {
        let attributes = sqs
            .get_queue_attributes()
            .queue_url(&queue)
            .attribute_names(QueueAttributeName::ApproximateNumberOfMessages)
            .attribute_names(QueueAttributeName::ApproximateNumberOfMessagesNotVisible)
            .send()
            .await?;
        let gone = attributes.attributes().context("attributes")?.values().all(|count| count == "0");
        Ok(gone.then_some(()))
    })
    .await?;
    assert_eq!(stack.aws.workers.registered(&worker.id).await?, [format!("{id}#1").parse()?]);
    assert_eq!(stack.aws.tasks.get(&id).await?.context("task")?.status, Status::Running);
    worker.stop.cancel();
    worker.drained().await?;
    stack.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn draining_hands_an_unfinished_task_to_another_worker_without_charging_a_failure() -> Result<()> {
    let stack = Stack::embedded().await?;
    let first = stack.worker(stack.worker_config(1))?;
    let marks = tempfile::tempdir()?;
    let go_on = marks.path().join("go-on");
    // Nor does it outlive a test that fails.
    let folder = marks.path().display();
    let script = format!("while test -d {folder} && ! test -e {}; do sleep 0.05; done", go_on.display());
    let id = stack.put(&json!({"id": id("drain"), "command": format!("sh -c '{script}'")})).await?;
    stack.until(&id, |task| task.status == Status::Running).await?;
    first.drained().await?;
    let released = stack.until(&id, |task| task.status != Status::Running).await?;
    assert!(matches!(released.status, Status::Pending | Status::Queued), "{}", released.status);
    assert_eq!((released.interruptions, released.failures), (Some(1), None));
    std::fs::write(&go_on, "")?;
    let second = stack.worker(stack.worker_config(1))?;
    let task = stack.completed(&id).await?;
    assert_eq!((task.attempt.0, task.worker_node_id.as_ref()), (2, Some(&second.id)));
    assert_eq!((task.interruptions, task.failures), (Some(1), None));
    second.drained().await?;
    stack.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn urgent_tasks_overtake_a_backlog() -> Result<()> {
    let stack = Stack::embedded().await?;
    let mut normal = Vec::new();
    for _ in 0..30 {
        normal.push(stack.put(&json!({"id": id("normal"), "command": "true"})).await?);
    }
    let mut urgent = Vec::new();
    for _ in 0..10 {
        let record = json!({"id": id("urgent"), "command": "true", "priority": "CRITICAL"});
        urgent.push(stack.put(&record).await?);
    }
    for id in normal.iter().chain(&urgent) {
        stack.until(id, |task| task.status == Status::Queued).await?;
    }
    let worker = stack.worker(stack.worker_config(1))?;
    let mut order = Vec::new();
    for id in normal.iter().chain(&urgent) {
        order.push((stack.completed(id).await?.started_at, urgent.contains(id)));
    }
    order.sort();
    let last_urgent = order.iter().rposition(|(_, urgent)| *urgent).context("urgent ones")?;
    // Each lane's open poll may bring messages before the urgent lane shows that it has more.
    assert!(last_urgent < 25, "the last urgent task was number {last_urgent} of 40");
    worker.drained().await?;
    stack.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_beyond_its_timeout_is_stopped_with_all_its_processes() -> Result<()> {
    let stack = Stack::embedded().await?;
    let worker = stack.worker(stack.worker_config(1))?;
    // Lengths that no other process of the machine sleeps.
    let lengths = [1, 2].map(|n| format!("{}.{n}25", 1_000_000 + std::process::id()));
    let script = format!("trap \"\" TERM; sleep {} & sleep {}", lengths[0], lengths[1]);
    let record = json!({"id": id("slow"), "command": format!("sh -c '{script}'"), "timeoutSeconds": 1});
    let task = stack.ended(&stack.put(&record).await?).await?;
    assert_eq!(task.status, Status::TimedOut);
    assert_eq!(task.status_reason.context("reason")?.code, "TIMED_OUT");
    let left = std::fs::read_dir("/proc")?.flatten().filter(|entry| {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        lengths.iter().any(|length| String::from_utf8_lossy(&line).contains(length))
    });
    assert_eq!(left.count(), 0, "nothing of the task survives it");
    tokio::time::timeout(Duration::from_secs(60), worker.drained()).await??;
    stack.shutdown().await;
    Ok(())
}
