//! The model beside the real thing: a worker's process with eight slots on the embedded AWS, the real dispatcher,
//! and tasks that come at random and run for a known time, so long that they queue. Then the model with the
//! same tasks, the time that each engine took, and what calls took. Prints one line; see `docs/scale.md`.

mod calibration;
mod comparison;
mod rig;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use stageline_simulator::report::insert;

use crate::comparison::Comparison;
use crate::rig::{Rig, plan};

/// Compares waits and requests of a real run with the model's.
#[derive(Debug, Parser)]
#[command(name = "stageline-simulator-check", max_term_width = 100)]
struct Args {
    /// How many tasks.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(50..=5_000))]
    tasks: u32,
    /// How long they run on average, in seconds.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// The part of the slots that they take.
    #[arg(long, default_value_t = 0.9)]
    load: f64,
    /// Decides when they come and how long they run.
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// The most that a figure may differ, as a part of the real one.
    #[arg(long, default_value_t = 0.1)]
    within: f64,
    /// Writes the line into this document, between its marks.
    #[arg(long)]
    document: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    match check(&args).await {
        Ok(comparison) if comparison.worst() <= args.within => ExitCode::SUCCESS,
        Ok(comparison) => {
            eprintln!("error: a figure differs by {:.1} %", comparison.worst() * 100.0);
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[allow(clippy::print_stdout)] // The result.
async fn check(args: &Args) -> Result<Comparison> {
    anyhow::ensure!((0.2..=0.95).contains(&args.load), "--load must be from 0.2 to 0.95");
    anyhow::ensure!((0.2..=60.0).contains(&args.seconds), "--seconds must be from 0.2 to 60");
    let rig = Rig::start(worker_program()?).await?;
    let receive = calibration::receive(&rig).await?;
    let plan = plan(args.seed, args.tasks, args.seconds, args.load, calibration::OVERHEAD);
    let real = rig.run(&plan).await?;
    rig.end().await?;
    let measured = calibration::measure(&real.tasks, receive)?;
    eprintln!("measured: {measured:?}");
    let comparison = Comparison::of(&real, &measured);
    eprintln!("{}", comparison.details());
    let line = comparison.line();
    println!("{line}");
    if let Some(path) = &args.document {
        let before =
            std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
        std::fs::write(path, insert(&before, "validation", &format!("\n{}\n", comparison.markdown()))?)?;
    }
    Ok(comparison)
}

/// The worker's program lies beside this one.
fn worker_program() -> Result<String> {
    let program = std::env::current_exe()?.with_file_name("stageline-worker");
    anyhow::ensure!(
        program.is_file(),
        "{} is not there; build it first: cargo build -p stageline-worker",
        program.display()
    );
    Ok(program.to_string_lossy().into_owned())
}
