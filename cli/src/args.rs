//! What can be typed.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use stageline::At;
use stageline::task::{ENGINES, Priority, RetryStrategy, Target, TargetPattern, TaskId};

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
    /// The artifact store of the workers, s3://bucket/prefix or file:///folder: where `submit` puts large parameters
    /// and `logs` finds logs. For `dev`: the store of its worker.
    #[arg(long, global = true, value_name = "URL", env = "STAGELINE_ARTIFACTS_URL")]
    pub artifacts: Option<String>,
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
    Watch(TasksArgs),
    /// Show a task and its stages.
    Status(TaskArgs),
    /// Show what a task has printed, also while it runs.
    Logs(LogsArgs),
    /// Ask for the end of tasks, also of running ones.
    Cancel(TasksArgs),
    /// Ask to hold tasks: what waits is not started, what runs is stopped where it is.
    Pause(TasksArgs),
    /// Ask to let paused tasks go on.
    Resume(TasksArgs),
    /// Run ended tasks again.
    Retry(TasksArgs),
    /// List an account's tasks, newest first.
    List(ListArgs),
    /// Check tables, queues and workers of the system that the commands talk to; exit code 7 for a problem.
    Doctor(DoctorArgs),
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
    /// Where `script` and `inputs` of tasks are looked up [default: .]
    #[arg(long)]
    pub inputs: Option<PathBuf>,
    /// Targets that the default pool takes.
    #[arg(long, value_delimiter = ' ', default_value = "default/*")]
    pub targets: Vec<TargetPattern>,
    /// The LAMMPS program: a name on the path, or a path [default: lmp]
    #[arg(long, env = "STAGELINE_LMP")]
    pub lammps: Option<String>,
    /// A file of worker settings, as stageline-worker.toml is one: programs of other engines, where files are
    /// stored, limits. What is typed here wins.
    #[arg(long, value_name = "FILE", conflicts_with = "no_worker")]
    pub worker_config: Option<PathBuf>,
    /// Where its worker serves /metrics, /healthz and /readyz, such as 127.0.0.1:9464.
    #[arg(long, value_name = "ADDRESS")]
    pub metrics_address: Option<std::net::SocketAddr>,
    /// Start no worker: one is run elsewhere.
    #[arg(long)]
    pub no_worker: bool,
}

/// `stageline submit`.
#[derive(Debug, ClapArgs)]
pub struct SubmitArgs {
    /// The engine.
    #[arg(long, short, help = engines())]
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
    /// A file to keep of those that the task leaves: a path in its job folder, in which * and ? stand for parts of
    /// a name and ** for any number of folders. Repeat it.
    #[arg(long, value_name = "GLOB")]
    pub keep: Vec<String>,
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
    /// After this many seconds it is asked to save its state and stop; below --timeout.
    #[arg(long, value_name = "SECONDS")]
    pub soft_timeout: Option<u64>,
    /// Not to be started before: 2026-11-21T18:00:00Z, or from now on +90s, +5m, +2h.
    #[arg(long, value_name = "TIME")]
    pub not_before: Option<NotBefore>,
    /// Processor cores that it uses: processes or threads, as its engine does it.
    #[arg(long, value_name = "N")]
    pub cpus: Option<u32>,
    /// Memory that it needs, in MiB.
    #[arg(long, value_name = "MIB")]
    pub memory_mb: Option<u64>,
    /// Graphics processors that it needs.
    #[arg(long, value_name = "N")]
    pub gpus: Option<u32>,
    /// Attempts after a first one that failed [default: none]
    #[arg(long, value_name = "N")]
    pub retries: Option<u32>,
    /// How the delay before a retry grows [default: exponential-backoff]
    #[arg(long, value_enum, requires = "retries")]
    pub retry_strategy: Option<Strategy>,
    /// The first delay before a retry, in seconds [default: 5]
    #[arg(long, value_name = "SECONDS", requires = "retries")]
    pub retry_delay: Option<u32>,
    /// The longest delay before a retry, in seconds [default: a day]
    #[arg(long, value_name = "SECONDS", requires = "retries")]
    pub retry_max_delay: Option<u32>,
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

fn engines() -> String {
    format!("The engine: {} [default: command]", ENGINES.join(", "))
}

/// A command about one or more tasks.
#[derive(Debug, ClapArgs)]
pub struct TasksArgs {
    /// The tasks.
    #[arg(required = true, value_name = "ID")]
    pub ids: Vec<TaskId>,
}

/// A command about one task.
#[derive(Debug, ClapArgs)]
pub struct TaskArgs {
    /// The task.
    pub id: TaskId,
}

/// `stageline logs`.
#[derive(Clone, Debug, ClapArgs)]
pub struct LogsArgs {
    /// The task.
    pub id: TaskId,
    /// Which of the two.
    #[arg(long, value_enum, default_value = "stdout")]
    pub stream: LogStream,
    /// Of this attempt [default: the latest]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub attempt: Option<u32>,
    /// Go on until the task ends.
    #[arg(long, short)]
    pub follow: bool,
}

/// `--stream`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl LogStream {
    /// As it is typed.
    pub fn stream(self) -> &'static str {
        match self {
            LogStream::Stdout => "stdout",
            LogStream::Stderr => "stderr",
        }
    }

    /// What its log is called.
    pub fn name(self) -> &'static str {
        match self {
            LogStream::Stdout => "stdout.log",
            LogStream::Stderr => "stderr.log",
        }
    }
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

