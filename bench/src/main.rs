//! The binary of the meter. Interrupted, it stops everything that it has started.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use stageline_bench::args::Args;
use stageline_bench::report::markdown;
use stageline_bench::{run, say};
use tokio::signal::unix::{SignalKind, signal};

/// What a measurement on a thread of its own has to end; what it started ends with its connection to the meter.
const LAST_STEPS: Duration = Duration::from_secs(3);

fn main() -> ExitCode {
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            say(&format!("error: no threads can be had: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(measure());
    runtime.shutdown_timeout(LAST_STEPS);
    code
}

async fn measure() -> ExitCode {
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        say("signals cannot be caught");
        return ExitCode::FAILURE;
    };
    let args = Args::parse();
    let results = tokio::select! {
        results = Box::pin(run(&args)) => results,
        // What is dropped stops its processes.
        _ = interrupt.recv() => return ExitCode::from(130),
        _ = terminate.recv() => return ExitCode::from(143),
    };
    match results {
        Ok(results) => {
            print(&markdown(&results));
            say(&format!("{} targets missed", results.misses()));
            if results.has_failures() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
        }
        Err(error) => {
            say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// The document is the output.
#[expect(clippy::print_stdout)]
fn print(text: &str) {
    println!("{text}");
}
