//! Folds the script's plan and the engine's output into progress, and at the end into a verdict.
//!
//! `done` counts the timesteps taken in this process over all runs and never goes backwards, whatever
//! `reset_timestep` or a restart does to LAMMPS' own counter. Owned by the LAMMPS adapter, which applies every
//! event of [`super::output::Output`] in order.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::input::Plan;
use super::output::Event;

#[cfg(test)]
mod tests;
mod verdict;

pub use verdict::Verdict;

/// More columns than a stage's metrics should carry.
const MOST_METRICS: usize = 64;

/// The state of one LAMMPS process.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    plan: Plan,
    total_steps: Option<u64>,
    script: Option<(String, String)>,
    done: u64,
    open: Option<OpenRun>,
    /// LAMMPS' own counter.
    timestep: Option<u64>,
    last_row: Option<(u64, BTreeMap<String, f64>)>,
    finished: Finished,
    ending: Ending,
}

/// A run with rows and no `Loop time of` yet.
#[derive(Debug, Clone, Copy)]
struct OpenRun {
    first: u64,
    latest: u64,
}

/// What the ended runs add up to.
#[derive(Debug, Clone, Default)]
struct Finished {
    runs: u64,
    steps: u64,
    loop_seconds: f64,
    procs: Option<u64>,
    atoms: Option<u64>,
    timesteps_per_second: Option<f64>,
}

/// What the output says about how it ended.
#[derive(Debug, Clone, Default)]
struct Ending {
    error: Option<String>,
    last_command: Option<String>,
    soft_stop: Option<String>,
    wall_time_limit: bool,
    wall_seconds: Option<u64>,
}

impl Progress {
    /// Starts before the first line of output.
    #[must_use]
    pub fn new(plan: Plan) -> Self {
        Self { plan, ..Self::default() }
    }

    /// Takes the user's word for the total, which wins over the plan.
    #[must_use]
    pub fn with_total_steps(mut self, total_steps: Option<u64>) -> Self {
        self.total_steps = total_steps;
        self
    }

    /// Keeps the script, to name the line at which LAMMPS gave up.
    #[must_use]
    pub fn with_script(mut self, name: impl Into<String>, text: impl Into<String>) -> Self {
        self.script = Some((name.into(), text.into()));
        self
    }

    /// Takes the next event. True when `done`, the total or the metrics may have changed.
    pub fn apply(&mut self, event: &Event) -> bool {
        match event {
            Event::RunStarted { .. } => self.abandon_open_run(),
            Event::Row { step, values } => {
                self.row(*step, values);
                return true;
            }
            Event::RunFinished { loop_seconds, procs, steps, atoms } => {
                let sums = &mut self.finished;
                sums.runs += 1;
                sums.steps = sums.steps.saturating_add(*steps);
                sums.loop_seconds += loop_seconds;
                (sums.procs, sums.atoms) = (Some(*procs), Some(*atoms));
                if let Some(run) = self.open.take() {
                    self.timestep = Some(run.first.saturating_add(*steps));
                }
                self.done = self.done.max(self.finished.steps);
                return true;
            }
            Event::Performance { timesteps_per_second } => {
                self.finished.timesteps_per_second = Some(*timesteps_per_second);
            }
            Event::Error { message } => keep_first(&mut self.ending.error, message),
            Event::LastCommand { command } => keep_first(&mut self.ending.last_command, command),
            Event::SoftStop { reason, wall_time } => {
                self.ending.wall_time_limit |= wall_time;
                self.ending.soft_stop = Some(reason.clone());
            }
            Event::WallTime { seconds } => self.ending.wall_seconds = Some(*seconds),
            Event::Warning { .. } => {}
        }
        false
    }

