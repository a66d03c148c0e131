//! Everything goes wrong at once, for a while, with real workers; then everything is counted. See
//! `scripts/chaos`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use stageline_tests::chaos::{Moment, Options, Outcome, run};

/// Kills, stops and cuts off workers, fails the dispatcher, garbles the stream and empties the queues while
/// tasks are written; then waits for all of them and judges. Exit code 0 only if nothing was lost.
#[derive(Debug, Parser)]
#[command(name = "chaos", max_term_width = 100)]
struct Args {
    /// How many tasks are written.
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..))]
    tasks: u32,
    /// How long things go wrong.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Decides about every fault.
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// How many workers.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..))]
    workers: u32,
    /// How the result is written to standard output.
    #[arg(long, value_enum, default_value = "text")]
    output: Format,
    /// Where the logs are kept, in a folder of the seed's name.
    #[arg(long, default_value = "target/chaos")]
    logs: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

#[tokio::main]
async fn main() -> ExitCode {
    match chaos(&Args::parse()).await {
        Ok(outcome) if outcome.is_good() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[allow(clippy::print_stdout)] // The result.
async fn chaos(args: &Args) -> Result<Outcome> {
    let logs = args.logs.join(args.seed.to_string());
    if logs.exists() {
        std::fs::remove_dir_all(&logs).with_context(|| format!("cannot empty {}", logs.display()))?;
    }
    let program = worker_program()?;
    let mut options = Options::new(args.seed, args.tasks, Duration::from_secs(args.seconds), program);
    options.workers = args.workers;
    options.logs = Some(logs.clone());
    let bar = bar(args);
    let running = run(options, |Moment { faults, ended }| {
        bar.set_position(ended as u64);
        bar.set_message(if faults { "everything goes wrong" } else { "everything works again" });
    });
    let outcome = running.await;
    bar.finish_and_clear();
    let outcome = outcome?;
    for problem in &outcome.problems {
        eprintln!("{problem}");
    }
    for (task, history) in &outcome.histories {
        eprintln!("{task}:");
        history.iter().for_each(|state| eprintln!("    {state}"));
    }
    if !outcome.is_good() {
        eprintln!("the workers' logs are in {}", logs.display());
    }
    match args.output {
        Format::Text => println!("{outcome}"),
        Format::Json => {
            let mut json = serde_json::to_value(&outcome)?;
            json["summary"] = outcome.summary().into();
            println!("{json}");
        }
    }
    Ok(outcome)
}

/// The worker's program lies beside this one.
fn worker_program() -> Result<String> {
    let program = std::env::current_exe()?.with_file_name("test-worker");
    anyhow::ensure!(program.is_file(), "{} is not built: run scripts/chaos", program.display());
    Ok(program.to_string_lossy().into_owned())
}

/// Hides itself without a terminal.
fn bar(args: &Args) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(u64::from(args.tasks)), ProgressDrawTarget::stderr());
    let template = "{elapsed_precise} {bar:28.cyan/dim} {pos}/{len} ended  {msg}";
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.set_style(style.progress_chars("━╸─"));
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}
