//! What the model remembers: two task records, two workers, one queue, and what is on its way between them.

use stageline::task::Status;

/// The number of tasks.
pub const TASKS: u8 = 2;
/// The number of workers.
pub const WORKERS: u8 = 2;

/// One record of the `tasks` table, with what only an onlooker can know of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Record {
    pub status: Status,
    pub attempt: u8,
    pub worker: Option<u8>,
    pub cancel: bool,
    pub failures: u8,
    /// Onlooker: the worker and the attempt that the latest claim gave the task to, until it is taken away.
    pub holder: Option<(u8, u8)>,
    /// Onlooker: how many completions were written.
    pub completions: u8,
    /// Onlooker: its end was asked for before any claim.
    pub cancelled_first: bool,
    /// Onlooker: the first terminal state it had.
    pub ended: Option<Status>,
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
            completions: 0,
            cancelled_first: false,
            ended: None,
        }
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Message {
    pub task: u8,
    pub attempt: u8,
    /// Who received it last, while it is invisible to others.
    pub taker: Option<u8>,
}

/// How a worker is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Life {
    Beating,
    /// Stopped in its tracks for longer than a lease; it may go on and then knows nothing of it.
    Silent,
    Dead,
}

/// How far a worker is with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    Received,
    Running,
    Ended,
}

/// A message in a worker's hands, and the attempt that came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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

/// One worker and its items in the `control` table.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Worker {
    pub life: Life,
    /// Its heartbeat item is there.
    pub item: bool,
    /// The tasks that its registry lists, one bit each.
    pub registry: u8,
    pub hands: Vec<Hand>,
}

impl Worker {
    pub fn lists(&self, task: u8) -> bool {
        self.registry & (1 << task) != 0
    }

    pub fn runs(&self, task: u8, attempt: u8) -> bool {
        self.hands.iter().any(|h| h.task == task && h.attempt == attempt && h.phase == Phase::Running)
    }

    /// What its registry should list.
    pub fn running(&self) -> u8 {
        self.hands.iter().filter(|h| h.phase == Phase::Running).fold(0, |bits, h| bits | 1 << h.task)
    }
}

/// What may go wrong, and what people may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fault {
    /// A worker dies, or is told to stop and hands its tasks back.
    Death,
    /// A worker stops for longer than its lease and then goes on.
    Pause,
    /// A message vanishes, or the whole queue is purged.
    Loss,
    /// A message is there twice.
    Duplicate,
    /// A stream record is never delivered.
    Drop,
    /// The dispatcher crashes between its two steps; its record is delivered again.
    Crash,
    /// A claim is applied and its answer is lost.
    Answer,
    /// A living worker takes longer than a lease to list a task.
    Slow,
    /// An engine fails; a task has one retry.
    Failure,
    /// A person asks for a task's end.
    Cancel,
}

/// How often each fault may still happen, and how many of all kinds together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Budget {
    pub each: [u8; 10],
    pub total: u8,
}

impl Budget {
    /// One of each of these, and no more than `total` together.
    pub fn of(total: u8, faults: &[Fault]) -> Self {
        let mut each = [0; 10];
        faults.iter().for_each(|fault| each[*fault as usize] += 1);
        Self { each, total }
    }

    pub fn allows(&self, fault: Fault) -> bool {
        self.total > 0 && self.each[fault as usize] > 0
    }

    pub fn spend(&mut self, fault: Fault) {
        self.each[fault as usize] -= 1;
        self.total -= 1;
        // What can never be spent any more is the same as nothing: fewer states.
        if self.total == 0 {
            self.each = [0; 10];
        }
    }
}

/// A state of the whole system.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
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
    pub swept: Option<(u8, u8)>,
    pub budget: Budget,
    /// Onlooker: a holder whose task was taken away changed the record all the same.
    pub fence_broken: bool,
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
