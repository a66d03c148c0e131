//! Folds the input's bounds and the engine's output into progress.
//!
//! A self-consistent cycle has no total: what is shown of it is an estimate in thousandths, see
//! [`share`], which never goes back although the accuracy does. The steps of an optimisation have a bound
//! and no total either: it may end with any of them. Only a dynamics knows its steps.

use std::collections::BTreeMap;

use super::super::self_consistency::{Divergence, WHOLE, share};
use super::input::{Calculation, Input};
use super::output::Event;
use crate::engines::Again;
use crate::progress::Report;

mod again;
#[cfg(test)]
mod tests;
mod verdict;

pub use verdict::Verdict;

/// The state of one `pw.x` process.
#[derive(Debug, Clone)]
pub struct Progress {
    input: Input,
    /// Thousandths of the self-consistent cycle; of the first one.
    share: u64,
    cycle: Cycle,
    divergence: Divergence,
    sums: Sums,
    latest: Latest,
    ending: Ending,
    /// What this process has done, of those that go on one from the other.
    process: Process,
    entered: Option<&'static str>,
}

/// What one process has done.
#[derive(Debug, Clone, Default)]
struct Process {
    /// It has begun a cycle's iteration, or bands.
    at_work: bool,
    /// It has come to the end of an iteration, or of bands.
    has_done: bool,
    /// The cycle that it will begin is one that a process before it has begun.
    continues: bool,
    /// The worker has asked it to stop.
    asked: bool,
}

/// The current self-consistent cycle.
#[derive(Debug, Clone, Default)]
struct Cycle {
    /// It has begun and not converged.
    open: bool,
    iteration: u64,
    /// The iterations that have come to their end, in all processes.
    finished: u64,
    threshold: Option<f64>,
    first: Option<f64>,
}

/// What adds up over the cycles.
#[derive(Debug, Clone, Default)]
struct Sums {
    cycles: u64,
    iterations: u64,
    /// Cycles after which the nuclei were moved, in all processes.
    scf_cycles: u64,
    bfgs_steps: u64,
    dynamics_steps: u64,
    wall_seconds: f64,
}

/// The newest numbers.
#[derive(Debug, Clone, Default)]
struct Latest {
    energy: Option<f64>,
    accuracy: Option<f64>,
    force: Option<f64>,
    pressure: Option<f64>,
    fermi_energy: Option<f64>,
    highest_occupied: Option<f64>,
    counts: BTreeMap<&'static str, u64>,
    version: Option<String>,
    nstep: Option<u64>,
}

/// What the output says about how it ended.
#[derive(Debug, Clone, Default)]
struct Ending {
    error: Option<(String, String)>,
    not_converged: Option<u64>,
    stopped: Option<&'static str>,
    ions_converged: bool,
    ions_failed: bool,
    steps_exhausted: bool,
    dynamics_ended: bool,
    bands_begun: bool,
    bands_ended: bool,
    wall_seconds: Option<f64>,
    job_done: bool,
}

impl Progress {
    /// Starts before the first line of output.
    pub fn new(input: Input) -> Self {
        let cycle = Cycle { threshold: input.conv_thr, ..Cycle::default() };
        Self {
            input,
            share: 0,
            cycle,
            divergence: Divergence::of("accuracy", "Ry"),
            sums: Sums::default(),
            latest: Latest::default(),
            ending: Ending::default(),
            process: Process::default(),
            entered: None,
        }
    }

