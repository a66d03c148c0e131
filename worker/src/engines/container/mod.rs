//! `container`: an image under docker or podman, with the task's job folder at `/job` and nothing else of the
//! machine.
//!
//! `params.image` is the image, `command` its arguments; `params.env` and `params.network` are the rest of
//! what a task may say about its container. What keeps it in its bounds, the task cannot change.

mod arguments;
mod image;
mod leftovers;
mod request;
mod verdict;

use std::path::{Path, PathBuf};

use stageline::Code;
use stageline::protocol::outcome::{Failure, Outcome};
use stageline::task::{Task, WorkerId};

use self::arguments::{Frame, hold, remove, run};
pub(crate) use self::leftovers::remove_containers_of;
use self::request::Request;
use super::exit::said_to_diverge;
use super::{ChildPlan, Engine, Execution, Exit, Pausing, Reader, Site, Step, Stream, programs};
use crate::progress::{Report, Script};

/// Where docker and podman look for their daemon and for the settings of whoever runs them. They are the
/// worker's: below the job folder, which would be their home, a task could put settings of its own.
const SETTINGS: [&str; 10] = [
    "HOME",
    "DOCKER_HOST",
    "DOCKER_CONTEXT",
    "DOCKER_CONFIG",
    "DOCKER_TLS_VERIFY",
    "DOCKER_CERT_PATH",
    "CONTAINER_HOST",
    "XDG_RUNTIME_DIR",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
];
/// A line of the runtime that is longer is not kept.
const LONGEST_WORDS_BYTES: usize = 1_000;

#[derive(Default)]
pub(super) struct Container {
    worker: Option<WorkerId>,
}

impl Container {
    /// That of `worker`.
    pub fn of(worker: &WorkerId) -> Self {
        Self { worker: Some(worker.clone()) }
    }
}

impl Engine for Container {
    fn name(&self) -> &'static str {
        "container"
    }

    fn plan(&self, task: &Task, site: &Site<'_>) -> Result<Execution, Failure> {
        let request = Request::of(task, site.config)?;
        let program = runtime(site)?;
        let is_podman = is_podman(&program);
        let frame = Frame {
            name: name(task),
            task: task.id.as_str(),
            attempt: task.attempt,
            worker: self.worker.as_ref().map(WorkerId::as_str),
            job_dir: site.job_dir,
            user: (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw()),
            pull: site.config.container_pull,
            is_podman,
            names_gpus: !site.config.gpus.is_empty(),
        };
        let reader = Box::new(Words {
            program: if is_podman { "podman" } else { "docker" },
            limited: request.memory_mb.is_some(),
            runtime: None,
            progress: Script::default(),
        });
        let step = |args| Step { program: program.clone(), args };
        let plan = ChildPlan::of(step(run(&request, &frame)?), programs::staged_inputs(task, site)?, reader);
        let afterwards = Some(step(remove(&frame)));
        // Podman's containers are processes of the worker's, which signals reach; docker's are its daemon's.
        let pausing = (!is_podman)
            .then(|| Pausing { pause: step(hold("pause", &frame)), go_on: step(hold("unpause", &frame)) });
        let env = settings(|name| std::env::var(name).ok());
        Ok(Execution::Child(ChildPlan { env, afterwards, pausing, confines_itself: true, ..plan }))
    }
}

fn is_podman(program: &Path) -> bool {
    program.file_name().is_some_and(|name| name.to_string_lossy().contains("podman"))
}

/// What the runtime gets of the worker's environment.
fn settings(variable: impl Fn(&str) -> Option<String>) -> Vec<(String, String)> {
    // Without a home of its own, the runtime would take the job folder for it.
    let home = |name| (name == "HOME").then(|| "/nonexistent".to_owned());
    SETTINGS
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), variable(name).or_else(|| home(name))?)))
        .collect()
}

fn runtime(site: &Site<'_>) -> Result<PathBuf, Failure> {
    let wanted: Vec<_> = match &site.config.container_program {
        Some(program) => vec![program.as_str()],
        None => vec!["docker", "podman"],
    };
    wanted.iter().find_map(|program| programs::find(program, site)).ok_or_else(|| {
        let message = format!(
            "this worker has no {} on its path; install docker or podman, or set `container_program`",
            wanted.join(" and no ")
        );
        Failure::fatal(Code::EngineMissing, message)
    })
}

/// A name that no container has: a record that was deleted and written again, or another deployment on this
/// machine, may have the same task and attempt, and what runs for those must not be removed with this one.
fn name(task: &Task) -> String {
    let mark = uuid::Uuid::new_v4().simple().to_string();
    arguments::name(task.id.as_str(), task.attempt, &mark[..8])
}

/// Success is exit code 0; progress is what the program inside tells of it.
struct Words {
    program: &'static str,
    limited: bool,
    /// What the runtime itself said last.
    runtime: Option<String>,
    progress: Script,
}

impl Reader for Words {
    fn line(&mut self, stream: Stream, line: &str) -> Vec<Report> {
        if stream == Stream::Stderr && verdict::is_of_the_runtime(line) && line.len() <= LONGEST_WORDS_BYTES {
            self.runtime = Some(line.to_owned());
        }
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
        let last_line = stderr.lines().rfind(|line| verdict::says_something(line)).unwrap_or_default();
        let said = verdict::Said { runtime: self.runtime.as_deref(), last_line };
        let diverged = said_to_diverge(self.progress.diverged(), Some(exit));
        match diverged.or_else(|| verdict::failure(self.program, exit, &said, self.limited)) {
            None => Outcome::Succeeded { result: self.progress.result() },
            Some(failure) => Outcome::Failed(failure),
        }
    }
}

#[cfg(test)]
mod tests;
