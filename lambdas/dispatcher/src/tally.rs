//! What a dispatcher has done, and what of it one invocation did.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use stageline::metrics::Metric;
use stageline::metrics::table::{
    RECORDS_FAILED, RECORDS_LEFT, RECORDS_RECEIVED, RECORDS_REJECTED, SIGNALS_LEFT, TASKS_CANCELLED,
    TASKS_DEFERRED, TASKS_MARKED, TASKS_PAUSED, TASKS_RESUMED, TASKS_RUN_AGAIN, TASKS_SENT,
};

/// What the dispatcher has done since it started.
#[derive(Debug, Default)]
pub struct Tally {
    /// Batches handled.
    pub invocations: AtomicU64,
    /// Records seen.
    pub records: AtomicU64,
    /// Commands sent.
    pub sent: AtomicU64,
    /// Tasks marked QUEUED.
    pub marked: AtomicU64,
    /// Records marked FAILED.
    pub rejected: AtomicU64,
    /// Records left alone.
    pub left: AtomicU64,
    /// Records that could not be dealt with.
    pub failed: AtomicU64,
    /// Tasks put into the index of waiting tasks.
    pub deferred: AtomicU64,
    /// Tasks cancelled.
    pub cancelled: AtomicU64,
    /// Tasks paused.
    pub paused: AtomicU64,
    /// Paused tasks that go on.
    pub resumed: AtomicU64,
    /// Ended tasks that run again.
    pub run_again: AtomicU64,
    /// Signals left for workers.
    pub signals: AtomicU64,
    by_pool: Mutex<BTreeMap<String, f64>>,
}

pub(crate) fn count(counter: &AtomicU64, by: usize) {
    counter.fetch_add(by as u64, Ordering::Relaxed);
}

impl Tally {
    /// A command of this pool was sent.
    pub(crate) fn sent_to(&self, pool: &str) {
        count(&self.sent, 1);
        let mut pools = self.by_pool.lock().unwrap_or_else(PoisonError::into_inner);
        match pools.get_mut(pool) {
            Some(sent) => *sent += 1.0,
            None => drop(pools.insert(pool.to_owned(), 1.0)),
        }
    }

    /// Commands sent, by pool.
    pub(crate) fn by_pool(&self) -> BTreeMap<String, f64> {
        self.by_pool.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// All of it as metrics.
    pub(crate) fn values(&self) -> Vec<(Metric, f64)> {
        let counters = [
            (RECORDS_RECEIVED, &self.records),
            (RECORDS_LEFT, &self.left),
            (RECORDS_REJECTED, &self.rejected),
            (RECORDS_FAILED, &self.failed),
            (TASKS_SENT, &self.sent),
            (TASKS_MARKED, &self.marked),
            (TASKS_DEFERRED, &self.deferred),
            (TASKS_CANCELLED, &self.cancelled),
            (TASKS_PAUSED, &self.paused),
            (TASKS_RESUMED, &self.resumed),
            (TASKS_RUN_AGAIN, &self.run_again),
            (SIGNALS_LEFT, &self.signals),
        ];
        counters
            .into_iter()
            .map(|(metric, counter)| (metric, counter.load(Ordering::Relaxed) as f64))
            .collect()
    }
}
