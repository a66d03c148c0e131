//! What the worker has in its hands right now: each task with the message that brought it, until that
//! message is deleted, and with the end that gives its attempt orders.
//!
//! A task is in hand from before its claim is sent: a second message of the same task that comes meanwhile
//! must not take the record, which may name this worker already, for a claim whose answer was lost.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use stageline::At;
use stageline::protocol::command::Command;
use stageline::task::{Attempt, AttemptRef, Status, Task, TaskId};
use tokio::sync::watch;

use crate::acknowledge::Handle;
use crate::control::{Control, Order, Orders};

struct Entry {
    since: At,
    /// The message, while it is still on the queue.
    message: Option<Handle>,
    /// The attempt; none while the claim is under way.
    held: Option<(Attempt, Control)>,
}

/// What a message met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begun {
    /// Nothing: its task is in hand now.
    First,
    /// Its task is in hand, and may need the message to be remembered.
    InHand,
    /// Its task is in hand, and the registry remembers it.
    Remembered,
    /// An earlier attempt is still ending; the message is of a later one.
    TooSoon,
}

/// An attempt in hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub id: TaskId,
    pub attempt: Attempt,
    /// Whether it was told to stop its processes where they are.
    pub paused: bool,
}

/// The tasks in hand.
pub(crate) struct Running {
    entries: Mutex<BTreeMap<TaskId, Entry>>,
    fenced: watch::Sender<bool>,
    /// How many they are, for those who wait for a change of that.
    count: watch::Sender<usize>,
}

impl Default for Running {
    fn default() -> Self {
        Self { entries: Mutex::default(), fenced: watch::Sender::new(false), count: watch::Sender::new(0) }
    }
}

impl Running {
    // A panic while the lock was held cannot leave the map half-changed: each change is one call.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<TaskId, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a task in hand, before its claim.
    pub fn begin(&self, command: &Command, since: At, message: Handle) -> Begun {
        let mut entries = self.lock();
        match entries.get(&command.task_id) {
            None => {
                let entry = Entry { since, message: Some(message), held: None };
                entries.insert(command.task_id.clone(), entry);
                self.count.send_replace(entries.len());
                Begun::First
            }
            Some(Entry { held: Some((attempt, _)), .. }) if command.attempt >= *attempt => Begun::TooSoon,
            Some(Entry { held: Some(_), message: None, .. }) => Begun::Remembered,
            Some(_) => Begun::InHand,
        }
    }

    /// The task was claimed.
    pub fn claimed(&self, task: &Task) -> Orders {
        let mut entries = self.lock();
        // Under the lock, so that a claim and a fence never miss each other.
        let first = match task.status {
            _ if *self.fenced.borrow() => Order::Interrupt,
            Status::Paused => Order::Pause,
            _ => Order::Go,
        };
        let (control, orders) = Control::new(first);
        if let Some(entry) = entries.get_mut(&task.id) {
            entry.held = Some((task.attempt, control));
        }
        orders
    }

    /// Takes the task out; gives its message when that is still on the queue.
    pub fn end(&self, id: &TaskId) -> Option<Handle> {
        let mut entries = self.lock();
        let entry = entries.remove(id)?;
        self.count.send_replace(entries.len());
        entry.message
    }

    pub fn count(&self) -> usize {
        self.lock().len()
    }

    /// How many are in hand, now and later.
    pub fn counts(&self) -> watch::Receiver<usize> {
        self.count.subscribe()
    }

    /// The attempts that have run since `before` or longer, in order.
    pub fn older_than(&self, before: At) -> Vec<AttemptRef> {
        let entries = self.lock();
        // What has no message any more stays listed, also when the clock was set back.
        let old = entries.iter().filter(|(_, entry)| entry.since <= before || entry.message.is_none());
        old.filter_map(|(id, entry)| Some(AttemptRef { id: id.clone(), attempt: entry.held.as_ref()?.0 }))
            .collect()
    }

    /// The messages of `listed` attempts, which the registry remembers now. A task may be at a later attempt
    /// by now, which it does not.
    pub fn release(&self, listed: &[AttemptRef]) -> Vec<Handle> {
        let mut entries = self.lock();
        let released = listed.iter().filter_map(|listed| {
            let entry = entries.get_mut(&listed.id)?;
            let remembered = matches!(entry.held, Some((attempt, _)) if attempt == listed.attempt);
            if remembered { entry.message.take() } else { None }
        });
        released.collect()
    }

