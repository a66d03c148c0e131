//! Folds the INCAR's bounds and VASP's output into progress, and at the end into a verdict.
//!
//! The steps of a relaxation have a bound and no total: it may end with any of them. Only a dynamics knows
//! its steps, and the electrons alone have an estimate, see [`share`].

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use stageline::Code;

use super::super::Exit;
use super::super::self_consistency::{Divergence, WHOLE, share};
use super::incar::{Incar, Kind};
use super::output::Event;
use crate::progress::Report;

#[cfg(test)]
mod tests;

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
    /// It ended without a word about why.
    Died,
}

/// The state of one VASP process.
#[derive(Debug, Clone)]
pub struct Progress {
    incar: Incar,
    share: u64,
    ionic_steps: u64,
    /// Ionic steps whose electrons have not converged.
    unconverged_steps: u64,
    iteration: u64,
    /// VASP's own word that the electrons of the current step have not converged.
    said_unconverged: bool,
    last_step_converged: bool,
    first_change: Option<f64>,
    change: Option<f64>,
    energy: Option<f64>,
    free_energy: Option<f64>,
    temperature: Option<f64>,
    version: Option<String>,
    divergence: Divergence,
    ions_converged: bool,
    stopped: Option<&'static str>,
    error: Option<String>,
    entered: bool,
}

impl Progress {
    /// Starts before the first line of output.
    pub fn new(incar: Incar) -> Self {
        Self {
            incar,
            share: 0,
            ionic_steps: 0,
            unconverged_steps: 0,
            iteration: 0,
            said_unconverged: false,
            last_step_converged: false,
            first_change: None,
            change: None,
            energy: None,
            free_energy: None,
            temperature: None,
            version: None,
            divergence: Divergence::of("change of the energy", "eV"),
            ions_converged: false,
            stopped: None,
            error: None,
            entered: false,
        }
    }

    /// Takes the next event. A report when there is something new to show.
    pub fn apply(&mut self, event: &Event) -> Option<Report> {
        match event {
            Event::Electronic { iteration, energy, change } => {
                self.electronic(*iteration, *energy, *change);
                return Some(self.report());
            }
            Event::Ionic { free_energy, energy, temperature } => {
                self.ionic(*free_energy);
                self.energy = energy.or(self.energy);
                self.temperature = temperature.or(self.temperature);
                return Some(self.report());
            }
            Event::Version(version) => self.version = Some(version.clone()),
            Event::NotConverged => self.said_unconverged = true,
            Event::IonsConverged => self.ions_converged = true,
            Event::Stopped(why) => self.stopped = self.stopped.or(Some(why)),
            Event::Error(text) => {
                self.error.get_or_insert_with(|| text.clone());
            }
        }
        None
    }

    /// Why it should not go on.
    pub fn divergence(&self) -> Option<&str> {
        self.divergence.reason()
    }

    fn electronic(&mut self, iteration: u64, energy: f64, change: f64) {
        if iteration <= self.iteration || iteration == 1 {
            (self.first_change, self.said_unconverged) = (None, false);
            self.divergence.begin();
        }
        self.iteration = iteration;
        self.free_energy = Some(energy);
        self.change = Some(change.abs());
        self.first_change.get_or_insert(change.abs());
        self.divergence.energy(energy);
        self.divergence.number(change);
        let finished = iteration.saturating_sub(1);
        let now = share(self.first_change, self.change, self.incar.ediff, finished, self.incar.nelm);
        self.share = self.share.max(now);
    }

    fn ionic(&mut self, free_energy: f64) {
        self.ionic_steps = self.ionic_steps.saturating_add(1);
        self.last_step_converged = self.iteration > 0 && self.electrons_converged();
        if self.last_step_converged {
            self.divergence.converged();
        } else {
            self.unconverged_steps = self.unconverged_steps.saturating_add(1);
        }
        self.free_energy = Some(free_energy);
        self.divergence.energy(free_energy);
        if self.last_step_converged && self.incar.kind == Kind::Static {
            self.share = WHOLE;
        }
    }

    /// They stop before their bound, or exactly there with the accuracy that was asked for.
    fn electrons_converged(&self) -> bool {
        let early = self.incar.nelm.is_none_or(|nelm| self.iteration < nelm);
        let accurate = self.change.zip(self.incar.ediff).is_some_and(|(change, ediff)| change < ediff);
        !self.said_unconverged && (early || accurate)
    }

    /// Whether the stage is about the nuclei; known before the first line.
    fn moves_nuclei(&self) -> bool {
        self.incar.kind != Kind::Static && self.incar.nsw != Some(0)
    }

