//! The run: every event changes what is there and makes further events, until every task has ended.
//!
//! A task's way is the real one: written (table and index), on the stream, taken by a call of the dispatcher,
//! on the queue, received by a poll of a worker with a free slot, claimed, run, ended, acknowledged.

use fastrand::Rng;

use crate::calendar::{Calendar, Micros, SECOND};
use crate::capacity::{Range, Table};
use crate::histogram::Histogram;
use crate::load::{Arrivals, Source};
use crate::outcome::{Outcome, Peaks, Requests, Waits};
use crate::parameters::Parameters;
use crate::queue::Queue;
use crate::stream::{Look, Stream};
use crate::workers::Workers;

/// Between two looks at the peaks.
pub(crate) const MINUTE: Micros = 60 * SECOND;
/// More accounts than this never fill one key range.
const ACCOUNTS: u32 = 100_000;

#[derive(Clone, Copy, Debug)]
pub(crate) enum Event {
    Arrive,
    Written(u32),
    Look(u32),
    Sent(u32),
    Over { shard: u32, batch: u32 },
    Poll { worker: u32, life: u32 },
    End { worker: u32, slot: u32 },
    Beat { worker: u32, life: u32 },
    Booted { worker: u32, life: u32 },
    Interrupted { worker: u32, life: u32 },
    Scale,
    Minute,
    Retry,
}

/// A task on its way.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Task {
    pub arrived: Micros,
    pub run: Micros,
    /// Where its record lies.
    pub hash: u32,
    /// Which one it was; of recorded ones only.
    pub number: u32,
    pub started: bool,
}

/// Everything there is.
pub(crate) struct Simulation {
    pub settings: Parameters,
    pub rng: Rng,
    pub calendar: Calendar<Event>,
    pub now: Micros,
    source: Source,
    coming: Option<(Micros, Micros)>,
    pub tasks: Vec<Task>,
    free_tasks: Vec<u32>,
    pub table: Table,
    accounts: Vec<Range>,
    stream: Stream,
    pub queue: Queue,
    pub workers: Workers,
    pub waits: Histogram,
    each: Vec<f64>,
    pub requests: Requests,
    pub peaks: Peaks,
    arrived: u64,
    pub completed: u64,
    pub interruptions: u64,
    minute: Minute,
    /// Tasks times microseconds that they waited.
    waited: f64,
    pub unstarted: u64,
    /// Writes of counters for each running task.
    counters_a_second: f64,
}

/// What was counted at the last minute.
#[derive(Clone, Copy, Debug, Default)]
struct Minute {
    arrived: u64,
    completed: u64,
    registry_units: u64,
}

/// Runs until every task has ended.
pub fn run(settings: &Parameters) -> Outcome {
    let mut simulation = Simulation::new(settings.clone());
    simulation.begin();
    while let Some((at, event)) = simulation.calendar.next() {
        simulation.pass(at);
        simulation.handle(event);
        if simulation.coming.is_none() && simulation.completed == simulation.arrived {
            break;
        }
    }
    simulation.outcome()
}

impl Simulation {
    fn new(settings: Parameters) -> Self {
        let limits = &settings.limits;
        let (dynamodb, parallel) = (&limits.dynamodb, limits.lambda.parallelization_factor);
        let partitions = (dynamodb.new_table_write_units / dynamodb.partition_write_units) as usize;
        let burst = crate::calendar::seconds(dynamodb.burst_seconds);
        let table = Table::new(
            partitions,
            dynamodb.partition_write_units,
            burst,
            dynamodb.table_write_units,
            dynamodb.split_after_minutes,
        );
        let accounts = if settings.accounts > ACCOUNTS { 0 } else { settings.accounts.max(1) };
        let mut dispatcher = settings.dispatcher;
        dispatcher.parallel = dispatcher.parallel.clamp(1, parallel);
        Self {
            rng: Rng::with_seed(settings.seed),
            calendar: Calendar::default(),
            now: 0,
            source: Source::new(settings.arrivals.clone(), settings.run, settings.until),
            coming: None,
            tasks: Vec::new(),
            free_tasks: Vec::new(),
            table,
            accounts: vec![Range::new(); accounts as usize],
            stream: Stream::new(dispatcher, limits.lambda.concurrency),
            queue: Queue::new(limits.sqs.in_flight),
            workers: Workers::new(settings.worker),
            waits: Histogram::default(),
            each: Vec::new(),
            requests: Requests::default(),
            peaks: Peaks::default(),
            arrived: 0,
            completed: 0,
            interruptions: 0,
            minute: Minute::default(),
            waited: 0.0,
            unstarted: 0,
            counters_a_second: settings.progress.counters_a_second(settings.run),
            settings,
        }
    }

