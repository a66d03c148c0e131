//! The engines: what runs a task. One file an engine; adding one is that file and a line in
//! [`Engines::builtin`] (and its name in `stageline::task::ENGINES`, which the dispatcher checks).

mod command;
mod demo;
mod lammps;
mod programs;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use futures::future::BoxFuture;
use stageline::Code;
use stageline::protocol::outcome::{Failure, Outcome};
use stageline::task::{ErrorKind, Task};

use crate::Config;
use crate::progress::{Report, Sink};

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    /// Its exit code, if it exited.
    pub code: Option<i32>,
    /// The signal that ended it, if one did.
    pub signal: Option<i32>,
}

/// What a wrapper exits with when the program behind it is not executable, or is not there.
const CANNOT_EXECUTE: i32 = 126;
const NOT_FOUND: i32 = 127;

impl Exit {
    /// The class of the failure that the way it ended is, where its engine says nothing of its own.
    pub fn kind(self) -> ErrorKind {
        match self.code {
            Some(CANNOT_EXECUTE | NOT_FOUND) => ErrorKind::Fatal,
            _ => ErrorKind::Retryable,
        }
    }

    /// The failure that the way it ended is by itself; `None` for exit code 0. `said` is what the engine
    /// said last on its standard error.
    pub fn failure(self, program: &str, said: &str) -> Option<Failure> {
        let said = said.trim();
        let said = if said.is_empty() { String::new() } else { format!(": {said}") };
        let (code, message) = match (self.code, self.signal) {
            (Some(0), _) => return None,
            (Some(code), _) => (Code::ExitNonZero, format!("{program} ended with exit code {code}{said}")),
            (None, Some(signal)) => {
                (Code::ExitSignal, format!("{program} was ended by signal {signal}{said}"))
            }
            (None, None) => (Code::ExitSignal, format!("{program} ended in an unknown way{said}")),
        };
        Some(Failure { code, message, kind: self.kind(), exit_code: self.code, signal: self.signal })
    }
}

/// Which of its two streams a process wrote to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Understands what an engine prints.
pub trait Reader: Send {
    /// What is to be shown when the process has been started.
    fn started(&mut self) -> Vec<Report> {
        Vec::new()
    }
    /// Takes one line, without its end.
    fn line(&mut self, stream: Stream, line: &str) -> Vec<Report>;
    /// The verdict: exit code **and** the engine's own words. `stderr` is the end of standard error.
    fn verdict(self: Box<Self>, exit: Exit, stderr: &str) -> Outcome;
}

/// A process to run.
pub struct ChildPlan {
    /// The program, as an absolute path.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Variables beside the scrubbed environment that every child gets.
    pub env: Vec<(String, String)>,
    /// Files to copy into the job folder: from where, and to which path in it.
    pub files: Vec<(PathBuf, PathBuf)>,
    /// Who understands its output.
    pub reader: Box<dyn Reader>,
}

/// Work that runs inside the worker.
pub type InlineRun = Box<dyn FnOnce(Sink) -> BoxFuture<'static, Outcome> + Send>;

/// How a task is run.
pub enum Execution {
    /// As a process.
    Child(ChildPlan),
    /// Inside the worker.
    Inline(InlineRun),
}

/// What an engine may look at to plan a task.
pub struct Site<'a> {
    /// The worker's configuration.
    pub config: &'a Config,
    /// The folder the process will run in.
    pub job_dir: &'a Path,
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
    /// Every engine of this version.
    pub fn builtin() -> Self {
        let all: [Box<dyn Engine>; 3] =
            [Box::new(command::Command), Box::new(demo::Demo), Box::new(lammps::Lammps)];
        Self(all.into_iter().map(|engine| (engine.name(), engine)).collect())
    }

    /// Validates the record once more (anybody can write to the table) and lets its engine plan it.
    ///
    /// # Errors
    /// A failure of the task, with what is wrong and what to do.
    pub fn plan(&self, task: &Task, site: &Site<'_>) -> Result<Execution, Failure> {
        task.validate().map_err(|rejection| Failure::fatal(rejection.code, rejection.message))?;
        let engine = self.0.get(task.engine()).ok_or_else(|| {
            let message = format!("this worker has no engine {:?}; it may be too old", task.engine());
            Failure::fatal(Code::EngineUnknown, message)
        })?;
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

    #[test]
    fn only_exit_code_zero_is_no_failure() {
        let exit = |code, signal| Exit { code, signal }.failure("x", " said \n");
        assert_eq!(exit(Some(0), None), None);
        assert_eq!(exit(Some(3), None).unwrap().message, "x ended with exit code 3: said");
        assert_eq!(exit(None, Some(9)).unwrap().code, Code::ExitSignal);
    }

    #[test]
    fn a_program_that_cannot_be_started_is_not_worth_a_retry() {
        for (code, signal, kind) in [
            (Some(126), None, ErrorKind::Fatal),
            (Some(127), None, ErrorKind::Fatal),
            (Some(1), None, ErrorKind::Retryable),
            (Some(128), None, ErrorKind::Retryable),
            (None, Some(11), ErrorKind::Retryable),
        ] {
            assert_eq!(Exit { code, signal }.failure("x", "").unwrap().kind, kind, "{code:?} {signal:?}");
        }
    }
}
