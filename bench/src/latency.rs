//! How long a task waits for its process, and how long a cancelled process still lives.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures::stream::{FuturesUnordered, StreamExt};
use serde_json::json;
use stageline::Clock;
use stageline::aws::{Request, Write};
use tokio::time::{Instant, timeout};

use crate::children::Children;
use crate::process::WorkerProcess;
use crate::records;
use crate::report::{Figure, Section};
use crate::rig::Rig;
use crate::scope::Scope;
use crate::statistics::percentile;

const PATIENCE: Duration = Duration::from_secs(30);
const WINDOWS: usize = 3;
const CANCELLED: usize = 12;

/// Measures it.
pub async fn measure(scope: &Scope) -> Section {
    let mut section = Section::new("Latency")
        .how("From before the client's PutItem until the task's process speaks to the meter, on the embedded \
              stack, with a worker that waits; tasks come evenly. From the request to cancel until the kernel \
              closes the killed process's connection, with the default lease, whose heartbeat every 3 s brings \
              the signal.");
    for (rate, seconds) in [(1.0, scope.of(5, 20)), (10.0, scope.of(3, 10)), (100.0, scope.of(2, 5))] {
        section.take(&format!("{rate} tasks/s"), starts(rate, seconds).await);
    }
    section.take("cancel", cancels().await);
    section
}

async fn starts(rate: f64, seconds: u32) -> Result<Vec<Figure>> {
    let rig = Rig::embedded(false).await?;
    let mut children = Children::listen().await?;
    let worker = WorkerProcess::start(&rig, 64, &[]).await?;
    let command = children.command()?;
    let count = (rate * f64::from(seconds)).round() as usize;
    let mut of_shares: [Vec<f64>; 3] = Default::default();
    // The first ones open connections.
    for window in 0..=WINDOWS {
        let prefix = format!("w{window}");
        let tasks =
            records::tasks(&prefix, if window == 0 { 5 } else { count }, &json!({"command": command}))?;
        let expected = tasks.len();
        // Beside the puts: a process ends, and gives its slot back, once it has been taken.
        let noticing = tokio::spawn(async move {
            let mut noticed = Vec::with_capacity(expected);
            while noticed.len() < expected {
                let child = timeout(PATIENCE, children.next()).await.context("no process started")??;
                noticed.push((child.task.clone(), child.at));
            }
            anyhow::Ok((children, noticed))
        });
        let mut put = HashMap::new();
        let mut puts = FuturesUnordered::new();
        let begun = Instant::now();
        for (number, task) in tasks.into_iter().enumerate() {
            tokio::time::sleep_until(begun + Duration::from_secs_f64(number as f64 / rate)).await;
            put.insert(task.id.to_string(), Instant::now());
            let client = rig.client().clone();
            puts.push(tokio::spawn(async move { client.tasks.put_new(&task).await }));
        }
        while let Some(done) = puts.next().await {
            ensure!(done??, "an id is taken");
        }
        let noticed;
        (children, noticed) = noticing.await??;
        let mut waits = Vec::new();
        for (task, at) in noticed {
            let begun = put.get(&task).with_context(|| format!("{task} was not put"))?;
            waits.push((at - *begun).as_secs_f64() * 1e3);
        }
        if window > 0 {
            for (values, share) in of_shares.iter_mut().zip([0.5, 0.95, 0.99]) {
                values.extend(percentile(&waits, share));
            }
        }
    }
    drop(worker);
    rig.shutdown().await;
    let [p50, p95, p99] = of_shares;
    let name = |share: &str| format!("PutItem → child started, {rate} tasks/s, {share}");
    let (mut median, mut last) = (Figure::new(name("p50"), "ms", p50), Figure::new(name("p99"), "ms", p99));
    if rate == 10.0 {
        (median, last) = (median.at_most(40.0), last.at_most(150.0));
    }
    Ok(vec![median, Figure::new(name("p95"), "ms", p95), last])
}

async fn cancels() -> Result<Vec<Figure>> {
    let rig = Rig::embedded(false).await?;
    let mut children = Children::listen().await?;
    let worker = WorkerProcess::start(&rig, CANCELLED as u32, &[]).await?;
    rig.put(records::tasks("cancel", CANCELLED, &json!({"command": children.command()?}))?).await?;
    let mut running = Vec::new();
    while running.len() < CANCELLED {
        running.push(timeout(PATIENCE, children.next()).await.context("no process started")??);
    }
    // At moments of their own between two heartbeats.
    let mut ends = FuturesUnordered::new();
    for child in running {
        tokio::time::sleep(Duration::from_millis(430)).await;
        let asked = Instant::now();
        let answer =
            rig.client().tasks.ask(&child.task.parse()?, Request::Cancel, Clock::system().now()).await?;
        ensure!(answer == Write::Applied, "{} was not cancelled: {answer:?}", child.task);
        ends.push(tokio::spawn(async move {
            let dead = timeout(PATIENCE, child.dead()).await.context("the process lives on")??;
            anyhow::Ok((dead - asked).as_secs_f64())
        }));
    }
    let mut waits = Vec::new();
    while let Some(end) = ends.next().await {
        waits.push(end??);
    }
    drop(worker);
    rig.shutdown().await;
    let figure = |name: &str, share| {
        Figure::new(
            format!("cancel → child dead, {name} of {CANCELLED}"),
            "s",
            percentile(&waits, share).into_iter().collect::<Vec<_>>(),
        )
    };
    Ok(vec![figure("p50", 0.5), figure("longest", 1.0)])
}