    fn report(&mut self) -> Report {
        let stage = if self.moves_nuclei() { "Ionic" } else { "Electronic" };
        let enter = (!std::mem::replace(&mut self.entered, true)).then(|| stage.to_owned());
        let (done, total) = match self.incar.kind {
            Kind::Dynamics => (self.ionic_steps, self.incar.nsw.map(|nsw| nsw.max(self.ionic_steps))),
            _ if self.moves_nuclei() => (self.ionic_steps, None),
            _ => (self.share, Some(WHOLE)),
        };
        Report { enter, done: Some(done), total, message: Some(self.message()), metrics: self.metrics() }
    }

    fn message(&self) -> String {
        let iteration = format!("electronic iteration {}", self.iteration);
        let bound = |lead| self.incar.nsw.map(|nsw| format!("{lead}{nsw}")).unwrap_or_default();
        match (self.incar.kind, self.change, self.incar.ediff) {
            (Kind::Dynamics, ..) => format!("Ionic step {}{}, {iteration}", self.ionic_steps, bound(" of ")),
            (Kind::Relax, ..) => {
                format!("Ionic step {}{}, {iteration}", self.ionic_steps, bound(" of at most "))
            }
            _ if self.moves_nuclei() => format!("Ionic step {}, {iteration}", self.ionic_steps),
            (_, Some(now), Some(wanted)) => {
                format!("Iteration {}: dE {now:.1e} eV, wanted {wanted:.1e}", self.iteration)
            }
            _ => format!("Iteration {}", self.iteration),
        }
    }

    /// The finite numbers by name.
    fn metrics(&self) -> BTreeMap<String, f64> {
        let all = [
            ("freeEnergyEv", self.free_energy),
            ("energyEv", self.energy),
            ("energyChangeEv", self.change),
            ("temperatureK", self.temperature),
            ("iteration", (self.iteration > 0).then_some(self.iteration as f64)),
        ];
        let known = all.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        known.filter(|(_, value)| value.is_finite()).collect()
    }

    /// Judges the process once it has ended and all its output was applied.
    pub fn verdict(&self, exit: Exit) -> Verdict {
        let failed = |code, message| Verdict::Failed { code, message };
        if let Some(error) = &self.error {
            let text = if error.is_empty() { "it gave no reason" } else { error };
            return failed(Code::VaspError, text.to_owned());
        }
        if let Some(reason) = self.divergence() {
            return failed(Code::Diverged, format!("{reason}, {}", self.reached()));
        }
        if let Some(reason) = self.stopped {
            return failed(Code::VaspIncomplete, format!("{reason}, {}", self.reached()));
        }
        if exit != (Exit { code: Some(0), signal: None }) {
            return Verdict::Died;
        }
        let steps_done = self.incar.nsw.is_none_or(|nsw| self.ionic_steps >= nsw);
        match self.incar.kind {
            _ if self.ionic_steps == 0 => {
                failed(Code::VaspIncomplete, format!("no ionic step came to its end, {}", self.reached()))
            }
            _ if !self.last_step_converged => failed(Code::VaspNotConverged, self.unconverged_electrons()),
            Kind::Relax if !self.ions_converged && steps_done => {
                let message = format!("the geometry has not converged in {} ionic steps", self.ionic_steps);
                failed(Code::VaspNotConverged, message)
            }
            Kind::Relax if !self.ions_converged => {
                failed(Code::VaspIncomplete, format!("nothing was said of the geometry, {}", self.reached()))
            }
            Kind::Dynamics if !steps_done => {
                let most = self.incar.nsw.unwrap_or_default();
                failed(Code::VaspIncomplete, format!("{} of {most} ionic steps", self.ionic_steps))
            }
            _ => Verdict::Completed { result: self.result() },
        }
    }

    fn unconverged_electrons(&self) -> String {
        let accuracy = match (self.change, self.incar.ediff) {
            (Some(now), Some(wanted)) => format!(" (dE {now:.1e}, wanted {wanted:.1e})"),
            _ => String::new(),
        };
        format!("the electrons have not converged in {} iterations{accuracy}", self.iteration)
    }

    /// How far it came, for people.
    fn reached(&self) -> String {
        format!("after {} ionic steps, at electronic iteration {}", self.ionic_steps, self.iteration)
    }

    /// What the output amounted to, for the task's record.
    fn result(&self) -> Value {
        let unconverged = (self.unconverged_steps > 0).then_some(self.unconverged_steps);
        let fields = [
            ("version", json!(self.version)),
            ("converged", json!(true)),
            ("energyEv", json!(self.energy)),
            ("freeEnergyEv", json!(self.free_energy)),
            ("ionicSteps", json!(self.ionic_steps)),
            ("iterations", json!(self.iteration)),
            ("unconvergedIonicSteps", json!(unconverged)),
            ("temperatureK", json!(self.temperature)),
        ];
        let known = fields.into_iter().filter(|(_, value)| !value.is_null());
        Value::Object(known.map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>())
    }
}
