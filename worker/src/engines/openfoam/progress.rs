//! Folds a solver's output into progress.
//!
//! The unit is the time step where `deltaT` is fixed (for a steady solver: the iteration), otherwise the
//! thousandth of the simulated time. A step counts when it is over; nothing ever counts backwards, whatever
//! the printed times do.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::control::Control;
use super::output::Event;

/// More fields than a stage's metrics should carry.
const MOST_FIELDS: usize = 48;
/// The items of a run whose number of time steps nobody knows beforehand.
const THOUSANDTHS: f64 = 1000.0;
/// Above this a number of steps is a mistake and no plan.
const MOST_STEPS: f64 = 1e12;
/// OpenFOAM prints times with six digits.
const PRINTED: f64 = 5e-6;

/// The state of one solver.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    control: Control,
    start: Option<f64>,
    /// The time of the step that is being taken.
    current: Option<f64>,
    /// The time of the last step that is over.
    completed: Option<f64>,
    steps: u64,
    last_step: Option<f64>,
    done: u64,
    numbers: Numbers,
    ending: Ending,
}

#[derive(Debug, Clone, Default)]
struct Numbers {
    residuals: BTreeMap<String, f64>,
    courant: Option<(f64, f64)>,
    largest_courant: Option<f64>,
    continuity: Option<[f64; 3]>,
    execution: Option<f64>,
    clock: Option<f64>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Ending {
    ended: bool,
    converged: bool,
    signalled: bool,
    reread: bool,
}

impl Progress {
    /// Starts before the first line of the solver's output.
    #[must_use]
    pub fn new(control: Control) -> Self {
        Self { start: control.start, control, ..Self::default() }
    }

    /// Takes the next event. True when there is something new to show.
    pub fn apply(&mut self, event: &Event) -> bool {
        let numbers = &mut self.numbers;
        match event {
            Event::Mesh { time } if self.steps == 0 && self.current.is_none() => self.start = Some(*time),
            Event::Time { time } => {
                self.complete();
                if self.start.is_none() {
                    // No line said where it starts: one step before the first.
                    self.start = Some(time - self.control.step.unwrap_or(0.0));
                }
                self.current = Some(*time);
                return true;
            }
            Event::Courant { mean, max } => {
                numbers.courant = Some((*mean, *max));
                numbers.largest_courant = Some(numbers.largest_courant.map_or(*max, |old| old.max(*max)));
            }
            Event::Residual { field, initial, .. } => {
                if numbers.residuals.len() < MOST_FIELDS || numbers.residuals.contains_key(field) {
                    numbers.residuals.insert(field.clone(), *initial);
                }
            }
            Event::Continuity { sum_local, global, cumulative } => {
                numbers.continuity = Some([*sum_local, *global, *cumulative]);
            }
            Event::Execution { seconds, clock } => {
                (numbers.execution, numbers.clock) = (Some(*seconds), *clock);
                self.complete();
                return true;
            }
            Event::End => {
                self.complete();
                self.ending.ended = true;
                return true;
            }
            Event::Converged => self.ending.converged = true,
            Event::Stopping => self.ending.signalled = true,
            Event::Reread => self.ending.reread = true,
            Event::Mesh { .. } => {}
        }
        false
    }

    /// Items that are over.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.done
    }

    /// Items in all, where `controlDict` tells.
    #[must_use]
    pub fn total(&self) -> Option<u64> {
        if self.ending.ended && self.ending.converged {
            return Some(self.done);
        }
        let span = self.span()?;
        let items = self.control.step.map_or(THOUSANDTHS, |step| (span / step).round().max(1.0));
        (items <= MOST_STEPS).then_some(items as u64)
    }

    /// One line for people: `Time 0.25 of 0.5, step 50`.
    #[must_use]
    pub fn message(&self) -> String {
        let Some(time) = self.current.or(self.completed) else { return "Reading the case".to_owned() };
        let of = self.control.end.map(|end| format!(" of {}", shown(end))).unwrap_or_default();
        let step = self.steps + u64::from(self.current.is_some());
        format!("Time {}{of}, step {step}", shown(time))
    }

