//! How good the expected end is: over real runs whose progress was recorded with the processor time it came at, and
//! over made-up ones. The table is printed, and lies in `docs/expected_end.md`.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;

use stageline::At;
use stageline::task::Attempt;

use super::{Report, Tracker};

/// Set to write the document instead of comparing it.
const BLESS: &str = "STAGELINE_BLESS";

macro_rules! recording {
    ($name:literal) => {
        read(include_str!(concat!("../../tests/recordings/timed/", $name, ".txt")))
    };
}

/// Seconds since the start, and items done by then. The last row is the end.
type Rows = Vec<(f64, u64)>;

struct Run {
    name: &'static str,
    rows: Rows,
    /// Reports are judged from this share of the items on.
    from: f64,
    /// The largest median error that passes, in percent of the time left.
    most: f64,
}

/// Errors of the expected end, in percent, over the reports.
struct Errors {
    reports: usize,
    of_rest: f64,
    worst_tenth: f64,
    of_run: f64,
    time_within: f64,
}

fn read(recording: &str) -> Rows {
    let lines = recording.lines().filter(|line| !line.starts_with('#'));
    let row =
        |line: &str| line.split_once(' ').map(|(at, done)| (at.parse().unwrap(), done.parse().unwrap()));
    lines.filter_map(row).collect()
}

fn recorded() -> Vec<Run> {
    // The short one is five times as fast from 40 % of its steps on, which is when its time is nearly over.
    [
        ("LAMMPS, melt, 10 s", recording!("lammps-melt"), 15.0),
        ("LAMMPS, large melt, 68 s", recording!("lammps-melt-large"), 15.0),
        ("OpenFOAM, cavity to its steady state, 89 s", recording!("openfoam-cavity-fine"), 15.0),
        ("OpenFOAM, cavity with a pulsed lid, 98 s", recording!("openfoam-cavity-pulsed"), 15.0),
        ("OpenFOAM, cavity to its steady state, 7 s", recording!("openfoam-cavity"), 80.0),
        ("FEniCSx, heat, 5 s", recording!("fenicsx-heat"), 15.0),
    ]
    .map(|(name, rows, most)| Run { name, rows, from: 0.2, most })
    .into()
}

/// A run of `items`, each as long as `seconds` says, that reports no more often than every `period` seconds.
fn made_up(items: u64, period: f64, mut seconds: impl FnMut(u64) -> f64) -> Rows {
    let (mut now, mut rows) = (0.0, vec![(0.0, 0)]);
    for item in 0..items {
        now += seconds(item);
        if item + 1 == items || now - rows[rows.len() - 1].0 >= period {
            rows.push((now, item + 1));
        }
    }
    rows
}

/// Numbers from -1 to 1, the same ones in every run.
fn noise(item: u64) -> f64 {
    let mixed = (item + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed >> 40) as f64 / f64::from(1 << 23) - 1.0
}

fn synthetic() -> Vec<Run> {
    let wave =
        |item: u64, waves: f64, items: f64| (item as f64 / items * waves * std::f64::consts::TAU).sin();
    let five_times = |item| if item < 400 { 0.25 } else { 0.05 };
    let three_times = |item| if item < 500 { 0.1 } else { 0.3 };
    let buffered = (0..12_001).map(|line: u64| (line.div_ceil(100) as f64 * 60.0, line)).collect();
    [
        ("steady, 100 s", made_up(1_000, 0.2, |_| 0.1), 0.2, 1.0),
        (
            "steady, each item 10 to 190 % of the mean",
            made_up(1_000, 0.2, |i| 0.1 + 0.09 * noise(i)),
            0.2,
            8.0,
        ),
        (
            "steady, a report a minute for two hours",
            made_up(14_400, 60.0, |i| 0.5 + 0.2 * noise(i)),
            0.2,
            2.0,
        ),
        ("steady, a hundred lines at once every minute", buffered, 0.2, 2.0),
        (
            "10 s of writing after every 50 s",
            made_up(20_000, 1.0, |i| if i % 500 == 499 { 10.1 } else { 0.1 }),
            0.2,
            15.0,
        ),
        (
            "a standstill of 5 min in a run of 15",
            made_up(6_000, 1.0, |i| if i == 3_000 { 300.0 } else { 0.1 }),
            0.2,
            5.0,
        ),
        (
            "a first item as long as thirty others",
            made_up(100, 0.0, |i| if i == 0 { 30.0 } else { 1.0 + 0.2 * noise(i) }),
            0.2,
            8.0,
        ),
        ("ten items of about an hour", made_up(10, 0.0, |i| 3_600.0 * (1.0 + 0.2 * noise(i))), 0.2, 15.0),
        (
            "30 h, speed up and down by 40 % forty times",
            made_up(10_800, 60.0, |i| 10.0 + 4.0 * wave(i, 40.0, 10_800.0)),
            0.2,
            10.0,
        ),
        (
            "30 h, speed up and down by 30 % twice",
            made_up(10_800, 60.0, |i| 10.0 + 3.0 * wave(i, 2.0, 10_800.0)),
            0.2,
            30.0,
        ),
        ("items grow to three times their time", made_up(1_000, 0.2, |i| 0.1 + 0.0002 * i as f64), 0.2, 25.0),
        (
            "items shrink to a third of their time",
            made_up(1_000, 0.2, |i| 0.3 - 0.0002 * i as f64),
            0.2,
            50.0,
        ),
        (
            "three times as slow from 50 % on, judged from 52 % on",
            made_up(1_000, 0.2, three_times),
            0.52,
            5.0,
        ),
        ("five times as fast from 40 % on", made_up(1_000, 0.2, five_times), 0.2, 200.0),
        ("the same, judged from 45 % on", made_up(1_000, 0.2, five_times), 0.45, 5.0),
    ]
    .map(|(name, rows, from, most)| Run { name, rows, from, most })
    .into()
}

