//! Runs the checker and says in one line what came of it.

use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use stateright::{Checker, HasDiscoveries, Model};

use super::Protocol;

/// Where a search ends that is too large for a test: after this many steps, breadth first.
const MOST_STEPS: usize = 700_000;

/// What was found.
#[derive(Debug)]
pub struct Found {
    pub states: usize,
    pub took: Duration,
    pub complete: bool,
    /// The property that is violated and the steps that lead there.
    pub counterexample: Option<(&'static str, Vec<String>)>,
}

/// Visits all states, or stops at the first violation, which is one of the shortest.
pub fn explore(protocol: Protocol) -> Found {
    let begin = Instant::now();
    let checker = protocol
        .checker()
        .finish_when(HasDiscoveries::AnyFailures)
        .target_state_count(MOST_STEPS)
        .spawn_bfs()
        .join();
    let steps = |path: stateright::Path<_, _>| path.into_actions().iter().map(|a| format!("{a:?}")).collect();
    let counterexample = checker.discoveries().into_iter().next().map(|(name, path)| (name, steps(path)));
    let took = begin.elapsed();
    Found {
        states: checker.unique_state_count(),
        took,
        complete: checker.state_count() < MOST_STEPS,
        counterexample,
    }
}

/// The protocol has no violation in this configuration: in all states, or, where it says so, in the first.
pub fn holds(name: &str, all: bool, protocol: Protocol) -> Result<(), Failed> {
    let found = explore(protocol);
    let (states, seconds) = (found.states, found.took.as_secs_f64());
    let violations = usize::from(found.counterexample.is_some());
    let part = if found.complete { "all states" } else { "not all states" };
    println!("model: {name}, {states} states explored in {seconds:.1} s ({part}), {violations} violations");
    if let Some((property, steps)) = found.counterexample {
        return Err(format!("violated: {property}\n{}", steps.join("\n")).into());
    }
    if all && !found.complete {
        return Err(format!("not all states were visited: more than {MOST_STEPS} steps").into());
    }
    Ok(())
}

/// The changed protocol violates just this property.
pub fn breaks(name: &str, expected: &str, protocol: Protocol) -> Result<(), Failed> {
    let found = explore(protocol);
    let Some((property, steps)) = found.counterexample else {
        return Err(format!("no violation in {} states", found.states).into());
    };
    println!("mutant: {name}: violates \"{property}\" after {} steps ({} states)", steps.len(), found.states);
    for step in &steps {
        println!("    {step}");
    }
    if property == expected { Ok(()) } else { Err(format!("expected to violate: {expected}").into()) }
}
