//! The real system: the embedded AWS, the dispatcher on its stream, a worker's process behind a counting proxy.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use stageline::Clock;
use stageline::aws::Aws;
use stageline::protocol::lease::Lease;
use stageline::task::{Status, Task, TaskId};
use stageline_local::pump::StreamPump;
use stageline_local::system::mapping_rules;
use stageline_tests::faults::{Control, FaultyHttp, Plan, Proxy};
use stageline_tests::parts::{DispatcherFunction, Parts};
use stageline_tests::process::WorkerProcess;

/// Tasks at once.
pub const SLOTS: u32 = 8;
/// A task that has not ended this long after all were written is a defect.
const PATIENCE: Duration = Duration::from_secs(120);

/// A task to come: how long after the beginning, and how long it runs, in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Planned {
    pub at: f64,
    pub run: f64,
}

/// A task as it went, in seconds since the first was written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Went {
    /// When its record began to be written.
    pub written: f64,
    /// How long its engine was asked to run.
    pub run: f64,
    /// The claim's `startedAt`.
    pub started: f64,
    /// `completedAt`.
    pub completed: f64,
}

impl Went {
    pub fn wait(&self) -> f64 {
        self.started - self.written
    }
}

/// What a run came to.
#[derive(Clone, Debug, Default)]
pub struct Real {
    pub tasks: Vec<Went>,
    /// Requests by operation, of dispatcher and worker.
    pub requests: BTreeMap<String, u64>,
}

/// The real system.
pub struct Rig {
    pub parts: Parts,
    pub aws: Aws,
    proxy: Proxy,
    dispatching: Control,
    worker: WorkerProcess,
    _pump: StreamPump,
}

/// Tasks that come at random and run for a time with an exponential distribution. Together they take just this part
/// of the slots, of which each is taken for `overhead` seconds more than it runs: a draw that happens to be a
/// quiet one would compare two idle systems.
pub fn plan(seed: u64, tasks: u32, mean: f64, load: f64, overhead: f64) -> Vec<Planned> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut draw = || -(1.0 - rng.f64()).ln();
    let mut at = 0.0;
    let mut next = || {
        at += draw();
        // `sleep` is told milliseconds.
        Planned { at, run: (draw() * mean * 1e3).round().max(10.0) / 1e3 }
    };
    let mut plan: Vec<_> = (0..tasks).map(|_| next()).collect();
    let taken: f64 = plan.iter().map(|task| task.run + overhead).sum();
    let stretch = taken / (load * f64::from(SLOTS) * at);
    plan.iter_mut().for_each(|task| task.at *= stretch);
    plan
}

impl Rig {
    /// Starts everything.
    pub async fn start(worker: String) -> Result<Self> {
        let parts = Parts::start(Lease::default()).await?;
        let (config, dispatching) = FaultyHttp::wrap(&parts.local.sdk_config(), Plan::none())?;
        let dispatcher = DispatcherFunction(parts.dispatcher(&config, Clock::system()));
        let (pump, _failures) = parts.pump(mapping_rules()?, Arc::new(dispatcher)).await?;
        let proxy = Proxy::start(&parts.local.endpoint()).await?;
        let slots = SLOTS.to_string();
        let settings =
            [("STAGELINE_WORKER_SLOTS", slots.as_str()), ("RUST_LOG", "warn,stageline_worker::worker=info")];
        let folder = parts.folder.path();
        let worker = WorkerProcess::start(&worker, &proxy.endpoint(), &parts.deployment, folder, &settings)?;
        worker.started().await?;
        let aws = parts.aws();
        Ok(Self { parts, aws, proxy, dispatching, worker, _pump: pump })
    }

    /// Writes these tasks when they are to come, and waits until all have ended.
    pub async fn run(&self, plan: &[Planned]) -> Result<Real> {
        let before = self.requests();
        let clock = Clock::system();
        let begun = Instant::now();
        let first = clock.now();
        let mut puts = tokio::task::JoinSet::new();
        for planned in plan.iter().copied() {
            let due = begun + Duration::from_secs_f64(planned.at);
            tokio::time::sleep_until(due.into()).await;
            let (tasks, clock) = (self.aws.tasks.clone(), clock.clone());
            puts.spawn(async move {
                let mut task = Task::new(TaskId::fresh());
                task.command = Some(format!("sleep {:.3}", planned.run));
                let written = clock.now();
                let new = tasks.put_new(&task).await?;
                ensure!(new, "an id that was there");
                anyhow::Ok((task.id, planned.run, written))
            });
        }
        let mut went = Vec::new();
        for put in puts.join_all().await {
            let (id, run, written) = put?;
            let task = self.ended(&id, begun).await?;
            ensure!(task.status == Status::Completed, "not completed: {task:#?}");
            let since = |at: stageline::At| (at.millis() - first.millis()) as f64 / 1e3;
            went.push(Went {
                written: since(written),
                run,
                started: since(task.started_at.context("a start")?),
                completed: since(task.completed_at.context("an end")?),
            });
        }
        went.sort_by(|a, b| a.written.total_cmp(&b.written));
        let mut requests = self.requests();
        for (operation, count) in before {
            *requests.entry(operation).or_default() -= count;
        }
        Ok(Real { tasks: went, requests })
    }

    async fn ended(&self, id: &TaskId, begun: Instant) -> Result<Task> {
        loop {
            let task = self.aws.tasks.get(id).await?.context("the record")?;
            if task.status.is_terminal() {
                return Ok(task);
            }
            ensure!(begun.elapsed() < PATIENCE + Duration::from_secs(600), "it does not end: {task:#?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn requests(&self) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        for decision in self.dispatching.log().into_iter().chain(self.proxy.control().log()) {
            *counts.entry(decision.operation).or_default() += 1;
        }
        counts
    }

    /// Stops the worker, and then the rest.
    pub async fn end(mut self) -> Result<()> {
        self.worker.signal(Signal::SIGTERM)?;
        self.worker.ended().await?;
        self.parts.local.shutdown().await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_takes_the_part_of_the_slots_that_it_is_asked_for() {
        for seed in 0..20 {
            let plan = plan(seed, 200, 3.0, 0.9, 0.1);
            let taken: f64 = plan.iter().map(|task| task.run + 0.1).sum();
            let last = plan.last().unwrap().at;
            assert!((taken / (f64::from(SLOTS) * last) - 0.9).abs() < 1e-9);
            assert!(plan.is_sorted_by(|a, b| a.at <= b.at));
        }
    }
}
