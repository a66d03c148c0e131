//! The command line.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// Measures what a task costs and how fast it goes.
#[derive(Clone, Debug, Parser)]
pub struct Args {
    /// Fewer repetitions and smaller sizes: some minutes
    #[arg(long)]
    pub quick: bool,
    /// Only these subjects; the document is not written then
    #[arg(long, value_enum, value_delimiter = ',')]
    pub only: Vec<Subject>,
    /// The workspace
    #[arg(long, default_value = ".")]
    pub root: PathBuf,
    /// A worker's program of an earlier revision, to be measured beside this one
    #[arg(long)]
    pub before: Option<PathBuf>,
    /// The peers' environment
    #[arg(long, default_value = "target/tools/peers")]
    pub peers: PathBuf,
}

/// What can be measured by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Subject {
    /// Celery
    Peers,
    /// Requests, units, dollars
    Cost,
    /// CPU and memory of the worker
    Worker,
    /// The stream Lambda
    Dispatcher,
    /// From PutItem to a process
    Latency,
    /// Many tasks beside few
    Growth,
    /// What each optimisation has changed
    Optimised,
}

impl Args {
    /// Whether `subject` is wanted.
    pub fn wants(&self, subject: Subject) -> bool {
        self.only.is_empty() || self.only.contains(&subject)
    }
}
