//! All workers of a run, and sums over them.

use crate::calendar::{Micros, SECOND};
use crate::outcome::Requests;
use crate::parameters::Worker as Settings;
use crate::worker::{Held, Poll, Standing, Worker};

/// All workers, and sums over them.
pub(crate) struct Workers {
    pub settings: Settings,
    pub all: Vec<Worker>,
    gone: Vec<u32>,
    /// Workers whose poll waits for a message.
    pub polling: Vec<u32>,
    /// Tasks on slots, workers with any, workers that serve or drain, and those that boot besides.
    pub running: u64,
    busy: u32,
    pub serving: u32,
    pub launched: u32,
    pub draining: u32,
    pub retrying: bool,
    pub peak: u32,
    pub time: Times,
}

/// Times the sums were there, in microseconds.
#[derive(Debug, Default)]
pub(crate) struct Times {
    pub running: f64,
    pub busy: f64,
    pub serving: f64,
    pub launched: f64,
}

impl Workers {
    pub fn new(settings: Settings) -> Self {
        let settings = Settings { slots: settings.slots.clamp(1, 64), ..settings };
        Self {
            settings,
            all: Vec::new(),
            gone: Vec::new(),
            polling: Vec::new(),
            running: 0,
            busy: 0,
            serving: 0,
            launched: 0,
            draining: 0,
            retrying: false,
            peak: 0,
            time: Times::default(),
        }
    }

    pub fn pass(&mut self, span: f64) {
        self.time.running += span * self.running as f64;
        self.time.busy += span * f64::from(self.busy);
        self.time.serving += span * f64::from(self.serving);
        self.time.launched += span * f64::from(self.launched);
    }

    pub fn beats_a_second(&self) -> f64 {
        let (busy, idle) = (f64::from(self.busy), f64::from(self.serving - self.busy));
        let second = SECOND as f64;
        busy * second / self.settings.busy_beat as f64 + idle * second / self.settings.idle_beat as f64
    }

    pub fn launch(&mut self) -> (u32, u32) {
        let index = self.gone.pop().unwrap_or_else(|| {
            self.all.push(Worker::new(self.settings.slots));
            self.all.len() as u32 - 1
        });
        self.launched += 1;
        self.peak = self.peak.max(self.launched);
        (index, self.all[index as usize].launch())
    }

    pub fn leave(&mut self, index: u32) {
        let worker = &mut self.all[index as usize];
        debug_assert_eq!(worker.running, 0);
        self.draining -= u32::from(worker.standing == Standing::Draining);
        worker.standing = Standing::Gone;
        self.serving -= 1;
        self.launched -= 1;
        self.gone.push(index);
    }

    /// Ends a poll that waits: how many requests it was.
    pub fn close(&mut self, index: u32, now: Micros) -> u64 {
        let Poll::Open { since, place, .. } = self.all[index as usize].poll else { return 0 };
        self.all[index as usize].poll = Poll::None;
        self.polling.swap_remove(place as usize);
        if let Some(moved) = self.polling.get(place as usize)
            && let Poll::Open { place: its, .. } = &mut self.all[*moved as usize].poll
        {
            *its = place;
        }
        // The first was counted when it was opened.
        (now - since) / self.settings.poll.max(1)
    }

    /// Counts what is still open at the end.
    pub fn close_polls(&mut self, now: Micros, requests: &mut Requests) {
        while let Some(index) = self.polling.last().copied() {
            requests.receives += self.close(index, now);
        }
        let settings = self.settings;
        requests.receives += self.all.iter_mut().map(|worker| worker.has_none(now, &settings)).sum::<u64>();
    }

    pub fn put_on(&mut self, index: u32, held: Held) -> Option<u32> {
        let worker = &mut self.all[index as usize];
        let slot = worker.hold(held)?;
        self.running += 1;
        self.busy += u32::from(worker.running == 1);
        Some(slot)
    }

    pub fn take_off(&mut self, index: u32, slot: u32, now: Micros) -> Option<Held> {
        let worker = &mut self.all[index as usize];
        let held = worker.end(slot, now)?;
        self.running -= 1;
        self.busy -= u32::from(worker.running == 0);
        Some(held)
    }
}
