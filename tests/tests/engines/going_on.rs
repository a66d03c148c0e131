//! `quantum-espresso` goes on where another worker was stopped.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use stageline::task::{Task, TaskId};
use stageline_tests::process::WorkerProcess;
use stageline_tests::system::{RunningWorker, Stack, eventually, id};
use stageline_worker::Config;

use crate::Test;
use crate::bench::{block_on, pids};
use crate::found;

/// Silicon on so many points that it takes some seconds.
const INPUT: &str = "si.in";

pub fn trials() -> Vec<Test> {
    vec![
        ("a_cycle_that_dies_with_its_machine_goes_on_from_its_last_stop", || block_on(killed())),
        ("a_cycle_whose_worker_drains_goes_on_from_there", || block_on(drained())),
    ]
}

struct Place {
    stack: Stack,
    folder: tempfile::TempDir,
}

impl Place {
    async fn with_lease(seconds: u64) -> Result<Self> {
        let (stack, folder) = (Stack::embedded_with_lease(seconds).await?, tempfile::tempdir()?);
        let example = stack.worker_config(1).inputs_dir.join("quantum-espresso/silicon/si.scf.in");
        let text = std::fs::read_to_string(example)?;
        ensure!(text.contains("4 4 4  1 1 1") && text.contains("1.0d-9"), "the example has changed: {text}");
        let text = text.replace("4 4 4  1 1 1", "10 10 10  1 1 1").replace("1.0d-9", "1.0d-12");
        std::fs::create_dir(folder.path().join("in"))?;
        std::fs::write(folder.path().join("in").join(INPUT), text)?;
        Ok(Self { stack, folder })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn store(&self) -> String {
        format!("file://{}", self.path("store").display())
    }

    /// A worker that is a process of its own.
    fn process(&self, checkpoint_seconds: u32) -> Result<WorkerProcess> {
        let endpoint = self.stack.embedded.as_ref().context("embedded")?.local().endpoint().to_owned();
        let (inputs, url) = (self.path("in").display().to_string(), self.store());
        let (pw, seconds) = (found::pw(), checkpoint_seconds.to_string());
        let settings = [
            ("STAGELINE_WORKER_INPUTS_DIR", inputs.as_str()),
            ("STAGELINE_WORKER_ARTIFACTS_URL", url.as_str()),
            ("STAGELINE_WORKER_CHECKPOINT_SECONDS", seconds.as_str()),
            ("STAGELINE_WORKER_PW_PROGRAM", pw.as_str()),
            ("STAGELINE_WORKER_DRAIN_GRACE_SECONDS", "0"),
            // Long: a busy machine.
            ("STAGELINE_WORKER_TERM_GRACE_SECONDS", "30"),
        ];
        let at = self.path("first");
        std::fs::create_dir(&at)?;
        let program = env!("CARGO_BIN_EXE_test-worker");
        WorkerProcess::start(program, &endpoint, &self.stack.deployment, &at, &settings)
    }

    /// A worker that only goes on.
    fn second(&self) -> Result<RunningWorker> {
        self.stack.worker(Config {
            inputs_dir: self.path("in"),
            artifacts_url: Some(self.store()),
            work_dir: self.path("second"),
            checkpoint_seconds: 3_600,
            pw_program: found::pw(),
            ..self.stack.worker_config(1)
        })
    }

    async fn put(&self, name: &str) -> Result<TaskId> {
        let record =
            json!({"id": id(name), "status": "PENDING", "engine": "quantum-espresso", "script": INPUT});
        self.stack.put(&record).await
    }

    /// What `pw.x` has printed in an attempt on the worker of this name.
    fn output(&self, worker: &str, task: &TaskId, attempt: u32) -> String {
        let jobs = if worker == "first" { "first/jobs" } else { worker };
        let log = self.path(jobs).join(task.as_str()).join(attempt.to_string()).join("stdout.log");
        std::fs::read_to_string(log).unwrap_or_default()
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

fn is_stored(line: &Value) -> bool {
    line["message"] == "checkpoint stored"
}

async fn killed() -> Result<()> {
    let place = Place::with_lease(4).await?;
    let mut first = place.process(1)?;
    first.started().await?;
    let task = place.put("dies").await?;
    first.log().until(is_stored).await?;
    // A part of what lies between two checkpoints.
    tokio::time::sleep(Duration::from_millis(500)).await;
    // The whole machine: the worker, and pw.x with it.
    first.kill().await?;
    for pid in pids(&task) {
        kill(Pid::from_raw(pid), Signal::SIGKILL)?;
    }
    let before = place.output("first", &task, 1);

    // While the lease runs out, the same undisturbed.
    let second = place.second()?;
    let whole = place.stack.completed(&place.put("undisturbed").await?).await?;
    let ended = place.stack.completed(&task).await?;
    let after = place.output("second", &task, 2);
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
    place.stack.shutdown().await;
    Ok(())
}

async fn drained() -> Result<()> {
    let place = Place::with_lease(30).await?;
    let mut first = place.process(3_600)?;
    first.started().await?;
    let task = place.put("drains").await?;
    place.reaches(2, &task).await?;
    first.signal(Signal::SIGTERM)?;
    first.log().until(is_stored).await?;
    ensure!(first.ended().await?.success(), "it drains in good order");
    let stopped = place.output("first", &task, 1);
    let last = *iterations(&stopped).last().context("iterations")?;
    ensure!(stopped.contains("Program stopped by user request"), "{stopped}");

    let second = place.second()?;
    let ended = place.stack.completed(&task).await?;
    let begin = *iterations(&place.output("second", &task, 2)).first().context("iterations")?;
    ensure!((last..=last + 1).contains(&begin), "stopped in iteration {last}, went on with {begin}");
    let energy = energy(&ended)?;
    ensure!((energy + 15.8510).abs() < 1e-3, "{energy}");
    let result = ended.result.as_ref().context("a result")?;
    ensure!(result["iterations"].as_u64() >= Some(last) && result["cycles"] == 1, "{result}");
    assert_eq!((ended.attempt.0, ended.interruptions, ended.failures), (2, Some(1), None), "{ended:#?}");
    second.drained().await?;
    place.stack.shutdown().await;
    Ok(())
}
