//! What can be typed.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand};
use stageline::task::{Priority, Target, TargetPattern, TaskId};

use crate::output::Format;

/// Submit simulations, watch them, and run the whole system on one machine.
#[derive(Debug, Parser)]
#[command(name = "stageline", version, max_term_width = 100)]
pub struct Args {
    /// How results are written.
    #[arg(long, global = true, value_enum, default_value = "text", env = "STAGELINE_OUTPUT")]
    pub output: Format,
    /// The folder of `stageline dev`; other commands find the running system there. Ignored when
    /// AWS_ENDPOINT_URL or STAGELINE_TASKS_TABLE is set.
    #[arg(long, global = true, default_value = ".stageline", env = "STAGELINE_DIR")]
    pub dir: PathBuf,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the whole system on this machine: tables, queues, dispatcher and one worker.
    Dev(DevArgs),
    /// Write a Task record.
    Submit(Box<SubmitArgs>),
    /// Follow tasks until they end; exit code 0 only if all completed.
    Watch(WatchArgs),
    /// Show a task and its stages.
    Status(TaskArgs),
    /// List an account's tasks, newest first.
    List(ListArgs),
}

/// `stageline dev`.
#[derive(Debug, ClapArgs)]
pub struct DevArgs {
    /// The port of the one endpoint, on 127.0.0.1; 0 takes a free one.
    #[arg(long, default_value_t = 4577)]
    pub port: u16,
    /// Tasks at once; by default the number of cores, at least 4.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub slots: Option<u32>,
    /// Where `script` and `inputs` of tasks are looked up.
    #[arg(long, default_value = ".")]
    pub inputs: PathBuf,
    /// Targets that the default pool takes.
    #[arg(long, value_delimiter = ' ', default_value = "default/*")]
    pub targets: Vec<TargetPattern>,
    /// The LAMMPS program: a name on the path, or a path.
    #[arg(long, default_value = "lmp", env = "STAGELINE_LMP")]
    pub lammps: String,
    /// Start no worker: one is run elsewhere.
    #[arg(long)]
    pub no_worker: bool,
}

/// `stageline submit`.
#[derive(Debug, ClapArgs)]
pub struct SubmitArgs {
    /// The engine: command, lammps or demo.
    #[arg(long, short)]
    pub engine: Option<String>,
    /// The engine's input file, below the worker's inputs folder.
    #[arg(long, short)]
    pub script: Option<String>,
    /// A parameter of the engine, as NAME=VALUE; numbers are sent as numbers.
    #[arg(long = "param", short, value_name = "NAME=VALUE")]
    pub params: Vec<String>,
    /// A further file that the engine needs, below the worker's inputs folder.
    #[arg(long = "input", value_name = "PATH")]
    pub inputs: Vec<String>,
    /// Where it wants to run [default: default/default]
    #[arg(long)]
    pub target: Option<Target>,
    /// LOW, MEDIUM, HIGH, CRITICAL, or 0 to 20 [default: MEDIUM]
    #[arg(long)]
    pub priority: Option<Priority>,
    /// The id; a fresh one by default. A task of this id that exists is left as it is.
    #[arg(long)]
    pub id: Option<TaskId>,
    /// The account [default: default]
    #[arg(long, env = "STAGELINE_ACCOUNT")]
    pub account: Option<String>,
    /// What kind of task it is, for people.
    #[arg(long = "type")]
    pub kind: Option<String>,
    /// A sentence for people.
    #[arg(long)]
    pub description: Option<String>,
    /// The longest it may run, in seconds.
    #[arg(long, value_name = "SECONDS")]
    pub timeout: Option<u64>,
    /// A whole record as JSON, from a file or from - (standard input); other arguments override it.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Follow it until it ends.
    #[arg(long, short)]
    pub watch: bool,
    /// The command line of the `command` engine, after `--`.
    #[arg(last = true)]
    pub command: Vec<String>,
}

/// `stageline watch`.
#[derive(Debug, ClapArgs)]
pub struct WatchArgs {
    /// The tasks.
    #[arg(required = true)]
    pub ids: Vec<TaskId>,
}

/// A command about one task.
#[derive(Debug, ClapArgs)]
pub struct TaskArgs {
    /// The task.
    pub id: TaskId,
}

/// `stageline list`.
#[derive(Debug, ClapArgs)]
pub struct ListArgs {
    /// The account.
    #[arg(long, default_value = "default", env = "STAGELINE_ACCOUNT")]
    pub account: String,
    /// How many.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub limit: u16,
}
