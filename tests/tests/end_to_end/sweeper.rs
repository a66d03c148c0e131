//! The sweeper as it is deployed: called like its schedule does, and by events of EventBridge.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use stageline::task::Status;
use stageline::{At, Clock};
use stageline_tests::faults::{FaultyHttp, Plan};
use stageline_tests::sweeping::{event, sweep};
use stageline_tests::system::{Stack, eventually, id};
use stageline_worker::Config;

/// An instance that no other test has.
fn on(stack: &Stack, instance: &str) -> Config {
    let instance = Some(instance.to_owned());
    Config { instance, drain_grace_seconds: 600, ..stack.worker_config(1) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_whose_message_is_lost_is_brought_back_by_a_round_of_the_sweeper() -> Result<()> {
    let stack = Stack::start().await?;
    // As if it had been sent and its message was gone: the stream's filter does not let such a record through.
    let old = At::from_millis(Clock::system().now().millis() - 3_600_000).to_string();
    let record = json!({
        "id": id("lost"), "status": "QUEUED", "dispatchStatus": "DISPATCHED", "command": "echo found",
        "createdAt": old, "updatedAt": old, "queuedAt": old, "attempt": 0,
    });
    let task = stack.put(&record).await?;
    // The scan goes on where the last call stopped; the queue has to be empty, too.
    eventually("a round sends it", || async {
        sweep(&stack).await?;
        let task = stack.aws.tasks.get(&task).await?.context("a task")?;
        Ok(task.history.iter().flatten().any(|entry| entry.by == "sweeper").then_some(()))
    })
    .await?;
    let worker = stack.worker(stack.worker_config(1))?;
    let done = stack.completed(&task).await?;
    assert_eq!((done.attempt.0, done.stdout.as_deref()), (1, Some("found\n")));
    worker.drained().await?;
    stack.shutdown().await;
    Ok(())
}

/// What became of a worker that an event warned while it ran a task: it drains, and the task ends under it.
async fn drains(kind: &str, machine: &str, detail: Value) -> Result<()> {
    let stack = Stack::start().await?;
    let warned = stack.worker(on(&stack, machine))?;
    let wait = stack.worker_config(1).work_dir.with_file_name("go-on");
    let command = format!("sh -c 'until test -e {}; do sleep 0.05; done'", wait.display());
    let held = stack.put(&json!({"id": id("held"), "status": "PENDING", "command": command})).await?;
    stack.until(&held, |task| task.status == Status::Running).await?;
    event(&stack, kind, detail).await?;
    eventually("it drains", || async {
        let item = stack.aws.workers.get(&warned.id).await?;
        Ok(item.and_then(|item| item.heartbeat).filter(|beat| beat.draining).map(drop))
    })
    .await?;
    std::fs::write(&wait, "")?;
    let done = stack.completed(&held).await?;
    assert_eq!((done.attempt.0, done.worker_node_id.as_ref()), (1, Some(&warned.id)));
    warned.ended().await?;
    stack.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spot_warning_reaches_the_sweeper_and_drains_its_instances_worker() -> Result<()> {
    let instance = format!("i-{}", id("warned"));
    let detail = json!({"instance-id": instance, "instance-action": "terminate"});
    drains("EC2 Spot Instance Interruption Warning", &instance, detail).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_is_to_stop_drains_its_worker() -> Result<()> {
    let container = container("warned");
    let detail = json!({"taskArn": container, "lastStatus": "RUNNING", "desiredStatus": "STOPPED"});
    drains("ECS Task State Change", &container, detail).await
}

fn container(name: &str) -> String {
    format!("arn:aws:ecs:us-east-1:123456789012:task/cluster/{}", id(name))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebalance_recommendation_reaches_the_worker_and_ends_nothing() -> Result<()> {
    let stack = Stack::start().await?;
    let instance = format!("i-{}", id("at-risk"));
    let worker = stack.worker(on(&stack, &instance))?;
    eventually("it is alive", || async { Ok(stack.aws.workers.get(&worker.id).await?) }).await?;
    event(&stack, "EC2 Instance Rebalance Recommendation", json!({"instance-id": instance})).await?;
    let beat = eventually("it has noticed", || async {
        let item = stack.aws.workers.get(&worker.id).await?;
        Ok(item.and_then(|item| item.heartbeat).filter(|beat| beat.notice.is_some()))
    })
    .await?;
    assert!(!beat.draining);
    // No other worker can, so it goes on.
    let task = stack.put(&json!({"id": id("all-the-same"), "status": "PENDING", "command": "true"})).await?;
    assert_eq!(stack.completed(&task).await?.worker_node_id.as_ref(), Some(&worker.id));
    worker.drained().await?;
    stack.shutdown().await;
    Ok(())
}

/// The task of a worker whose machine has ended, by an event, is another worker's at once.
async fn moves_on(kind: &str, machine: &str, detail: Value) -> Result<()> {
    let stack = Stack::start().await?;
    let (sdk, control) = FaultyHttp::wrap(&stack.config, Plan::none())?;
    let gone = stack.worker_through(on(&stack, machine), &sdk, Clock::system())?;
    let command = "sh -c 'test $STAGELINE_ATTEMPT = 2 || sleep 600'";
    let task = stack.put(&json!({"id": id("rescued"), "status": "PENDING", "command": command})).await?;
    eventually("the registry lists it", || async {
        let listed = stack.aws.workers.registered(&gone.id).await?;
        Ok(listed.iter().any(|attempt| attempt.id == task).then_some(()))
    })
    .await?;
    // Cut off: to all others its machine is gone.
    control.hold();
    let began = tokio::time::Instant::now();
    event(&stack, kind, detail).await?;
    stack.until(&task, |task| task.interruptions == Some(1)).await?;
    let lease = stack.deployment.lease.length();
    assert!(began.elapsed() < lease, "by the event, not by the lease: {:?}", began.elapsed());
    let other = stack.worker(stack.worker_config(1))?;
    let done = stack.completed(&task).await?;
    assert_eq!((done.attempt.0, done.worker_node_id.as_ref()), (2, Some(&other.id)));
    other.drained().await?;
    control.release();
    gone.stop.cancel();
    gone.drained().await?;
    stack.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_of_a_terminated_instance_brings_its_task_to_another_worker_at_once() -> Result<()> {
    let instance = format!("i-{}", id("terminated"));
    let detail = json!({"instance-id": instance, "state": "terminated"});
    Box::pin(moves_on("EC2 Instance State-change Notification", &instance, detail)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_of_an_ended_container_brings_its_task_to_another_worker_at_once() -> Result<()> {
    let container = container("ended");
    let detail = json!({"taskArn": container, "lastStatus": "STOPPED", "desiredStatus": "STOPPED"});
    Box::pin(moves_on("ECS Task State Change", &container, detail)).await
}
