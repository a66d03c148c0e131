//! The short form of `scripts/chaos`, and a stream that is lost altogether.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use stageline::protocol::lease::Lease;
use stageline_tests::chaos::{Mix, Options, Outcome, run};

/// What the sweeper does about records that nobody has touched for a minute, it does after five seconds.
const NEARLY_A_MINUTE: Duration = Duration::from_secs(55);

const ONLY_SHORT: Mix = Mix { long: 0, demo: 0, failing: 0, paused: 0 };

fn options(seed: u64, tasks: u32, faults: Duration) -> Options {
    Options::new(seed, tasks, faults, env!("CARGO_BIN_EXE_test-worker").to_owned())
}

/// Fails with everything that is known about what went wrong.
fn assert_good(outcome: &Outcome) {
    eprintln!("{outcome}");
    assert!(outcome.is_good(), "{:#?}\n{:#?}\n{outcome}", outcome.problems, outcome.histories);
    assert_eq!((outcome.completed, outcome.lost), (outcome.tasks, 0), "{outcome}");
    assert_eq!(outcome.effective_completions.keys().collect::<Vec<_>>(), [&1], "{outcome}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_and_nothing_is_completed_twice_when_everything_goes_wrong() -> Result<()> {
    let logs = Path::new(env!("CARGO_TARGET_TMPDIR")).join("chaos");
    if logs.exists() {
        // Of an earlier run, which may have had more workers.
        std::fs::remove_dir_all(&logs)?;
    }
    // So many long ones that some run whenever a worker is stopped.
    let mix = Mix { long: 30, demo: 10, failing: 5, paused: 5 };
    let options = Options {
        mix,
        lease: Lease::of(Duration::from_secs(3)),
        sweeper_ahead: NEARLY_A_MINUTE,
        workers: 3,
        logs: Some(logs),
        ..options(7, 80, Duration::from_secs(12))
    };
    let outcome = run(options, |_| {}).await?;
    assert_good(&outcome);
    let (workers, stream) = (&outcome.workers, &outcome.stream);
    assert!(workers.kills_same_folder > 0 && workers.kills_new_folder > 0 && workers.stops > 0, "{outcome}");
    assert!(stream.dropped > 0 && stream.duplicated > 0 && stream.faults > 0, "{outcome}");
    assert!(outcome.fenced.outcomes > 0 && outcome.rescues.total > 0, "{outcome}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_any_stream_the_sweeper_alone_brings_every_task_to_its_end() -> Result<()> {
    let options = options(7, 200, Duration::ZERO);
    let options = Options { lost_stream: true, mix: ONLY_SHORT, sweeper_ahead: NEARLY_A_MINUTE, ..options };
    let outcome = run(options, |_| {}).await?;
    assert_good(&outcome);
    assert!(outcome.stream.dropped >= 200 && outcome.stream.requests == 0, "{outcome}");
    assert!(outcome.sweeper.sent_again >= 200, "{outcome}");
    Ok(())
}
