//! Liveness, checked in each state: with no fault left, is there a way to the end of every task?
//!
//! A checker's own "eventually" would have to judge cycles (a message that comes back for ever) by their
//! fairness. This asks instead for a path without faults from every state that can be reached. Since what is
//! reached on such a path is such a state again, whoever takes every step that stays possible cannot miss
//! the end for ever.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};

use super::actions::Action;
use super::state::{Budget, State};
use super::work::Work;
use super::{Protocol, actions};

/// The states, without their budget, from which the end is known to be in reach.
#[derive(Debug, Default)]
pub struct Recoverable {
    hasher: RandomState,
    known: Mutex<HashSet<u64>>,
}

impl Recoverable {
    fn key(&self, state: &State) -> u64 {
        self.hasher.hash_one(state)
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
    let start = State { budget: Budget::default(), ..state.clone() };
    let first = known.key(&start);
    if known.knows(first) {
        return true;
    }
    let mut came_from = HashMap::from([(first, first)]);
    let mut open = vec![(first, start)];
    while let Some((key, state)) = open.pop() {
        if state.all_ended() || known.knows(key) {
            let mut path = vec![key];
            let mut at = key;
            while at != first {
                at = came_from[&at];
                path.push(at);
            }
            known.learn(path);
            return true;
        }
        let mut tries = actions::possible(protocol, &state);
        // The last one is followed first: straight to the end where that is possible.
        tries.sort_by_key(|action| directness(*action));
        for action in tries {
            let Some(next) = actions::take(protocol, &state, action) else { continue };
            let next_key = known.key(&next);
            if let std::collections::hash_map::Entry::Vacant(entry) = came_from.entry(next_key) {
                entry.insert(key);
                open.push((next_key, next));
            }
        }
    }
    false
}

/// How likely a step leads on rather than around.
fn directness(action: Action) -> u8 {
    match action {
        Action::Reappear(_) => 0,
        Action::Repair(_) | Action::Sweep(_) | Action::Remove(_) => 1,
        Action::Worker(_, Work::Look(_) | Work::List) => 2,
        Action::Worker(_, Work::Succeed(_)) => 4,
        _ => 3,
    }
}
