//! What the model remembers: two task records, two workers, one queue, and what is on its way between them.

use stageline::task::Status;

use super::budget::Budget;
use super::packed::{Packed, number, pack};

/// The number of tasks.
pub const TASKS: u8 = 2;
/// The number of workers.
pub const WORKERS: u8 = 2;

/// One record of the `tasks` table, with what only an onlooker can know of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    pub status: Status,
    pub attempt: u8,
    pub worker: Option<u8>,
    pub cancel: bool,
    pub failures: u8,
    /// Onlooker: the worker and the attempt that the latest claim gave the task to, until it is taken away.
    pub holder: Option<(u8, u8)>,
    /// Onlooker: the execution that was told first that the task is complete, and by itself.
    pub completed_by: Option<(u8, u8)>,
}

impl Record {
    /// A record that nobody has touched.
    pub fn new(status: Status) -> Self {
        Self {
            status,
            attempt: 0,
            worker: None,
            cancel: false,
            failures: 0,
            holder: None,
            completed_by: None,
        }
    }
}

impl Packed for Record {
    fn packed(&self) -> u64 {
        let execution = |of: Option<(u8, u8)>| of.map_or(0, |(worker, attempt)| pack(&[worker + 1, attempt]));
        let fields =
            [self.status as u8, self.attempt, number(self.worker), self.cancel.into(), self.failures];
        pack(&fields) << 16 | execution(self.holder) << 8 | execution(self.completed_by)
    }
}

/// What the dispatcher will do about a change of a record: the change is on the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Wish {
    Send(Sending),
    Cancel { task: u8, attempt: u8 },
}

impl Wish {
    pub fn task(self) -> u8 {
        match self {
            Wish::Send(Sending { task, .. }) | Wish::Cancel { task, .. } => task,
        }
    }
}

/// A command of a task's attempt, sent or about to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sending {
    pub task: u8,
    pub attempt: u8,
    /// The task was queued already; only the repair scan sends such a one.
    pub again: bool,
}

/// A message on the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    pub task: u8,
    pub attempt: u8,
    /// Who received it last, while it is invisible to others.
    pub taker: Option<u8>,
}

impl Packed for Message {
    fn packed(&self) -> u64 {
        pack(&[self.task, self.attempt, number(self.taker)])
    }
}

/// How a worker is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Life {
    Beating,
    /// Stopped in its tracks for longer than a lease; it may go on and then knows nothing of it.
    Silent,
    Dead,
}

/// How far a worker is with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Phase {
    Received,
    Running,
}

/// A message in a worker's hands, and the attempt that came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hand {
    pub task: u8,
    /// The attempt that the command names.
    pub command: u8,
    /// The attempt to claim, then the attempt it runs.
    pub attempt: u8,
    pub phase: Phase,
    /// Whether the message is still to be deleted.
    pub message: bool,
}

impl Packed for Hand {
    fn packed(&self) -> u64 {
        pack(&[self.task, self.command, self.attempt, self.phase as u8, self.message.into()])
    }
}

impl Hand {
    /// The message that it is of, as long as it is invisible to all but `taker`.
    pub fn message_of(self, taker: u8) -> Message {
        Message { task: self.task, attempt: self.command, taker: Some(taker) }
    }
}

/// For each task the attempt that a registry lists, if it lists one.
pub type Registry = [Option<u8>; TASKS as usize];

/// One worker and its items in the `control` table.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Worker {
    pub life: Life,
    /// Its heartbeat item is there.
    pub item: bool,
    pub registry: Registry,
    pub hands: Vec<Hand>,
}

impl Worker {
    pub fn runs(&self, task: u8, attempt: u8) -> bool {
        self.hands.iter().any(|h| h.task == task && h.attempt == attempt && h.phase == Phase::Running)
    }

    /// What its registry should list.
    pub fn running(&self) -> Registry {
        let mut running = [None; TASKS as usize];
        for hand in self.hands.iter().filter(|h| h.phase == Phase::Running) {
            running[hand.task as usize] = Some(hand.attempt);
        }
        running
    }
}

/// What an onlooker has seen go wrong; never forgotten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Seen {
    /// Two executions were told that the task is complete, and by themselves.
    pub completed_twice: bool,
    /// A holder whose task was taken away changed the record all the same.
    pub fence_broken: bool,
    /// A task left the state in which it had ended.
    pub ended_twice: bool,
    /// A task was claimed after its end was asked for.
    pub started_although_cancelled: bool,
}

/// A state of the whole system.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct State {
    pub tasks: [Record; TASKS as usize],
    pub workers: [Worker; WORKERS as usize],
    /// Undelivered stream records that ask for something; sorted, each once.
    pub stream: Vec<Wish>,
    /// Commands between the dispatcher's two steps; sorted, each once.
    pub halfway: Vec<Sending>,
    /// Sorted; at most two equal commands.
    pub queue: Vec<Message>,
    /// A worker that the sweeper found dead, with the registry as it read it.
    pub swept: Option<(u8, Registry)>,
    /// The completion of an attempt that is still on its way, though its worker has given the call up.
    pub late: Option<(u8, Hand)>,
    pub budget: Budget,
    pub seen: Seen,
}

impl State {
    pub fn task(&self, task: u8) -> &Record {
        &self.tasks[task as usize]
    }

    pub fn worker(&self, worker: u8) -> &Worker {
        &self.workers[worker as usize]
    }

    pub fn worker_mut(&mut self, worker: u8) -> &mut Worker {
        &mut self.workers[worker as usize]
    }

    pub fn all_ended(&self) -> bool {
        self.tasks.iter().all(|task| task.status.is_terminal())
    }

    pub fn wish(&mut self, wish: Wish) {
        insert_once(&mut self.stream, wish);
    }

    pub fn begin_sending(&mut self, sending: Sending) {
        insert_once(&mut self.halfway, sending);
    }

    /// Puts a message on the queue. Of more than two equal ones a third can do nothing that two cannot.
    pub fn push(&mut self, task: u8, attempt: u8) {
        if self.queue.iter().filter(|m| (m.task, m.attempt) == (task, attempt)).count() < 2 {
            self.queue.push(Message { task, attempt, taker: None });
            self.queue.sort_unstable();
        }
    }

    /// Changes who has a message, if it is there.
    pub fn hand_over(&mut self, message: Message, taker: Option<u8>) {
        if let Some(found) = self.queue.iter_mut().find(|m| **m == message) {
            found.taker = taker;
        }
        self.queue.sort_unstable();
    }

    /// Deletes a message if it is there as described: a receipt that is out of date deletes nothing.
    pub fn delete(&mut self, message: Message) {
        if let Some(index) = self.queue.iter().position(|m| *m == message) {
            self.queue.remove(index);
        }
    }
}

fn insert_once<T: Ord>(list: &mut Vec<T>, item: T) {
    if let Err(index) = list.binary_search(&item) {
        list.insert(index, item);
    }
}
