//! Why a command failed, with its exit code and the next thing to type.

use std::path::PathBuf;

use stageline::Rejection;
use stageline::aws::{AwsError, DeploymentError};
use stageline::task::{Status, TaskId};
use stageline_local::LocalError;
use stageline_worker::{ArtifactError, WorkerError};

use crate::exit::Exit;

/// A failed command.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The task or an argument is not valid.
    #[error("{0}")]
    Rejected(#[from] Rejection),
    /// An argument is not valid.
    #[error("INVALID_ARGUMENT: {0}")]
    Argument(String),
    /// There is no such task.
    #[error("TASK_NOT_FOUND: there is no task {0}")]
    NotFound(TaskId),
    /// A task of this id exists.
    #[error("TASK_EXISTS: a task {0} exists already; it was left as it is")]
    Exists(TaskId),
    /// What was asked for needs a task that has not ended.
    #[error("TASK_ENDED: task {id} is {status}; it was left as it is")]
    Ended {
        /// The task.
        id: TaskId,
        /// How it ended.
        status: Status,
    },
    /// Only an ended task runs again.
    #[error(
        "TASK_NOT_ENDED: task {id} is {status}, and only an ended task can run again; it was left as it is"
    )]
    NotEnded {
        /// The task.
        id: TaskId,
        /// Where it is.
        status: Status,
    },
    /// Somebody else changed the task between two calls.
    #[error("TASK_CHANGED: task {0} was changed at the same time; look at it before you ask again")]
    Changed(TaskId),
    /// AWS did not answer, or refused.
    #[error("AWS_ERROR: {0}")]
    Aws(#[from] AwsError),
    /// The artifact store did not answer, or refused.
    #[error("ARTIFACT_STORE_ERROR: {0}")]
    Artifacts(#[from] ArtifactError),
    /// The file of `stageline dev` cannot be used.
    #[error("DEV_FILE_UNREADABLE: {}: {reason}", path.display())]
    DevFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The `stageline dev` of this folder is gone.
    #[error("DEV_NOT_RUNNING: the process {pid} that wrote {} is gone", path.display())]
    DevNotRunning {
        /// The file.
        path: PathBuf,
        /// The process.
        pid: u32,
    },
    /// The embedded AWS could not start.
    #[error("{code}: {error}", code = local_code(.error))]
    Local {
        /// Why.
        #[from]
        error: LocalError,
    },
    /// The worker could not start.
    #[error("WORKER_ERROR: {0}")]
    Worker(#[from] WorkerError),
    /// The deployment's variables cannot be read.
    #[error("DEPLOYMENT_INVALID: {0}")]
    Deployment(#[from] DeploymentError),
    /// A repair decides by every variable of the deployment.
    #[error("DEPLOYMENT_INCOMPLETE: {} not set, and a repair decides by every one of them", are(.0))]
    Incomplete(Vec<&'static str>),
    /// Anything else of the system.
    #[error("IO_ERROR: {what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: std::io::Error,
    },
}

fn local_code(error: &LocalError) -> &'static str {
    match error {
        LocalError::PortInUse { .. } => "PORT_IN_USE",
        LocalError::Listen { .. } => "PORT_UNUSABLE",
        LocalError::DirectoryNotWritable { .. } => "FOLDER_NOT_WRITABLE",
        LocalError::DirectoryInUse { .. } => "FOLDER_IN_USE",
        _ => "DEV_START_FAILED",
    }
}

/// How a shell gets the variables of a deployment.
pub const SET_VARIABLES: &str = "eval \"$(scripts/deploy --env)\" with the options of the deployment; for `stageline dev` unset AWS_ENDPOINT_URL in its folder";

/// The next thing to type after a failed call, if there is one.
pub fn next_after(error: &AwsError) -> Option<&'static str> {
    Some(match error {
        AwsError::Unreachable { .. } => {
            "start the local system: stageline dev (or point AWS_ENDPOINT_URL at the right address)"
        }
        AwsError::NoCredentials { .. } => {
            "for the system on this machine, start it in this folder first: stageline dev"
        }
        AwsError::Refused { code, .. } if code == "ResourceNotFoundException" => {
            "the tables are not there: deploy with scripts/deploy, or check STAGELINE_TASKS_TABLE and the region"
        }
        AwsError::Refused { code, .. }
            if code.contains("NonExistentQueue") || code == "QueueDoesNotExist" =>
        {
            "the queue is not there: take STAGELINE_POOLS anew from scripts/deploy --env"
        }
        AwsError::Refused { code, .. } if code.contains("AccessDenied") => {
            "give the credentials the permissions of docs/operations.md, \"Permissions of clients\""
        }
        _ => return None,
    })
}

/// `A`, `A and B are`.
fn are(names: &[&str]) -> String {
    match names {
        [name] => format!("{name} is"),
        [names @ .., last] => format!("{} and {last} are", names.join(", ")),
        [] => String::new(),
    }
}

impl Failure {
    /// The exit code.
    pub fn exit(&self) -> Exit {
        match self {
            Failure::Rejected(_) | Failure::Argument(_) | Failure::Exists(_) => Exit::Invalid,
            Failure::Ended { .. } | Failure::NotEnded { .. } | Failure::Changed(_) => Exit::Invalid,
            Failure::NotFound(_) => Exit::NotFound,
            Failure::Aws(_) | Failure::Artifacts(_) | Failure::DevNotRunning { .. } => Exit::Aws,
            Failure::Local { .. } => Exit::Environment,
            Failure::Worker(WorkerError::Aws(_)) => Exit::Aws,
            Failure::Worker(_) | Failure::Deployment(_) | Failure::DevFile { .. } => Exit::Environment,
            Failure::Incomplete(_) => Exit::Environment,
            Failure::Io { .. } => Exit::Error,
        }
    }

    /// The next thing to type, if there is one.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Failure::NotFound(_) => "see what there is: stageline list".to_owned(),
            Failure::Exists(id) | Failure::Changed(id) => format!("look at it: stageline status {id}"),
            Failure::Ended { id, .. } => format!("run it again: stageline retry {id}"),
            Failure::NotEnded { id, status: Status::Paused } => {
                format!("let it go on: stageline resume {id}")
            }
            Failure::NotEnded { id, status: Status::Running | Status::Preparing } => {
                format!("end it first: stageline cancel {id}")
            }
            Failure::NotEnded { id, .. } => format!("it runs by itself: stageline watch {id}"),
            Failure::Aws(error) => return next_after(error).map(str::to_owned),
            Failure::Incomplete(_) => SET_VARIABLES.to_owned(),
            Failure::Local { error: LocalError::PortInUse { .. } } => {
                "take any free port: stageline dev --port 0".to_owned()
            }
            Failure::Local { error: LocalError::DirectoryInUse { .. } } => {
                "another `stageline dev` has it; use that one, or another folder: stageline dev --dir OTHER"
                    .to_owned()
            }
            Failure::Local { error: LocalError::DirectoryNotWritable { .. } } => {
                "use another folder: stageline dev --dir OTHER".to_owned()
            }
            Failure::DevNotRunning { .. } => "start it again, its tasks are kept: stageline dev".to_owned(),
            Failure::DevFile { path, .. } => {
                format!("remove {} and start again: stageline dev", path.display())
            }
            _ => return None,
        })
    }
}
