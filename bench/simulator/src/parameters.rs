//! All that a run depends on: the load, the deployment's settings, and what calls take. The defaults are those
//! of the code and of `infra/core.yaml`; where a number is no setting, its source is written beside it.

use crate::calendar::{Micros, SECOND};
use crate::limits::Limits;
use crate::load::{Arrivals, RunTime};
use crate::progress::Progress;

const MILLI: Micros = 1_000;
/// Memory of each function, in GB.
pub const FUNCTION_GB: f64 = 0.25;

/// One run.
#[derive(Clone, Debug)]
pub struct Parameters {
    /// Decides every draw.
    pub seed: u64,
    /// When tasks come.
    pub arrivals: Arrivals,
    /// How long they run.
    pub run: RunTime,
    /// Until when tasks come; the run goes on until all have ended.
    pub until: Micros,
    /// How many accounts write tasks, each as many: the keys of the index `byAccount`.
    pub accounts: u32,
    /// Progress.
    pub progress: Progress,
    /// The dispatcher.
    pub dispatcher: Dispatcher,
    /// Each worker.
    pub worker: Worker,
    /// How many workers.
    pub fleet: Fleet,
    /// AWS.
    pub limits: Limits,
}

/// The dispatcher's Lambda and its mapping (`infra/core.yaml`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dispatcher {
    /// Most records of one call.
    pub batch: u32,
    /// Calls at once for one shard.
    pub parallel: u32,
    /// How often Lambda looks at an idle shard; 0: it is told at once, as `local/` does.
    pub poll: Micros,
    /// Memory in GB.
    pub memory_gb: f64,
    /// Before the first call of a new environment, billed. Published for Rust: 14 ms; with the SDK's clients,
    /// and the download of the code, more.
    pub cold: Micros,
    /// How long an idle environment is kept. Not published; ten minutes are often seen.
    pub warm: Micros,
    /// From the record's being there to the function's.
    pub invoke: Micros,
    /// CPU time a record at this memory: 0.15 ms of a whole core (the SDK's own is 0.12 ms a call), of which
    /// 256 MB are 0.145.
    pub record: Micros,
    /// One SendMessageBatch.
    pub send: Micros,
    /// One UpdateItem that marks QUEUED; those of a batch run side by side.
    pub mark: Micros,
}

/// A worker (`worker/src/config.rs`, `poller.rs`, `heartbeat.rs`, `acknowledge.rs`, `lease.rs`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Worker {
    /// Tasks at once, 1 to 64 in the model.
    pub slots: u32,
    /// How long a poll of an empty queue waits.
    pub poll: Micros,
    /// Between beats while it runs tasks, and while it runs none.
    pub busy_beat: Micros,
    /// See `busy_beat`.
    pub idle_beat: Micros,
    /// The age from which a task is worth a registry write.
    pub worth_listing: Micros,
    /// How long a message to be deleted waits for others.
    pub acknowledge: Micros,
    /// From a message's being there, or the request for one that is there, to its receipt.
    pub receive: Micros,
    /// The claim's call.
    pub claim: Micros,
    /// All else that a slot is taken for beside the engine: starting the process, and the call that ends the
    /// attempt.
    pub end: Micros,
}

/// How many workers there are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fleet {
    /// Always as many.
    Fixed(u32),
    /// As many as the backlog asks for.
    Scaled(Scaling),
}

/// Scaling by backlog and running tasks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scaling {
    /// At least.
    pub least: u32,
    /// At most.
    pub most: u32,
    /// The part of all slots that should be taken.
    pub target: f64,
    /// Seconds in which a backlog should be worked off.
    pub patience: f64,
    /// Between two looks.
    pub every: Micros,
    /// From the decision to the first poll.
    pub boot: Micros,
    /// The part of the workers that may be let go at one look.
    pub shrink: f64,
    /// Spot interruptions a worker-hour; an interrupted task starts over.
    pub interruptions: f64,
}

impl Default for Dispatcher {
    fn default() -> Self {
        Self {
            batch: 100,
            parallel: 1,
            poll: 250 * MILLI,
            memory_gb: FUNCTION_GB,
            cold: 80 * MILLI,
            warm: 600 * SECOND,
            invoke: 20 * MILLI,
            record: MILLI,
            send: 15 * MILLI,
            mark: 8 * MILLI,
        }
    }
}

impl Default for Worker {
    fn default() -> Self {
        Self {
            slots: 8,
            poll: 20 * SECOND,
            busy_beat: 3 * SECOND,
            idle_beat: 10 * SECOND,
            worth_listing: SECOND,
            acknowledge: 500 * MILLI,
            receive: 10 * MILLI,
            claim: 6 * MILLI,
            end: 12 * MILLI,
        }
    }
}

impl Default for Scaling {
    fn default() -> Self {
        Self {
            least: 1,
            most: u32::MAX,
            target: 0.8,
            patience: 60.0,
            every: 60 * SECOND,
            boot: 90 * SECOND,
            shrink: 0.1,
            interruptions: 0.002,
        }
    }
}

impl Parameters {
    /// A day of this many tasks along a daily curve, on workers that come and go.
    pub fn day(tasks: f64, run: RunTime) -> Self {
        Self {
            seed: 1,
            arrivals: Arrivals::Daily { rate: tasks / crate::load::DAY, swing: 0.6 },
            run,
            until: crate::calendar::seconds(crate::load::DAY),
            accounts: 1,
            progress: Progress::default(),
            dispatcher: Dispatcher::default(),
            worker: Worker::default(),
            fleet: Fleet::Scaled(Scaling::default()),
            limits: Limits::default(),
        }
    }

    /// Nothing but `workers` slots and a queue: no call takes any time. What queueing theory knows.
    pub fn bare(arrivals: Arrivals, run: RunTime, until: Micros, workers: u32, slots: u32) -> Self {
        let dispatcher =
            Dispatcher { poll: 0, cold: 0, invoke: 0, record: 0, send: 0, mark: 0, ..Dispatcher::default() };
        let worker = Worker { slots, receive: 0, claim: 0, end: 0, ..Worker::default() };
        let progress = Progress::NONE;
        let fleet = Fleet::Fixed(workers);
        let day = Self::day(1.0, run);
        Self { arrivals, until, progress, dispatcher, worker, fleet, accounts: u32::MAX, ..day }
    }
}
