//! `stageline doctor --repair`: a sign of life of each worker is waited for, then comes one whole pass of the
//! sweeper.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use indicatif::{HumanCount, ProgressBar};
use stageline::Clock;
use stageline::aws::AwsError;
use stageline::protocol::lease::Observations;
use stageline::task::WorkerId;
use stageline_sweeper::{Report, Sweeper};

use super::checks::counted;
use super::vigil::Vigil;
use crate::connection::Connection;
use crate::failure::Failure;
use crate::output::Format;
use crate::progress::{log_above, spinner, style};

/// The reasons of what fails. Impossible records are in the report and need no line of their own.
const LOG: &str = "error,stageline_sweeper=warn,stageline_sweeper::scan=error,stageline_dispatcher=warn";
const WAITING: &str = "{spinner:.cyan} {msg}  {bar:28.cyan/dim}  {pos}/{len} s";

/// What came of it.
pub(super) struct Repaired {
    /// What the pass did.
    pub report: Report,
    /// The workers that were seen to beat.
    pub beaten: BTreeSet<WorkerId>,
}

/// Waits and repairs.
pub(super) async fn run(system: &Connection, format: Format) -> Result<Repaired, Failure> {
    // A default in place of the real value would rescue tasks that run, or fail tasks of an unknown pool.
    if !system.missing.is_empty() {
        return Err(Failure::Incomplete(system.missing.clone()));
    }
    let bar = spinner(format);
    log_above(&bar, format, LOG);
    let clock = steady_clock();
    let (observations, beaten) = wait(system, &clock, &bar, format).await?;
    bar.set_style(style("{spinner:.cyan} {msg}"));
    bar.set_message("looking at records");
    let counting = bar.clone();
    let on_page = move |report: &Report| {
        counting.set_message(format!("looking at records: {}", HumanCount(report.scanned as u64)));
    };
    let sweeper = Sweeper::new(system.aws.clone(), system.deployment.clone(), clock);
    let report = Box::pin(sweeper.repair_all(observations, &on_page)).await;
    bar.finish_and_clear();
    Ok(Repaired { report, beaten })
}

/// Until each worker has beaten, but for a lease at most: who is silent then is dead.
async fn wait(
    system: &Connection,
    clock: &Clock,
    bar: &ProgressBar,
    format: Format,
) -> Result<(Observations, BTreeSet<WorkerId>), AwsError> {
    let lease = system.deployment.lease;
    let (mut vigil, start) = (Vigil::default(), Instant::now());
    // The time before the look: a beat that is written meanwhile is not older than it seems.
    let mut now = clock.now();
    vigil.look(&system.aws.workers.all().await?, now, lease);
    let end = start.elapsed() + lease.length();
    if vigil.silent() > 0 {
        bar.set_style(style(WAITING));
        bar.set_length(lease.length().as_secs());
        if bar.is_hidden() && format == Format::Text {
            let most = lease.length().as_secs();
            eprintln!("waiting for a sign of life of {}, {most} s at most", counted(vigil.all(), "worker"));
        }
    }
    while vigil.silent() > 0 && start.elapsed() < end {
        bar.set_position(start.elapsed().as_secs());
        let all = counted(vigil.all(), "worker");
        bar.set_message(format!("waiting for a sign of life: {} of {all} still silent", vigil.silent()));
        // Beats of busy workers are a tenth of a lease apart.
        let left = end.saturating_sub(start.elapsed());
        tokio::time::sleep((lease.busy() / 3).max(Duration::from_millis(50)).min(left)).await;
        now = clock.now();
        // A look that fails is made up for by the next; the pass reads them once more.
        if let Ok(items) = system.aws.workers.all().await {
            vigil.look(&items, now, lease);
        }
    }
    Ok(vigil.end())
}

/// The present by a clock that nobody sets while we look at others' silence.
fn steady_clock() -> Clock {
    let (begin, start) = (Clock::system().now(), Instant::now());
    Clock::of(move || begin.plus(start.elapsed()))
}
