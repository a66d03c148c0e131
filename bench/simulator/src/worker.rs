//! One worker: its slots, its polls, its beats with the registry, and its acknowledgements.

use crate::calendar::Micros;
use crate::parameters::Worker as Settings;

/// A task on a slot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    pub task: u32,
    /// When its message was received.
    pub since: Micros,
    /// When its slot is free again: what tells an end from one of an earlier task.
    pub until: Micros,
    /// Whether the registry lists it, and so its message is deleted.
    pub listed: bool,
    /// Whether its end is on its way to the table already.
    pub written: bool,
}

/// How the worker stands to its fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It is being launched.
    Booting,
    /// It takes tasks.
    Serving,
    /// It takes no more.
    Draining,
    /// It is no more.
    Gone,
}

/// The poll of the lane with the tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Poll {
    None,
    /// A request was answered and the next is not sent yet.
    Between,
    /// It waits since then, for so many, at this place of the list of waiting polls.
    Open {
        since: Micros,
        most: u32,
        place: u32,
    },
}

/// A worker.
#[derive(Debug)]
pub(crate) struct Worker {
    pub standing: Standing,
    /// How often its place was given anew: events of its predecessors are stale.
    pub life: u32,
    pub born: Micros,
    pub slots: Vec<Option<Held>>,
    pub running: u32,
    pub poll: Poll,
    /// The last poll brought all that it was asked for.
    pub hot: bool,
    /// The moment of the beat that is due, if there is anything to list.
    pub beat_at: Option<Micros>,
    /// Something listed has ended.
    pub unlist: bool,
    acknowledged_at: Micros,
    acknowledging: u32,
    other_lanes_until: Micros,
    free_since: Option<Micros>,
}

impl Worker {
    pub fn new(slots: u32) -> Self {
        Self {
            standing: Standing::Gone,
            life: 0,
            born: 0,
            slots: vec![None; slots as usize],
            running: 0,
            poll: Poll::None,
            hot: false,
            beat_at: None,
            unlist: false,
            acknowledged_at: 0,
            acknowledging: 0,
            other_lanes_until: 0,
            free_since: None,
        }
    }

    /// A new worker in this place.
    pub fn launch(&mut self) -> u32 {
        let (life, slots) = (self.life + 1, std::mem::take(&mut self.slots));
        let count = slots.len() as u32;
        *self = Self { life, standing: Standing::Booting, ..Self::new(count) };
        life
    }

    pub fn free(&self) -> u32 {
        self.slots.len() as u32 - self.running
    }

    /// Puts a task on a free slot.
    pub fn hold(&mut self, held: Held) -> Option<u32> {
        let slot = self.slots.iter().position(Option::is_none)?;
        self.slots[slot] = Some(held);
        self.running += 1;
        u32::try_from(slot).ok()
    }

    /// The end that was expected at `now` on this slot, unless something else became of the task.
    pub fn end(&mut self, slot: u32, now: Micros) -> Option<Held> {
        let held = self.slots[slot as usize].take_if(|held| held.until == now)?;
        self.running -= 1;
        Some(held)
    }

    /// A message is handed over to be deleted; the moment at which it is, and whether that is one more request.
    pub fn acknowledge(&mut self, now: Micros, settings: &Settings) -> (Micros, bool) {
        if now >= self.acknowledged_at || self.acknowledging == 10 {
            if now >= self.acknowledged_at {
                self.acknowledged_at = now + settings.acknowledge;
            }
            self.acknowledging = 1;
            return (self.acknowledged_at, true);
        }
        self.acknowledging += 1;
        let full = self.acknowledging == 10;
        (if full { now } else { self.acknowledged_at }, false)
    }

    /// The first beat at `from` or later.
    pub fn beat_from(&self, from: Micros, settings: &Settings) -> Micros {
        let beat = settings.busy_beat.max(1);
        self.born + (from.saturating_sub(self.born)).div_ceil(beat) * beat
    }

    /// Slots are free from now on: the other lanes are polled too. Gives the requests that this makes.
    pub fn has_room(&mut self, now: Micros, settings: &Settings) -> u64 {
        if self.free_since.is_some() {
            return 0;
        }
        self.free_since = Some(now);
        if now < self.other_lanes_until {
            return 0;
        }
        self.other_lanes_until = now + settings.poll;
        self.other_lanes()
    }

    /// No slot is free any more, or none is of use. Gives the requests that were made meanwhile.
    pub fn has_none(&mut self, now: Micros, settings: &Settings) -> u64 {
        if self.free_since.take().is_none() {
            return 0;
        }
        let over = now.saturating_sub(self.other_lanes_until) / settings.poll.max(1);
        if now < self.other_lanes_until {
            return 0;
        }
        self.other_lanes_until += (over + 1) * settings.poll.max(1);
        (over + 1) * self.other_lanes()
    }

    /// High and low; while the lane between them is hot, low is not polled.
    fn other_lanes(&self) -> u64 {
        if self.hot { 1 } else { 2 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calendar::SECOND;

    #[test]
    fn acknowledgements_are_gathered_for_half_a_second_and_by_ten() {
        let (mut worker, settings) = (Worker::new(4), Settings::default());
        let mut requests = 0;
        for n in 0..12 {
            let (at, new) = worker.acknowledge(SECOND + n, &settings);
            requests += u32::from(new);
            assert!(at <= SECOND + 500_000);
        }
        assert_eq!(requests, 2, "ten, and two");
        assert!(worker.acknowledge(2 * SECOND, &settings).1);
    }

    #[test]
    fn an_end_of_a_task_that_was_taken_away_is_stale() {
        let mut worker = Worker::new(2);
        let held = |task, until| Held { task, since: 0, until, listed: false, written: false };
        let slot = worker.hold(held(1, 10)).unwrap();
        worker.slots[slot as usize] = Some(held(2, 20));
        assert!(worker.end(slot, 10).is_none());
        assert_eq!(worker.end(slot, 20).unwrap().task, 2);
        assert_eq!(worker.free(), 2);
    }

    #[test]
    fn idle_lanes_cost_two_requests_each_twenty_seconds() {
        let (mut worker, settings) = (Worker::new(2), Settings::default());
        let mut requests = worker.has_room(0, &settings);
        requests += worker.has_none(3_600 * SECOND, &settings);
        assert!((360..=362).contains(&requests), "{requests}");
        assert_eq!(worker.has_room(3_600 * SECOND + 1, &settings), 0, "the last ones are still open");
    }

    #[test]
    fn beats_are_a_grid_from_the_workers_birth() {
        let (mut worker, settings) = (Worker::new(2), Settings::default());
        worker.born = SECOND;
        assert_eq!(worker.beat_from(SECOND, &settings), SECOND);
        assert_eq!(worker.beat_from(SECOND + 1, &settings), 4 * SECOND);
        assert_eq!(worker.beat_from(4 * SECOND, &settings), 4 * SECOND);
    }
}
