//! `quantum-espresso` goes on where another worker was stopped.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::json;
use stageline::task::{Task, TaskId};
use stageline_tests::process::WorkerProcess;
use stageline_tests::system::{RunningWorker, eventually, id};

use crate::Test;
use crate::bench::block_on;
use crate::place::{Place, dies, is_stored};

/// Silicon on so many points that it takes some seconds.
const INPUT: &str = "si.in";

pub fn trials() -> Vec<Test> {
    vec![
        ("a_cycle_that_dies_with_its_machine_goes_on_from_its_last_stop", || block_on(killed())),
        ("a_cycle_whose_worker_drains_goes_on_from_there", || block_on(drained())),
    ]
}

struct Silicon {
    place: Place,
}

impl Silicon {
    async fn with_lease(seconds: u64) -> Result<Self> {
        let place = Place::with_lease(seconds).await?;
        let example = place.stack.worker_config(1).inputs_dir.join("quantum-espresso/silicon/si.scf.in");
        let text = std::fs::read_to_string(example)?;
        ensure!(text.contains("4 4 4  1 1 1") && text.contains("1.0d-9"), "the example has changed: {text}");
        let text = text.replace("4 4 4  1 1 1", "10 10 10  1 1 1").replace("1.0d-9", "1.0d-12");
        std::fs::create_dir(place.path("in"))?;
        std::fs::write(place.path("in").join(INPUT), text)?;
        Ok(Self { place })
    }

    /// A worker that is a process of its own.
    fn first(&self, checkpoint_seconds: u32) -> Result<WorkerProcess> {
        self.place.first(self.place.path("in"), checkpoint_seconds)
    }

    fn second(&self) -> Result<RunningWorker> {
        self.place.second(self.place.path("in"))
    }

    fn output(&self, worker: &str, task: &TaskId, attempt: u32) -> String {
        self.place.output(worker, task, attempt)
    }

    async fn put(&self, name: &str) -> Result<TaskId> {
        let record =
            json!({"id": id(name), "status": "PENDING", "engine": "quantum-espresso", "script": INPUT});
        self.place.stack.put(&record).await
    }

    async fn reaches(&self, iteration: u64, task: &TaskId) -> Result<()> {
        let there = || async {
            let reached = iterations(&self.output("first", task, 1)).last() >= Some(&iteration);
            Ok(reached.then_some(()))
        };
        eventually(&format!("iteration {iteration}"), there).await
    }
}

/// The iterations that were begun, in order; one that goes on once more.
fn iterations(output: &str) -> Vec<u64> {
    let numbers = output.lines().filter_map(|line| line.trim_start().strip_prefix("iteration #"));
    numbers.filter_map(|rest| rest.split_whitespace().next()?.parse().ok()).collect()
}

/// Those at which it was stopped for a checkpoint.
fn stops(output: &str) -> Vec<u64> {
    let words = "Calculation stopped in scf loop at iteration #";
    let numbers = output.lines().filter_map(|line| line.trim_start().strip_prefix(words));
    numbers.filter_map(|rest| rest.trim().parse().ok()).collect()
}

fn energy(task: &Task) -> Result<f64> {
    task.result.as_ref().and_then(|result| result["totalEnergyRy"].as_f64()).context("an energy")
}

async fn killed() -> Result<()> {
    let silicon = Silicon::with_lease(4).await?;
    let mut first = silicon.first(1)?;
    first.started().await?;
    let task = silicon.put("dies").await?;
    first.log().until(is_stored).await?;
    // A part of what lies between two checkpoints.
    tokio::time::sleep(Duration::from_millis(500)).await;
    dies(&mut first, &task).await?;
    let before = silicon.output("first", &task, 1);

    // While the lease runs out, the same undisturbed.
    let second = silicon.second()?;
    let whole = silicon.place.stack.completed(&silicon.put("undisturbed").await?).await?;
    let ended = silicon.place.stack.completed(&task).await?;
    let after = silicon.output("second", &task, 2);
    ensure!(after.contains("Calculation restarted from"), "{after}");
    let (done, stops, again) = (iterations(&before), stops(&before), iterations(&after));
    let (last, begin) = (*done.last().context("iterations")?, *again.first().context("iterations")?);
    let stop = *stops.first().context("a stop")?;
    ensure!(begin > stop, "stopped behind iteration {stop}, went on with {begin}");
    let between = stop.max(1);
    let again = last.saturating_sub(begin);
    ensure!(again <= between, "{again} iterations again, {between} between two checkpoints");
    let (as_one, in_parts) = (energy(&whole)?, energy(&ended)?);
    ensure!((as_one - in_parts).abs() < 1e-6, "{as_one} undisturbed, {in_parts} in parts");
    assert_eq!((ended.attempt.0, ended.interruptions, ended.failures), (2, Some(1), None), "{ended:#?}");
    second.drained().await?;
    silicon.place.stack.shutdown().await;
    Ok(())
}

async fn drained() -> Result<()> {
    let silicon = Silicon::with_lease(30).await?;
    let mut first = silicon.first(3_600)?;
    first.started().await?;
    let task = silicon.put("drains").await?;
    silicon.reaches(2, &task).await?;
    first.signal(Signal::SIGTERM)?;
    first.log().until(is_stored).await?;
    ensure!(first.ended().await?.success(), "it drains in good order");
    let stopped = silicon.output("first", &task, 1);
    let last = *iterations(&stopped).last().context("iterations")?;
    ensure!(stopped.contains("Program stopped by user request"), "{stopped}");

    let second = silicon.second()?;
    let ended = silicon.place.stack.completed(&task).await?;
    let begin = *iterations(&silicon.output("second", &task, 2)).first().context("iterations")?;
    ensure!((last..=last + 1).contains(&begin), "stopped in iteration {last}, went on with {begin}");
    let energy = energy(&ended)?;
    ensure!((energy + 15.8510).abs() < 1e-3, "{energy}");
    let result = ended.result.as_ref().context("a result")?;
    ensure!(result["iterations"].as_u64() >= Some(last) && result["cycles"] == 1, "{result}");
    assert_eq!((ended.attempt.0, ended.interruptions, ended.failures), (2, Some(1), None), "{ended:#?}");
    second.drained().await?;
    silicon.place.stack.shutdown().await;
    Ok(())
}
