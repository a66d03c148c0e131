//! Leases from end to end: who may run a task when its worker is cut off, comes back, drains or dies, and
//! when clocks or versions differ.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod clocks;
mod drains;
mod engine;
mod fence;
mod messages;
mod versions;
mod zombies;

use anyhow::{Context, Result, ensure};
use stageline::aws::Outgoing;
use stageline::protocol::command::Command;
use stageline::task::{Attempt, Lane, Status, Task, TaskId, WorkerId};
use stageline_tests::system::{Stack, eventually, id};

/// Waits until the worker's registry lists the task.
async fn listed(stack: &Stack, worker: &WorkerId, task: &TaskId) -> Result<()> {
    eventually("the registry lists the task", || async {
        let listed = stack.aws.workers.registered(worker).await?;
        Ok(listed.iter().any(|attempt| attempt.id == *task).then_some(()))
    })
    .await
}

/// Waits until the task runs for the `attempt`th time.
async fn runs(stack: &Stack, task: &TaskId, attempt: u32) -> Result<Task> {
    stack.until(task, |task| task.attempt.0 == attempt && task.status == Status::Running).await
}

/// Sends the message of this attempt's claim once more, as a queue may.
async fn send_again(stack: &Stack, task: &TaskId, attempt: u32) -> Result<()> {
    let queues = &stack.deployment.pools.get("default").context("pool")?.queues;
    let command = Command::new(task.clone(), Attempt(attempt));
    let outgoing = Outgoing { command, delay: std::time::Duration::ZERO };
    let sent = stack.aws.queues.send(queues.url(Lane::Normal), &[outgoing]).await;
    ensure!(sent.failures == [None], "{sent:?}");
    Ok(())
}

/// Waits until no message waits to be received.
async fn received(stack: &Stack) -> Result<()> {
    let queues = &stack.deployment.pools.get("default").context("pool")?.queues;
    eventually("every message is received", || async {
        Ok((stack.aws.queues.depth(queues.url(Lane::Normal)).await?.visible == 0).then_some(()))
    })
    .await
}

/// Runs a task that any worker can; gives it as it ended.
async fn one_more(stack: &Stack) -> Result<Task> {
    let record = serde_json::json!({"id": id("one-more"), "command": "true"});
    stack.completed(&stack.put(&record).await?).await
}

/// The states of the task's history.
fn states(task: &Task) -> Vec<Status> {
    task.history.iter().flatten().map(|entry| entry.status).collect()
}

/// How often the task came into this state.
fn times(task: &Task, status: Status) -> usize {
    states(task).into_iter().filter(|state| *state == status).count()
}
