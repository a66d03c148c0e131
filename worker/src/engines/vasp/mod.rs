//! `vasp`: plane-wave density functional theory with VASP, which its users bring themselves: it is
//! proprietary, so this was written from its documentation and tested on synthetic output only.
//!
//! `script` is the INCAR below the inputs folder, or its folder. POSCAR, POTCAR and KPOINTS are taken from
//! beside it, unless `inputs` brings them.

mod incar;
mod output;
mod progress;

use std::path::{Path, PathBuf};

use stageline::protocol::outcome::{Failure, Outcome};
use stageline::task::{ErrorKind, Task, relative_path};
use stageline::{Code, Rejection};

use self::output::Output;
use self::progress::{Progress, Verdict};
use super::{ChildPlan, Engine, Execution, Exit, Placed, Reader, Site, SoftStop, Stream, mpi, programs};
use crate::progress::Report;

const INCAR: &str = "INCAR";
/// Its other files, and whether there is a run without.
const COMPANIONS: [(&str, bool); 3] = [("POSCAR", true), ("POTCAR", true), ("KPOINTS", false)];
/// An INCAR is written by hand.
const LARGEST_INCAR_BYTES: u64 = 1024 * 1024;

pub(super) struct Vasp;

impl Engine for Vasp {
    fn name(&self) -> &'static str {
        "vasp"
    }

    fn plan(&self, task: &Task, site: &Site<'_>) -> Result<Execution, Failure> {
        let script = incar_of(task.script.as_deref().unwrap_or_default(), site)?;
        let path = programs::input("script", &script, site)?;
        let incar = incar::read(&read_text(&path, &script)?);
        let mut files = programs::staged_inputs(task, site)?;
        files.push(Placed::copy(path, PathBuf::from(INCAR)));
        for (name, needed) in COMPANIONS {
            let brought = files.iter().any(|file| file.to == Path::new(name));
            if !brought && let Some(file) = companion(name, needed, &script, site)? {
                files.push(file);
            }
        }
        let name = &site.config.vasp_program;
        let program = programs::find(name, site).ok_or_else(|| {
            let message = format!(
                "VASP ({name:?}) is not installed on this worker; it is proprietary and no package has it: build it \
                 with your licence and set `vasp_program`, or put it on the worker's path"
            );
            Failure::fatal(Code::EngineMissing, message)
        })?;
        let processes = task.resources.as_ref().and_then(|resources| resources.cpus).unwrap_or(1);
        let step = mpi::step(program, Vec::new(), processes, site)?;
        let reader = Box::new(Log { output: Output::new(), progress: Progress::new(incar) });
        // It ends after the ionic step that it is in.
        let soft_stop = SoftStop::File { path: "STOPCAR".into(), content: "LSTOP = .TRUE.\n".to_owned() };
        let plan = ChildPlan::of(step, files, reader);
        Ok(Execution::Child(ChildPlan { env: mpi::environment(), soft_stop, ..plan }))
    }
}

/// The path of the INCAR, where `script` may be its folder.
fn incar_of(script: &str, site: &Site<'_>) -> Result<String, Failure> {
    let relative = relative_path("script", script).map_err(|r| Failure::fatal(r.code, r.message))?;
    let folder = site.config.inputs_dir.join(&relative).is_dir();
    Ok(if folder { relative.join(INCAR).to_string_lossy().into_owned() } else { script.to_owned() })
}

/// A file that belongs beside the INCAR.
fn companion(name: &str, needed: bool, script: &str, site: &Site<'_>) -> Result<Option<Placed>, Failure> {
    let beside = Path::new(script).with_file_name(name);
    match programs::input(name, &beside.to_string_lossy(), site) {
        Ok(path) => Ok(Some(Placed::copy(path, PathBuf::from(name)))),
        Err(failure) if failure.code != Code::InputMissing => Err(failure),
        Err(_) if !needed => Ok(None),
        Err(_) => {
            let message = format!("VASP needs {name}: put it beside {script:?}, or name it in `inputs`");
            Err(Failure::fatal(Code::InputMissing, message))
        }
    }
}

fn read_text(path: &Path, shown: &str) -> Result<String, Failure> {
    let failure = |code, why: String| Failure::fatal(code, format!("`script` {shown:?}: {why}"));
    let bytes = path.metadata().map_err(|e| failure(Code::InputMissing, e.to_string()))?.len();
    if bytes > LARGEST_INCAR_BYTES {
        let why = format!("{bytes} bytes are more than {LARGEST_INCAR_BYTES}");
        return Err(failure(Code::EngineInputInvalid, why));
    }
    let text = std::fs::read(path).map_err(|e| failure(Code::InputMissing, e.to_string()))?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Follows what VASP prints.
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
            Verdict::Died => {
                let failure = exit.failure("VASP", mpi::own_words(stderr));
                failure.unwrap_or_else(|| Failure::of_the_worker("VASP ended without a verdict"))
            }
        };
        Outcome::Failed(failure)
    }
}

#[cfg(test)]
mod tests;
