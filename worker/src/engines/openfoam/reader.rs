//! Follows the programs of a case and judges how they ended.

use serde_json::json;
use stageline::protocol::outcome::{Failure, Outcome};
use stageline::task::ErrorKind;
use stageline::{Code, Rejection};

use super::control::Control;
use super::divergence::Divergence;
use super::fatal::Fatal;
use super::output;
use super::progress::Progress;
use super::steps::Program;
use crate::engines::{Exit, Reader, Stream, mpi};
use crate::progress::Report;

const SIGFPE: i32 = 8;
/// What a wrapper exits with for it: `mpirun` does.
const SIGFPE_CODE: i32 = 128 + SIGFPE;

/// Understands the output of all programs of a task.
pub(super) struct Case {
    programs: Vec<Program>,
    current: usize,
    progress: Progress,
    divergence: Divergence,
    fatal: Fatal,
    /// Paths below it are said without it.
    job_dir: String,
}

impl Case {
    /// Before the first of `programs`.
    pub fn new(programs: Vec<Program>, control: Control, job_dir: String) -> Self {
        let progress = Progress::new(control);
        Self {
            programs,
            current: 0,
            progress,
            divergence: Divergence::default(),
            fatal: Fatal::default(),
            job_dir,
        }
    }

    fn program(&self) -> &str {
        self.programs.get(self.current).map_or("OpenFOAM", |program| &program.name)
    }

    fn solves(&self) -> bool {
        self.programs.get(self.current).is_some_and(|program| program.solver)
    }

    /// Whether the solver was among what ran.
    fn solved(&self) -> bool {
        self.programs.iter().take(self.current + 1).any(|program| program.solver)
    }

    fn report(&self) -> Report {
        Report {
            enter: None,
            done: Some(self.progress.done()),
            total: self.progress.total(),
            message: Some(self.progress.message()),
            metrics: self.progress.metrics(),
        }
    }

    /// Why it has not succeeded: the code, and whether another try may help, and the words.
    fn failed(&self, exit: Exit, stderr: &str) -> Option<(Code, ErrorKind, String)> {
        let program = self.program();
        let trapped = exit.signal == Some(SIGFPE) || exit.code == Some(SIGFPE_CODE) || self.fatal.trapped();
        let fatal = self.fatal.message().map(|words| words.replace(&self.job_dir, ""));
        let failed = fatal.is_some() || exit.code != Some(0);
        let reason =
            self.divergence.reason().filter(|_| self.divergence.not_a_number() || failed && self.solves());
        if let Some(reason) = reason {
            return Some((Code::Diverged, ErrorKind::Fatal, reason.to_owned()));
        }
        if let Some(words) = fatal {
            let hint = if words.starts_with("Could not find mandatory etc entry") {
                "; set `openfoam_dir` of the worker's configuration to OpenFOAM's own folder"
            } else {
                ""
            };
            return Some((Code::OpenfoamError, ErrorKind::Fatal, format!("{program}: {words}{hint}")));
        }
        if let Some(failure) = exit.failure(program, mpi::own_words(stderr)) {
            if !trapped {
                return Some((failure.code, failure.kind, failure.message));
            }
            return Some(if self.solves() {
                let place = self.progress.message();
                let message = format!(
                    "{program} was ended by a floating point exception ({place}): the solution blew up; take a \
                     smaller `deltaT`, or look at the mesh and the boundary values"
                );
                (Code::Diverged, ErrorKind::Fatal, message)
            } else {
                let message = format!(
                    "{program} was ended by a floating point exception: a value of the case leads to a division by \
                     zero"
                );
                (failure.code, ErrorKind::Fatal, message)
            });
        }
        let missing = self.progress.missing().filter(|_| self.solved())?;
        let solver = self.programs.iter().find(|program| program.solver).map_or("", |program| &program.name);
        // A signal is the doing of somebody outside, as it is where it ends the solver at once.
        let kind = if self.progress.signalled() { ErrorKind::Retryable } else { ErrorKind::Fatal };
        Some((Code::OpenfoamIncomplete, kind, format!("{solver}: {missing}")))
    }
}

impl Reader for Case {
    fn step(&mut self, index: usize) -> Vec<Report> {
        self.current = index;
        let Some(program) = self.programs.get(index) else { return Vec::new() };
        let message = match program.processes {
            1 => program.name.clone(),
            processes => format!("{} on {processes} processes", program.name),
        };
        vec![Report::enter(program.stage(), self.progress.total().filter(|_| program.solver), message)]
    }

    fn line(&mut self, stream: Stream, line: &str) -> Vec<Report> {
        self.fatal.line(line);
        if stream == Stream::Stderr || !self.solves() {
            return Vec::new();
        }
        let Some(event) = output::event(line) else { return Vec::new() };
        self.divergence.apply(&event);
        if self.progress.apply(&event) { vec![self.report()] } else { Vec::new() }
    }

    fn diverged(&self) -> Option<Failure> {
        self.divergence.reason().map(|reason| Failure::fatal(Code::Diverged, reason))
    }

    fn knows_its_end(&self) -> bool {
        self.solved() && self.progress.knows_its_end()
    }

    fn verdict(self: Box<Self>, exit: Exit, stderr: &str) -> Outcome {
        if let Some((code, kind, message)) = self.failed(exit, stderr) {
            let message = Rejection::new(code, message).message;
            return Outcome::Failed(Failure {
                code,
                message,
                kind,
                exit_code: exit.code,
                signal: exit.signal,
            });
        }
        let mut result = if self.solved() { self.progress.result() } else { serde_json::Map::new() };
        let programs: Vec<_> = self.programs.iter().map(|program| program.name.as_str()).collect();
        result.insert("programs".to_owned(), json!(programs));
        Outcome::Succeeded { result: result.into() }
    }
}

#[cfg(test)]
mod tests;
