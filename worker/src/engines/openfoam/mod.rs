//! `openfoam`: fluid dynamics. A case folder is copied into the job folder, and its programs run there one
//! after the other; progress from the times that the solver prints against `controlDict`, success only when
//! the end time was reached.
//!
//! `script` is the case folder below the inputs folder, or the `system/controlDict` in it. `params.steps` names
//! the programs; without it they are `blockMesh`, where the mesh has to be made, and the `application` of
//! `controlDict`. With `resources.cpus` above 1 the solver runs under `mpirun` on a decomposed case.

mod case;
mod control;
mod dict;
mod divergence;
mod fatal;
mod output;
mod progress;
mod reader;
mod restart;
mod steps;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde_json::Value;
use stageline::Code;
use stageline::protocol::outcome::Failure;
use stageline::task::Task;

use self::case::{CONTROL_DICT, Files};
use self::control::Control;
use self::dict::{Dictionary, Known, LONGEST_DICTIONARY};
use self::steps::Program;
use super::{ChildPlan, Content, Engine, Execution, Placed, Site, SoftStop, Step, mpi, programs};

const DECOMPOSITION: &str = "system/decomposeParDict";
/// Programs that are there wherever OpenFOAM is. The worker adds them to a case's own.
const OF_EVERY_INSTALLATION: [&str; 3] = ["blockMesh", "decomposePar", "reconstructPar"];
/// More processes than a machine has cores for; a number from a record goes no further.
const MOST_PROCESSES: u32 = 1024;

pub(super) struct Openfoam;

impl Engine for Openfoam {
    fn name(&self) -> &'static str {
        "openfoam"
    }

    fn plan(&self, task: &Task, site: &Site<'_>) -> Result<Execution, Failure> {
        let mut files = case::files(task.script.as_deref().unwrap_or_default(), site, case::BOUNDS)?;
        // The task's own files replace those of the case.
        files.extend(programs::staged_inputs(task, site)?.into_iter().map(|one| (one.to, one.content)));
        let mut control_text = text(&files, CONTROL_DICT)?;
        let mut control = Control::parse(&control_text);
        let saved = site.resume.and_then(restart::time).filter(|time| !restart::has_later(&files, *time));
        if let Some(time) = saved {
            control_text = restart::going_on(&control_text);
            control = Control { start: Some(time), ..Control::parse(&control_text) };
            files.insert(PathBuf::from(CONTROL_DICT), Content::Text(control_text.clone()));
        }
        let processes = processes(task)?;
        let named = named_steps(task)?;
        let programs =
            steps::steps(named.as_deref(), control.application.as_deref(), contents(&files), processes)?;
        let parallel = programs.iter().any(|program| program.processes > 1);
        if parallel {
            decomposition(&mut files, &programs, processes)?;
        }
        let checkpoint = restart::checkpoint(&programs);
        let commands = programs.iter().map(|one| command(one, site)).collect::<Result<_, _>>()?;
        let soft_stop = if parallel { edited(&control, &control_text) } else { SoftStop::Terminate };
        let job_dir = format!("{}/", site.job_dir.display());
        Ok(Execution::Child(ChildPlan {
            steps: commands,
            env: environment(site, parallel),
            files: files.into_iter().map(|(to, content)| Placed { to, content }).collect(),
            reader: Box::new(reader::Case::new(programs, control, job_dir)),
            soft_stop,
            afterwards: None,
            pausing: None,
            confines_itself: false,
            checkpoint,
            segments: None,
            resumed: false,
        }))
    }
}

/// The names in `params.steps`.
fn named_steps(task: &Task) -> Result<Option<Vec<String>>, Failure> {
    let invalid = |why: String| Failure::fatal(Code::EngineInputInvalid, why);
    let params = task.params.iter().flatten();
    let mut steps = None;
    for (name, value) in params {
        if name != "steps" {
            return Err(invalid(format!("`params.{name}` is nothing that openfoam knows; it knows `steps`")));
        }
        // The command line sends texts.
        let names = match value {
            Value::String(names) => Some(names.split(',').map(str::trim).collect::<Vec<_>>()),
            Value::Array(names) => names.iter().map(Value::as_str).collect(),
            _ => None,
        };
        let names = names.ok_or_else(|| {
            invalid(
                "`params.steps` must be a list of programs, such as [\"blockMesh\", \"icoFoam\"]".to_owned(),
            )
        })?;
        steps = Some(names.into_iter().map(str::to_owned).collect());
    }
    Ok(steps)
}

fn processes(task: &Task) -> Result<u32, Failure> {
    let cpus = task.resources.as_ref().and_then(|resources| resources.cpus).unwrap_or(1).max(1);
    if cpus > MOST_PROCESSES {
        let message = format!("`resources.cpus` {cpus}: at most {MOST_PROCESSES} processes");
        return Err(Failure::fatal(Code::EngineInputInvalid, message));
    }
    Ok(cpus)
}