/// Lets a tracker follow the run.
fn errors(run: &Run) -> Errors {
    let (start, (end, total)) = (run.rows[0].0, run.rows[run.rows.len() - 1]);
    let mut tracker = Tracker::new("t".parse().unwrap(), Attempt(1), None);
    let (mut of_rest, mut of_run, mut judged, mut within) = (Vec::new(), Vec::new(), 0.0, 0.0);
    for (index, (seconds, done)) in run.rows.iter().copied().enumerate() {
        let now = At::from_millis((seconds * 1_000.0) as i64);
        tracker
            .apply(Report { enter: Some("Run".into()), total: Some(total), ..Report::progress(done) }, now);
        // Whatever was changed is due after the period of the counters.
        let stage = tracker.due(At::from_millis(i64::MAX)).pop().unwrap();
        let share = done as f64 / total as f64;
        let next = run.rows.get(index + 1).map_or(end, |row| row.0);
        if !(run.from..0.98).contains(&share) {
            continue;
        }
        let expected = stage.estimated_completion_at.unwrap().millis() as f64 / 1_000.0;
        let error = 100.0 * (expected - end).abs() / (end - seconds);
        of_rest.push(error);
        of_run.push(100.0 * (expected - end).abs() / (end - start));
        judged += next - seconds;
        within += if error <= 15.0 { next - seconds } else { 0.0 };
    }
    Errors {
        reports: of_rest.len(),
        worst_tenth: quantile(&mut of_rest, 0.9),
        of_rest: quantile(&mut of_rest, 0.5),
        of_run: quantile(&mut of_run, 0.5),
        time_within: 100.0 * within / judged,
    }
}

fn quantile(errors: &mut [f64], share: f64) -> f64 {
    errors.sort_by(f64::total_cmp);
    errors[(errors.len() as f64 * share) as usize]
}

/// The table of these runs, and those whose error is larger than it may be.
fn table(runs: &[Run]) -> (String, Vec<String>) {
    let mut text = String::from(
        "| run | reports | median error, of the time left | nine of ten are within | median error, of the run | \
         time with an error of at most 15 % |\n|---|---|---|---|---|---|\n",
    );
    let mut failed = Vec::new();
    for run in runs {
        let Errors { reports, of_rest, worst_tenth, of_run, time_within } = errors(run);
        writeln!(
            text,
            "| {} | {reports} | {of_rest:.0} % | {worst_tenth:.0} % | {of_run:.0} % | {time_within:.0} % |",
            run.name
        )
        .unwrap();
        if of_rest > run.most {
            failed.push(format!("{}: {of_rest:.1} % of the time left, allowed: {} %", run.name, run.most));
        }
    }
    (text, failed)
}

#[test]
fn the_expected_end_of_a_recorded_run_is_within_15_percent_of_the_time_left_and_the_table_is_as_committed() {
    let (recorded, mut failed) = table(&recorded());
    let (synthetic, more) = table(&synthetic());
    failed.extend(more);
    // Not with a macro, whose output the test harness keeps to itself.
    let shown = format!("\nThe expected end after 20 % of the items\n\n{recorded}\n{synthetic}\n");
    let _nobody_reads = std::io::stderr().write_all(shown.as_bytes());
    assert!(failed.is_empty(), "{failed:#?}");
    is_as_committed(&format!(
        "<!-- Generated from worker/src/progress/expected_end_tests.rs by \
         `{BLESS}=1 cargo test -p stageline-worker --lib expected_end`. -->\n{}\n## Recorded runs\n\n{}\n{recorded}\n\
         ## Made-up runs\n\n{}\n{synthetic}",
        include_str!("expected_end/introduction.md"),
        include_str!("expected_end/recorded.md"),
        include_str!("expected_end/made_up.md"),
    ));
}

/// The shortest run has no time to find out that its speed has changed: it is judged by the run as a whole.
#[test]
fn the_expected_end_of_a_run_of_seconds_that_changes_its_speed_is_within_15_percent_of_the_run() {
    let (name, rows) = ("short", recording!("openfoam-cavity"));
    assert!(errors(&Run { name, rows, from: 0.2, most: 0.0 }).of_run < 15.0);
}

fn is_as_committed(document: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/expected_end.md");
    if std::env::var_os(BLESS).is_some_and(|value| value == "1") {
        std::fs::write(&path, document).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == document,
        "docs/expected_end.md is not what the code says; if that is meant, write it with {BLESS}=1"
    );
}
