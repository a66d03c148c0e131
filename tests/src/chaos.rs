//! Everything goes wrong at once, and nothing may be lost: real worker processes that are killed, stopped
//! and cut off, a dispatcher whose calls fail, a stream that loses, repeats and reorders, queues that are
//! emptied. What became of the tasks is judged by what the tables and the tasks' own files say, not by the
//! product's counters.
//!
//! Who does what, when and to whom is a function of the seed; what comes of it is up to the processes.

pub mod effects;
pub mod history;
pub mod outcome;
pub mod schedule;
pub mod witness;
pub mod workload;

mod client;
mod logs;
mod post;
mod repairs;
mod run;
mod stream;
mod verdict;

use std::path::PathBuf;
use std::time::Duration;

use stageline::protocol::lease::Lease;

pub use outcome::Outcome;
pub use run::{Moment, run};
pub use workload::Mix;

/// What a run is like.
#[derive(Clone, Debug)]
pub struct Options {
    /// Decides about every fault and every task.
    pub seed: u64,
    /// How many tasks clients write, over the time of the faults.
    pub tasks: u32,
    /// What they are.
    pub mix: Mix,
    /// How long things go wrong. After that, everything works, and what is left comes to its end.
    pub faults: Duration,
    /// Whether the dispatcher never sees a record, to the very end.
    pub lost_stream: bool,
    /// The workers' lease.
    pub lease: Lease,
    /// Workers.
    pub workers: u32,
    /// Tasks at once at each of them.
    pub slots: u32,
    /// How far the sweeper's clock is ahead of everybody's. A record counts as forgotten after a minute:
    /// with a clock that is ahead, repairs happen amid the faults.
    pub sweeper_ahead: Duration,
    /// How long what is left may take.
    pub patience: Duration,
    /// The worker's program.
    pub worker_program: String,
    /// Where the workers' logs are written at the end, when they are to be kept.
    pub logs: Option<PathBuf>,
}

impl Options {
    /// The usual run.
    pub fn new(seed: u64, tasks: u32, faults: Duration, worker_program: String) -> Self {
        Self {
            seed,
            tasks,
            mix: Mix::default(),
            faults,
            lost_stream: false,
            lease: Lease::of(Duration::from_secs(4)),
            workers: 4,
            slots: 8,
            sweeper_ahead: Duration::from_secs(20),
            patience: Duration::from_secs(300),
            worker_program,
            logs: None,
        }
    }
}