    /// Takes the next event. A report when there is something new to show.
    pub fn apply(&mut self, event: &Event) -> Option<Report> {
        let shows = match event {
            Event::Version(version) => {
                self.latest.version = Some(version.clone());
                false
            }
            Event::Count(name, count) => {
                self.latest.counts.insert(name, *count);
                false
            }
            Event::Nstep(nstep) => {
                self.latest.nstep = Some(*nstep);
                false
            }
            Event::Threshold(threshold) if *threshold > 0.0 => {
                self.cycle.threshold = Some(*threshold);
                false
            }
            Event::Threshold(_) => false,
            Event::ScfCycles(printed) => {
                let sums = &mut self.sums;
                sums.scf_cycles = sums.scf_cycles.saturating_add(1).max(*printed);
                false
            }
            Event::CycleBegins
            | Event::Iteration(_)
            | Event::Energy(_)
            | Event::Accuracy(_)
            | Event::Converged(_)
            | Event::NotConverged(_) => {
                self.cycle(event);
                true
            }
            Event::BandsBegin => {
                (self.ending.bands_begun, self.process.at_work) = (true, true);
                true
            }
            Event::BfgsSteps(_)
            | Event::DynamicsStep
            | Event::Force(_)
            | Event::Pressure(_)
            | Event::FermiEnergy(_)
            | Event::HighestOccupied(_) => {
                self.numbers(event);
                true
            }
            _ => {
                self.ends(event);
                matches!(event, Event::JobDone | Event::BandsEnded)
            }
        };
        shows.then(|| self.report())
    }

    /// Why it should not go on: the density runs away from the solution.
    pub fn divergence(&self) -> Option<&str> {
        self.divergence.reason()
    }

    fn cycle(&mut self, event: &Event) {
        let cycle = &mut self.cycle;
        match event {
            Event::CycleBegins if std::mem::take(&mut self.process.continues) => cycle.open = true,
            Event::CycleBegins => {
                *cycle = Cycle { open: true, threshold: cycle.threshold, ..Cycle::default() };
                self.divergence.begin();
                self.sums.cycles = self.sums.cycles.saturating_add(1);
            }
            Event::Iteration(number) => {
                cycle.iteration = cycle.iteration.max(*number);
                // What is printed goes on after a restart, in another attempt too.
                cycle.finished = cycle.finished.max(number.saturating_sub(1));
                self.process.at_work = true;
            }
            Event::Energy(energy) => {
                self.latest.energy = Some(*energy);
                self.divergence.energy(*energy);
            }
            Event::Accuracy(accuracy) => {
                self.latest.accuracy = Some(*accuracy);
                self.process.has_done = true;
                cycle.finished = cycle.finished.saturating_add(1);
                self.divergence.number(*accuracy);
                cycle.first.get_or_insert(*accuracy);
            }
            Event::Converged(iterations) => {
                // If it is repeated, that begins anew.
                (cycle.open, cycle.finished) = (false, 0);
                self.divergence.converged();
                self.sums.iterations = self.sums.iterations.saturating_add(*iterations);
            }
            Event::NotConverged(iterations) => {
                self.ending.not_converged.get_or_insert(*iterations);
                self.sums.iterations = self.sums.iterations.saturating_add(*iterations);
            }
            _ => {}
        }
        self.share = self.share.max(self.share_now());
    }

    fn numbers(&mut self, event: &Event) {
        let (sums, latest) = (&mut self.sums, &mut self.latest);
        match event {
            Event::BfgsSteps(steps) => sums.bfgs_steps = sums.bfgs_steps.max(*steps),
            Event::DynamicsStep => sums.dynamics_steps = sums.dynamics_steps.saturating_add(1),
            Event::Force(force) => latest.force = Some(*force),
            Event::Pressure(pressure) => latest.pressure = Some(*pressure),
            Event::FermiEnergy(energy) => latest.fermi_energy = Some(*energy),
            Event::HighestOccupied(energy) => latest.highest_occupied = Some(*energy),
            _ => {}
        }
    }

    fn ends(&mut self, event: &Event) {
        let ending = &mut self.ending;
        match event {
            Event::IonsConverged(steps) => {
                ending.ions_converged = true;
                self.sums.bfgs_steps = self.sums.bfgs_steps.max(steps.unwrap_or(0));
            }
            Event::IonsFailed => ending.ions_failed = true,
            Event::StepsExhausted => ending.steps_exhausted = true,
            Event::DynamicsEnded => ending.dynamics_ended = true,
            Event::BandsEnded => (ending.bands_ended, self.process.has_done) = (true, true),
            Event::Stopped(why) => ending.stopped = ending.stopped.or(Some(why)),
            Event::Error { routine, text } => {
                ending.error.get_or_insert_with(|| (routine.clone(), text.clone()));
            }
            Event::WallSeconds(seconds) => ending.wall_seconds = Some(*seconds),
            Event::JobDone => {
                ending.job_done = true;
                let whole = ending.not_converged.is_none() && ending.stopped.is_none();
                if !self.cycle.open && whole && self.sums.cycles > 0 {
                    self.share = WHOLE;
                }
            }
            _ => {}
        }
    }

