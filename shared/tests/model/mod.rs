//! The protocol as a model: two workers, two tasks, the stream and the queue between them, and a budget of
//! faults. Every decision is the real code's ([`decisions`]); what surrounds it is small enough that all
//! states can be visited. `docs/model.md` says what is checked and what is not.

pub mod actions;
pub mod check;
pub mod decisions;
pub mod recovery;
pub mod state;
pub mod work;
pub mod writes;

use std::sync::atomic::{AtomicBool, Ordering};

use stageline::task::Status;
use stateright::{Model, Property};

use actions::Action;
use recovery::Recoverable;
use state::{Budget, Life, Record, State, Worker};

/// A change of the protocol that must not survive the checker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// The end of an attempt is written whatever attempt the record is at.
    AttemptNotChecked,
    /// A message is deleted at the claim, before the registry lists the task.
    DeletedAtTheClaim,
    /// A task is marked QUEUED before its command is sent.
    MarkedBeforeSent,
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
            violated: AtomicBool::new(false),
            recoverable,
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
            Worker { life, item: there, registry: 0, hands: Vec::new() }
        };
        let mut state = State {
            tasks: self.tasks.map(Record::new),
            workers: [worker(0), worker(1)],
            stream: Vec::new(),
            halfway: Vec::new(),
            queue: Vec::new(),
            swept: None,
            budget: self.budget,
            fence_broken: false,
        };
        for task in 0..state::TASKS {
            let record = *state.task(task);
            if let Some(wish) = decisions::on_change(task, None, record) {
                state.wish(wish);
            }
        }
        vec![state]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        actions.extend(actions::possible(self, state));
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        actions::take(self, state, action)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("a task is completed at most once", |model: &Protocol, state: &State| {
                model.keeps(state.tasks.iter().all(|task| task.completions <= 1))
            }),
            Property::always(FENCED, |model: &Protocol, state: &State| model.keeps(!state.fence_broken)),
            Property::always("an ended task stays as it ended", |model: &Protocol, state: &State| {
                let stays = |task: &Record| task.ended.is_none_or(|ended| task.status == ended);
                model.keeps(state.tasks.iter().all(stays))
            }),
            Property::always(
                "a task cancelled before its first claim never runs",
                |model: &Protocol, state: &State| {
                    model.keeps(state.tasks.iter().all(|task| !task.cancelled_first || task.attempt == 0))
                },
            ),
            Property::always(CAN_END, |model: &Protocol, state: &State| {
                model.keeps(recovery::can_end(model, state))
            }),
        ]
    }
}

/// Safety: who was fenced stays fenced.
pub const FENCED: &str = "a holder that lost its task changes nothing";
/// Liveness: once faults stop, every task can still reach its end.
pub const CAN_END: &str = "without further faults every task can end";
