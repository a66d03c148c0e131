//! What the pump calls, and what it reports.

use std::sync::atomic::AtomicU64;

use async_trait::async_trait;
use aws_lambda_events::event::dynamodb::{Event, EventRecord};
use aws_lambda_events::event::streams::DynamoDbEventResponse;
use thiserror::Error;

/// The function behind the mapping: in production the Lambda, here the same handler in this process.
#[async_trait]
pub trait StreamFunction: Send + Sync + 'static {
    /// Handles a batch. An error, or a panic, fails the whole batch; the answer may list single records.
    async fn invoke(&self, event: Event) -> Result<DynamoDbEventResponse, InvokeError>;
}

/// The function failed as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct InvokeError(pub String);

/// Records that were given up: what AWS would send to the mapping's failure destination, and the records.
#[derive(Debug, Clone)]
pub struct FailedBatch {
    /// The shard they came from.
    pub shard: String,
    /// The sequence number of the first.
    pub first_sequence: String,
    /// The sequence number of the last.
    pub last_sequence: String,
    /// How often the function was called with them.
    pub attempts: u32,
    /// Why they were given up.
    pub reason: GiveUpReason,
    /// The records, as the function saw them.
    pub records: Vec<EventRecord>,
}

/// Why records were given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GiveUpReason {
    /// The function failed until no retry was left.
    RetriesExhausted,
    /// They became older than the mapping allows.
    RecordTooOld,
}

/// Counters that may be read at any time.
#[derive(Debug, Default)]
pub struct PumpStats {
    /// Calls of the function.
    pub invocations: AtomicU64,
    /// Records read from the stream.
    pub records_read: AtomicU64,
    /// Records that passed the filter.
    pub records_matched: AtomicU64,
    /// Batches that were given up.
    pub failed_batches: AtomicU64,
}