    /// The attempts in hand of these tasks, or of all.
    pub fn held(&self, only: Option<&[TaskId]>) -> Vec<Held> {
        let entries = self.lock();
        let wanted = entries.iter().filter(|(id, _)| only.is_none_or(|only| only.contains(id)));
        let held = wanted.filter_map(|(id, entry)| {
            let (attempt, control) = entry.held.as_ref()?;
            let paused = control.standing() == Order::Pause;
            Some(Held { id: id.clone(), attempt: *attempt, paused })
        });
        held.collect()
    }

    /// Gives an order to an attempt, if it is still in hand.
    pub fn order(&self, id: &TaskId, attempt: Attempt, order: Order) {
        if let Some((held, control)) = self.lock().get(id).and_then(|entry| entry.held.as_ref())
            && *held == attempt
        {
            control.give(order);
        }
    }

    /// The lease cannot be renewed: interrupts every attempt, and those that are still being claimed.
    pub fn fence(&self) {
        let entries = self.lock();
        self.fenced.send_replace(true);
        for (_, control) in entries.values().filter_map(|entry| entry.held.as_ref()) {
            control.give(Order::Interrupt);
        }
    }

    /// The lease is renewed.
    pub fn lift_fence(&self) {
        self.fenced.send_replace(false);
    }

    /// Whether the lease cannot be renewed.
    pub fn fenced(&self) -> watch::Receiver<bool> {
        self.fenced.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(attempt: u32) -> Command {
        Command::new("t".parse().unwrap(), Attempt(attempt))
    }

    fn message() -> Handle {
        Handle { queue_url: "q".into(), receipt_handle: "r".into() }
    }

    fn task(attempt: u32, status: Status) -> Task {
        let mut task = Task::new("t".parse().unwrap());
        (task.attempt, task.status) = (Attempt(attempt), status);
        task
    }

    fn now() -> At {
        At::from_millis(0)
    }

    #[test]
    fn a_second_message_of_a_task_in_hand_is_not_claimed() {
        let running = Running::default();
        assert_eq!(running.begin(&command(0), now(), message()), Begun::First);
        assert_eq!(running.begin(&command(0), now(), message()), Begun::InHand);
        assert!(
            running.older_than(now()).is_empty(),
            "the registry lists no task that is only being claimed"
        );
        let _orders = running.claimed(&task(1, Status::Running));
        assert_eq!(running.begin(&command(0), now(), message()), Begun::InHand);
        assert_eq!(running.begin(&command(1), now(), message()), Begun::TooSoon);
        assert_eq!(running.release(&running.older_than(now())).len(), 1);
        assert_eq!(running.begin(&command(0), now(), message()), Begun::Remembered);
        assert!(running.end(&"t".parse().unwrap()).is_none(), "its message was released");
        assert_eq!(running.begin(&command(1), now(), message()), Begun::First);
    }

    #[test]
    fn a_fence_reaches_what_runs_and_what_is_being_claimed() {
        let running = Running::default();
        running.begin(&command(0), now(), message());
        let mut orders = running.claimed(&task(1, Status::Running));
        running.fence();
        assert_eq!(orders.latest(), Order::Interrupt);
        assert_eq!(running.claimed(&task(1, Status::Running)).latest(), Order::Interrupt);
        running.lift_fence();
        assert_eq!(running.claimed(&task(1, Status::Running)).latest(), Order::Go);
        assert_eq!(running.claimed(&task(1, Status::Paused)).latest(), Order::Pause);
    }

    #[test]
    fn an_order_reaches_only_the_attempt_it_is_for() {
        let running = Running::default();
        running.begin(&command(0), now(), message());
        let mut orders = running.claimed(&task(2, Status::Running));
        let id = "t".parse().unwrap();
        running.order(&id, Attempt(1), Order::Cancel);
        assert_eq!(orders.latest(), Order::Go);
        running.order(&id, Attempt(2), Order::Pause);
        assert_eq!(running.held(None), [Held { id, attempt: Attempt(2), paused: true }]);
        assert!(running.held(Some(&[])).is_empty());
    }
}
