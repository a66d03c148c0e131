//! One shard's way through the function: read, filter, batch, call, and do as [`super::replay`] decides.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime};

use aws_lambda_events::event::dynamodb::{Event, EventRecord};
use futures::FutureExt as _;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::filter::passes;
use super::function::{FailedBatch, GiveUpReason, PumpStats, StreamFunction};
use super::reader::{Read, ShardReader};
use super::record::StreamRecord;
use super::replay::{Answer, GivenUp, Replay};
use super::rules::{Backoff, MappingRules};

/// What every shard of a pump shares.
#[derive(Clone)]
pub(crate) struct Mapping {
    pub rules: Arc<MappingRules>,
    pub function: Arc<dyn StreamFunction>,
    pub failures: mpsc::Sender<FailedBatch>,
    pub stats: Arc<PumpStats>,
    pub writes: Option<watch::Receiver<u64>>,
    pub stop: CancellationToken,
}

/// The pump is stopping; what is not acknowledged is left.
struct Stopped;

impl Mapping {
    /// Pumps a shard until it ends or the pump stops, and gives back its id.
    pub async fn pump(mut self, mut reader: ShardReader) -> String {
        let mut backoff = Backoff::default();
        while !self.stop.is_cancelled() {
            // Seen before the read: a write that is announced during it ends the wait after it.
            if let Some(writes) = &mut self.writes {
                writes.mark_unchanged();
            }
            let read = tokio::select! {
                read = reader.read() => read,
                // Given up in the middle: the reader is not asked again.
                () = self.stop.cancelled() => break,
            };
            let outcome = match read {
                Ok(Read::Closed) => break,
                Ok(Read::Records(records)) if records.is_empty() => self.idle().await,
                Ok(Read::Records(records)) => {
                    backoff.reset();
                    self.process(reader.shard(), &records).await
                }
                Err(error) => {
                    tracing::warn!(shard = reader.shard(), %error, "cannot read the stream");
                    self.pause(backoff.next()).await
                }
            };
            if outcome.is_err() {
                break;
            }
        }
        reader.shard().to_owned()
    }

    /// Waits for the next poll or the next announced write.
    async fn idle(&mut self) -> Result<(), Stopped> {
        let announced = async {
            if let Some(writes) = &mut self.writes
                && writes.changed().await.is_ok()
            {
                return;
            }
            // Whoever announces is gone, or never was: only the polls are left.
            std::future::pending().await
        };
        tokio::select! {
            () = announced => Ok(()),
            () = tokio::time::sleep(self.rules.poll_interval) => Ok(()),
            () = self.stop.cancelled() => Err(Stopped),
        }
    }

    async fn pause(&self, wait: Duration) -> Result<(), Stopped> {
        tokio::select! {
            () = tokio::time::sleep(wait) => Ok(()),
            () = self.stop.cancelled() => Err(Stopped),
        }
    }

    async fn process(&self, shard: &str, records: &[StreamRecord]) -> Result<(), Stopped> {
        let matched: Vec<&StreamRecord> =
            records.iter().filter(|record| passes(&self.rules.filter, &record.json)).collect();
        self.stats.records_read.fetch_add(records.len() as u64, Relaxed);
        self.stats.records_matched.fetch_add(matched.len() as u64, Relaxed);
        for batch in matched.chunks(self.rules.batch_size.max(1)) {
            self.deliver(shard, batch).await?;
        }
        Ok(())
    }

    /// Sees one batch through to its end.
    async fn deliver(&self, shard: &str, batch: &[&StreamRecord]) -> Result<(), Stopped> {
        let sequences = batch.iter().map(|record| record.sequence.clone()).collect();
        let mut replay = Replay::new(self.rules.replay(), sequences);
        let mut backoff = Backoff::default();
        loop {
            if let Some(max_age) = self.rules.max_record_age {
                let now = SystemTime::now();
                let too_old = |index: usize| batch[index].is_older_than(max_age, now);
                if let Some(expired) = replay.expire(too_old) {
                    self.give_up(shard, batch, &expired, GiveUpReason::RecordTooOld).await?;
                }
            }
            let Some(records) = replay.current() else {
                return Ok(());
            };
            if self.stop.is_cancelled() {
                return Err(Stopped);
            }
            let answer = self.call(shard, &batch[records]).await;
            let verdict = replay.answer(&answer);
            if let Some(given_up) = &verdict.given_up {
                self.give_up(shard, batch, given_up, GiveUpReason::RetriesExhausted).await?;
            }
            match verdict.failed {
                true if replay.current().is_some() => self.pause(backoff.next()).await?,
                _ => backoff.reset(),
            }
        }
    }

    async fn call(&self, shard: &str, records: &[&StreamRecord]) -> Answer {
        let mut event = Event::default();
        event.records = events(records);
        self.stats.invocations.fetch_add(1, Relaxed);
        // A panic fails this call, as it would on Lambda, and not the pump.
        let call = AssertUnwindSafe(self.function.invoke(event));
        match call.catch_unwind().await {
            Ok(Ok(response)) => {
                let failures = response.batch_item_failures.into_iter();
                let failures: Vec<_> = failures.map(|failure| failure.item_identifier).collect();
                if !failures.is_empty() {
                    tracing::warn!(shard, ?failures, "the function failed for some records");
                }
                Answer::Failures(failures)
            }
            Ok(Err(error)) => {
                tracing::warn!(shard, %error, records = records.len(), "the function failed");
                Answer::Error
            }
            Err(_) => {
                tracing::error!(shard, records = records.len(), "the function panicked");
                Answer::Error
            }
        }
    }

    async fn give_up(
        &self,
        shard: &str,
        batch: &[&StreamRecord],
        given_up: &GivenUp,
        reason: GiveUpReason,
    ) -> Result<(), Stopped> {
        let records = &batch[given_up.records.clone()];
        let sequence = |record: Option<&&StreamRecord>| match record {
            Some(record) => record.sequence.clone(),
            None => String::new(),
        };
        let failed = FailedBatch {
            shard: shard.to_owned(),
            first_sequence: sequence(records.first()),
            last_sequence: sequence(records.last()),
            attempts: given_up.attempts,
            reason,
            records: events(records),
        };
        self.stats.failed_batches.fetch_add(1, Relaxed);
        tracing::error!(shard, first = failed.first_sequence, ?reason, "records are given up");
        tokio::select! {
            // Nobody listening is no reason to stop: the batch has been logged.
            _ = self.failures.send(failed) => Ok(()),
            () = self.stop.cancelled() => Err(Stopped),
        }
    }
}

fn events(records: &[&StreamRecord]) -> Vec<EventRecord> {
    let read = |record: &&StreamRecord| match record.event() {
        Ok(event) => Some(event),
        Err(error) => {
            // The JSON is this crate's own, so this is a defect in it; the record's siblings go on.
            tracing::error!(sequence = record.sequence, %error, "not a stream record");
            None
        }
    };
    records.iter().filter_map(read).collect()
}
