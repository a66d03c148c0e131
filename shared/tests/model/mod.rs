//! The protocol as a model: two workers, two tasks, the stream and the queue between them, and a budget of
//! faults. Every decision is the real code's ([`decisions`]); what surrounds it is small enough that all
//! states can be visited. `docs/model.md` says what is checked and what is not.

pub mod actions;
pub mod budget;
pub mod check;
pub mod comparison;
pub mod decisions;
pub mod merge;
pub mod packed;
pub mod recovery;
pub mod state;
pub mod work;
pub mod writes;

use std::sync::atomic::{AtomicBool, Ordering};

use stageline::task::Status;
use stateright::{Model, Property};

use actions::Action;
use budget::Budget;
use recovery::Recoverable;
use state::{Life, Record, Registry, Seen, State, Worker};

/// A change of the protocol that must not survive the checker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// The end of an attempt is written whatever attempt the record is at.
    AttemptNotInCondition,
    /// That, and what a refusal means is judged without the attempt too.
    AttemptNotChecked,
    /// The end of an attempt is written whoever has the task, in whatever attempt.
    OnlyTheStateChecked,
    /// A registry lists tasks, whatever their attempt.
    ListedWithoutAttempt,
    /// A message is deleted at the claim, before the registry lists the task.
    DeletedAtTheClaim,
    /// A task is marked QUEUED before its command is sent.
    MarkedBeforeSent,
    /// A task is claimed whatever was asked of it.
    CancelNotInTheClaim,
}

/// One configuration of the model.
#[derive(Debug)]
pub struct Protocol {
    /// The states in which the two records are written; a terminal one is no task.
    pub tasks: [Status; state::TASKS as usize],
    /// How many workers there are.
    pub workers: u8,
    /// How many attempts a worker has in its hands at once.
    pub slots: usize,
    /// Whether there is a repair scan.
    pub repair: bool,
    pub budget: Budget,
    pub mutation: Option<Mutation>,
    /// Whether states that differ in nothing that matters are one.
    pub merge: bool,
    /// The only property that is looked at, if not all are.
    pub only: Option<&'static str>,
    /// Whether a violation has been found. The checker keeps the last one it meets; the first is shorter.
    pub violated: AtomicBool,
    /// What is known of the way back from each state.
    pub recoverable: Recoverable,
}

impl Protocol {
    /// Two workers and two new tasks, with the repair scan, as the protocol is.
    pub fn new(budget: Budget) -> Self {
        let recoverable = Recoverable::default();
        let tasks = [Status::Pending; state::TASKS as usize];
        Self {
            tasks,
            workers: state::WORKERS,
            slots: 1,
            repair: true,
            budget,
            mutation: None,
            merge: true,
            only: None,
            violated: AtomicBool::new(false),
            recoverable,
        }
    }

    /// Whether a worker's registry remembers this attempt.
    pub fn lists(&self, worker: &Worker, task: u8, attempt: u8) -> bool {
        let listed = worker.registry[task as usize];
        match self.mutation {
            Some(Mutation::ListedWithoutAttempt) => listed.is_some(),
            _ => listed == Some(attempt),
        }
    }

    /// Whether a property is kept, or was violated before.
    fn keeps(&self, kept: bool) -> bool {
        kept || self.violated.swap(true, Ordering::Relaxed)
    }
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let worker = |index: u8| {
            let there = index < self.workers;
            let life = if there { Life::Beating } else { Life::Dead };
            Worker { life, item: there, registry: Registry::default(), hands: Vec::new() }
        };
        let mut state = State {
            tasks: self.tasks.map(Record::new),
            workers: [worker(0), worker(1)],
            stream: Vec::new(),
            halfway: Vec::new(),
            queue: Vec::new(),
            swept: None,
            late: None,
            budget: self.budget,
            seen: Seen::default(),
        };
        for task in 0..state::TASKS {
            let record = *state.task(task);
            if let Some(wish) = decisions::on_change(task, None, record) {
                state.wish(wish);
            }
        }
        vec![merge::merged(self, state)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        actions.extend(actions::possible(self, state));
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        actions::take(self, state, action)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let all = [
            Property::always(ONCE, |model: &Protocol, state: &State| {
                model.keeps(!state.seen.completed_twice)
            }),
            Property::always(FENCED, |model: &Protocol, state: &State| model.keeps(!state.seen.fence_broken)),
            Property::always(STAYS_ENDED, |model: &Protocol, state: &State| {
                model.keeps(!state.seen.ended_twice)
            }),
            Property::always(NOT_STARTED, |model: &Protocol, state: &State| {
                model.keeps(!state.seen.started_although_cancelled)
            }),
            Property::always(CAN_END, |model: &Protocol, state: &State| {
                model.keeps(recovery::can_end(model, state))
            }),
        ];
        all.into_iter().filter(|property| self.only.is_none_or(|only| only == property.name)).collect()
    }
}

/// Safety: one effective completion.
pub const ONCE: &str = "of a task's executions at most one is told that it has completed it";
/// Safety: who was fenced stays fenced.
pub const FENCED: &str = "a holder that lost its task changes nothing";
/// Safety: terminal stays terminal.
pub const STAYS_ENDED: &str = "an ended task stays as it ended";
/// Safety: nothing begins that nobody wants.
pub const NOT_STARTED: &str = "a task whose end was asked for is not started any more";
/// Liveness: once faults stop, every task can still reach its end.
pub const CAN_END: &str = "without further faults every task can end";
