//! The workers of a run: who polls, who takes what, who comes and who goes.

use crate::calendar::{Micros, SECOND};
use crate::load::exponential;
use crate::parameters::Fleet;
use crate::scaling::{Step, step};
use crate::simulation::{Event, Simulation, Task};
use crate::worker::{Held, Poll, Standing};

/// How long a receive that was refused waits (`FIRST_PAUSE` in `poller.rs`).
const PAUSE: Micros = SECOND / 2;

impl Simulation {
    pub(crate) fn begin_fleet(&mut self) {
        let first = match self.settings.fleet {
            Fleet::Fixed(workers) => workers,
            Fleet::Scaled(scaling) => {
                self.calendar.put(0, Event::Scale);
                scaling.least
            }
        };
        for _ in 0..first {
            let (worker, life) = self.workers.launch();
            self.booted(worker, life);
        }
    }

    pub(crate) fn booted(&mut self, index: u32, life: u32) {
        let now = self.now;
        let worker = &mut self.workers.all[index as usize];
        if worker.life != life || worker.standing != Standing::Booting {
            return;
        }
        worker.standing = Standing::Serving;
        worker.born = now;
        self.workers.serving += 1;
        if let Fleet::Scaled(scaling) = self.settings.fleet
            && scaling.interruptions > 0.0
        {
            let hours = exponential(&mut self.rng) / scaling.interruptions;
            let at = now + crate::calendar::seconds(hours * 3_600.0);
            self.calendar.put(at, Event::Interrupted { worker: index, life });
        }
        self.poll(index);
    }

    /// Opens a poll if the worker has a free slot and none is open.
    fn poll(&mut self, index: u32) {
        let (now, settings) = (self.now, self.workers.settings);
        let worker = &mut self.workers.all[index as usize];
        if worker.standing != Standing::Serving || worker.poll != Poll::None || worker.free() == 0 {
            return;
        }
        self.requests.receives += worker.has_room(now, &settings) + 1;
        let most = worker.free().min(self.settings.limits.sqs.batch);
        if self.queue.waiting() > 0 && self.receive(index, most) {
            return;
        }
        let place = self.workers.polling.len() as u32;
        let worker = &mut self.workers.all[index as usize];
        // After a full answer the worker asks once without waiting.
        self.requests.receives += u64::from(std::mem::take(&mut worker.hot));
        worker.poll = Poll::Open { since: now, most, place };
        self.workers.polling.push(index);
    }

    /// A receive of at most `most` is answered; whether it brings anything.
    fn receive(&mut self, index: u32, most: u32) -> bool {
        let found = self.queue.available(self.now, most);
        if found == 0 {
            if !std::mem::replace(&mut self.workers.retrying, true) {
                self.calendar.put(self.now + PAUSE, Event::Retry);
            }
            return false;
        }
        let settings = self.workers.settings;
        let received = self.now + settings.receive;
        for _ in 0..found {
            if let Some(task) = self.queue.take() {
                self.start(index, task, received);
            }
        }
        let now = self.now;
        let worker = &mut self.workers.all[index as usize];
        worker.hot = found == most;
        if worker.free() == 0 {
            worker.poll = Poll::None;
            self.requests.receives += worker.has_none(now, &settings);
        } else {
            worker.poll = Poll::Between;
            self.calendar.put(received, Event::Poll { worker: index, life: worker.life });
        }
        true
    }

    pub(crate) fn poll_again(&mut self, index: u32, life: u32) {
        let worker = &mut self.workers.all[index as usize];
        if worker.life == life && worker.poll == Poll::Between {
            worker.poll = Poll::None;
            self.poll(index);
        }
    }

    /// Messages are there: polls that wait are answered, in no order.
    pub(crate) fn wake(&mut self) {
        while self.queue.waiting() > 0 && !self.workers.polling.is_empty() {
            let place = self.rng.usize(..self.workers.polling.len());
            let index = self.workers.polling[place];
            let worker = &self.workers.all[index as usize];
            let Poll::Open { since, most, .. } = worker.poll else { return };
            // A poll that was opened again asked for what was free by then.
            let again = self.now - since >= self.workers.settings.poll;
            let most = if again { worker.free().min(self.settings.limits.sqs.batch) } else { most };
            if self.queue.available(self.now, most) == 0 {
                if !std::mem::replace(&mut self.workers.retrying, true) {
                    self.calendar.put(self.now + PAUSE, Event::Retry);
                }
                return;
            }
            self.requests.receives += self.workers.close(index, self.now);
            self.receive(index, most);
        }
    }

    pub(crate) fn retry_receives(&mut self) {
        self.workers.retrying = false;
        self.wake();
    }

    /// A worker has received a task's message: it claims and runs it.
    fn start(&mut self, index: u32, task: u32, received: Micros) {
        self.note_start(task, received);
        self.requests.claims += 1;
        let Task { run, hash, .. } = self.tasks[task as usize];
        let claimed = self.write(hash).max(received) + self.workers.settings.claim;
        let until = claimed + run + self.workers.settings.end;
        let held = Held { task, since: received, until, listed: false, written: false };
        // A poll asks for no more than is free.
        let Some(slot) = self.workers.put_on(index, held) else { return };
        self.calendar.put(until, Event::End { worker: index, slot });
        let settings = self.workers.settings;
        let listed = self.workers.all[index as usize].beat_from(received + settings.worth_listing, &settings);
        if listed < until {
            self.want_beat(index, listed);
        }
    }

