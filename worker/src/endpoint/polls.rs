//! What the polls say of the way to the queues: the watchdog and `/readyz` look at it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use stageline::task::Lane;
use tokio::time::Instant;

#[derive(Default)]
struct State {
    /// Since when an answer is due: the first poll was opened then, or the last one answered. None while no
    /// poll is open, since every slot is taken or the worker drains.
    waiting: Option<Instant>,
    failing: BTreeMap<Lane, String>,
    stuck: Option<String>,
}

/// The polls of a worker.
#[derive(Default)]
pub(crate) struct Polls(Mutex<State>);

impl Polls {
    // A panic while the lock was held cannot leave it half-changed: each change is one assignment or two.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// So many polls are open now.
    pub fn open(&self, polls: usize) {
        let mut state = self.lock();
        match polls {
            0 => (state.waiting, state.stuck) = (None, None),
            _ => drop(state.waiting.get_or_insert_with(Instant::now)),
        }
    }

    /// A queue has answered, with messages or without.
    pub fn answered(&self, lane: Lane) {
        let mut state = self.lock();
        state.failing.remove(&lane);
        (state.waiting, state.stuck) = (Some(Instant::now()), None);
    }

    /// A poll has failed.
    pub fn failed(&self, lane: Lane, why: String) {
        self.lock().failing.insert(lane, why);
    }

    /// How long polls have been open without an answer.
    pub fn unanswered(&self) -> Duration {
        self.lock().waiting.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Why the last polls failed, where they did.
    pub fn failing(&self) -> Option<String> {
        let state = self.lock();
        let (lane, why) = state.failing.iter().next()?;
        Some(format!("its queue {lane} cannot be read: {why}"))
    }

    /// The watchdog's finding.
    pub fn set_stuck(&self, why: Option<String>) {
        let mut state = self.lock();
        // An answer that came meanwhile says more.
        if state.waiting.is_some() {
            state.stuck = why;
        }
    }

    pub fn stuck(&self) -> Option<String> {
        self.lock().stuck.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_counts_while_polls_are_open_and_an_answer_ends_it() {
        let polls = Polls::default();
        let moment = Duration::from_millis(20);
        let wait = || std::thread::sleep(moment);
        wait();
        assert_eq!(polls.unanswered(), Duration::ZERO, "nothing was asked");
        polls.open(1);
        wait();
        // Another poll is no answer.
        polls.open(2);
        assert!(polls.unanswered() >= moment);
        polls.set_stuck(Some("why".to_owned()));
        polls.failed(Lane::Low, "denied".to_owned());
        assert!(polls.stuck().is_some() && polls.failing().is_some_and(|why| why.contains("low")));
        polls.answered(Lane::High);
        assert!(polls.unanswered() < moment);
        assert_eq!(polls.stuck(), None);
        assert!(polls.failing().is_some(), "another queue answered");
        polls.answered(Lane::Low);
        assert_eq!(polls.failing(), None);
        wait();
        // Every slot is taken.
        polls.open(0);
        assert_eq!(polls.unanswered(), Duration::ZERO);
        polls.set_stuck(Some("late".to_owned()));
        assert_eq!(polls.stuck(), None);
    }
}