    /// Timesteps taken so far.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.done
    }

    /// The processes of the last run that ended, as LAMMPS counts them.
    #[must_use]
    pub fn procs(&self) -> Option<u64> {
        self.finished.procs
    }

    /// Timesteps in all, when the user, the script or the restart's first row tells.
    #[must_use]
    pub fn total(&self) -> Option<u64> {
        self.planned().map(|total| total.max(self.done))
    }

    /// The finite numbers of the last row by column, without the timestep.
    #[must_use]
    pub fn metrics(&self) -> BTreeMap<String, f64> {
        let values = self.last_row.iter().flat_map(|(_, values)| values);
        let finite = values.filter(|(_, value)| value.is_finite()).take(MOST_METRICS);
        finite.map(|(name, value)| (name.clone(), *value)).collect()
    }

    /// One line for people: `Step 1200 of 5000`, and LAMMPS' own timestep where that differs.
    #[must_use]
    pub fn message(&self) -> String {
        let started = self.open.is_some() || self.finished.runs > 0;
        if !started {
            return "Setting up".to_owned();
        }
        let of = self.total().map(|total| format!(" of {total}")).unwrap_or_default();
        let own = self.timestep.filter(|step| *step != self.done);
        let own = own.map(|step| format!(" (timestep {step})")).unwrap_or_default();
        format!("Step {}{of}{own}", self.done)
    }

    /// What the output amounted to, for the task's record.
    #[must_use]
    pub fn result(&self) -> Value {
        let sums = &self.finished;
        let average = sums.steps as f64 / sums.loop_seconds;
        let speed = sums.timesteps_per_second.filter(|_| sums.runs == 1).unwrap_or(average);
        let last_row = self.last_row.as_ref().map(|(step, values)| {
            let mut row = json!(values);
            if let Some(row) = row.as_object_mut() {
                row.insert("Step".to_owned(), json!(step));
            }
            row
        });
        let mut result = serde_json::Map::new();
        let fields = [
            ("runs", json!(sums.runs)),
            ("steps", json!(sums.steps)),
            ("atoms", json!(sums.atoms)),
            ("procs", json!(sums.procs)),
            ("loopTimeSeconds", json!(sums.loop_seconds)),
            ("stepsPerSecond", json!(speed)),
            ("wallSeconds", json!(self.ending.wall_seconds)),
            ("softStop", json!(self.ending.soft_stop)),
            ("lastRow", json!(last_row)),
        ];
        let known = fields.into_iter().filter(|(_, value)| !value.is_null());
        result.extend(known.map(|(name, value)| (name.to_owned(), value)));
        Value::Object(result)
    }

    fn planned(&self) -> Option<u64> {
        self.total_steps.or_else(|| self.plan.total())
    }

    fn row(&mut self, step: u64, values: &BTreeMap<String, f64>) {
        if self.open.is_none() {
            self.plan_from(step);
        }
        let first = self.open.map_or(step, |run| run.first);
        self.open = Some(OpenRun { first, latest: step });
        self.done = self.done.max(self.finished.steps.saturating_add(step.saturating_sub(first)));
        self.timestep = Some(step);
        self.last_row = Some((step, values.clone()));
    }

    /// A header without the end of the run before: multi-replica commands print such.
    fn abandon_open_run(&mut self) {
        if let Some(run) = self.open.take() {
            let steps = run.latest.saturating_sub(run.first);
            self.finished.steps = self.finished.steps.saturating_add(steps);
        }
    }

    /// Completes the plan of a `run N upto` whose start only its first row tells.
    fn plan_from(&mut self, start: u64) {
        let mut before = 0_u64;
        for run in &mut self.plan.runs {
            match (run.steps, run.upto) {
                (Some(steps), _) => before = before.saturating_add(steps),
                (None, Some(end)) if before <= self.finished.steps => {
                    run.steps = end.checked_sub(start);
                    return;
                }
                (None, _) => return,
            }
        }
    }
}

fn keep_first(slot: &mut Option<String>, text: &str) {
    slot.get_or_insert_with(|| text.to_owned());
}
