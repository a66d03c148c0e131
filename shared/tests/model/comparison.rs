//! Whether a search that merges states finds all that one without merging finds.

use std::collections::{BTreeSet, HashSet};
use std::time::Instant;

use libtest_mimic::Failed;
use stateright::Model;

use super::merge::merged;
use super::recovery::can_end;
use super::state::{Life, Phase, State, TASKS};
use super::{Protocol, actions};

/// What a search met, so that it can be said what the comparison is about.
#[derive(Debug, Default)]
pub struct Met {
    /// The most attempts of a task.
    pub attempts: u8,
    /// The attempts of those who ran them when a later one had been claimed.
    pub zombies: BTreeSet<u8>,
}

/// Searches twice. The states of the full search, merged one by one, must be those of the search that merges;
/// and each of them must have a way to the end that is not merged either.
pub fn merging_loses_nothing(name: &str, protocol: impl Fn() -> Protocol) -> Result<Met, Failed> {
    let begin = Instant::now();
    let (merger, plain) = (protocol(), Protocol { merge: false, ..protocol() });
    let merging = reached(&merger);
    let full = reached(&plain);
    let states = full.len();
    let mut met = Met::default();
    full.iter().for_each(|state| met.note(state));
    let stuck = full.iter().find(|state| !can_end(&plain, state)).cloned();
    let represented: HashSet<State> = full.into_iter().map(|state| merged(&merger, state)).collect();
    let (missed, new) = (represented.difference(&merging).count(), merging.difference(&represented).count());
    println!(
        "merging: {name}: {states} states are {}, {missed} missed, {new} new, at most {} attempts, {:.1} s",
        merging.len(),
        met.attempts,
        begin.elapsed().as_secs_f64()
    );
    if let Some(state) = represented.difference(&merging).next() {
        return Err(format!("missed: {state:?}").into());
    }
    if let Some(state) = merging.difference(&represented).next() {
        return Err(format!("new: {state:?}").into());
    }
    match stuck {
        Some(state) => Err(format!("no way to the end: {state:?}").into()),
        None => Ok(met),
    }
}

impl Met {
    fn note(&mut self, state: &State) {
        for task in 0..TASKS {
            let now = state.task(task).attempt;
            self.attempts = self.attempts.max(now);
            for worker in state.workers.iter().filter(|worker| worker.life == Life::Beating) {
                let old = worker.hands.iter().filter(|hand| hand.task == task && hand.attempt < now);
                self.zombies.extend(old.filter(|hand| hand.phase == Phase::Running).map(|hand| hand.attempt));
            }
        }
    }
}

fn reached(protocol: &Protocol) -> HashSet<State> {
    let mut open = protocol.init_states();
    let mut reached: HashSet<State> = open.iter().cloned().collect();
    while let Some(state) = open.pop() {
        for action in actions::possible(protocol, &state) {
            if let Some(next) = actions::take(protocol, &state, action)
                && reached.insert(next.clone())
            {
                open.push(next);
            }
        }
    }
    reached
}
