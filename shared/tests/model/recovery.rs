//! Liveness, checked in each state: with no fault left, is there a way to the end of every task?
//!
//! A checker's own "eventually" would have to judge cycles (a message that comes back for ever) by their
//! fairness. This asks instead for a path without faults from every state that can be reached. Since what is
//! reached on such a path is such a state again, whoever takes every step that stays possible cannot miss
//! the end for ever.

use std::collections::HashSet;
use std::hash::BuildHasher;
use std::sync::{Mutex, PoisonError};

use super::actions::Action;
use super::budget::Budget;
use super::merge::merged;
use super::packed::Mixing;
use super::state::State;
use super::work::Work;
use super::{Protocol, actions};

/// The states, without their budget, from which the end is known to be in reach.
#[derive(Debug, Default)]
pub struct Recoverable {
    known: Mutex<HashSet<u64, Mixing>>,
}

impl Recoverable {
    fn key(&self, state: &State) -> u64 {
        Mixing::default().hash_one(state)
    }

    fn knows(&self, key: u64) -> bool {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).contains(&key)
    }

    fn learn(&self, keys: impl IntoIterator<Item = u64>) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).extend(keys);
    }
}

/// Whether a path without faults leads from here to the end of every task. Searches depth first until it
/// meets a state from which that is known, and remembers the path.
pub fn can_end(protocol: &Protocol, state: &State) -> bool {
    let known = &protocol.recoverable;
    let mut start = state.clone();
    if start.budget != Budget::default() {
        start.budget = Budget::default();
        start = merged(protocol, start);
    }
    let first = known.key(&start);
    if start.all_ended() || known.knows(first) {
        return true;
    }
    let mut seen = HashSet::<u64, Mixing>::from_iter([first]);
    let mut path = vec![Place::at(protocol, first, start)];
    while let Some(place) = path.last_mut() {
        let Some(action) = place.untried.pop() else {
            path.pop();
            continue;
        };
        let Some(next) = actions::take(protocol, &place.state, action) else { continue };
        let key = known.key(&next);
        if next.all_ended() || known.knows(key) {
            known.learn(path.iter().map(|place| place.key).chain([key]));
            return true;
        }
        if seen.insert(key) {
            path.push(Place::at(protocol, key, next));
        }
    }
    false
}

/// A state on the path, with the steps that were not tried from it; the most direct one is the last.
struct Place {
    key: u64,
    state: State,
    untried: Vec<Action>,
}

impl Place {
    fn at(protocol: &Protocol, key: u64, state: State) -> Self {
        let mut untried = actions::possible(protocol, &state);
        untried.sort_by_key(|action| directness(*action));
        Self { key, state, untried }
    }
}

/// How likely a step leads on rather than around.
fn directness(action: Action) -> u8 {
    match action {
        Action::Reappear(_) => 0,
        Action::Repair(_) | Action::Sweep(_) | Action::Remove(_) => 1,
        Action::Work(_, Work::Look(_) | Work::List) => 2,
        Action::Work(_, Work::Succeed(_)) => 4,
        _ => 3,
    }
}
