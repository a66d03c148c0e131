//! What an engine makes of a task: the processes to run, or work inside the worker.

use std::ffi::OsString;
use std::path::PathBuf;

use futures::future::BoxFuture;
use stageline::protocol::outcome::Outcome;

use super::Reader;
use crate::progress::Sink;

/// How a task is run.
#[allow(clippy::large_enum_variant, reason = "there is one an attempt, and it is moved a few times")]
pub enum Execution {
    /// As processes.
    Child(ChildPlan),
    /// Inside the worker.
    Inline(InlineRun),
}

/// Work that runs inside the worker.
pub type InlineRun = Box<dyn FnOnce(Sink) -> BoxFuture<'static, Outcome> + Send>;

/// Processes to run one after the other, in one job folder.
pub struct ChildPlan {
    /// The processes, at least one. The first that does not end with exit code 0 is the last.
    pub steps: Vec<Step>,
    /// Variables beside the scrubbed environment that every child gets.
    pub env: Vec<(String, String)>,
    /// What lies in the job folder before the first step.
    pub files: Vec<Placed>,
    /// Who understands the output of all steps.
    pub reader: Box<dyn Reader>,
    /// How the engine is asked to save its state and end.
    pub soft_stop: SoftStop,
    /// Run after the last process, whatever that came to, also when the attempt was stopped: what a process
    /// asked of somebody outside its tree does not end with it. Has a few seconds; what it says changes
    /// nothing.
    pub afterwards: Option<Step>,
    /// How its processes are stopped where they are, when a signal does not reach them.
    pub pausing: Option<Pausing>,
    /// Whether the worker's limits and sandbox are not for its processes, which only ask somebody else to do
    /// the work: that somebody is told of the task's `resources` then.
    pub confines_itself: bool,
    /// What it saves to go on from, if it does.
    pub checkpoint: Checkpoint,
    /// For an engine that saves nothing while it runs on: how it is stopped for a checkpoint, and goes on. Its
    /// plan has one step, and a file as soft stop.
    pub segments: Option<Segments>,
    /// Whether what an earlier attempt saved is among the files; the processes are told.
    pub resumed: bool,
}

/// Which files of the job folder another attempt can go on from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checkpoint {
    /// Their paths below the job folder, with `*`, `?` and `**`.
    pub files: Vec<String>,
    /// Which of those that are there.
    pub pick: Pick,
}

/// Which of the files that are there are a checkpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pick {
    /// All of them together.
    #[default]
    All,
    /// The newest alone that ends with these bytes, by which a whole file is known.
    Newest {
        /// Its last bytes.
        ends_with: &'static [u8],
    },
    /// OpenFOAM's folder of the latest time, once all of it is written.
    LatestTime,
}

/// How the same step is begun again after it was stopped for a checkpoint: by a file of the job folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segments {
    /// Where, below the job folder.
    pub path: PathBuf,
    /// What it holds for a process that goes on from what the one before has left.
    pub going_on: String,
    /// What it holds for one that starts from the beginning.
    pub starting_over: String,
    /// Whether the engine may be stopped only to save a checkpoint. Otherwise one is saved when it is stopped for
    /// another reason.
    pub while_it_runs: bool,
}

/// What an earlier attempt has saved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resume {
    /// The files, which will be in the job folder.
    pub files: Vec<SavedFile>,
}

/// A file of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedFile {
    /// Where it was, and will be, below the job folder.
    pub path: String,
    /// Where it is now.
    pub at: PathBuf,
}

/// One process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The program, as an absolute path.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
}

/// How processes that run under somebody else are stopped where they are, and go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pausing {
    /// Stops them.
    pub pause: Step,
    /// Lets them go on.
    pub go_on: Step,
}

/// A file of the job folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Where, below the job folder; checked by whoever made it.
    pub to: PathBuf,
    /// What is in it.
    pub content: Content,
}

/// What is in a file of the job folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// What is in this file, with its permissions.
    CopyOf(PathBuf),
    /// This text.
    Text(String),
    /// This file itself, which is put there.
    Moved(PathBuf),
    /// What is fetched once the folder is there.
    Fetched(Fetched),
}

/// What is fetched into the job folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// Where it is.
    pub source: Source,
    /// What its SHA-256 has to be, in hexadecimal.
    pub sha256: Option<String>,
    /// How the task names it.
    pub named: String,
}

/// Where something is that is fetched; that the worker may read it, has been decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A file of this machine.
    File(PathBuf),
    /// An object in S3.
    Object {
        /// The bucket.
        bucket: String,
        /// The key.
        key: String,
    },
}

/// How an engine is asked to save its state and end: at the soft limit, when its worker drains, or for a
/// checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SoftStop {
    /// By TERM, like any process: what it does then is its own affair.
    #[default]
    Terminate,
    /// By a file of the job folder that the engine looks for.
    File {
        /// Where, below the job folder.
        path: PathBuf,
        /// What it holds.
        content: String,
    },
}

impl ChildPlan {
    /// One process that is asked by TERM.
    pub fn of(step: Step, files: Vec<Placed>, reader: Box<dyn Reader>) -> Self {
        Self {
            steps: vec![step],
            env: Vec::new(),
            files,
            reader,
            soft_stop: SoftStop::Terminate,
            afterwards: None,
            pausing: None,
            confines_itself: false,
            checkpoint: Checkpoint::default(),
            segments: None,
            resumed: false,
        }
    }
}

impl Placed {
    /// A copy of a file.
    pub fn copy(from: PathBuf, to: PathBuf) -> Self {
        Self { to, content: Content::CopyOf(from) }
    }
}