    /// There will be something to list at the beat of `at`.
    fn want_beat(&mut self, index: u32, at: Micros) {
        let worker = &mut self.workers.all[index as usize];
        if worker.beat_at.is_none_or(|planned| planned > at) {
            worker.beat_at = Some(at);
            self.calendar.put(at, Event::Beat { worker: index, life: worker.life });
        }
    }

    /// The registry is brought up to date, and the messages that it stands for are deleted.
    pub(crate) fn beat(&mut self, index: u32, life: u32) {
        let (now, settings) = (self.now, self.workers.settings);
        let worker = &mut self.workers.all[index as usize];
        if worker.life != life || worker.standing == Standing::Gone || worker.beat_at != Some(now) {
            return;
        }
        worker.beat_at = None;
        let (mut new, mut listed, mut young) = (0, 0, false);
        for held in worker.slots.iter_mut().flatten() {
            if !held.listed {
                if held.since + settings.worth_listing > now {
                    young = true;
                    continue;
                }
                held.listed = true;
                new += 1;
            }
            listed += 1;
        }
        if new > 0 || std::mem::take(&mut worker.unlist) {
            self.requests.registry += 1;
            // An entry is an id and a number, of about 50 bytes; the key about 100.
            self.requests.registry_units += (100 + 50 * listed as u64).div_ceil(1_024);
        }
        for _ in 0..new {
            self.acknowledge(index);
        }
        if young {
            self.want_beat(index, now + settings.busy_beat);
        }
    }

    fn acknowledge(&mut self, index: u32) {
        let settings = self.workers.settings;
        let (at, request) = self.workers.all[index as usize].acknowledge(self.now, &settings);
        self.requests.deletes += u64::from(request);
        self.queue.deleted(at);
    }

    /// The end that was expected on this slot.
    pub(crate) fn end(&mut self, index: u32, slot: u32) {
        let Some(held) = self.workers.take_off(index, slot, self.now) else { return };
        if !held.written {
            self.requests.ends += 1;
            let taken = self.write(self.tasks[held.task as usize].hash);
            if taken > self.now {
                // The slot is taken until the end is written.
                let held = Held { until: taken, written: true, ..held };
                if let Some(slot) = self.workers.put_on(index, held) {
                    self.calendar.put(taken, Event::End { worker: index, slot });
                }
                return;
            }
        }
        self.complete(held.task);
        if held.listed {
            let settings = self.workers.settings;
            let worker = &mut self.workers.all[index as usize];
            worker.unlist = true;
            let at = worker.beat_from(self.now + 1, &settings);
            self.want_beat(index, at);
        } else {
            self.acknowledge(index);
        }
        let worker = &self.workers.all[index as usize];
        match worker.standing {
            Standing::Draining if worker.running == 0 => self.workers.leave(index),
            _ => self.poll(index),
        }
    }

    /// The autoscaler looks.
    pub(crate) fn scale(&mut self) {
        let Fleet::Scaled(scaling) = self.settings.fleet else { return };
        self.calendar.put(self.now + scaling.every, Event::Scale);
        let there = self.workers.launched - self.workers.draining;
        let waiting = self.queue.waiting() as u64;
        let (slots, run) = (self.workers.settings.slots, self.settings.run.mean());
        match step(scaling, slots, waiting, self.workers.running, run, there) {
            Step::Stay => {}
            Step::Launch(more) => {
                let rate = self.settings.limits.compute.launches_a_second;
                let every = scaling.every as f64 / SECOND as f64;
                let more = f64::from(more).min((rate * every).max(1.0)) as u32;
                self.peaks.launches = self.peaks.launches.max(f64::from(more) / every);
                for _ in 0..more {
                    let (worker, life) = self.workers.launch();
                    // They do not all come up at the same moment.
                    let late = self.rng.u64(..=scaling.boot / 5);
                    self.calendar.put(self.now + scaling.boot + late, Event::Booted { worker, life });
                }
            }
            Step::Drain(fewer) => self.drain(fewer),
        }
    }

    /// Lets workers go, idle ones first.
    fn drain(&mut self, fewer: u32) {
        let mut left = fewer;
        for idle in [true, false] {
            for index in 0..self.workers.all.len() as u32 {
                let worker = &self.workers.all[index as usize];
                if left == 0 || worker.standing != Standing::Serving || (idle && worker.running > 0) {
                    continue;
                }
                left -= 1;
                self.stop_polling(index);
                let worker = &mut self.workers.all[index as usize];
                worker.standing = Standing::Draining;
                self.workers.draining += 1;
                if worker.running == 0 {
                    self.workers.leave(index);
                }
            }
        }
    }

    fn stop_polling(&mut self, index: u32) {
        let (now, settings) = (self.now, self.workers.settings);
        self.requests.receives += self.workers.close(index, now);
        let worker = &mut self.workers.all[index as usize];
        worker.poll = Poll::None;
        self.requests.receives += worker.has_none(now, &settings);
    }

    /// Spot takes the machine: what runs there goes back.
    pub(crate) fn interrupted(&mut self, index: u32, life: u32) {
        let worker = &self.workers.all[index as usize];
        if worker.life != life || !matches!(worker.standing, Standing::Serving | Standing::Draining) {
            return;
        }
        self.stop_polling(index);
        for slot in 0..self.workers.settings.slots {
            let worker = &self.workers.all[index as usize];
            let Some(until) = worker.slots[slot as usize].map(|held| held.until) else { continue };
            let Some(held) = self.workers.take_off(index, slot, until) else { continue };
            if !held.listed {
                self.acknowledge(index);
            }
            if held.written {
                self.complete(held.task);
                continue;
            }
            self.requests.ends += 1;
            self.interruptions += 1;
            self.put_back(held.task);
        }
        self.workers.leave(index);
    }
}
