//! The end of a `pw.x` process: its exit code together with what it printed. `JOB DONE.` is printed
//! without convergence too, so only the words about convergence are proof.

use serde_json::{Map, Value, json};
use stageline::Code;

use super::again::Bound;
use super::{Calculation, Progress};
use crate::engines::Exit;

/// Whether the calculation is complete.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// Everything that was to converge has.
    Completed {
        /// For the task's record.
        result: Value,
    },
    /// It has not, by the engine's own words.
    Failed {
        /// What kind of end it is.
        code: Code,
        /// The engine's words.
        message: String,
    },
    /// It ended without a word about why, or over what the worker has asked of it.
    Died {
        /// What it said of that, if anything.
        said: Option<String>,
    },
}

const STEPS_REACHED: &str = "the maximum number of steps was reached";

impl Progress {
    /// Judges the process once it has ended and all its output was applied.
    pub fn verdict(&self, exit: Exit) -> Verdict {
        let failed = |code, message| Verdict::Failed { code, message };
        let ending = &self.ending;
        if let Some((routine, text)) = &ending.error {
            let text = if text.is_empty() { "it gave no reason" } else { text };
            let said = format!("error in routine {routine}: {text}");
            // It could not save what it was asked for, which is no fault of the calculation.
            return if self.obeyed() {
                Verdict::Died { said: Some(said) }
            } else {
                failed(Code::QeError, said)
            };
        }
        if let Some(reason) = self.divergence() {
            return failed(Code::Diverged, format!("{reason}, at {}", self.reached()));
        }
        if let Some(iterations) = ending.not_converged {
            return failed(Code::QeNotConverged, self.no_convergence(iterations, ""));
        }
        if self.obeyed() {
            // Its own words would be the same whoever had asked: the exit decides.
            return match self.used_up().filter(|_| self.stopped_as_asked(exit)) {
                Some(bound) => failed(Code::QeNotConverged, self.all_used_up(bound)),
                None => Verdict::Died { said: None },
            };
        }
        if let Some(reason) = ending.stopped {
            return failed(Code::QeIncomplete, format!("{reason}, at {}", self.reached()));
        }
        if !matches!(self.input.calculation, Calculation::Dynamics) && self.optimisation_failed() {
            let why = if ending.ions_failed { "bfgs failed" } else { STEPS_REACHED };
            return failed(Code::QeNotConverged, self.no_geometry(why));
        }
        match exit {
            Exit { code: Some(0), signal: None } => match self.missing() {
                Some(missing) => failed(Code::QeIncomplete, format!("{missing}, at {}", self.reached())),
                None => Verdict::Completed { result: self.result() },
            },
            Exit { code: Some(code), signal: None } if ending.job_done && !self.process.asked => {
                failed(Code::QeIncomplete, format!("pw.x ended with exit code {code}, at {}", self.reached()))
            }
            _ => Verdict::Died { said: None },
        }
    }

    /// It has come to the bound in several processes, of which the last was stopped.
    fn all_used_up(&self, bound: Bound) -> String {
        const COUNTED: &str = ", counted over several processes";
        match bound {
            Bound::Iterations => self.no_convergence(self.cycle.finished, COUNTED),
            Bound::Steps => self.no_geometry(&format!("{STEPS_REACHED}{COUNTED}")),
        }
    }

    fn no_convergence(&self, iterations: u64, counted: &str) -> String {
        let accuracy = self.accuracy_of_threshold();
        format!(
            "convergence NOT achieved after {iterations} iterations{counted}{accuracy}; raise electron_maxstep, or lower mixing_beta"
        )
    }

    fn no_geometry(&self, why: &str) -> String {
        format!("the geometry has not converged: {why}, at {}", self.reached())
    }

    /// The nuclei were to find their places and did not.
    fn optimisation_failed(&self) -> bool {
        let ending = &self.ending;
        (ending.ions_failed || ending.steps_exhausted) && !ending.ions_converged && !ending.dynamics_ended
    }

    /// What a clean exit lacks to be a success.
    fn missing(&self) -> Option<&'static str> {
        let ending = &self.ending;
        let optimised = ending.ions_converged || self.sums.bfgs_steps == 0;
        if !ending.job_done {
            return Some("the output ends before JOB DONE");
        }
        if self.cycle.open {
            return Some("the last self-consistent cycle has no end");
        }
        let done = match self.input.calculation {
            Calculation::Scf => self.sums.cycles > 0,
            Calculation::Bands => ending.bands_ended,
            Calculation::Relax => self.sums.cycles > 0 && ending.ions_converged,
            Calculation::Dynamics => ending.dynamics_ended || ending.steps_exhausted,
            Calculation::Unknown => (self.sums.cycles > 0 || ending.bands_ended) && optimised,
        };
        (!done).then_some("nothing was said of convergence")
    }

    /// How far it came, for people.
    fn reached(&self) -> String {
        let iteration = format!("iteration {}{}", self.cycle.iteration, self.accuracy_of_threshold());
        if self.moves_nuclei() { format!("step {}, {iteration}", self.steps()) } else { iteration }
    }

    fn accuracy_of_threshold(&self) -> String {
        match (self.latest.accuracy, self.cycle.threshold) {
            (Some(now), Some(wanted)) => format!(" (accuracy {now:.1e} Ry, wanted {wanted:.1e})"),
            _ => String::new(),
        }
    }

    /// What the output amounted to, for the task's record.
    fn result(&self) -> Value {
        let (sums, latest) = (&self.sums, &self.latest);
        let some = |count: u64| (count > 0).then_some(count);
        let mut result: Map<String, Value> = Map::new();
        let fields = [
            ("calculation", json!(self.input.calculation_name)),
            ("version", json!(latest.version)),
            ("converged", json!((sums.cycles > 0).then_some(true))),
            ("iterations", json!(some(sums.iterations))),
            ("cycles", json!(some(sums.cycles))),
            ("bfgsSteps", json!(self.ending.ions_converged.then_some(sums.bfgs_steps))),
            ("dynamicsSteps", json!(some(sums.dynamics_steps))),
            ("wallSeconds", json!(self.ending.wall_seconds.map(|last| sums.wall_seconds + last))),
        ];
        let counts = latest.counts.iter().map(|(name, count)| (*name, json!(count)));
        let measured = self.measured().map(|(name, value)| (name, json!(value)));
        let known = fields.into_iter().chain(counts).chain(measured).filter(|(_, value)| !value.is_null());
        result.extend(known.map(|(name, value)| (name.to_owned(), value)));
        Value::Object(result)
    }
}