    /// The latest finite numbers.
    #[must_use]
    pub fn metrics(&self) -> BTreeMap<String, f64> {
        let numbers = &self.numbers;
        let [sum_local, global, cumulative] = numbers.continuity.map_or([None; 3], |all| all.map(Some));
        let named = [
            ("time", self.current.or(self.completed)),
            ("courantMean", numbers.courant.map(|(mean, _)| mean)),
            ("courantMax", numbers.courant.map(|(_, max)| max)),
            ("continuitySumLocal", sum_local),
            ("continuityGlobal", global),
            ("continuityCumulative", cumulative),
            ("executionTimeSeconds", numbers.execution),
        ];
        let named = named.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        let residuals = numbers.residuals.iter().map(|(field, value)| (format!("residual.{field}"), *value));
        named.chain(residuals).filter(|(_, value)| value.is_finite()).collect()
    }

    /// What the run amounted to, for the task's record.
    #[must_use]
    pub fn result(&self) -> Map<String, Value> {
        let numbers = &self.numbers;
        let continuity = numbers.continuity.map(|[sum_local, global, cumulative]| {
            json!({ "sumLocal": sum_local, "global": global, "cumulative": cumulative })
        });
        let fields = [
            ("lastTime", json!(self.completed.or(self.start))),
            ("steps", json!(self.steps)),
            ("executionTimeSeconds", json!(numbers.execution)),
            ("clockTimeSeconds", json!(numbers.clock)),
            ("residuals", json!(numbers.residuals)),
            ("maxCourant", json!(numbers.largest_courant)),
            ("continuityErrors", json!(continuity)),
            ("converged", json!(self.ending.converged.then_some(true))),
        ];
        let known = fields.into_iter().filter(|(_, value)| !value.is_null());
        known.map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// Why an end with exit code 0 is not the end of the simulation.
    #[must_use]
    pub fn missing(&self) -> Option<String> {
        let Ending { ended, converged, signalled, reread } = self.ending;
        let last = self.completed.or(self.start);
        let reached = match (self.control.end, last) {
            _ if converged => true,
            (Some(end), Some(last)) => last >= end - self.tolerance(end),
            (Some(_), None) => false,
            // Nobody knows where it should have ended; a signal is no such place.
            (None, _) => !signalled,
        };
        if ended && reached {
            return None;
        }
        let at =
            last.map_or_else(|| "before the first step".to_owned(), |last| format!("time {}", shown(last)));
        let of = self.control.end.map(|end| format!(" of {}", shown(end))).unwrap_or_default();
        let why = match () {
            () if signalled => "a signal told it to write and stop",
            () if !ended => "it did not say `End`",
            () if reread => "`controlDict` was changed while it ran",
            () => "it gave no reason",
        };
        Some(format!("{at}{of}: {why}"))
    }

    /// Whether it is known where the solver should end. Otherwise any end in good order is taken for it.
    #[must_use]
    pub fn knows_its_end(&self) -> bool {
        self.control.end.is_some() || self.ending.converged
    }

    /// Whether a signal told the solver to write and end.
    #[must_use]
    pub fn signalled(&self) -> bool {
        self.ending.signalled
    }

    fn span(&self) -> Option<f64> {
        let span = self.control.end? - self.start?;
        (span.is_finite() && span > 0.0).then_some(span)
    }

    /// OpenFOAM ends at the step that is nearest to the end.
    fn tolerance(&self, end: f64) -> f64 {
        let step = self.control.step.or(self.last_step).unwrap_or(0.0);
        0.5 * step + PRINTED * end.abs()
    }

    /// The current step is over.
    fn complete(&mut self) {
        let Some(time) = self.current.take() else { return };
        let before = self.completed.or(self.start).unwrap_or(time);
        if self.completed.is_some() && time <= before {
            return;
        }
        self.steps = self.steps.saturating_add(1);
        self.last_step = Some(time - before).filter(|step| step.is_finite());
        self.completed = Some(time);
        let done = match (self.total(), self.span(), self.start) {
            (Some(total), Some(span), Some(start)) => {
                let share = ((time - start) / span).clamp(0.0, 1.0);
                // A share of a total below 10^12 is a whole number that fits.
                ((share * total as f64).round() as u64).min(total)
            }
            _ => self.steps,
        };
        self.done = self.done.max(done);
    }
}

/// A number for people: not three hundred digits of it.
fn shown(number: f64) -> String {
    if number == 0.0 || (1e-6..1e15).contains(&number.abs()) {
        number.to_string()
    } else {
        format!("{number:e}")
    }
}

#[cfg(test)]
mod tests;
