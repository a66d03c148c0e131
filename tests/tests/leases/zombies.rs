//! A worker that was taken for dead and comes back: nothing that it still writes has an effect.

use anyhow::{Context, Result};
use aws_sdk_dynamodb::types::AttributeValue;
use stageline::Clock;
use stageline::task::{Stage, StageStatus, Status, TaskId};
use stageline_tests::faults::{Control, FaultyHttp, Plan};
use stageline_tests::system::{RunningWorker, Stack, eventually};
use stageline_worker::Config;

use crate::engine::Engine;
use crate::{one_more, runs};

/// A worker whose calls can be held, and its task, whose first stage is written.
async fn at_work(stack: &Stack, engine: &Engine) -> Result<(TaskId, RunningWorker, Control)> {
    // The log holds what is asked of the tasks table, and nothing else.
    let plan = Plan::none().only("UpdateItem").containing(&stack.deployment.tasks_table);
    let (sdk, control) = FaultyHttp::wrap(&stack.config, plan)?;
    let worker = stack.worker_through(with_stages(stack, engine), &sdk, Clock::system())?;
    let task = stack.put(&engine.lammps_task("zombie")).await?;
    engine.started(1).await?;
    eventually("a stage runs", || async {
        let stages = stack.aws.stages.of(&task).await?;
        Ok(stages.iter().any(|stage| stage.status == StageStatus::Running).then_some(()))
    })
    .await?;
    Ok((task, worker, control))
}

/// One slot: a task that follows shows that the attempt before it is over.
fn with_stages(stack: &Stack, engine: &Engine) -> Config {
    Config { lammps_program: engine.script().display().to_string(), ..stack.worker_config(1) }
}

/// Others have the task and complete it; then the first worker is let go on, and takes another task.
async fn comes_back(
    stack: &Stack,
    engine: &Engine,
    task: &TaskId,
    zombie: RunningWorker,
    control: Control,
) -> Result<()> {
    let second = stack.worker(with_stages(stack, engine))?;
    engine.let_go(2)?;
    let done = stack.completed(task).await?;
    assert_eq!((done.attempt.0, done.interruptions, done.failures), (2, Some(1), None));
    assert_eq!(done.worker_node_id.as_ref(), Some(&second.id));
    second.drained().await?;
    let before = everything(stack, task).await?;
    let stages: Vec<_> = before.1.iter().map(|s| (s.name.as_str(), s.attempt.0, s.status)).collect();
    assert_eq!(stages, [("Setup", 2, StageStatus::Completed), ("Run", 2, StageStatus::Completed)]);

    let writes = control.log().len();
    control.release();
    let more = one_more(stack).await?;
    assert_eq!(more.worker_node_id.as_ref(), Some(&zombie.id), "it goes on with new tasks");
    // The late outcome, and claim and end of the task that followed it.
    assert!(control.log().len() >= writes + 3, "{:?}", control.log());
    zombie.drained().await?;
    assert_eq!(everything(stack, task).await?, before);
    Ok(())
}

async fn everything(stack: &Stack, task: &TaskId) -> Result<(serde_json::Value, Vec<Stage>)> {
    Ok((stack.record(task).await?.context("a record")?, stack.aws.stages.of(task).await?))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_outcome_of_a_process_that_ended_by_itself_changes_nothing() -> Result<()> {
    // Long enough for the process to end before its worker fences itself.
    let stack = Stack::embedded_with_lease(6).await?;
    let engine = Engine::new()?;
    let (task, zombie, control) = at_work(&stack, &engine).await?;
    control.hold();
    engine.let_go(1)?;
    engine.gone(1).await?;
    assert_eq!(engine.ends(), ["1"], "it was done, and nobody knows");
    assert_eq!(stack.aws.tasks.get(&task).await?.context("task")?.status, Status::Running);
    comes_back(&stack, &engine, &task, zombie, control).await?;
    assert_eq!(engine.starts(), ["1 alone", "2 alone"]);
    stack.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_outcome_does_not_end_the_attempt_that_runs_now() -> Result<()> {
    let stack = Stack::embedded_with_lease(6).await?;
    let engine = Engine::new()?;
    let (task, zombie, control) = at_work(&stack, &engine).await?;
    control.hold();
    engine.let_go(1)?;
    engine.gone(1).await?;
    let second = stack.worker(with_stages(&stack, &engine))?;
    engine.started(2).await?;
    let before = runs(&stack, &task, 2).await?;
    let writes = control.log().len();
    control.release();
    // The second one is busy.
    assert_eq!(one_more(&stack).await?.worker_node_id.as_ref(), Some(&zombie.id));
    // The late outcome, and claim and end of the task that followed it.
    assert!(control.log().len() >= writes + 3, "{:?}", control.log());
    assert_eq!(stack.aws.tasks.get(&task).await?.context("task")?, before);
    engine.let_go(2)?;
    let done = stack.completed(&task).await?;
    assert_eq!((done.attempt.0, done.interruptions, done.failures), (2, Some(1), None));
    assert_eq!(done.worker_node_id.as_ref(), Some(&second.id));
    assert_eq!((engine.starts(), engine.ends()), (lines(["1 alone", "2 alone"]), lines(["1", "2"])));
    for worker in [zombie, second] {
        worker.drained().await?;
    }
    stack.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_interruption_by_a_worker_that_fenced_itself_changes_nothing() -> Result<()> {
    let stack = Stack::embedded_with_lease(3).await?;
    let engine = Engine::new()?;
    let (task, zombie, control) = at_work(&stack, &engine).await?;
    control.hold();
    engine.gone(1).await?;
    comes_back(&stack, &engine, &task, zombie, control).await?;
    assert_eq!((engine.starts(), engine.ends()), (lines(["1 alone", "2 alone"]), lines(["2"])));
    stack.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_outcome_does_not_bring_a_deleted_task_back() -> Result<()> {
    let stack = Stack::embedded().await?;
    let engine = Engine::new()?;
    let (task, worker, control) = at_work(&stack, &engine).await?;
    control.hold();
    engine.let_go(1)?;
    engine.gone(1).await?;
    let key = AttributeValue::S(task.to_string());
    stack.dynamodb().delete_item().table_name(&stack.deployment.tasks_table).key("id", key).send().await?;
    control.release();
    assert_eq!(one_more(&stack).await?.worker_node_id.as_ref(), Some(&worker.id), "its slot is free again");
    worker.drained().await?;
    assert_eq!(stack.record(&task).await?, None);
    stack.shutdown().await;
    Ok(())
}

fn lines<const N: usize>(lines: [&str; N]) -> Vec<String> {
    lines.map(str::to_owned).to_vec()
}
