//! A task whose dead worker nothing remembers but the message: whoever receives that rescues it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use stageline::Clock;
use stageline::aws::Outgoing;
use stageline::protocol::command::Command;
use stageline::protocol::lease::Lease;
use stageline::task::{Attempt, Lane, Status, Task, TaskId};
use stageline_tests::faults::{Fault, FaultyHttp, Plan};
use stageline_tests::parts::Parts;
use stageline_tests::system::{RunningWorker, eventually, worker_config};

use crate::engine::Engine;
use crate::times;

/// A task as the dispatcher leaves it: QUEUED, and its message on the queue.
async fn queued(parts: &Parts, engine: &Engine) -> Result<TaskId> {
    let aws = parts.aws();
    let mut record = engine.task("message");
    let now = Clock::system().now();
    for (name, value) in [("status", json!("QUEUED")), ("createdAt", json!(now)), ("queuedAt", json!(now))] {
        record[name] = value;
    }
    let task = Task::from_json(record)?;
    ensure!(aws.tasks.put_new(&task).await?);
    let command = Command::new(task.id.clone(), Attempt(0));
    let queue = parts.deployment.pools.get("default").context("pool")?.queues.url(Lane::Normal);
    let sent = aws.queues.send(queue, &[Outgoing { command, delay: Duration::ZERO }]).await;
    ensure!(sent.failures == [None], "{sent:?}");
    Ok(task.id)
}

async fn becomes(parts: &Parts, id: &TaskId, condition: impl Fn(&Task) -> bool) -> Result<Task> {
    let aws = parts.aws();
    eventually("the record", || async { Ok(aws.tasks.get(id).await?.filter(&condition)) }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_workers_task_is_rescued_by_whoever_receives_its_message() -> Result<()> {
    // No stream, no dispatcher, and above all no sweeper.
    let parts = Parts::start(Lease::of(Duration::from_secs(3))).await?;
    let engine = Engine::new()?;
    // A registry that cannot be written: the message stays.
    let plan = Plan::always(Fault::ServerError).only("PutItem").containing(&parts.deployment.control_table);
    let (sdk, control) = FaultyHttp::wrap(&parts.local.sdk_config(), plan)?;
    let config = worker_config(&parts.folder.path().join("first"), 1);
    let first = RunningWorker::start(config, &sdk, &parts.deployment, Clock::system())?;
    let id = queued(&parts, &engine).await?;
    engine.started(1).await?;
    control.hold();

    let sdk = parts.local.sdk_config();
    let config = worker_config(&parts.folder.path().join("second"), 1);
    let second = RunningWorker::start(config, &sdk, &parts.deployment, Clock::system())?;
    engine.let_go(2)?;
    let done = becomes(&parts, &id, |task| task.status.is_terminal()).await?;
    assert_eq!((done.status, done.attempt.0), (Status::Completed, 2), "{done:#?}");
    assert_eq!((done.interruptions, done.failures), (Some(1), None));
    assert_eq!(done.worker_node_id.as_ref(), Some(&second.id));
    let history = done.history.as_ref().context("history")?;
    let rescued = history.iter().find(|entry| entry.status == Status::Pending).context("rescued")?;
    assert_eq!(rescued.by, second.id.as_str());
    assert_eq!(times(&done, Status::Running), 2);
    assert_eq!(engine.starts(), ["1 alone", "2 alone"]);
    assert!(parts.aws().workers.registered(&first.id).await?.is_empty(), "nothing listed it");
    second.drained().await?;
    control.stop();
    first.drained().await?;
    parts.local.shutdown().await;
    Ok(())
}
