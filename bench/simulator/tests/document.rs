//! `docs/scale.md` shows the kept runs, and `docs/runbook.md` a month, with the limits and prices of today and the
//! counts of the last measurement.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's helpers fail as the test does")]

use std::path::{Path, PathBuf};

use stageline_simulator::report::{insert, markdown};
use stageline_simulator::study::{Done, carry_out, case};
use stageline_simulator::{Limits, Prices, Progress, SECOND};

fn read(path: &str) -> String {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn kept() -> Vec<Done> {
    serde_json::from_str(&read("study.json")).unwrap_or_else(|error| panic!("study.json: {error}"))
}

/// The line of `scripts/scale` that writes the runbook's table.
fn command_of_the_month() -> String {
    let script = read("../../scripts/scale");
    let mut lines = script.lines().filter(|line| line.ends_with(" --document docs/runbook.md"));
    let line = lines.next().expect("scripts/scale writes docs/runbook.md").trim();
    line.strip_prefix("target/release/").unwrap().to_owned()
}

/// A figure of the last measurement.
fn measured(figure: &str) -> f64 {
    let document = read("../../docs/performance.md");
    let row = document.lines().find_map(|line| line.strip_prefix(&format!("| {figure} | ")));
    let row = row.unwrap_or_else(|| panic!("docs/performance.md has no figure {figure}"));
    let value = row.split(" | ").next().unwrap().trim_start_matches("~ ");
    value.parse().unwrap_or_else(|error| panic!("{figure} is {value}: {error}"))
}

#[test]
fn the_documents_tables_are_those_of_the_kept_runs() {
    let (limits, prices) = (Limits::default(), Prices::default());
    let cases: Vec<_> = kept().into_iter().map(|done| case(done, &limits, &prices)).collect();
    let document = read("../../docs/scale.md");
    let anew = insert(&document, "study", &format!("\n{}", markdown(&cases))).unwrap();
    assert!(
        anew == document,
        "write it anew: stageline-simulator study --kept bench/simulator/study.json --document docs/scale.md"
    );
}

#[test]
fn the_kept_runs_are_those_of_this_model() {
    // The small ones; the large ones take minutes.
    for done in kept().into_iter().filter(|done| done.plan.tasks < 1e5) {
        let again = carry_out(done.plan, &Limits::default(), 1);
        // Read back as the kept ones were: JSON may cost a number its last bit.
        let again: Done = serde_json::from_str(&serde_json::to_string(&again).unwrap()).unwrap();
        assert_eq!(again.outcome, done.outcome, "run scripts/scale tables");
    }
}

#[test]
fn the_runbooks_month_is_what_the_command_says() {
    let program = env!("CARGO_BIN_EXE_stageline-simulator");
    let document = read("../../docs/runbook.md");
    let command = command_of_the_month();
    assert!(document.contains(&format!("`{command}`")), "the runbook names another command than {command}");
    let (arguments, _) = command.split_once(" --document ").unwrap();
    let said = std::process::Command::new(program).args(arguments.split(' ').skip(1)).output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let table = String::from_utf8(said.stdout).unwrap();
    let anew = insert(&document, "month", &format!("\n{table}")).unwrap();
    assert!(anew == document, "write it anew: {command}");
}

#[test]
fn the_counts_of_the_runbooks_month_are_the_measured_ones() {
    let command = command_of_the_month();
    let given = |option: &str| -> f64 {
        let (_, rest) = command.split_once(option).unwrap_or_else(|| panic!("no {option} in {command}"));
        rest.split_whitespace().next().unwrap().parse().unwrap()
    };
    for (option, figure) in [
        ("--write-units", "no-op command: write units without the heartbeat's"),
        ("--read-units", "no-op command: read units"),
        ("--sqs-requests", "no-op command: SQS requests"),
    ] {
        let (given, measured) = (given(option), measured(figure));
        assert!(
            (given - measured).abs() <= 0.1 * measured,
            "{figure}: {measured} measured, {option} {given} in scripts/scale"
        );
    }
    let said = format!("{} calls of SQS", given("--sqs-requests"));
    assert!(read("../../docs/runbook.md").contains(&said), "docs/runbook.md does not say {said}");
}

#[test]
fn the_measured_updates_of_a_run_are_those_of_the_model() {
    let (measured, model) =
        (measured("updates written of ten offered"), Progress::default().writes(20 * SECOND));
    assert!((model as f64 - measured).abs() <= 0.1 * measured, "{measured} measured, {model} in the model");
}