    fn share_now(&self) -> u64 {
        let cycle = &self.cycle;
        let finished = cycle.iteration.saturating_sub(1);
        share(cycle.first, self.latest.accuracy, cycle.threshold, finished, self.input.electron_maxstep)
    }

    fn moves_nuclei(&self) -> bool {
        match self.input.calculation {
            Calculation::Relax | Calculation::Dynamics => true,
            Calculation::Scf | Calculation::Bands => false,
            Calculation::Unknown => self.steps() > 0,
        }
    }

    /// Steps of the nuclei so far.
    fn steps(&self) -> u64 {
        self.sums.bfgs_steps.max(self.sums.dynamics_steps)
    }

    fn stage(&self) -> &'static str {
        match self.input.calculation {
            Calculation::Dynamics => "Dynamics",
            _ if self.moves_nuclei() => "Relax",
            Calculation::Bands => "Bands",
            _ if self.sums.cycles == 0 && self.ending.bands_begun => "Bands",
            _ => "Scf",
        }
    }

    fn report(&mut self) -> Report {
        let stage = self.stage();
        let enter = (self.entered != Some(stage)).then(|| stage.to_owned());
        self.entered = Some(stage);
        let (done, total) = match stage {
            "Scf" => (Some(self.share), Some(WHOLE)),
            "Bands" => (None, None),
            "Dynamics" => (Some(self.steps()), self.most_steps().map(|most| most.max(self.steps()))),
            _ => (Some(self.steps()), None),
        };
        Report { enter, done, total, message: Some(self.message(stage)), metrics: self.metrics() }
    }

    /// The most steps of the nuclei.
    fn most_steps(&self) -> Option<u64> {
        self.latest.nstep.or(self.input.nstep)
    }

    fn message(&self, stage: &str) -> String {
        let cycle = &self.cycle;
        let most = self.most_steps();
        let at_most = most.map(|most| format!(" of at most {most}")).unwrap_or_default();
        let of = most.map(|most| format!(" of {most}")).unwrap_or_default();
        let iteration = format!("iteration {}", cycle.iteration);
        match (stage, self.latest.accuracy, cycle.threshold) {
            ("Bands", ..) if self.ending.bands_ended => "The bands are there".to_owned(),
            ("Bands", ..) => "Computing bands".to_owned(),
            _ if cycle.iteration == 0 => "Preparing the first iteration".to_owned(),
            ("Relax", ..) => format!("Step {}{at_most}, {iteration}", self.steps()),
            ("Dynamics", ..) => format!("Step {}{of}, {iteration}", self.steps()),
            (_, Some(now), Some(wanted)) => {
                format!("Iteration {}: accuracy {now:.1e} Ry, wanted {wanted:.1e}", cycle.iteration)
            }
            _ => format!("Iteration {}", cycle.iteration),
        }
    }

    /// The finite numbers by name.
    fn metrics(&self) -> BTreeMap<String, f64> {
        let iteration = (self.cycle.iteration > 0).then_some(self.cycle.iteration as f64);
        let all = self.measured().into_iter().chain([("iteration", iteration)]);
        let finite = all.filter_map(|(name, value)| Some((name.to_owned(), value?)));
        finite.filter(|(_, value)| value.is_finite()).collect()
    }

    fn measured(&self) -> [(&'static str, Option<f64>); 6] {
        let latest = &self.latest;
        [
            ("totalEnergyRy", latest.energy),
            ("accuracyRy", latest.accuracy),
            ("forceRyPerBohr", latest.force),
            ("pressureKbar", latest.pressure),
            ("fermiEnergyEv", latest.fermi_energy),
            ("highestOccupiedEv", latest.highest_occupied),
        ]
    }
}
