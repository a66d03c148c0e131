//! The command line: a study as Markdown or JSON, or one run.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::limits::Limits;
use crate::month::{DAYS, PerTask};
use crate::parameters::FUNCTION_GB;
use crate::prices::Prices;
use crate::report::{bill_table, insert, markdown};
use crate::study::{Done, PLAIN_LOADS, Plan, carry_out, case, plain_bills, plans};
use crate::watched::log_bytes;

/// Simulates a deployment: waits, workers, requests, limits and cost at any load.
#[derive(Debug, Parser)]
#[command(name = "stageline-simulator", max_term_width = 100)]
struct Command {
    #[command(subcommand)]
    what: What,
    #[command(flatten)]
    from: From,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Runs 10^3, 10^6 and 10^8 tasks a day, of a minute and of a second.
    Study {
        /// No more tasks a day than this.
        #[arg(long, default_value_t = 1e8)]
        largest: f64,
        /// Writes the tables into this document, between its marks, instead of to standard output.
        #[arg(long)]
        document: Option<PathBuf>,
        /// Keeps what the runs came to in this file.
        #[arg(long)]
        keep: Option<PathBuf>,
        /// Takes what former runs came to from such a file, and runs nothing.
        #[arg(long, conflicts_with = "keep")]
        kept: Option<PathBuf>,
        /// Writes everything as JSON into this file too.
        #[arg(long)]
        json: Option<PathBuf>,
    },
    /// Runs one load.
    Run {
        /// Tasks a day.
        #[arg(long, default_value_t = 1e6, value_parser = positive)]
        tasks: f64,
        /// How long one runs on average, in seconds.
        #[arg(long, default_value_t = 60.0, value_parser = positive)]
        seconds: f64,
        /// How many accounts write them.
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
        accounts: u32,
        /// Only so many hours, at the rate of the day's peak.
        #[arg(long, value_parser = positive)]
        peak_hours: Option<f64>,
        /// How the result is written.
        #[arg(long, value_enum, default_value = "text")]
        output: Format,
    },
    /// What a month costs, from counts a task.
    Month(Counts),
}

#[derive(Debug, Args)]
struct From {
    /// AWS's limits, instead of those built in.
    #[arg(long, global = true)]
    limits: Option<PathBuf>,
    /// Prices, instead of those built in.
    #[arg(long, global = true)]
    prices: Option<PathBuf>,
    /// Decides every draw.
    #[arg(long, global = true, default_value_t = 1)]
    seed: u64,
}

/// Counts a task, as the meter measures them.
#[derive(Debug, Args)]
struct Counts {
    /// Write units of `tasks` and its index.
    #[arg(long, default_value_t = 5.0)]
    write_units: f64,
    /// Write units of `stages`.
    #[arg(long, default_value_t = 0.0)]
    stage_units: f64,
    /// Read units.
    #[arg(long, default_value_t = 0.0)]
    read_units: f64,
    /// Calls of SQS.
    #[arg(long, default_value_t = 0.4)]
    sqs_requests: f64,
    /// Calls of the dispatcher.
    #[arg(long, default_value_t = 0.1)]
    lambda_calls: f64,
    /// Billed milliseconds of the dispatcher, at 256 MB.
    #[arg(long, default_value_t = 3.0)]
    lambda_ms: f64,
    /// The loads are so many tasks a month instead of a day.
    #[arg(long)]
    a_month: bool,
    /// Writes the table into this document, between its marks, instead of to standard output.
    #[arg(long)]
    document: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

fn positive(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|error| format!("{error}"))?;
    if number > 0.0 && number <= 1e10 { Ok(number) } else { Err("must be above 0 and at most 10^10".into()) }
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))
}

fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).with_context(|| format!("{} cannot be written", path.display()))
}

/// Carries out a plan, after it was named for whoever waits.
fn told(plan: Plan, limits: &Limits, seed: u64) -> Done {
    eprintln!("{} …", plan.name());
    carry_out(plan, limits, seed)
}

/// Does what the arguments say.
///
/// # Errors
/// A file that cannot be read or written.
#[allow(clippy::print_stdout)] // The result.
pub fn main() -> Result<()> {
    let command = Command::parse();
    let from = command.from;
    let limits =
        from.limits.as_deref().map(|path| Limits::read(&read(path)?)).transpose()?.unwrap_or_default();
    let prices =
        from.prices.as_deref().map(|path| Prices::read(&read(path)?)).transpose()?.unwrap_or_default();
    match command.what {
        What::Study { largest, document, keep, kept, json } => {
            let before = document.as_deref().map(read).transpose()?;
            let done: Vec<Done> = match kept {
                Some(path) => serde_json::from_str(&read(&path)?)
                    .with_context(|| format!("{} holds no runs of this version", path.display()))?,
                None => plans(largest).into_iter().map(|plan| told(plan, &limits, from.seed)).collect(),
            };
            if let Some(path) = keep {
                write(&path, &(serde_json::to_string_pretty(&done)? + "\n"))?;
            }
            let cases: Vec<_> = done.into_iter().map(|done| case(done, &limits, &prices)).collect();
            let text = markdown(&cases);
            match document.zip(before) {
                Some((path, before)) => write(&path, &insert(&before, "study", &format!("\n{text}"))?)?,
                None => print!("{text}"),
            }
            if let Some(path) = json {
                write(&path, &(serde_json::to_string_pretty(&cases)? + "\n"))?;
            }
        }
        What::Run { tasks, seconds, accounts, peak_hours, output } => {
            let plan = Plan { tasks, run_seconds: seconds, accounts, peak_hours };
            let case = case(carry_out(plan, &limits, from.seed), &limits, &prices);
            match output {
                Format::Text => print!("{}", markdown(&[case])),
                Format::Json => println!("{}", serde_json::to_string_pretty(&case)?),
            }
        }
        What::Month(counts) => {
            let each = PerTask {
                task_write_units: counts.write_units,
                stage_write_units: counts.stage_units,
                read_units: counts.read_units,
                sqs_requests: counts.sqs_requests,
                lambda_calls: counts.lambda_calls,
                lambda_gb_seconds: counts.lambda_ms / 1e3 * FUNCTION_GB,
                log_bytes: log_bytes(counts.lambda_calls),
                record_kb: 1.2,
                ..PerTask::default()
            };
            let (days, of) = if counts.a_month { (DAYS, "month") } else { (1.0, "day") };
            let bills = plain_bills(&each, &prices, days);
            let names = PLAIN_LOADS.map(|(tasks, _)| format!("{tasks} tasks a {of}"));
            let names = names.each_ref().map(String::as_str);
            let mut text = String::new();
            bill_table(&mut text, &names, &bills.iter().collect::<Vec<_>>());
            match counts.document {
                Some(path) => write(&path, &insert(&read(&path)?, "month", &format!("\n{text}"))?)?,
                None => print!("{text}"),
            }
        }
    }
    Ok(())
}
