//! `quantum-espresso`: plane-wave density functional theory with `pw.x`. Success only when everything
//! that was to converge has, whatever the exit code and `JOB DONE.` say.
//!
//! `script` is the input file below the inputs folder; further files (pseudopotentials) go into `inputs`.
//! The input's text is left as it is, but for `restart_mode` where it goes on from a checkpoint.

mod input;
mod namelist;
mod output;
mod progress;
mod restart;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use stageline::protocol::outcome::{Failure, Outcome};
use stageline::task::{ErrorKind, Task};
use stageline::{Code, Rejection};

use self::input::Input;
use self::output::Output;
use self::progress::{Progress, Verdict};
use self::restart::Restart;
use super::{
    Again, Checkpoint, ChildPlan, Content, Engine, Execution, Exit, Placed, Reader, Segments, Site, SoftStop,
    Step, Stream, mpi, programs,
};
use crate::progress::Report;

/// Inputs are written by hand, or list some thousand atoms.
const LARGEST_INPUT_BYTES: u64 = 4 * 1024 * 1024;
/// Where `outdir` is when the input does not say.
const OUTDIR_VARIABLE: &str = "ESPRESSO_TMPDIR";

pub(super) struct QuantumEspresso;

impl Engine for QuantumEspresso {
    fn name(&self) -> &'static str {
        "quantum-espresso"
    }

    fn plan(&self, task: &Task, site: &Site<'_>) -> Result<Execution, Failure> {
        let script = task.script.as_deref().unwrap_or_default();
        let path = programs::input("script", script, site)?;
        let text = read_text(&path, script)?;
        let input = input::read(&text);
        let file_name = path.file_name().map_or_else(|| OsString::from("pw.in"), OsString::from);
        let mut files = programs::staged_inputs(task, site)?;
        let processes = task.resources.as_ref().and_then(|resources| resources.cpus).unwrap_or(1);
        let soft_stop = soft_stop(&input, site);
        let to = PathBuf::from(&file_name);
        let (checkpoint, segments) = segments(&input, &soft_stop, to.clone(), text);
        let going_on = segments.as_ref().filter(|_| {
            let fits = |saved| input.exit_file.as_ref().is_some_and(|at| restart::fits(saved, at, processes));
            site.resume.is_some_and(fits)
        });
        files.push(match going_on {
            Some(segments) => Placed { to, content: Content::Text(segments.going_on.clone()) },
            None => Placed::copy(path, to),
        });
        let step = command(processes, file_name, site)?;
        let reader = Box::new(Log { output: Output::new(), progress: Progress::new(input) });
        Ok(Execution::Child(ChildPlan {
            env: mpi::environment(),
            soft_stop,
            checkpoint,
            segments,
            ..ChildPlan::of(step, files, reader)
        }))
    }
}

/// What is saved when it was stopped, and how it goes on; nothing where it would go on from something else.
fn segments(
    input: &Input,
    soft_stop: &SoftStop,
    path: PathBuf,
    text: String,
) -> (Checkpoint, Option<Segments>) {
    let SoftStop::File { path: exit_file, .. } = soft_stop else { return Default::default() };
    if input.restart == Restart::Never {
        return Default::default();
    }
    let Some(going_on) = restart::restarting(&text) else { return Default::default() };
    let while_it_runs = input.restart == Restart::Always;
    (restart::checkpoint(exit_file), Some(Segments { path, going_on, starting_over: text, while_it_runs }))
}

fn read_text(path: &Path, shown: &str) -> Result<String, Failure> {
    let failure = |code, why: String| Failure::fatal(code, format!("`script` {shown:?}: {why}"));
    let bytes = path.metadata().map_err(|e| failure(Code::InputMissing, e.to_string()))?.len();
    if bytes > LARGEST_INPUT_BYTES {
        let why = format!("{bytes} bytes are more than {LARGEST_INPUT_BYTES}");
        return Err(failure(Code::EngineInputInvalid, why));
    }
    let text = std::fs::read(path).map_err(|e| failure(Code::InputMissing, e.to_string()))?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// `pw.x -in FILE`, on several processes through `mpirun`.
fn command(processes: u32, file: OsString, site: &Site<'_>) -> Result<Step, Failure> {
    let name = &site.config.pw_program;
    let program = programs::find(name, site).ok_or_else(|| {
        let message = format!(
            "Quantum ESPRESSO ({name:?}) is not installed on this worker; install it (Debian: apt-get install \
             quantum-espresso quantum-espresso-data, elsewhere: conda install -c conda-forge qe), or set `pw_program`"
        );
        Failure::fatal(Code::EngineMissing, message)
    })?;
    mpi::step(program, vec!["-in".into(), file], processes, site)
}

/// The file that `pw.x` looks for. With an `outdir` outside the job folder it is asked by TERM, and saves
/// nothing: the worker writes into job folders only.
fn soft_stop(input: &Input, site: &Site<'_>) -> SoftStop {
    let elsewhere = site.config.pass_environment.iter().any(|name| name == OUTDIR_VARIABLE);
    match &input.exit_file {
        Some(path) if !elsewhere => SoftStop::File { path: path.clone(), content: "\n".to_owned() },
        _ => SoftStop::Terminate,
    }
}

/// Follows what `pw.x` prints.
struct Log {
    output: Output,
    progress: Progress,
}

impl Reader for Log {
    fn step(&mut self, _index: usize) -> Vec<Report> {
        vec![Report::enter("Setup", None, "Reading the input")]
    }

    fn line(&mut self, stream: Stream, line: &str) -> Vec<Report> {
        if stream == Stream::Stderr {
            return Vec::new();
        }
        let event = self.output.line(line);
        event.and_then(|event| self.progress.apply(&event)).into_iter().collect()
    }

    fn diverged(&self) -> Option<Failure> {
        self.progress.divergence().map(|reason| Failure::fatal(Code::Diverged, reason))
    }

    fn knows_its_end(&self) -> bool {
        true
    }

    fn is_at_work(&self) -> bool {
        self.progress.is_at_work()
    }

    fn asked_to_stop(&mut self) {
        self.progress.asked_to_stop();
    }

    fn has_used_up(&self) -> bool {
        self.progress.has_used_up()
    }

    fn stopped_as_asked(&self, exit: Exit) -> bool {
        self.progress.stopped_as_asked(exit)
    }

    fn cannot_go_on(&self, exit: Exit) -> bool {
        self.progress.cannot_go_on(exit)
    }

    fn begins_again(&mut self, again: Again) {
        self.output = Output::new();
        self.progress.begins_again(again);
    }

    fn verdict(mut self: Box<Self>, exit: Exit, stderr: &str) -> Outcome {
        if let Some(event) = self.output.end() {
            self.progress.apply(&event);
        }
        let failure = match self.progress.verdict(exit) {
            Verdict::Completed { result } => return Outcome::Succeeded { result },
            Verdict::Failed { code, message } => {
                let message = Rejection::new(code, message).message;
                Failure { code, message, kind: ErrorKind::Fatal, exit_code: exit.code, signal: exit.signal }
            }
            Verdict::Died { said } => {
                let failure = exit.failure("pw.x", said.as_deref().unwrap_or_else(|| mpi::own_words(stderr)));
                failure.unwrap_or_else(|| Failure::of_the_worker("pw.x ended without a verdict"))
            }
        };
        Outcome::Failed(failure)
    }
}

#[cfg(test)]
mod tests;
