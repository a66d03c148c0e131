//! Machines that are about to stop, and machines that have stopped.

use anyhow::Result;
use serde_json::json;
use stageline::Clock;
use stageline::task::{Status, TaskId};
use stageline_sweeper::{InstanceEvent, Limits, Sweeper};
use stageline_tests::faults::{Control, FaultyHttp, Plan};
use stageline_tests::system::{RunningWorker, Stack, eventually, id};
use stageline_worker::Config;

use crate::engine::Engine;
use crate::{listed, one_more, runs};

const HERE: &str = "i-0a1b2c3d4e5f67890";

fn sweeper(stack: &Stack) -> Sweeper {
    Sweeper::new(stack.aws.clone(), stack.deployment.clone(), Clock::system())
}

/// A worker on the instance.
fn here(stack: &Stack, slots: u32) -> Config {
    Config { instance: Some(HERE.to_owned()), drain_grace_seconds: 600, ..stack.worker_config(slots) }
}

fn stopped() -> InstanceEvent {
    InstanceEvent::Stopped { instance: HERE.to_owned() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_warned_instances_worker_finishes_what_it_has_and_takes_nothing_more() -> Result<()> {
    let stack = Stack::embedded_with_lease(3).await?;
    let engine = Engine::new()?;
    let warned = stack.worker(here(&stack, 2))?;
    let held = stack.put(&engine.task("held")).await?;
    engine.started(1).await?;
    let event = InstanceEvent::Warned { instance: HERE.to_owned() };
    assert_eq!(sweeper(&stack).instance_event(event).await.signals, 1);
    eventually("it drains", || async {
        let item = stack.aws.workers.get(&warned.id).await?;
        Ok(item.and_then(|item| item.heartbeat).filter(|beat| beat.draining).map(drop))
    })
    .await?;
    // It has a slot for them.
    let mut others = Vec::new();
    for _ in 0..5 {
        let record = json!({"id": id("rest"), "command": "true"});
        others.push(stack.put(&record).await?);
    }
    for id in &others {
        stack.until(id, |task| task.status == Status::Queued).await?;
    }
    let second = stack.worker(stack.worker_config(2))?;
    for id in &others {
        let done = stack.completed(id).await?;
        assert_eq!((done.attempt.0, done.worker_node_id.as_ref()), (1, Some(&second.id)));
    }
    engine.let_go(1)?;
    let done = stack.completed(&held).await?;
    assert_eq!((done.attempt.0, done.worker_node_id.as_ref()), (1, Some(&warned.id)));
    assert_eq!((done.interruptions, done.failures), (None, None));
    let worker = warned.id.clone();
    warned.ended().await?;
    assert!(stack.aws.workers.get(&worker).await?.is_none(), "it has given up its lease");
    second.drained().await?;
    stack.shutdown().await;
    Ok(())
}

/// A worker on the instance with a task, and from then on cut off: to others its machine has stopped.
async fn cut_off(
    stack: &Stack,
    engine: &Engine,
    before: impl AsyncFnOnce(&RunningWorker, &TaskId) -> Result<()>,
) -> Result<(TaskId, RunningWorker, Control)> {
    let (sdk, control) = FaultyHttp::wrap(&stack.config, Plan::none())?;
    let worker = stack.worker_through(here(stack, 1), &sdk, Clock::system())?;
    let task = stack.put(&engine.task("stopped")).await?;
    engine.started(1).await?;
    before(&worker, &task).await?;
    control.hold();
    Ok((task, worker, control))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_instances_tasks_are_rescued_at_once_and_a_worker_that_was_there_after_all_gives_up()
-> Result<()> {
    let stack = Stack::embedded_with_lease(60).await?;
    let engine = Engine::new()?;
    let in_registry = async |worker: &RunningWorker, task: &_| listed(&stack, &worker.id, task).await;
    let (task, worker, control) = cut_off(&stack, &engine, in_registry).await?;
    let report = sweeper(&stack).instance_event(stopped()).await;
    assert_eq!((report.workers_dead, report.rescued, report.errors), (1, 1, 0), "by the event alone");
    let second = stack.worker(stack.worker_config(1))?;
    let again = runs(&stack, &task, 2).await?;
    assert_eq!((again.interruptions, again.worker_node_id.as_ref()), (Some(1), Some(&second.id)));
    engine.started(2).await?;
    assert_eq!(engine.starts(), ["1 alone", "2 beside 1"], "the first was not told yet");
    control.release();
    engine.gone(1).await?;
    engine.let_go(2)?;
    assert_eq!(stack.completed(&task).await?.attempt.0, 2);
    assert_eq!(engine.ends(), ["2"]);
    second.drained().await?;
    assert_eq!(one_more(&stack).await?.worker_node_id.as_ref(), Some(&worker.id));
    worker.drained().await?;
    stack.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_instances_task_that_no_registry_lists_is_rescued_by_the_next_sweep() -> Result<()> {
    // Neither the registry nor the lease nor the message would help within the test.
    let stack = Stack::embedded_with_lease(300).await?;
    let engine = Engine::new()?;
    let (task, worker, control) = cut_off(&stack, &engine, async |_, _| Ok(())).await?;
    let report = sweeper(&stack).instance_event(stopped()).await;
    assert_eq!((report.workers_dead, report.errors), (1, 0));
    let report = sweeper(&stack).sweep(Limits::default()).await;
    assert_eq!((report.rescued, report.errors), (1, 0));
    let second = stack.worker(stack.worker_config(1))?;
    engine.let_go(2)?;
    let done = stack.completed(&task).await?;
    assert_eq!((done.attempt.0, done.worker_node_id.as_ref()), (2, Some(&second.id)));
    second.drained().await?;
    control.release();
    worker.stop.cancel();
    worker.drained().await?;
    assert_eq!(stack.completed(&task).await?.attempt.0, 2, "what it handed back was not its any more");
    stack.shutdown().await;
    Ok(())
}
