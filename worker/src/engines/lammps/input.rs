//! Reads a LAMMPS input script without running it, to know how many timesteps it plans.
//!
//! The plan never guesses: what only the run can tell (loops, conditions, included files, minimisations,
//! the start after `read_restart`) is unknown in it. Scripts come from whoever may write a task, so the
//! work is bounded and nothing panics. Called by the LAMMPS adapter before it starts the engine.

use std::collections::BTreeMap;

mod formula;
mod lines;
#[cfg(test)]
mod tests;
mod variables;

use variables::{UNKNOWN, Variables};

/// A longer script is not read; its plan is inexact.
pub const LONGEST_SCRIPT: usize = 1 << 20;

/// What a script plans to run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// The `run` commands in order.
    pub runs: Vec<RunPlan>,
    /// Whether these are all the timesteps: false with loops, conditions, minimisations or includes.
    pub exact: bool,
}

/// One `run` command.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RunPlan {
    /// How many timesteps it takes, when known.
    pub steps: Option<u64>,
    /// The timestep at which it ends, for `run N upto`.
    pub upto: Option<u64>,
}

impl Plan {
    /// All planned timesteps together, or `None` when the script alone does not tell.
    #[must_use]
    pub fn total(&self) -> Option<u64> {
        let steps = |sum: u64, run: &RunPlan| run.steps.and_then(|steps| sum.checked_add(steps));
        self.exact.then(|| self.runs.iter().try_fold(0, steps)).flatten()
    }

    /// Whether every run is bounded, by its steps or by the timestep where it ends: then one that never
    /// came is missing.
    #[must_use]
    pub fn bounded(&self) -> bool {
        self.exact && self.runs.iter().all(|run| run.steps.or(run.upto).is_some())
    }
}

/// Computes what `script` plans when started with the variables of `lmp -v NAME VALUE`.
#[must_use]
pub fn planned_steps(script: &str, variables: &BTreeMap<String, String>) -> Plan {
    if script.len() > LONGEST_SCRIPT {
        return Plan::default();
    }
    let plan = Plan { runs: Vec::new(), exact: true };
    let mut walk = Walk { variables: Variables::new(variables), plan, at: Some(0) };
    for statement in lines::statements(script) {
        let text = walk.variables.substitute(&statement.text);
        match text.as_deref().and_then(lines::words).as_deref() {
            Some(["quit", ..]) => break,
            Some([command, arguments @ ..]) => walk.command(command, arguments),
            _ => walk.lose_track(),
        }
    }
    walk.plan
}

/// The lines of `script`, from 1, whose command is the one LAMMPS names as its last.
#[must_use]
pub fn lines_of(script: &str, command: &str) -> Vec<usize> {
    let wanted = lines::normalised(command);
    if wanted.is_empty() || script.len() > LONGEST_SCRIPT {
        return Vec::new();
    }
    let statements = lines::statements(script).into_iter();
    let same = statements.filter(|statement| lines::normalised(&statement.text) == wanted);
    same.map(|statement| statement.line).collect()
}

/// The words of each statement whose command is one of `names`, as they stand there.
#[must_use]
pub fn commands(script: &str, names: &[&str]) -> Vec<Vec<String>> {
    if script.len() > LONGEST_SCRIPT {
        return Vec::new();
    }
    let statements = lines::statements(script);
    let words = statements.iter().filter_map(|statement| lines::words(&statement.text));
    let wanted = words.filter(|words| words.first().is_some_and(|first| names.contains(first)));
    wanted.map(|words| words.into_iter().map(str::to_owned).collect()).collect()
}

struct Walk {
    variables: Variables,
    plan: Plan,
    /// The current timestep, when known.
    at: Option<u64>,
}

impl Walk {
    fn command(&mut self, command: &str, arguments: &[&str]) {
        match (command, arguments) {
            (name, _) | ("variable", &[name, ..]) if name.contains(UNKNOWN) => self.lose_track(),
            ("variable", [name, style, values @ ..]) => self.variables.define(name, style, values),
            ("run", [count, keywords @ ..]) => self.run(count, keywords),
            ("reset_timestep", [step, ..]) | ("read_dump", [_, step, ..]) => self.at = integer(step),
            ("read_restart", _) => self.at = None,
            ("clear", _) => self.at = Some(0),
            ("next", names) => {
                names.iter().for_each(|name| self.variables.forget(name));
                self.lose_track();
            }
            ("if" | "partition", _) if arguments.iter().any(|text| may_step(text)) => self.lose_track(),
            ("if" | "partition", _) => {}
            _ if may_step(command) => self.lose_track(),
            _ => {}
        }
    }

    fn run(&mut self, count: &str, keywords: &[&str]) {
        let count = integer(count);
        let mut upto = false;
        let mut rest = keywords;
        loop {
            rest = match rest {
                ["upto", after @ ..] => {
                    upto = true;
                    after
                }
                ["every", _, commands @ ..] => {
                    if commands.iter().any(|text| may_step(text)) {
                        self.lose_track();
                    }
                    break;
                }
                ["start" | "stop" | "pre" | "post", _, after @ ..] => after,
                _ => break,
            };
        }
        let run = if upto {
            let steps = count.zip(self.at).and_then(|(end, start)| end.checked_sub(start));
            self.at = count;
            RunPlan { steps, upto: count }
        } else {
            self.at = self.at.zip(count).and_then(|(start, steps)| start.checked_add(steps));
            RunPlan { steps: count, upto: None }
        };
        self.plan.runs.push(run);
    }

    fn lose_track(&mut self) {
        self.plan.exact = false;
        self.at = None;
    }
}

/// Commands that take timesteps of their own or decide which commands come next.
const STEPPING: [&str; 21] = [
    "run",
    "minimize",
    "rerun",
    "temper",
    "temper/grem",
    "temper/npt",
    "neb",
    "neb/spin",
    "prd",
    "tad",
    "hyper",
    "mdi",
    "jump",
    "next",
    "include",
    "quit",
    "variable",
    "clear",
    "reset_timestep",
    "read_restart",
    "read_dump",
];

/// Whether a command, or one inside a quoted argument, may change the number of timesteps.
fn may_step(text: &str) -> bool {
    text.split(|c: char| c.is_whitespace() || c == '"' || c == '\'').any(|word| STEPPING.contains(&word))
}

fn integer(word: &str) -> Option<u64> {
    word.parse().ok()
}
