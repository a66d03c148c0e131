//! The engines: what runs a task. One file an engine; adding one is that file and a line in
//! [`Engines::builtin`] (and its name in `stageline::task::ENGINES`, which the dispatcher checks).

mod agent;
mod command;
mod container;
mod demo;
mod exit;
mod fenicsx;
mod fortran;
#[cfg(test)]
mod golden_tests;
mod lammps;
mod mock;
mod mpi;
mod noop;
mod openfoam;
mod plan;
pub(crate) mod programs;
mod python;
mod quantum_espresso;
mod self_consistency;
mod simulated;
mod vasp;

use std::collections::BTreeMap;
use std::path::Path;

use stageline::Code;
use stageline::protocol::outcome::{Failure, Outcome};
use stageline::task::{Task, WorkerId};

use crate::Config;
use crate::progress::Report;
pub(crate) use container::remove_containers_of;
pub use exit::Exit;
pub use plan::{
    Checkpoint, ChildPlan, Content, Execution, Fetched, InlineRun, Pausing, Pick, Placed, Resume, SavedFile,
    Segments, SoftStop, Source, Step,
};

/// Which of its two streams a process wrote to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// How a step is begun again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// From what the process before has left.
    GoingOn,
    /// From the beginning.
    StartingOver,
}

/// Understands what an engine prints.
pub trait Reader: Send {
    /// The step with this index, from 0, has been started: what is to be shown then.
    fn step(&mut self, _index: usize) -> Vec<Report> {
        Vec::new()
    }
    /// Takes one line, without its end.
    fn line(&mut self, stream: Stream, line: &str) -> Vec<Report>;
    /// Why the engine should not go on, by what it has printed so far: its solution has diverged. Asked
    /// after each line of a task that wants to be stopped then.
    fn diverged(&self) -> Option<Failure> {
        None
    }
    /// Whether its verdict tells a run that has reached its end from one that was asked to stop before and did
    /// so in good order. Where exit code 0 is all that a program says, nobody can know.
    fn knows_its_end(&self) -> bool {
        false
    }
    /// What the engine says it can go on from: files or folders of the job folder, as it names them. Beside what
    /// the plan knows of.
    fn checkpoint(&self) -> Vec<String> {
        Vec::new()
    }
    /// Whether the process is at work, not only preparing: then it may be asked to stop for a checkpoint, and has
    /// done something by then. Asked of plans with [`Segments`] alone, like the five that follow.
    fn is_at_work(&self) -> bool {
        false
    }
    /// The process that has just ended was asked to stop for a checkpoint: whatever it says of that, the worker has
    /// done it, and nobody else.
    fn asked_to_stop(&mut self) {}
    /// Whether all processes together have used up what one alone may, though each of them counts anew: then what
    /// stopped as asked has come to its end, and the verdict says so.
    fn has_used_up(&self) -> bool {
        false
    }
    /// Whether the process, which was asked to stop, has done so in good order, and what it left can be gone on
    /// from.
    fn stopped_as_asked(&self, _exit: Exit) -> bool {
        false
    }
    /// Whether the process, which was to go on from what was saved, ended because it could not.
    fn cannot_go_on(&self, _exit: Exit) -> bool {
        false
    }
    /// Another process of the same step is about to begin, in place of [`Reader::step`].
    fn begins_again(&mut self, _again: Again) {}
    /// The verdict: exit code of the last step that ran **and** the engine's own words. `stderr` is the end of
    /// standard error.
    fn verdict(self: Box<Self>, exit: Exit, stderr: &str) -> Outcome;
}

/// What an engine may look at to plan a task.
pub struct Site<'a> {
    /// The worker's configuration.
    pub config: &'a Config,
    /// The folder the process will run in.
    pub job_dir: &'a Path,
    /// What an earlier attempt saved; it will lie in the job folder.
    pub resume: Option<&'a Resume>,
}

/// Plans the tasks of one kind.
pub trait Engine: Send + Sync {
    /// The name in the record's `engine`.
    fn name(&self) -> &'static str;
    /// Says how to run `task`.
    ///
    /// # Errors
    /// A failure of the task, with what is wrong and what to do.
    fn plan(&self, task: &Task, site: &Site<'_>) -> Result<Execution, Failure>;
}

/// The engines a worker carries, by name.
pub struct Engines(BTreeMap<&'static str, Box<dyn Engine>>);

impl Engines {
    /// Those of `worker`, whose name is on what they start outside of its processes.
    pub fn of(worker: &WorkerId) -> Self {
        let mut all = Self::builtin();
        let container = container::Container::of(worker);
        all.0.insert(container.name(), Box::new(container));
        all
    }

    /// Every engine of this version.
    pub fn builtin() -> Self {
        let all: [Box<dyn Engine>; 12] = [
            Box::new(agent::Agent),
            Box::new(command::Command),
            Box::new(container::Container::default()),
            Box::new(demo::Demo),
            Box::new(fenicsx::Fenicsx),
            Box::new(lammps::Lammps),
            Box::new(mock::Mock),
            Box::new(noop::Noop),
            Box::new(openfoam::Openfoam),
            Box::new(python::Python),
            Box::new(quantum_espresso::QuantumEspresso),
            Box::new(vasp::Vasp),
        ];
        Self(all.into_iter().map(|engine| (engine.name(), engine)).collect())
    }

    /// Validates the task once more (anybody can write to the table) and lets its engine plan it.
    ///
    /// # Errors
    /// A failure of the task, with what is wrong and what to do.
    pub fn plan(&self, task: &Task, site: &Site<'_>) -> Result<Execution, Failure> {
        task.validate_beyond_params_size()
            .map_err(|rejection| Failure::fatal(rejection.code, rejection.message))?;
        let engine = self.0.get(task.engine()).ok_or_else(|| {
            let message = format!("this worker has no engine {:?}; it may be too old", task.engine());
            Failure::fatal(Code::EngineUnknown, message)
        })?;
        if !site.config.runs(task.engine()) {
            let message = format!(
                "this worker does not run the engine {:?}; its setting `engines` has {}",
                task.engine(),
                site.config.engines.as_deref().unwrap_or_default().join(", ")
            );
            // As where it is not installed: another worker of the pool may have it.
            return Err(Failure::fatal(Code::EngineMissing, message));
        }
        engine.plan(task, site)
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.keys().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dispatcher_knows_exactly_the_engines_that_workers_carry() {
        let carried: Vec<_> = Engines::builtin().names().collect();
        assert_eq!(carried, stageline::task::ENGINES);
    }
}