/// A dictionary among the staged files.
fn text(files: &Files, name: &str) -> Result<String, Failure> {
    let unreadable = |why: String| Failure::fatal(Code::InputMissing, format!("`{name}` of the case: {why}"));
    match files.get(Path::new(name)) {
        Some(Content::Text(text)) => Ok(text.clone()),
        Some(Content::Fetched(_)) => Err(unreadable(
            "it is read before anything is fetched; put it below the inputs folder".to_owned(),
        )),
        Some(Content::CopyOf(path) | Content::Moved(path)) => {
            let bytes = path.metadata().map_err(|e| unreadable(e.to_string()))?.len();
            if bytes > LONGEST_DICTIONARY as u64 {
                return Err(unreadable(format!("{bytes} bytes are more than {LONGEST_DICTIONARY}")));
            }
            let bytes = std::fs::read(path).map_err(|e| unreadable(e.to_string()))?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        }
        None => Err(unreadable("it is not there".to_owned())),
    }
}

/// What decides about the steps.
fn contents(files: &Files) -> steps::Case {
    let has = |name: &str| files.contains_key(Path::new(name));
    let has_mesh = ["points", "points.gz"].iter().any(|name| has(&format!("constant/polyMesh/{name}")));
    // `processor0`, `processor1`, …, or `processors4` with all in one.
    let tops = files.keys().filter_map(|path| path.iter().next()?.to_str()?.strip_prefix("processor"));
    let processors = tops.filter_map(|rest| match rest.strip_prefix('s') {
        Some(count) => count.parse().ok(),
        None => rest.parse().ok().and_then(|index: u32| index.checked_add(1)),
    });
    steps::Case {
        has_block_mesh: has("system/blockMeshDict") || has("constant/polyMesh/blockMeshDict"),
        has_mesh,
        processors: processors.max().unwrap_or(0),
    }
}

/// Sees to it that `decomposePar` makes as many parts as there will be processes.
fn decomposition(files: &mut Files, programs: &[Program], processes: u32) -> Result<(), Failure> {
    if !programs.iter().any(|program| program.name == "decomposePar") {
        return Ok(());
    }
    if !files.contains_key(Path::new(DECOMPOSITION)) {
        // Slices along x: the one way that needs no library and fits a flat case as well.
        let text = format!(
            "FoamFile {{ version 2.0; format ascii; class dictionary; object decomposeParDict; }}\n\
             numberOfSubdomains {processes};\nmethod simple;\nsimpleCoeffs {{ n ({processes} 1 1); delta 0.001; }}\n"
        );
        files.insert(PathBuf::from(DECOMPOSITION), Content::Text(text));
        return Ok(());
    }
    let dictionary = Dictionary::parse(&text(files, DECOMPOSITION)?);
    match dictionary.get("numberOfSubdomains") {
        Known::Word(parts) if parts.parse() != Ok(processes) => {
            let message = format!(
                "`{DECOMPOSITION}` has `numberOfSubdomains` {parts:?}, and `resources.cpus` is {processes}; make them \
                 equal, or leave the file out"
            );
            Err(Failure::fatal(Code::EngineInputInvalid, message))
        }
        _ => Ok(()),
    }
}

fn command(program: &Program, site: &Site<'_>) -> Result<Step, Failure> {
    let name = program.name.as_str();
    let path = programs::find(name, site).ok_or_else(|| {
        // Where OpenFOAM is, what is not there is a name that the task made up.
        if !OF_EVERY_INSTALLATION.contains(&name) && programs::find("blockMesh", site).is_some() {
            let message = format!(
                "{name:?} is not among the programs of this worker's OpenFOAM; correct `params.steps`, or \
                 `application` of `{CONTROL_DICT}`"
            );
            return Failure::fatal(Code::EngineInputInvalid, message);
        }
        let message = format!(
            "{name:?} is not on this worker's path; install OpenFOAM (Debian: apt-get install openfoam), or add \
             the folder of its programs to `path` of the worker's configuration"
        );
        Failure::fatal(Code::EngineMissing, message)
    })?;
    let words = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
    if program.processes > 1 {
        // It looks at `controlDict` again only if that is 10 s younger, which a soft stop may not be.
        let args = words(&["-parallel", "-opt-switch", "fileModificationSkew=0"]);
        return mpi::step(path, args, program.processes, site);
    }
    let args = match name {
        // What a case brings along of an earlier decomposition is not what is to be run.
        "decomposePar" => words(&["-force"]),
        "reconstructPar" => words(&["-latestTime"]),
        // TERM then makes it write its state and end.
        _ if program.solver => words(&["-opt-switch", "stopAtWriteNowSignal=15"]),
        _ => Vec::new(),
    };
    Ok(Step { program: path, args })
}

fn environment(site: &Site<'_>, parallel: bool) -> Vec<(String, String)> {
    let dir = &site.config.openfoam_dir;
    let mut env = Vec::new();
    // Elsewhere `pass_environment` hands on what OpenFOAM's own script has set.
    if dir.is_dir() {
        env.push(("WM_PROJECT_DIR".to_owned(), dir.to_string_lossy().into_owned()));
    }
    if parallel {
        env.extend(mpi::environment());
    }
    env
}

/// `mpirun` ends its processes at TERM before they can write. All of them look at `controlDict` after each
/// step, where it says so.
fn edited(control: &Control, text: &str) -> SoftStop {
    if !control.reread {
        return SoftStop::Terminate;
    }
    SoftStop::File { path: PathBuf::from(CONTROL_DICT), content: format!("{text}\n\nstopAt writeNow;\n") }
}

#[cfg(test)]
mod tests;
