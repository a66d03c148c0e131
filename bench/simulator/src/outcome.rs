//! What a run came to.

use serde::{Deserialize, Serialize};

use crate::histogram::Histogram;

/// Waits in seconds, from the task's being written to the beginning of its claim.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Waits {
    /// The mean.
    pub mean: f64,
    /// Half of the tasks wait at most this long.
    pub p50: f64,
    /// 95 of 100.
    pub p95: f64,
    /// 99 of 100.
    pub p99: f64,
    /// The longest.
    pub longest: f64,
}

/// Requests and units by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Requests {
    /// Records written by clients.
    pub puts: u64,
    /// Entries of the index `byAccount`.
    pub index_entries: u64,
    /// QUEUED marks.
    pub marks: u64,
    /// Claims.
    pub claims: u64,
    /// Ends of attempts, interrupted ones too.
    pub ends: u64,
    /// Items of `stages`.
    pub stages: u64,
    /// Heartbeats.
    pub beats: u64,
    /// Registry items.
    pub registry: u64,
    /// Their write units.
    pub registry_units: u64,
    /// Running tasks that their worker read again.
    pub reviews: u64,
    /// SendMessageBatch.
    pub sends: u64,
    /// ReceiveMessage, of all lanes.
    pub receives: u64,
    /// DeleteMessageBatch.
    pub deletes: u64,
    /// Calls of the dispatcher.
    pub calls: u64,
    /// Those that began a new environment.
    pub cold_calls: u64,
    /// Seconds of calls, as billed.
    pub call_seconds: f64,
    /// Writes that had to wait for capacity.
    pub throttled: u64,
}

/// The most of everything that AWS limits, as means of a minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Peaks {
    /// Tasks a second.
    pub arrivals: f64,
    /// Write units a second of `tasks`.
    pub tasks_units: f64,
    /// Of its hottest partition.
    pub tasks_partition_units: f64,
    /// Partitions in the end.
    pub tasks_partitions: usize,
    /// Write units a second of one account's key in `byAccount`.
    pub account_units: f64,
    /// Of `stages`.
    pub stages_units: f64,
    /// Of one of the eight keys of workers in `control`.
    pub control_units: f64,
    /// Messages in flight.
    pub in_flight: u64,
    /// Messages waiting.
    pub backlog: usize,
    /// Calls of the dispatcher at once.
    pub calls: u32,
    /// The part of a minute in which a shard's calls ran, of all it may have.
    pub shard_busy: f64,
    /// Workers, those that boot included.
    pub workers: u32,
    /// Workers launched a second.
    pub launches: f64,
}

/// What a run came to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Tasks that came.
    pub tasks: u64,
    /// Tasks that completed.
    pub completed: u64,
    /// Attempts that Spot interrupted.
    pub interruptions: u64,
    /// How long they waited.
    pub waits: Waits,
    /// The same, of each task as they came; of recorded arrivals only.
    #[serde(skip)]
    pub each: Vec<f64>,
    /// From the first task to the end of the last, in seconds.
    pub seconds: f64,
    /// Workers on average, those that boot included.
    pub workers: f64,
    /// Slots that were taken on average.
    pub running: f64,
    /// Messages that waited on average, those in the stream included.
    pub waiting: f64,
    /// The part of the slots of serving workers that was taken.
    pub utilisation: f64,
    /// Requests.
    pub requests: Requests,
    /// Peaks.
    pub peaks: Peaks,
}

impl Waits {
    pub(crate) fn of(histogram: &Histogram) -> Self {
        Self {
            mean: histogram.mean(),
            p50: histogram.quantile(0.5),
            p95: histogram.quantile(0.95),
            p99: histogram.quantile(0.99),
            longest: histogram.longest(),
        }
    }
}

impl Requests {
    /// Calls of SQS.
    pub fn sqs(&self) -> u64 {
        self.sends + self.receives + self.deletes
    }

    /// Calls of DynamoDB that write.
    pub fn writes(&self) -> u64 {
        self.puts + self.marks + self.claims + self.ends + self.stages + self.beats + self.registry
    }
}
