//! Workers whose clocks are minutes off.

use anyhow::{Context, Result};
use serde_json::json;
use stageline::aws::{Request, Write};
use stageline::task::Status;
use stageline::{At, Clock};
use stageline_sweeper::{Limits, Sweeper};
use stageline_tests::faults::{Control, FaultyHttp, Plan};
use stageline_tests::system::{RunningWorker, Stack, eventually, id};

use crate::engine::Engine;
use crate::{listed, received, send_again};

const LEASE: u64 = 3;

/// The machine's clock, wrong by so many seconds.
fn wrong_by(seconds: i64) -> Clock {
    Clock::of(move || At::from_millis(Clock::system().now().millis() + seconds * 1_000))
}

fn worker(stack: &Stack, slots: u32, skew: i64) -> Result<(RunningWorker, Control)> {
    let (sdk, control) = FaultyHttp::wrap(&stack.config, Plan::none())?;
    Ok((stack.worker_through(stack.worker_config(slots), &sdk, wrong_by(skew))?, control))
}

async fn beat_of(stack: &Stack, worker: &RunningWorker) -> Result<At> {
    let item = stack.aws.workers.get(&worker.id).await?.context("a worker that was taken for dead")?;
    Ok(item.heartbeat.context("a readable heartbeat")?.heartbeat_at)
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_whose_clocks_are_minutes_off_keep_their_tasks() -> Result<()> {
    let stack = Stack::embedded_with_lease(LEASE).await?;
    let sweeper = Sweeper::new(stack.aws.clone(), stack.deployment.clone(), Clock::system());
    let mut held = Vec::new();
    for skew in [120, -120] {
        let (worker, _) = worker(&stack, 1, skew)?;
        let engine = Engine::new()?;
        let task = stack.put(&engine.task("skewed")).await?;
        // With one slot each, and the other one not started or busy.
        engine.started(1).await?;
        listed(&stack, &worker.id, &task).await?;
        held.push((worker, engine, task));
    }
    // Both have room for more, and meet each other's messages.
    let others = [worker(&stack, 2, 120)?.0, worker(&stack, 2, -120)?.0];
    let mut begun = Vec::new();
    for (worker, ..) in &held {
        begun.push(beat_of(&stack, worker).await?);
    }
    let mut short = Vec::new();
    // By the workers' own clocks: it is they who have to have beaten for so long.
    for seconds in 1..=3 * LEASE {
        let record = json!({"id": id("short"), "command": "true"});
        short.push(stack.put(&record).await?);
        for ((worker, _, task), begun) in held.iter().zip(&begun) {
            send_again(&stack, task, 0).await?;
            let report = sweeper.sweep(Limits::default()).await;
            assert_eq!((report.workers_dead, report.rescued, report.errors), (0, 0, 0), "{report:?}");
            eventually("it beats on", || async {
                let beaten = beat_of(&stack, worker).await?.since(*begun);
                Ok((beaten.as_secs() >= seconds).then_some(()))
            })
            .await?;
        }
    }
    received(&stack).await?;
    for (_, engine, _) in &held {
        engine.let_go(1)?;
    }
    for id in short.iter().chain(held.iter().map(|(_, _, task)| task)) {
        let done = stack.completed(id).await?;
        assert_eq!((done.attempt.0, done.interruptions, done.failures), (1, None, None));
    }
    for worker in held.into_iter().map(|(worker, ..)| worker).chain(others) {
        worker.drained().await?;
    }
    stack.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_death_of_a_worker_is_found_whatever_its_clock_says() -> Result<()> {
    for (dead, living) in [(120, -120), (-120, 120)] {
        let stack = Stack::embedded_with_lease(LEASE).await?;
        let engine = Engine::new()?;
        let (first, control) = worker(&stack, 1, dead)?;
        let task = stack.put(&engine.task("skewed")).await?;
        engine.started(1).await?;
        listed(&stack, &first.id, &task).await?;
        control.hold();
        let (second, _) = worker(&stack, 1, living)?;
        engine.let_go(2)?;
        let done = stack.completed(&task).await?;
        assert_eq!((done.attempt.0, done.interruptions), (2, Some(1)), "a clock {dead} s off");
        assert_eq!(done.worker_node_id.as_ref(), Some(&second.id));
        assert_eq!(engine.starts(), ["1 alone", "2 alone"]);
        second.drained().await?;
        control.release();
        first.drained().await?;
        stack.shutdown().await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_reaches_a_worker_whatever_its_clock_says() -> Result<()> {
    for skew in [120, -120] {
        let stack = Stack::embedded_with_lease(LEASE).await?;
        let engine = Engine::new()?;
        let (worker, _) = worker(&stack, 1, skew)?;
        let task = stack.put(&engine.task("asked")).await?;
        engine.started(1).await?;
        let asked = stack.aws.tasks.ask(&task, Request::Cancel, Clock::system().now()).await?;
        assert_eq!(asked, Write::Applied);
        assert_eq!(stack.ended(&task).await?.status, Status::Cancelled, "a clock {skew} s off");
        worker.drained().await?;
        stack.shutdown().await;
    }
    Ok(())
}
