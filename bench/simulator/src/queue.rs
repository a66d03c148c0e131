//! A queue of SQS: what can be received, and how many messages are in flight.

use std::collections::VecDeque;

use crate::calendar::{Micros, SECOND};

/// How finely the ends of flights are counted.
const STEP: Micros = SECOND / 10;
/// The longest flight that is counted, which is longer than the acknowledgement takes.
const STEPS: usize = 16_384;

/// A standard queue.
#[derive(Debug)]
pub(crate) struct Queue {
    visible: VecDeque<u32>,
    in_flight: u64,
    limit: u64,
    /// How many flights end in each step from `step` on.
    landing: VecDeque<u64>,
    step: u64,
    /// The most that were in flight, and the most that waited.
    pub peak_in_flight: u64,
    pub peak_waiting: usize,
    /// Receives that were refused because too many messages are in flight.
    pub refused: u64,
}

impl Queue {
    pub fn new(limit: u64) -> Self {
        let landing = VecDeque::from([0]);
        let visible = VecDeque::new();
        Self {
            visible,
            in_flight: 0,
            limit,
            landing,
            step: 0,
            peak_in_flight: 0,
            peak_waiting: 0,
            refused: 0,
        }
    }

    pub fn put(&mut self, task: u32) {
        self.visible.push_back(task);
        self.peak_waiting = self.peak_waiting.max(self.visible.len());
    }

    pub fn waiting(&self) -> usize {
        self.visible.len()
    }

    /// How many of `most` a receive would bring now.
    pub fn available(&mut self, now: Micros, most: u32) -> u32 {
        self.land(now);
        let room = self.limit.saturating_sub(self.in_flight);
        let found = self.visible.len().min(most as usize) as u64;
        if room == 0 && found > 0 {
            self.refused += 1;
        }
        u32::try_from(found.min(room)).unwrap_or(most)
    }

    /// Receives one.
    pub fn take(&mut self) -> Option<u32> {
        let task = self.visible.pop_front()?;
        self.in_flight += 1;
        self.peak_in_flight = self.peak_in_flight.max(self.in_flight);
        Some(task)
    }

    /// A message is deleted at `at`, which is now or soon.
    pub fn deleted(&mut self, at: Micros) {
        let ahead = ((at / STEP + 1).saturating_sub(self.step) as usize).min(STEPS);
        if ahead >= self.landing.len() {
            self.landing.resize(ahead + 1, 0);
        }
        self.landing[ahead] += 1;
    }

    fn land(&mut self, now: Micros) {
        while self.step < now / STEP {
            if self.landing.len() == 1 && self.landing[0] == 0 {
                self.step = now / STEP;
                break;
            }
            self.step += 1;
            self.in_flight -= self.landing.pop_front().unwrap_or_default();
            if self.landing.is_empty() {
                self.landing.push_back(0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_the_limit_is_in_flight() {
        let mut queue = Queue::new(3);
        (0..10).for_each(|task| queue.put(task));
        assert_eq!(queue.available(0, 10), 3);
        let taken: Vec<_> = (0..3).filter_map(|_| queue.take()).collect();
        assert_eq!(taken, [0, 1, 2]);
        assert_eq!((queue.available(0, 1), queue.refused), (0, 1));
        queue.deleted(SECOND);
        assert_eq!(queue.available(SECOND / 2, 5), 0);
        assert_eq!(queue.available(2 * SECOND, 5), 1);
        assert_eq!(queue.peak_in_flight, 3);
        queue.take();
        queue.deleted(100 * SECOND);
        queue.deleted(100 * SECOND);
        assert_eq!(queue.available(200 * SECOND, 5), 2, "time without events is skipped");
    }
}
