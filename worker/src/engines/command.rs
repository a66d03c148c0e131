//! `command`: one program with its arguments, without a shell, from the worker's list of allowed ones. A program that
//! tells its progress by the contract's lines or by tqdm's bars has stages; any other has none.

use stageline::Code;
use stageline::protocol::outcome::{Failure, Outcome};
use stageline::task::Task;

use super::exit::said_to_diverge;
use super::{ChildPlan, Engine, Execution, Exit, Reader, Site, Step, Stream, programs};
use crate::progress::{Report, Script};

pub(super) struct Command;

impl Engine for Command {
    fn name(&self) -> &'static str {
        "command"
    }

    fn plan(&self, task: &Task, site: &Site<'_>) -> Result<Execution, Failure> {
        let words = task.command_line().map_err(|r| Failure::fatal(r.code, r.message))?;
        let (program, args) =
            words.split_first().ok_or_else(|| Failure::fatal(Code::CommandInvalid, "`command` is empty"))?;
        if !site.config.allows(program) {
            let message = format!(
                "this worker does not allow the program {program:?}; it allows {}. Add it to `allowed_programs` \
                 of the worker's configuration",
                match site.config.allowed_programs.as_slice() {
                    [] => "none".to_owned(),
                    some => some.join(", "),
                }
            );
            return Err(Failure::fatal(Code::CommandNotAllowed, message));
        }
        let path = programs::find(program, site).ok_or_else(|| {
            let message = format!("there is no program {program:?} on the worker's path");
            Failure::fatal(Code::EngineMissing, message)
        })?;
        let step = Step { program: path, args: args.iter().map(Into::into).collect() };
        let reader = Box::new(ExitCode { program: program.clone(), progress: Script::default() });
        Ok(Execution::Child(ChildPlan::of(step, programs::staged_inputs(task, site)?, reader)))
    }
}

/// Success is exit code 0.
struct ExitCode {
    program: String,
    progress: Script,
}

impl Reader for ExitCode {
    fn line(&mut self, stream: Stream, line: &str) -> Vec<Report> {
        let report = match stream {
            Stream::Stdout => self.progress.stdout(line),
            Stream::Stderr => self.progress.stderr(line),
        };
        report.into_iter().collect()
    }

    fn diverged(&self) -> Option<Failure> {
        said_to_diverge(self.progress.diverged(), None)
    }

    fn checkpoint(&self) -> Vec<String> {
        self.progress.checkpoint()
    }

    fn verdict(self: Box<Self>, exit: Exit, stderr: &str) -> Outcome {
        let last_line = stderr.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
        let diverged = said_to_diverge(self.progress.diverged(), Some(exit));
        match diverged.or_else(|| exit.failure(&self.program, last_line)) {
            None => Outcome::Succeeded { result: self.progress.result() },
            Some(failure) => Outcome::Failed(failure),
        }
    }
}
