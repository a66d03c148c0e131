//! The runtime's command lines. Pure: all of what a container may and may not is decided here.

use std::ffi::OsString;
use std::path::Path;

use stageline::protocol::outcome::Failure;
use stageline::task::Attempt;

use super::request::Request;
use crate::config::Pull;

const MEBIBYTE: u64 = 1024 * 1024;
/// The runtimes read limits as signed numbers.
const MOST_BYTES: u64 = i64::MAX as u64;
/// What of the task's id goes into the name of its container; the label has all of it.
const LONGEST_ID_BYTES: usize = 64;

/// Names the worker, by which the containers of a killed one are found.
pub(super) const WORKER_LABEL: &str = "stageline.worker";
/// What `/tmp` may take where the container's memory has no limit; the same as in the sandbox.
const TMP_MB: u64 = 1024;

/// Where and as whom a container runs.
pub(super) struct Frame<'a> {
    pub name: String,
    pub task: &'a str,
    pub attempt: Attempt,
    pub worker: Option<&'a str>,
    pub job_dir: &'a Path,
    pub user: (u32, u32),
    pub pull: Pull,
    pub is_podman: bool,
    /// Whether the worker says which graphics processors are the container's, in the runtime's environment.
    pub names_gpus: bool,
}

/// A container's name; `mark` makes it this run's own.
pub(super) fn name(task: &str, attempt: Attempt, mark: &str) -> String {
    // Of what ids may hold, only the colon is no character of such names. Ids are ASCII.
    let id: String = task.chars().map(|c| if c == ':' { '_' } else { c }).take(LONGEST_ID_BYTES).collect();
    format!("stageline-{id}-{attempt}-{mark}")
}

/// Runs the container in the foreground.
pub(super) fn run(request: &Request, frame: &Frame<'_>) -> Result<Vec<OsString>, Failure> {
    let mut args: Vec<OsString> = Vec::new();
    let mut add = |words: &[&str]| args.extend(words.iter().map(OsString::from));
    add(&["run", "--rm", "--name", &frame.name, "--init"]);
    add(&["--label", &format!("stageline.task={}", frame.task)]);
    add(&["--label", &format!("stageline.attempt={}", frame.attempt)]);
    if let Some(worker) = frame.worker {
        add(&["--label", &format!("{WORKER_LABEL}={worker}")]);
    }
    add(&["--pull", if frame.pull == Pull::Never { "never" } else { "missing" }]);
    // The worker keeps the output; the runtime's own copy would have no limit.
    add(&["--log-driver", "none"]);
    add(&["--cap-drop", "ALL", "--security-opt", "no-new-privileges"]);
    // What lies in it counts as the container's memory. Without a size it could be half of the machine's.
    let tmp = format!("/tmp:size={}m", request.memory_mb.unwrap_or(TMP_MB));
    add(&["--read-only", "--tmpfs", &tmp, "--pids-limit", &request.processes.to_string()]);
    if !request.network {
        add(&["--network", "none"]);
    }
    let (uid, gid) = frame.user;
    add(&["--user", &format!("{uid}:{gid}")]);
    if frame.is_podman && uid != 0 {
        // Without it, the worker's user is another one inside, who may not write to the job folder.
        add(&["--userns", "keep-id"]);
    }
    if let Some(cpus) = request.cpus {
        add(&["--cpus", &cpus.to_string()]);
    }
    if let Some(memory) = request.memory_mb {
        let memory = format!("{memory}m");
        add(&["--memory", &memory, "--memory-swap", &memory]);
    }
    // Soft and hard at once: a program cannot take it back.
    if let Some(files) = request.open_files {
        add(&["--ulimit", &format!("nofile={files}:{files}")]);
    }
    if let Some(size) = request.file_size_mb {
        let bytes = size.saturating_mul(MEBIBYTE).min(MOST_BYTES);
        add(&["--ulimit", &format!("fsize={bytes}:{bytes}")]);
    }
    if request.gpus > 0 && frame.names_gpus {
        // By number, docker would give the first ones to every container. Without a value: the runtime's own.
        add(&["--gpus", "all", "--env", "CUDA_VISIBLE_DEVICES"]);
    } else if request.gpus > 0 {
        add(&["--gpus", &request.gpus.to_string()]);
    }
    add(&["--env", "HOME=/job", "--env", "PYTHONUNBUFFERED=1", "--env", "STAGELINE_JOB_DIR=/job"]);
    add(&["--env", &format!("STAGELINE_TASK_ID={}", frame.task)]);
    add(&["--env", &format!("STAGELINE_ATTEMPT={}", frame.attempt)]);
    // Without a value: the runtime's own, by which the worker knows whose a process is. Podman's containers
    // hang below the worker, and other attempts would end them as strays.
    add(&["--env", "STAGELINE_EXECUTION", "--env", "STAGELINE_RESUME"]);
    for (name, value) in &request.env {
        add(&["--env", &format!("{name}={value}")]);
    }
    add(&["--workdir", "/job", "--mount"]);
    args.push(mount(frame.job_dir)?);
    args.push(request.image.as_str().into());
    args.extend(request.words.iter().map(OsString::from));
    Ok(args)
}

/// Ends and removes the container, whatever it does. The runtime's death does not.
pub(super) fn remove(frame: &Frame<'_>) -> Vec<OsString> {
    remove_all(std::slice::from_ref(&frame.name), frame.is_podman)
}

/// Ends and removes containers.
pub(super) fn remove_all(names: &[String], is_podman: bool) -> Vec<OsString> {
    let mut words = vec!["rm", "--force", "--volumes"];
    if is_podman {
        // It would ask first, and wait for 10 s.
        words.extend(["--time", "0"]);
    }
    words.extend(names.iter().map(String::as_str));
    words.into_iter().map(OsString::from).collect()
}

/// Stops all processes of the container where they are (`pause`), or lets them go on (`unpause`).
pub(super) fn hold(verb: &str, frame: &Frame<'_>) -> Vec<OsString> {
    [verb, &frame.name].map(OsString::from).to_vec()
}

/// The job folder as the value of `--mount`, which is read as a line of comma-separated values.
fn mount(job_dir: &Path) -> Result<OsString, Failure> {
    match job_dir.to_str() {
        Some(path) if !path.contains([',', '"', '\n', '\r']) => {
            Ok(format!("type=bind,source={path},target=/job").into())
        }
        _ => Err(Failure::of_the_worker(format!(
            "the job folder {} cannot be mounted: `work_dir` has a comma, a quote, a line feed or bytes that are \
             no text",
            job_dir.display()
        ))),
    }
}
