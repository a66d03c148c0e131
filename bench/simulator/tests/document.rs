//! `docs/scale.md` shows the kept runs, and `docs/runbook.md` a month, with the limits and prices of today.

use std::path::{Path, PathBuf};

use stageline_simulator::report::{insert, markdown};
use stageline_simulator::study::{Done, carry_out, case};
use stageline_simulator::{Limits, Prices};

fn read(path: &str) -> String {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn kept() -> Vec<Done> {
    serde_json::from_str(&read("study.json")).unwrap_or_else(|error| panic!("study.json: {error}"))
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
    let arguments = ["month", "--a-month", "--sqs-requests", "0.332"];
    let said = std::process::Command::new(program).args(arguments).output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let table = String::from_utf8(said.stdout).unwrap();
    let document = read("../../docs/runbook.md");
    let anew = insert(&document, "month", &format!("\n{table}")).unwrap();
    assert!(
        anew == document,
        "write it anew: stageline-simulator {} --document docs/runbook.md",
        arguments.join(" ")
    );
}
