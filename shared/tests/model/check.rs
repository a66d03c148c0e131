//! Runs the checker and says in one line what came of it.

use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use stateright::{Checker, HasDiscoveries, Model};

use super::Protocol;

/// Where a search ends that would not end in time: after this many steps, breadth first.
const MOST_STEPS: usize = 16_000_000;
/// Where one ends that is only a look.
const BOUNDED_STEPS: usize = 600_000;

/// What was found.
#[derive(Debug)]
pub struct Found {
    pub states: usize,
    pub steps: usize,
    pub depth: usize,
    pub took: Duration,
    pub complete: bool,
    /// The property that is violated and the steps that lead there.
    pub counterexample: Option<(&'static str, Vec<String>)>,
}

/// Visits all states, or stops at the first violation, which is one of the shortest.
fn explore(protocol: Protocol, threads: usize, most_steps: usize) -> Found {
    let begin = Instant::now();
    let checker = protocol
        .checker()
        .finish_when(HasDiscoveries::AnyFailures)
        .target_state_count(most_steps)
        .threads(threads)
        .spawn_bfs()
        .join();
    let steps = |path: stateright::Path<_, _>| path.into_actions().iter().map(|a| format!("{a:?}")).collect();
    let counterexample = checker.discoveries().into_iter().next().map(|(name, path)| (name, steps(path)));
    Found {
        states: checker.unique_state_count(),
        steps: checker.state_count(),
        depth: checker.max_depth(),
        took: begin.elapsed(),
        complete: counterexample.is_none() && checker.state_count() < most_steps,
        counterexample,
    }
}

/// The protocol has no violation in any state of this configuration.
pub fn holds(name: &str, protocol: Protocol) -> Result<(), Failed> {
    let found = explore(protocol, 2, MOST_STEPS);
    print(name, &found);
    no_violation(&found)?;
    if found.complete { Ok(()) } else { Err(format!("more than {MOST_STEPS} steps").into()) }
}

/// The protocol has no violation in the first states of this configuration, which has too many.
pub fn holds_at_first(name: &str, protocol: Protocol) -> Result<(), Failed> {
    let found = explore(protocol, 2, BOUNDED_STEPS);
    print(name, &found);
    no_violation(&found)
}

fn no_violation(found: &Found) -> Result<(), Failed> {
    match &found.counterexample {
        None => Ok(()),
        Some((property, steps)) => Err(format!("violated: {property}\n{}", steps.join("\n")).into()),
    }
}

fn print(name: &str, found: &Found) {
    let Found { states, steps, depth, took, complete, counterexample } = found;
    let (part, seconds) = (if *complete { "complete" } else { "bounded" }, took.as_secs_f64());
    let violations = usize::from(counterexample.is_some());
    println!(
        "model: {name}: {states} states, {steps} steps, depth {depth}, {part}, {seconds:.1} s, \
         {violations} violations"
    );
}

/// This property is violated; `what` is changed or missing.
pub fn breaks(what: &str, expected: &'static str, protocol: Protocol) -> Result<(), Failed> {
    // Not merged, so that the names in the counterexample stay the same ones, and by one thread, so that it
    // is one of the shortest.
    let protocol = Protocol { merge: false, only: Some(expected), ..protocol };
    let found = explore(protocol, 1, MOST_STEPS);
    let Some((property, steps)) = found.counterexample else {
        return Err(format!("no violation in {} states", found.states).into());
    };
    let (states, seconds) = (found.states, found.took.as_secs_f64());
    println!("{what}: violates \"{property}\" after {} steps ({states} states, {seconds:.1} s)", steps.len());
    for step in &steps {
        println!("    {step}");
    }
    Ok(())
}
