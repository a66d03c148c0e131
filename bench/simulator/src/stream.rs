//! The stream's shards and the dispatcher's Lambda: who takes which records when, and what that costs.

use std::collections::VecDeque;

use crate::calendar::{Micros, SECOND};
use crate::parameters::Dispatcher;

/// The records of the filter's choice, shard by shard, and the function's environments.
#[derive(Debug)]
pub(crate) struct Stream {
    settings: Dispatcher,
    concurrency: u32,
    shards: Vec<Shard>,
    running: u32,
    /// Environments that wait for a call: when each was used last, in that order.
    idle: Vec<Micros>,
    /// Batches under way, and places for more.
    batches: Vec<Vec<u32>>,
    free: Vec<u32>,
    pub counts: StreamCounts,
}

#[derive(Debug, Default)]
struct Shard {
    records: VecDeque<u32>,
    running: u32,
    look_at: Option<Micros>,
    busy: u64,
}

/// What the dispatcher did.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct StreamCounts {
    pub calls: u64,
    pub cold: u64,
    pub refused: u64,
    /// Time of all calls, as billed.
    pub billed: Micros,
    pub sends: u64,
    pub peak_running: u32,
    /// The largest part of a minute that a shard's calls took, of all that may run at once.
    pub peak_busy: f64,
}

/// What a look at a shard leads to.
pub(crate) enum Look {
    /// A call has begun with this batch.
    Call { batch: u32, sent: Micros, over: Micros },
    /// Look again then: every environment is taken.
    Again(Micros),
    /// Nothing to do.
    Nothing,
}

impl Stream {
    pub fn new(settings: Dispatcher, concurrency: u32) -> Self {
        Self {
            settings,
            concurrency,
            shards: Vec::new(),
            running: 0,
            idle: Vec::new(),
            batches: Vec::new(),
            free: Vec::new(),
            counts: StreamCounts::default(),
        }
    }

    /// A record is there; when the shard is to be looked at, if nobody would otherwise.
    pub fn put(&mut self, shard: usize, task: u32, now: Micros) -> Option<Micros> {
        if shard >= self.shards.len() {
            self.shards.resize_with(shard + 1, Shard::default);
        }
        let settings = self.settings;
        let shard_state = &mut self.shards[shard];
        shard_state.records.push_back(task);
        if shard_state.look_at.is_some() || shard_state.running >= settings.parallel {
            return None;
        }
        let at = match settings.poll {
            0 => now,
            // Each shard has its own beat.
            poll => {
                let phase = (shard as u64).wrapping_mul(7_919_000) % poll;
                now + poll - (now + poll - phase) % poll
            }
        };
        shard_state.look_at = Some(at);
        Some(at)
    }

    /// Looks at a shard, begins a call if there are records.
    pub fn look(&mut self, shard: usize, now: Micros) -> Look {
        let settings = self.settings;
        let state = &mut self.shards[shard];
        state.look_at = None;
        if state.records.is_empty() || state.running >= settings.parallel {
            return Look::Nothing;
        }
        if self.running >= self.concurrency {
            self.counts.refused += 1;
            state.look_at = Some(now + SECOND);
            return Look::Again(now + SECOND);
        }
        let batch = self.free.pop().unwrap_or_else(|| {
            self.batches.push(Vec::new());
            u32::try_from(self.batches.len() - 1).unwrap_or(u32::MAX)
        });
        let records = state.records.len().min(settings.batch as usize);
        self.batches[batch as usize].extend(state.records.drain(..records));
        let cold = self.environment(now);
        let work = if cold { settings.cold } else { 0 } + settings.record * records as u64;
        let sent = now + settings.invoke + work + settings.send;
        let over = sent + settings.mark;
        self.counts.calls += 1;
        self.counts.cold += u64::from(cold);
        self.counts.billed += over - now - settings.invoke;
        self.counts.sends += (records as u64).div_ceil(10);
        self.running += 1;
        self.counts.peak_running = self.counts.peak_running.max(self.running);
        let state = &mut self.shards[shard];
        state.running += 1;
        state.busy += over - now;
        Look::Call { batch, sent, over }
    }

    /// Takes an environment; whether it is a new one.
    fn environment(&mut self, now: Micros) -> bool {
        match self.idle.pop() {
            Some(used) if used + self.settings.warm >= now => false,
            Some(_) => {
                // The latest was the first to be taken: all others are older.
                self.idle.clear();
                true
            }
            None => true,
        }
    }

    /// The commands of a batch, which are on the queue now.
    pub fn batch(&self, batch: u32) -> &[u32] {
        &self.batches[batch as usize]
    }

    /// A call is over; when to look again, if there is more.
    pub fn over(&mut self, shard: usize, batch: u32, now: Micros) -> Option<Micros> {
        self.batches[batch as usize].clear();
        self.free.push(batch);
        self.running -= 1;
        self.idle.push(now);
        let state = &mut self.shards[shard];
        state.running -= 1;
        if state.records.is_empty() || state.look_at.is_some() {
            return None;
        }
        state.look_at = Some(now);
        Some(now)
    }

    /// A span of time is over.
    pub fn sample(&mut self, span: Micros) {
        let most = (span * u64::from(self.settings.parallel.max(1))) as f64;
        for shard in &mut self.shards {
            let busy = std::mem::take(&mut shard.busy) as f64 / most;
            self.counts.peak_busy = self.counts.peak_busy.max(busy);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_has_no_more_calls_than_it_may_and_batches_what_waits() {
        let mut stream = Stream::new(Dispatcher { poll: 0, ..Dispatcher::default() }, 10);
        assert_eq!(stream.put(0, 0, 5), Some(5));
        let Look::Call { batch, sent, over } = stream.look(0, 5) else { panic!("a call") };
        assert!(5 < sent && sent < over);
        assert_eq!(stream.batch(batch), [0]);
        for task in 1..=250 {
            assert_eq!(stream.put(0, task, 6), None, "its only call is under way");
        }
        assert_eq!(stream.over(0, batch, over), Some(over));
        let Look::Call { batch, .. } = stream.look(0, over) else { panic!("a call") };
        assert_eq!(stream.batch(batch).len(), 100);
        assert_eq!((stream.counts.calls, stream.counts.cold, stream.counts.sends), (2, 1, 11));
    }

    #[test]
    fn without_an_environment_the_records_wait() {
        let mut stream = Stream::new(Dispatcher { poll: 0, ..Dispatcher::default() }, 1);
        stream.put(0, 0, 0);
        stream.put(1, 1, 0);
        assert!(matches!(stream.look(0, 0), Look::Call { .. }));
        assert!(matches!(stream.look(1, 0), Look::Again(at) if at == SECOND));
        assert_eq!(stream.counts.refused, 1);
    }

    #[test]
    fn an_idle_shard_is_looked_at_within_its_beat() {
        let mut stream = Stream::new(Dispatcher::default(), 1);
        for (shard, now) in [(0, 1), (3, 12_345), (5, 250_000), (7, 999_999)] {
            let at = stream.put(shard, 0, now).unwrap();
            assert!(at > now && at <= now + 250_000, "{at}");
        }
    }
}