/// `stageline doctor`.
#[derive(Debug, ClapArgs)]
pub struct DoctorArgs {
    /// First look at every record and bring back what the ordinary paths missed. Waits up to one lease for a
    /// sign of life of each worker.
    #[arg(long)]
    pub repair: bool,
}

/// `--retry-strategy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Strategy {
    /// Never.
    None,
    /// At once.
    Immediate,
    /// After the same delay each time.
    FixedDelay,
    /// The delay doubles each time.
    ExponentialBackoff,
    /// The delay grows as the Fibonacci numbers do.
    FibonacciBackoff,
}

impl From<Strategy> for RetryStrategy {
    fn from(strategy: Strategy) -> Self {
        match strategy {
            Strategy::None => RetryStrategy::None,
            Strategy::Immediate => RetryStrategy::Immediate,
            Strategy::FixedDelay => RetryStrategy::FixedDelay,
            Strategy::ExponentialBackoff => RetryStrategy::ExponentialBackoff,
            Strategy::FibonacciBackoff => RetryStrategy::FibonacciBackoff,
        }
    }
}

/// `--not-before`: a moment, or a time from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotBefore {
    /// This moment.
    Moment(At),
    /// So much later than now.
    FromNow(Duration),
}

impl NotBefore {
    /// The moment.
    pub fn at(self, now: At) -> At {
        match self {
            NotBefore::Moment(at) => at,
            NotBefore::FromNow(delay) => now.plus(delay),
        }
    }
}

impl FromStr for NotBefore {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let read = match text.strip_prefix('+') {
            Some(delay) => from_now(delay).map(NotBefore::FromNow),
            None => At::parse(text).map(NotBefore::Moment),
        };
        read.ok_or_else(|| {
            "not a time with an offset such as 2026-11-21T18:00:00Z, and not +90s, +5m or +2h".to_owned()
        })
    }
}

fn from_now(text: &str) -> Option<Duration> {
    let unit = match text.chars().next_back()? {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        _ => return None,
    };
    let number = &text[..text.len() - 1];
    // A number's own sign would be a second one.
    let number: u64 = number.parse().ok().filter(|_| number.starts_with(|c: char| c.is_ascii_digit()))?;
    number.checked_mul(unit).map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_moment_or_so_much_later() {
        let now = At::from_millis(1_000_000);
        let at = |text: &str| text.parse::<NotBefore>().map(|time| time.at(now).millis());
        for (text, expected) in
            [("+90s", 1_090_000), ("+5m", 1_300_000), ("+2h", 8_200_000), ("+0s", 1_000_000)]
        {
            assert_eq!(at(text), Ok(expected), "{text}");
        }
        assert_eq!(at("1970-01-01T01:00:00+01:00"), Ok(0));
        for text in [
            "",
            "+",
            "+s",
            "+5",
            "5m",
            "++5m",
            "+-5m",
            "+1.5h",
            "+5d",
            "+99999999999999999999s",
            "+5é",
            "+18446744073709551615h",
            "tomorrow",
            "2026-11-21T18:00:00",
        ] {
            assert!(at(text).is_err(), "{text}");
        }
    }
}
