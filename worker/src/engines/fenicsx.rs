//! `fenicsx`: a Python script that solves with dolfinx, like `python` but for the interpreter, a cache of compiled
//! forms that outlives the job, and `mpirun` for more than one process.

use stageline::Code;
use stageline::protocol::outcome::{Failure, Outcome};
use stageline::task::{ErrorKind, Task};

use super::python::{Staged, Told};
use super::{ChildPlan, Engine, Execution, Exit, Reader, Site, Stream, mpi, programs};
use crate::progress::Report;

const INSTALL: &str = "install it (Debian: apt-get install python3-dolfinx, Python 3.12 and later: pip install \
                       dolfinx-solver-real mpich), or set `fenicsx_python` to the Python that has it";
/// What comes with dolfinx: a Python without one of them has none of them.
const MODULES: [&str; 5] = ["dolfinx", "mpi4py", "petsc4py", "ufl", "basix"];
/// No task's id begins with a dot, so no job folder is there.
const CACHE: &str = ".cache/fenicsx";

pub(super) struct Fenicsx;

impl Engine for Fenicsx {
    fn name(&self) -> &'static str {
        "fenicsx"
    }

    fn plan(&self, task: &Task, site: &Site<'_>) -> Result<Execution, Failure> {
        let missing = |message: String| Failure::fatal(Code::EngineMissing, message);
        let wanted = &site.config.fenicsx_python;
        let python = programs::find(wanted, site).ok_or_else(|| {
            missing(format!("there is no Python {wanted:?} for FEniCSx on this worker; {INSTALL}"))
        })?;
        let staged = Staged::of(task, site)?;
        let ranks = task.resources.as_ref().and_then(|r| r.cpus).unwrap_or(1);
        let step = mpi::step(python, staged.args, ranks, site)?;
        let cache = site.config.work_dir.join(CACHE).to_string_lossy().into_owned();
        let mut env = mpi::environment();
        // HOME is the job folder: compiled forms would be lost with every job.
        env.push(("XDG_CACHE_HOME".to_owned(), cache.clone()));
        let reader = Box::new(Solver { told: Told::by(&staged.script, ranks), cache });
        let plan = ChildPlan::of(step, staged.files, reader);
        Ok(Execution::Child(ChildPlan { env, ..plan }))
    }
}

/// A script that solves.
struct Solver {
    told: Told,
    cache: String,
}

impl Solver {
    /// What its exception is, where that is no fault of the script.
    fn environment_failure(&self) -> Option<Failure> {
        let raised = self.told.raised()?;
        let module = MODULES.iter().find(|name| raised.text == format!("No module named '{name}'"));
        if let Some(module) = module {
            let message = format!("the worker's Python for FEniCSx has no module {module}; {INSTALL}");
            return Some(Failure::fatal(Code::EngineMissing, message));
        }
        // Left by a process that was killed while it compiled: whoever finds it waits for that process.
        raised.text.contains("JIT compilation timed out").then(|| {
            let message =
                format!("{raised}: remove what a killed process left half-compiled in {}", self.cache);
            Failure { kind: ErrorKind::Retryable, ..Failure::fatal(Code::ScriptError, message) }
        })
    }
}

impl Reader for Solver {
    fn line(&mut self, stream: Stream, line: &str) -> Vec<Report> {
        self.told.line(stream, line)
    }

    fn diverged(&self) -> Option<Failure> {
        self.told.diverged()
    }

    fn checkpoint(&self) -> Vec<String> {
        self.told.checkpoint()
    }

    fn verdict(self: Box<Self>, exit: Exit, stderr: &str) -> Outcome {
        let environment = self.environment_failure();
        match (Box::new(self.told).verdict(exit, stderr), environment) {
            (Outcome::Failed(failure), Some(environment)) => Outcome::Failed(Failure {
                exit_code: failure.exit_code,
                signal: failure.signal,
                ..environment
            }),
            (outcome, _) => outcome,
        }
    }
}

#[cfg(test)]
mod tests;
