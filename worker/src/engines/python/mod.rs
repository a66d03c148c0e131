//! `python`: a script of one's own. Progress by the contract's lines on standard output, or from tqdm's bars on
//! standard error; success is exit code 0.
//!
//! `script` is copied into the job folder, which is its working directory; modules and data come as `inputs`.
//! `params` lie beside it as `params.json`, whose name is then the script's only argument.

mod traceback;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde_json::Value;
use stageline::protocol::outcome::{Failure, Outcome};
use stageline::task::{ErrorKind, Task};
use stageline::{Code, Rejection};

use self::traceback::{Raised, Tracebacks};
use super::exit::said_to_diverge;
use super::{ChildPlan, Content, Engine, Execution, Exit, Placed, Reader, Site, Step, Stream, programs};
use crate::progress::{Report, Script};

/// Where a script finds its parameters.
const PARAMS_FILE: &str = "params.json";
/// 128 and the signal: what `mpirun` and shells exit with for a process that was killed.
const EXIT_OF_KILLED: i32 = 137;
const KILL: i32 = 9;

pub(super) struct Python;

impl Engine for Python {
    fn name(&self) -> &'static str {
        "python"
    }

    fn plan(&self, task: &Task, site: &Site<'_>) -> Result<Execution, Failure> {
        let python = programs::find(&site.config.python_program, site).ok_or_else(|| {
            let message = format!(
                "Python ({:?}) is not installed on this worker; install it (Debian: apt-get install python3), or \
                 set `python_program`",
                site.config.python_program
            );
            Failure::fatal(Code::EngineMissing, message)
        })?;
        let staged = Staged::of(task, site)?;
        let reader = Box::new(Told::by(&staged.script, 1));
        let step = Step { program: python, args: staged.args };
        let threads = task.resources.as_ref().and_then(|r| r.cpus).unwrap_or(1);
        let env = vec![("OMP_NUM_THREADS".to_owned(), threads.to_string())];
        Ok(Execution::Child(ChildPlan { env, ..ChildPlan::of(step, staged.files, reader) }))
    }
}

/// A script with what it needs, ready for a Python to be chosen.
pub(super) struct Staged {
    /// Its path in the job folder.
    pub script: PathBuf,
    /// Python's arguments.
    pub args: Vec<OsString>,
    /// What lies in the job folder.
    pub files: Vec<Placed>,
}

impl Staged {
    /// Finds the files of `task`.
    pub fn of(task: &Task, site: &Site<'_>) -> Result<Self, Failure> {
        let path = programs::input("script", task.script.as_deref().unwrap_or_default(), site)?;
        let name = path.file_name().map_or_else(|| PathBuf::from("script.py"), PathBuf::from);
        // As an absolute path: no name looks like an option then, and tracebacks tell it apart from modules.
        let script = site.job_dir.join(&name);
        let mut args: Vec<OsString> = vec!["-u".into(), script.clone().into()];
        let mut files = programs::staged_inputs(task, site)?;
        files.push(Placed::copy(path, name));
        if let Some(params) = task.params.clone().filter(|params| !params.is_empty()) {
            if files.iter().any(|file| file.to == Path::new(PARAMS_FILE)) {
                let message =
                    format!("{PARAMS_FILE:?} is where `params` are put; give the file another name");
                return Err(Failure::fatal(Code::EngineInputInvalid, message));
            }
            let text = Value::Object(params).to_string();
            files.push(Placed { to: PathBuf::from(PARAMS_FILE), content: Content::Text(text) });
            args.push(PARAMS_FILE.into());
        }
        Ok(Self { script, args, files })
    }
}

/// What a script tells of itself, while it runs and when it fails.
pub(super) struct Told {
    name: String,
    progress: Script,
    tracebacks: Tracebacks,
}

impl Told {
    /// By the script at `path`, which so many processes run at once.
    pub fn by(path: &Path, ranks: u32) -> Self {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Self { name, progress: Script::of_ranks(ranks), tracebacks: Tracebacks::of(path) }
    }

    /// The exception that ended it, if one is known.
    pub fn raised(&self) -> Option<&Raised> {
        self.tracebacks.last()
    }

    fn failure(&self, exit: Exit, stderr: &str) -> Option<Failure> {
        let plain = exit.failure(&self.name, last_words(stderr))?;
        let killed = exit.signal == Some(KILL) || exit.code == Some(EXIT_OF_KILLED);
        let (code, kind, message) = match self.raised() {
            _ if killed => {
                let message = format!(
                    "{} was killed, most likely by the system for want of memory; ask for less work or more memory",
                    self.name
                );
                (Code::OutOfMemory, ErrorKind::OutOfMemory, message)
            }
            Some(raised) if raised.is_memory() => {
                (Code::OutOfMemory, ErrorKind::OutOfMemory, raised.to_string())
            }
            // An uncaught exception is exit code 1; before any other it was caught.
            Some(raised) if exit.code == Some(1) => {
                let kind = if raised.is_of_the_text() { ErrorKind::Fatal } else { ErrorKind::Retryable };
                (Code::ScriptError, kind, raised.to_string())
            }
            _ => return Some(plain),
        };
        let message = Rejection::new(code, message).message;
        Some(Failure { code, kind, message, ..plain })
    }
}

impl Reader for Told {
    fn line(&mut self, stream: Stream, line: &str) -> Vec<Report> {
        let report = match stream {
            Stream::Stdout => self.progress.stdout(line),
            Stream::Stderr => {
                self.tracebacks.line(line);
                self.progress.stderr(line)
            }
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
        let diverged = said_to_diverge(self.progress.diverged(), Some(exit));
        match diverged.or_else(|| self.failure(exit, stderr)) {
            Some(failure) => Outcome::Failed(failure),
            None => Outcome::Succeeded { result: self.progress.result() },
        }
    }
}

/// The last line that may be a reason: libraries log what goes well, too.
fn last_words(stderr: &str) -> &str {
    let is_log = |line: &str| line.starts_with("INFO:") || line.starts_with("DEBUG:");
    stderr.lines().rfind(|line| !line.trim().is_empty() && !is_log(line)).unwrap_or_default()
}

#[cfg(test)]
mod tests;
