//! A number of equal tasks through a worker that waits, and what that took.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::meter::Tally;
use crate::process::WorkerProcess;
use crate::records;
use crate::rig::Rig;

/// For the first polls to be opened, and for the last messages to be deleted.
pub const SETTLED: Duration = Duration::from_millis(700);

/// What a run took.
#[derive(Clone, Debug)]
pub struct Load {
    /// How many tasks.
    pub count: usize,
    /// The worker's CPU seconds, without its children's.
    pub cpu: f64,
    /// From the first put to the last end.
    pub seconds: f64,
    /// What client, dispatcher and worker asked of AWS together, where it is counted.
    pub tally: Tally,
    /// Calls of the dispatcher.
    pub calls: u64,
}

impl Load {
    /// Puts `count` tasks named after `prefix` with these attributes, and waits for their ends.
    ///
    /// # Errors
    /// A task does not complete.
    pub async fn run(
        rig: &Rig,
        worker: &mut WorkerProcess,
        prefix: &str,
        count: usize,
        attributes: &Value,
    ) -> Result<Self> {
        let tasks = records::tasks(prefix, count, attributes)?;
        tokio::time::sleep(SETTLED).await;
        let (cpu, tally, calls) = (worker.cpu()?, rig.tally_of_all(), rig.dispatcher_calls());
        let (begun, at) = (Instant::now(), stageline::Clock::system().now());
        rig.put(tasks).await?;
        let ended = rig.ended(prefix, count, worker).await?;
        let most = begun.elapsed();
        tokio::time::sleep(SETTLED).await;
        let last = ended.iter().map(|task| task.completed).max().context("no task")?;
        Ok(Self {
            count,
            cpu: worker.cpu()? - cpu,
            seconds: last.since(at).min(most).as_secs_f64(),
            tally: rig.tally_of_all().since(&tally),
            calls: rig.dispatcher_calls() - calls,
        })
    }

    /// The worker's CPU seconds for a thousand.
    pub fn cpu_of_thousand(&self) -> f64 {
        self.cpu / self.count as f64 * 1e3
    }

    /// Tasks a second.
    pub fn rate(&self) -> f64 {
        self.count as f64 / self.seconds
    }

    /// What one task asked of AWS.
    pub fn tally_of_one(&self) -> Tally {
        self.tally.times(1.0 / self.count as f64)
    }
}
