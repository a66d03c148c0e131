//! The writes of an engine that always has something new to say, held against the worker's own tracker.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail as the test does")]

use stageline::At;
use stageline::task::Attempt;
use stageline_simulator::{Progress, SECOND};
use stageline_worker::Config;
use stageline_worker::progress::{Report, Tracker};

/// Writes of a run with one stage that reports ten times a second, as the worker with its defaults makes them.
fn written(tenths: u64) -> u64 {
    let longest = std::time::Duration::from_secs(Config::default().counter_seconds);
    let mut tracker = Tracker::new("t".parse().unwrap(), Attempt(1), None).writing_at_least_every(longest);
    let at = |tenth: u64| At::from_millis(1_000_000 + tenth as i64 * 100);
    tracker.apply(Report::enter("Run", None, ""), at(0));
    let mut writes = tracker.due(at(0)).len();
    for tenth in 1..tenths {
        tracker.apply(Report::progress(tenth), at(tenth));
        writes += tracker.due(at(tenth)).len();
    }
    tracker.finish(true, at(tenths));
    writes += tracker.due(at(tenths)).len();
    writes as u64
}

#[test]
fn a_run_has_as_many_writes_as_the_workers_tracker_makes() {
    let progress = Progress::default();
    for tenths in [5, 19, 45, 75, 100, 150, 290, 597, 1_000, 6_000, 36_000] {
        let (real, model) = (written(tenths), progress.writes(tenths * SECOND / 10));
        // A report every tenth of a second puts a write off by up to as much.
        assert!(
            real.abs_diff(model) <= 1 + real / 100,
            "{tenths} tenths: {real} really, {model} in the model"
        );
    }
    assert_eq!((written(600), progress.writes(60 * SECOND)), (11, 11));
}