    fn begin(&mut self) {
        self.begin_fleet();
        self.calendar.put(MINUTE, Event::Minute);
        self.coming = self.source.next(&mut self.rng);
        if let Some((at, _)) = self.coming {
            self.calendar.put(at, Event::Arrive);
        }
    }

    /// Time passes.
    fn pass(&mut self, at: Micros) {
        let span = (at - self.now) as f64;
        self.waited += span * self.unstarted as f64;
        self.workers.pass(span);
        self.now = at;
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Arrive => self.arrive(),
            Event::Written(task) => self.written(task),
            Event::Look(shard) => self.look(shard),
            Event::Sent(batch) => self.sent(batch),
            Event::Over { shard, batch } => self.over(shard, batch),
            Event::Poll { worker, life } => self.poll_again(worker, life),
            Event::End { worker, slot } => self.end(worker, slot),
            Event::Beat { worker, life } => self.beat(worker, life),
            Event::Booted { worker, life } => self.booted(worker, life),
            Event::Interrupted { worker, life } => self.interrupted(worker, life),
            Event::Scale => self.scale(),
            Event::Minute => self.minute_over(),
            Event::Retry => self.retry_receives(),
        }
    }

    /// A client writes a record.
    fn arrive(&mut self) {
        let Some((_, run)) = self.coming else { return };
        let number = u32::try_from(self.arrived).unwrap_or(u32::MAX);
        let task = Task { arrived: self.now, run, hash: self.rng.u32(..), number, started: false };
        let id = match self.free_tasks.pop() {
            Some(id) => {
                self.tasks[id as usize] = task;
                id
            }
            None => {
                self.tasks.push(task);
                // As many as are on their way at once, which memory bounds first.
                u32::try_from(self.tasks.len() - 1).unwrap_or(u32::MAX)
            }
        };
        self.arrived += 1;
        self.unstarted += 1;
        self.requests.puts += 1;
        self.requests.index_entries += 1;
        let taken = self.write(task.hash).max(self.index());
        if taken > self.now {
            self.calendar.put(taken, Event::Written(id));
        } else {
            self.written(id);
        }
        self.coming = self.source.next(&mut self.rng);
        if let Some((at, _)) = self.coming {
            self.calendar.put(at.max(self.now), Event::Arrive);
        }
    }

    /// A write of one unit to `tasks`; the moment at which it is taken.
    pub fn write(&mut self, hash: u32) -> Micros {
        let taken = self.table.write(hash, self.now, 1);
        self.requests.throttled += u64::from(taken > self.now);
        taken
    }

    fn index(&mut self) -> Micros {
        if self.accounts.is_empty() {
            return self.now;
        }
        let dynamodb = &self.settings.limits.dynamodb;
        let burst = crate::calendar::seconds(dynamodb.burst_seconds);
        let account = self.rng.usize(..self.accounts.len());
        let taken = self.accounts[account].write(self.now, 1, dynamodb.partition_write_units, burst);
        self.requests.throttled += u64::from(taken > self.now);
        taken
    }

    /// A record that asks to be sent is on the stream.
    fn written(&mut self, id: u32) {
        let shard = self.table.partition_of(self.tasks[id as usize].hash);
        if let Some(at) = self.stream.put(shard, id, self.now) {
            self.calendar.put(at, Event::Look(shard as u32));
        }
    }

    fn look(&mut self, shard: u32) {
        match self.stream.look(shard as usize, self.now) {
            Look::Call { batch, sent, over } => {
                self.calendar.put(sent, Event::Sent(batch));
                self.calendar.put(over, Event::Over { shard, batch });
                // A mapping with several calls at once begins the next at once.
                if self.settings.dispatcher.parallel > 1 {
                    self.look(shard);
                }
            }
            Look::Again(at) => self.calendar.put(at, Event::Look(shard)),
            Look::Nothing => {}
        }
    }

    fn sent(&mut self, batch: u32) {
        for index in 0..self.stream.batch(batch).len() {
            let task = self.stream.batch(batch)[index];
            self.queue.put(task);
            // The mark. The task does not wait for it.
            let hash = self.tasks[task as usize].hash;
            self.write(hash);
            self.requests.marks += 1;
        }
        self.wake();
    }

    fn over(&mut self, shard: u32, batch: u32) {
        if let Some(at) = self.stream.over(shard as usize, batch, self.now) {
            self.calendar.put(at, Event::Look(shard));
        }
    }

    /// A task's wait is over at `at`.
    pub fn note_start(&mut self, id: u32, at: Micros) {
        let task = &mut self.tasks[id as usize];
        if !std::mem::replace(&mut task.started, true) {
            self.unstarted -= 1;
            let wait = at - task.arrived;
            self.waited += (at - self.now) as f64;
            self.waits.add(wait);
            if matches!(self.settings.arrivals, Arrivals::Recorded(_)) {
                let number = task.number as usize;
                self.each.resize(self.each.len().max(number + 1), 0.0);
                self.each[number] = wait as f64 / SECOND as f64;
            }
        }
    }

    /// A task has completed.
    pub fn complete(&mut self, id: u32) {
        self.requests.stages += self.settings.progress.writes(self.tasks[id as usize].run);
        self.completed += 1;
        self.free_tasks.push(id);
    }

    /// An interrupted task is PENDING again.
    pub fn put_back(&mut self, id: u32) {
        let taken = self.write(self.tasks[id as usize].hash);
        self.calendar.put(taken, Event::Written(id));
    }

    fn minute_over(&mut self) {
        self.calendar.put(self.now + MINUTE, Event::Minute);
        self.take_peaks(MINUTE);
    }

    fn take_peaks(&mut self, span: Micros) {
        let per_second = |units: u64| units as f64 * SECOND as f64 / span as f64;
        self.table.sample(span);
        self.stream.sample(span);
        let accounts = self.accounts.iter_mut().map(Range::taken).max().unwrap_or_default();
        let then = std::mem::replace(
            &mut self.minute,
            Minute {
                arrived: self.arrived,
                completed: self.completed,
                registry_units: self.requests.registry_units,
            },
        );
        let edges = f64::from(self.settings.progress.edges) * per_second(self.completed - then.completed);
        let stages = self.workers.running as f64 * self.counters_a_second + edges;
        let registry = per_second(self.requests.registry_units - then.registry_units);
        let control = (self.workers.beats_a_second() + registry) / 8.0;
        let peaks = &mut self.peaks;
        peaks.arrivals = peaks.arrivals.max(per_second(self.arrived - then.arrived));
        peaks.account_units = peaks.account_units.max(per_second(accounts));
        peaks.stages_units = peaks.stages_units.max(stages);
        peaks.control_units = peaks.control_units.max(control);
    }

    fn outcome(mut self) -> Outcome {
        self.workers.close_polls(self.now, &mut self.requests);
        if self.now < MINUTE {
            self.take_peaks(self.now.max(1));
        }
        let time = self.now.max(1) as f64;
        let worker = &self.settings.worker;
        let time_of = &self.workers.time;
        let counts = self.stream.counts;
        let beats = time_of.busy / worker.busy_beat as f64
            + (time_of.serving - time_of.busy).max(0.0) / worker.idle_beat as f64;
        self.requests.beats = beats as u64;
        // Twice a lease, which is ten beats (`heartbeat.rs`).
        self.requests.reviews = (time_of.running / (20.0 * worker.busy_beat as f64)) as u64;
        self.requests.sends = counts.sends;
        self.requests.calls = counts.calls;
        self.requests.cold_calls = counts.cold;
        self.requests.call_seconds = counts.billed as f64 / SECOND as f64;
        let peaks = Peaks {
            tasks_units: self.table.peak,
            tasks_partition_units: self.table.peak_partition,
            tasks_partitions: self.table.len(),
            in_flight: self.queue.peak_in_flight,
            backlog: self.queue.peak_waiting,
            calls: counts.peak_running,
            shard_busy: counts.peak_busy,
            workers: self.workers.peak,
            ..self.peaks
        };
        Outcome {
            tasks: self.arrived,
            completed: self.completed,
            interruptions: self.interruptions,
            waits: Waits::of(&self.waits),
            each: self.each,
            seconds: time / SECOND as f64,
            workers: time_of.launched / time,
            running: time_of.running / time,
            waiting: self.waited / time,
            utilisation: time_of.running / (time_of.serving * f64::from(worker.slots)).max(1.0),
            requests: self.requests,
            peaks,
        }
    }
}
