//! How good the expected end is, over real runs whose progress was recorded with the processor time it came at.

use stageline::At;
use stageline::task::Attempt;

use super::{Report, Tracker};

macro_rules! recording {
    ($name:literal) => {
        include_str!(concat!("../../tests/recordings/timed/", $name))
    };
}

/// Of the reports between 20 % and 98 % of the run, the median error of the expected end, in percent of the
/// time that was really left, and of the whole run.
fn median_errors(name: &str, recording: &str) -> (f64, f64) {
    let rows: Vec<(f64, u64)> = recording
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(' '))
        .map(|(seconds, done)| (seconds.parse().unwrap(), done.parse().unwrap()))
        .collect();
    let (start, (end, total)) = (rows[0].0, *rows.last().unwrap());
    let mut tracker = Tracker::new("t".parse().unwrap(), Attempt(1), None);
    let (mut of_rest, mut of_all) = (Vec::new(), Vec::new());
    for (seconds, done) in rows {
        let now = At::from_millis((seconds * 1_000.0) as i64);
        let report = Report { enter: Some("Run".into()), total: Some(total), ..Report::progress(done) };
        tracker.apply(report, now);
        // Whatever was changed is due after the period of the counters.
        let stage = tracker.due(At::from_millis(i64::MAX)).pop().unwrap();
        let share = done as f64 / total as f64;
        if !(0.2..0.98).contains(&share) {
            continue;
        }
        let expected = stage.estimated_completion_at.unwrap().millis() as f64 / 1_000.0;
        of_rest.push(100.0 * (expected - end).abs() / (end - seconds));
        of_all.push(100.0 * (expected - end).abs() / (end - start));
    }
    let median = |errors: &mut Vec<f64>| {
        errors.sort_by(f64::total_cmp);
        errors[errors.len() / 2]
    };
    let medians = (median(&mut of_rest), median(&mut of_all));
    println!(
        "{name}: {:.1} % of the time left, {:.1} % of the run, {} reports",
        medians.0,
        medians.1,
        of_all.len()
    );
    medians
}

#[test]
fn the_expected_end_of_a_steady_run_is_within_15_percent_of_the_time_left() {
    assert!(median_errors("LAMMPS melt", recording!("lammps-melt.txt")).0 < 15.0);
    assert!(median_errors("FEniCSx heat", recording!("fenicsx-heat.txt")).0 < 15.0);
}

/// Half-way it becomes five times as fast, which nobody can know before: the error of the time left is large
/// until then, and vanishes after it.
#[test]
fn the_expected_end_of_a_run_that_changes_its_speed_is_within_15_percent_of_the_run() {
    assert!(median_errors("OpenFOAM cavity", recording!("openfoam-cavity.txt")).1 < 15.0);
}
