//! Whether a search that merges states finds all that one without merging finds.

use std::collections::HashSet;
use std::time::Instant;

use libtest_mimic::Failed;
use stateright::Model;

use super::merge::merged;
use super::state::State;
use super::{Protocol, actions};

/// Searches twice. The states of the full search, merged one by one, must be those of the search that merges.
pub fn merging_loses_nothing(name: &str, protocol: impl Fn() -> Protocol) -> Result<(), Failed> {
    let begin = Instant::now();
    let merger = protocol();
    let merging = reached(&merger);
    let full = reached(&Protocol { merge: false, ..protocol() });
    let states = full.len();
    let represented: HashSet<State> = full.into_iter().map(|state| merged(&merger, state)).collect();
    let (missed, new) = (represented.difference(&merging).count(), merging.difference(&represented).count());
    println!(
        "merging: {name}: {states} states are {}, {missed} missed, {new} new, {:.1} s",
        merging.len(),
        begin.elapsed().as_secs_f64()
    );
    if let Some(state) = represented.difference(&merging).next() {
        return Err(format!("missed: {state:?}").into());
    }
    if let Some(state) = merging.difference(&represented).next() {
        return Err(format!("new: {state:?}").into());
    }
    Ok(())
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
