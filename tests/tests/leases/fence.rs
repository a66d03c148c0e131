//! A worker that cannot renew its lease stops its tasks by itself, before anybody else may have them.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use stageline::Clock;
use stageline::task::{Status, TaskId};
use stageline_tests::faults::{Control, Fault, FaultyHttp, Plan};
use stageline_tests::system::{RunningWorker, Stack};
use stageline_worker::Config;

use crate::engine::Engine;
use crate::{one_more, runs, times};

/// Between TERM and KILL: more than the lease has left, or has at all.
const LONG_GRACE: u64 = 30;

/// A worker with one slot, whose way to AWS can be cut, and one beside it, once the first has the task.
async fn two_workers(
    stack: &Stack,
    engine: &Engine,
    record: Value,
    term_grace_seconds: u64,
) -> Result<(TaskId, RunningWorker, Control, RunningWorker)> {
    let (sdk, control) = FaultyHttp::wrap(&stack.config, Plan::none())?;
    let config = Config { term_grace_seconds, ..stack.worker_config(1) };
    let first = stack.worker_through(config, &sdk, Clock::system())?;
    let task = stack.put(&record).await?;
    engine.started(1).await?;
    let second = stack.worker(stack.worker_config(1))?;
    Ok((task, first, control, second))
}

/// What the heartbeat is written with, and nothing else.
fn no_heartbeat(stack: &Stack) -> Plan {
    Plan::always(Fault::Throttle).only("UpdateItem").containing(&stack.deployment.control_table)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_cannot_beat_gives_its_task_away_and_takes_others_when_it_can() -> Result<()> {
    // Its way to the tasks is open: it has a lease's last third to say so itself.
    let stack = Stack::embedded_with_lease(6).await?;
    let engine = Engine::new()?;
    let (task, first, control, second) = two_workers(&stack, &engine, engine.task("fenced"), 2).await?;
    control.set_plan(no_heartbeat(&stack));
    let again = runs(&stack, &task, 2).await?;
    assert_eq!(again.worker_node_id.as_ref(), Some(&second.id), "a fenced worker takes nothing");
    engine.started(2).await?;
    assert_eq!(engine.starts(), ["1 alone", "2 alone"]);
    engine.let_go(2)?;
    let done = stack.completed(&task).await?;
    assert_eq!((done.attempt.0, done.interruptions, done.failures), (2, Some(1), None));
    let history = done.history.as_deref().context("history")?;
    let given_away = history.iter().find(|entry| entry.status == Status::Pending).context("given away")?;
    assert_eq!(given_away.by, first.id.as_str(), "it waits for nobody to rescue it");
    assert_eq!((times(&done, Status::Running), times(&done, Status::Completed)), (2, 1));
    assert_eq!(engine.ends(), ["2"]);
    // Alone, and without faults again.
    second.drained().await?;
    control.stop();
    assert_eq!(one_more(&stack).await?.worker_node_id.as_ref(), Some(&first.id));
    first.drained().await?;
    stack.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_cut_off_stops_its_process_before_another_attempt_starts() -> Result<()> {
    let stack = Stack::embedded_with_lease(3).await?;
    let engine = Engine::new()?;
    let (task, first, control, second) = two_workers(&stack, &engine, engine.task("fenced"), 2).await?;
    control.hold();
    // By itself: nothing reaches it, and nothing of it gets out.
    engine.gone(1).await?;
    runs(&stack, &task, 2).await?;
    engine.started(2).await?;
    assert_eq!(engine.starts(), ["1 alone", "2 alone"]);
    engine.let_go(2)?;
    let done = stack.completed(&task).await?;
    assert_eq!((done.attempt.0, done.interruptions, done.failures), (2, Some(1), None));
    assert_eq!(done.worker_node_id.as_ref(), Some(&second.id));
    second.drained().await?;
    control.stop();
    assert_eq!(one_more(&stack).await?.worker_node_id.as_ref(), Some(&first.id));
    first.drained().await?;
    stack.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_does_not_end_at_term_is_gone_too_before_another_attempt_starts() -> Result<()> {
    let stack = Stack::embedded_with_lease(3).await?;
    let engine = Engine::deaf()?;
    let (task, first, control, second) =
        two_workers(&stack, &engine, engine.task("deaf"), LONG_GRACE).await?;
    control.hold();
    ends_alone(&stack, &engine, &task).await?;
    control.stop();
    first.drained().await?;
    second.drained().await?;
    stack.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_was_told_to_end_before_its_worker_was_cut_off_does_not_outlive_the_lease()
-> Result<()> {
    let stack = Stack::embedded_with_lease(3).await?;
    let engine = Engine::deaf()?;
    let mut record = engine.task("told");
    record["timeoutSeconds"] = json!(1);
    let (task, first, control, second) = two_workers(&stack, &engine, record, LONG_GRACE).await?;
    engine.told_to_end(1).await?;
    control.hold();
    // In time for its own limit.
    engine.let_go(2)?;
    ends_alone(&stack, &engine, &task).await?;
    control.stop();
    first.drained().await?;
    second.drained().await?;
    stack.shutdown().await;
    Ok(())
}

/// Its second attempt starts when the first one's process is gone, and completes.
async fn ends_alone(stack: &Stack, engine: &Engine, task: &TaskId) -> Result<()> {
    engine.started(2).await?;
    let starts = engine.starts();
    engine.let_go(1)?;
    engine.let_go(2)?;
    let ended = stack.ended(task).await?;
    assert_eq!(ended.attempt.0, 2, "{ended:#?}");
    assert_eq!(starts, ["1 alone", "2 alone"]);
    Ok(())
}
