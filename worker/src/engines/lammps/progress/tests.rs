//! Whole recordings with the scripts they came from.

use stageline::Code;

use super::super::input::planned_steps;
use super::super::output::Output;
use super::*;
use crate::engines::Exit;

mod properties;

macro_rules! recording {
    ($name:literal) => {
        include_str!(concat!("../../../../tests/recordings/lammps/", $name))
    };
}

const CLEAN: Exit = Exit { code: Some(0), signal: None };
const FAILED: Exit = Exit { code: Some(1), signal: None };
const MELT: &str = "variable nsteps index 5000\nrun ${nsteps}\nwrite_data melt.data";
const RESTART: &str = "read_restart melt.restart.1\nrun 2000 upto";

fn start(script: &str) -> Progress {
    let plan = planned_steps(script, &BTreeMap::new());
    Progress::new(plan).with_script("in.test", script)
}

fn feed(mut progress: Progress, output: &str) -> Progress {
    let mut reader = Output::new();
    for event in output.lines().flat_map(|line| reader.line(line)) {
        progress.apply(&event);
    }
    progress
}

fn run(script: &str, output: &str) -> Progress {
    feed(start(script), output)
}

fn failure(progress: &Progress, exit: Exit) -> (Code, String) {
    match progress.verdict(exit) {
        Verdict::Failed { code, message } => (code, message),
        Verdict::Completed { result } => panic!("completed: {result}"),
    }
}

fn completes(progress: &Progress) -> bool {
    matches!(progress.verdict(CLEAN), Verdict::Completed { .. })
}

#[test]
fn a_run_that_reaches_its_plan_is_completed_with_its_numbers() {
    let progress = run(MELT, recording!("melt.out"));
    assert_eq!((progress.done(), progress.total()), (5000, Some(5000)));
    assert_eq!(progress.message(), "Step 5000 of 5000");
    let expected = json!({
        "runs": 1, "steps": 5000, "atoms": 4000, "procs": 1, "loopTimeSeconds": 10.3474,
        "stepsPerSecond": 483.215, "wallSeconds": 10,
        "lastRow": {"Step": 5000, "Temp": 1.634158, "E_pair": -4.7624851, "E_mol": 0.0, "TotEng": -2.311861,
            "Press": 5.7913176},
    });
    assert_eq!(progress.verdict(CLEAN), Verdict::Completed { result: expected });
}

#[test]
fn progress_is_known_after_every_row() {
    let half: String = recording!("melt.out")
        .split_inclusive('\n')
        .take_while(|line| !line.starts_with("    1300 "))
        .collect();
    let progress = run(MELT, &half);
    assert_eq!(progress.message(), "Step 1200 of 5000");
    assert_eq!(progress.metrics().get("Temp"), Some(&1.6527375));
    assert!(!progress.metrics().contains_key("Step"));
    assert_eq!(start(MELT).message(), "Setting up");
}

#[test]
fn several_runs_count_on_whatever_the_timestep_is_reset_to() {
    let script = recording!("several-runs.in");
    let progress = run(script, recording!("several-runs.out"));
    assert_eq!((progress.done(), progress.total()), (270, Some(270)));
    assert_eq!(progress.message(), "Step 270 of 270 (timestep 1120)");
    assert!(completes(&progress));
    assert_eq!(progress.result().get("runs"), Some(&json!(7)));
}

#[test]
fn a_restart_learns_its_total_from_the_first_row() {
    let output = recording!("restart.out");
    let header: String =
        output.split_inclusive('\n').take_while(|line| !line.starts_with("    1000 ")).collect();
    assert_eq!(run(RESTART, &header).total(), None);
    let progress = run(RESTART, output);
    assert_eq!((progress.done(), progress.total()), (1000, Some(1000)));
    assert!(completes(&progress));
}

#[test]
fn a_soft_stop_is_incomplete_although_lammps_exits_zero() {
    let timed_out = run("run 50000", recording!("timer-timeout.out"));
    assert_eq!(timed_out.message(), "Step 2200 of 50000");
    let message = "2200 of 50000 steps: Wall time limit reached".to_owned();
    assert_eq!(failure(&timed_out, CLEAN), (Code::LammpsIncomplete, message));
    let halted = run(recording!("halt.in"), recording!("halt.out"));
    let message =
        "60 of 400 steps: Fix halt condition for fix-id stop met on step 60 with value 1".to_owned();
    assert_eq!(halted.message(), "Step 60 of 400");
    assert_eq!(failure(&halted, CLEAN), (Code::LammpsIncomplete, message.clone()));
    let halted = run(recording!("halt.in"), recording!("halt-2025.out"));
    assert_eq!(failure(&halted, CLEAN), (Code::LammpsIncomplete, message));
}

#[test]
fn a_time_limit_is_incomplete_even_without_a_plan() {
    let script = "if 1 then 'run 50000'";
    assert_eq!(failure(&run(script, recording!("timer-timeout.out")), CLEAN).0, Code::LammpsIncomplete);
    assert!(completes(&run(script, recording!("halt.out"))), "the script asked for that halt");
}

#[test]
fn runs_that_never_came_are_incomplete() {
    let twice = format!("{MELT}\nrun 100");
    let message = "5000 of 5100 steps: LAMMPS gave no reason".to_owned();
    assert_eq!(failure(&run(&twice, recording!("melt.out")), CLEAN), (Code::LammpsIncomplete, message));
    assert_eq!(failure(&run(RESTART, ""), CLEAN).0, Code::LammpsIncomplete);
    let silent = failure(&run(MELT, ""), CLEAN);
    assert!(silent.0 == Code::LammpsIncomplete && silent.1.contains("-screen none"), "{}", silent.1);
}

#[test]
fn an_error_tells_the_engines_words_and_the_script_line() {
    let script = "units lj\natom_style atomic\nlattice fcc 0.8442\n\npair_style  lj/cutt 2.5 # typo\nrun 100";
    let progress = run(script, recording!("broken.out"));
    let message =
        "Unrecognized pair style 'lj/cutt' (src/force.cpp:278), at in.test line 5: pair_style lj/cutt 2.5";
    assert_eq!(failure(&progress, FAILED), (Code::LammpsError, message.to_owned()));
    assert_eq!(failure(&progress, CLEAN).0, Code::LammpsError, "an error line outweighs the exit code");
    let elsewhere = run("include other.in", recording!("broken.out"));
    assert!(failure(&elsewhere, FAILED).1.ends_with(", at command: pair_style lj/cutt 2.5"));
}

#[test]
fn the_broken_example_fails_at_line_12() {
    let script = include_str!("../../../../../examples/lammps/broken/in.broken");
    let progress = run(script, recording!("broken-2025.out")).with_script("in.broken", script);
    assert!(failure(&progress, FAILED).1.contains(", at in.broken line 12: "));
}

#[test]
fn an_error_during_a_repeated_command_names_every_line_it_may_be() {
    let progress = run(recording!("lost.in"), recording!("lost.out"));
    let (code, message) = failure(&progress, FAILED);
    assert_eq!(code, Code::LammpsError);
    assert!(message.starts_with("Lost atoms: original 256 current 2 "), "{message}");
    assert!(message.ends_with(", at in.test line 14 or 15: run 500"), "{message}");
    let newer = failure(&run(recording!("lost.in"), recording!("lost-2025.out")), FAILED);
    assert_eq!(newer, (Code::LammpsError, "Lost atoms: original 256 current 8".to_owned()));
}

#[test]
fn an_end_without_error_text_tells_how_far_it_came() {
    let killed = run("run 50000", recording!("sigterm-serial.out"));
    assert_eq!((killed.done(), killed.total()), (1800, Some(50000)));
    let signal = Exit { code: None, signal: Some(15) };
    let message =
        "LAMMPS was killed by signal 15 after 1800 of 50000 steps and printed no ERROR line".to_owned();
    assert_eq!(failure(&killed, signal), (Code::ExitSignal, message));
    let parallel = run("run 50000", recording!("sigterm-mpirun.out"));
    assert_eq!(failure(&parallel, FAILED).0, Code::ExitNonZero);
    assert_eq!(failure(&parallel, Exit { code: None, signal: None }).0, Code::ExitSignal);
}

#[test]
fn minimisations_have_no_total_and_still_complete() {
    let progress = run(recording!("minimised.in"), recording!("minimised.out"));
    assert_eq!((progress.done(), progress.total()), (115, None));
    assert_eq!(progress.message(), "Step 115 (timestep 100)");
    assert!(completes(&progress));
}

#[test]
fn the_users_total_wins_over_the_plan() {
    let half_way = feed(start(MELT).with_total_steps(Some(10_000)), recording!("melt.out"));
    assert_eq!(half_way.total(), Some(10_000));
    assert_eq!(failure(&half_way, CLEAN).0, Code::LammpsIncomplete);
    let unplanned = feed(start("include all.in").with_total_steps(Some(5000)), recording!("melt.out"));
    assert!(completes(&unplanned));
    let modest = feed(start(MELT).with_total_steps(Some(10)), recording!("melt.out"));
    assert_eq!((modest.done(), modest.total()), (5000, Some(5000)), "a total is never below what is done");
}

#[test]
fn metrics_are_finite_and_the_result_is_json() {
    let progress = run(recording!("nan.in"), recording!("nan.out"));
    assert_eq!(progress.metrics().keys().collect::<Vec<_>>(), ["PotEng", "Temp"]);
    let result = progress.result();
    assert_eq!(result.pointer("/lastRow/v_none"), Some(&Value::Null));
    assert_eq!(result.pointer("/lastRow/Step"), Some(&json!(100)));
}

#[test]
fn every_style_and_version_counts_the_same() {
    for output in [recording!("styles.out"), recording!("styles-2025.out")] {
        let progress = run(recording!("styles.in"), output);
        assert_eq!((progress.done(), progress.total()), (150, Some(150)));
        assert!(completes(&progress));
    }
    let two = run("run 2000", recording!("melt-mpirun2.out"));
    assert!(completes(&two) && two.result().get("procs") == Some(&json!(2)));
    let melt =
        include_str!("../../../../../examples/lammps/melt/in.melt").replace("index 8000", "index 1000");
    assert!(completes(&run(&melt, recording!("melt-2025.out"))));
}

#[test]
fn output_cut_anywhere_before_the_last_loop_is_never_completed() {
    for (script, output) in [(MELT, recording!("melt.out")), (RESTART, recording!("restart.out"))] {
        let mut reader = Output::new();
        let mut progress = start(script);
        for line in output.lines() {
            assert!(!completes(&progress), "before: {line}");
            if line.starts_with("Loop time of") {
                break;
            }
            let done = progress.done();
            for event in reader.line(line) {
                progress.apply(&event);
            }
            assert!(progress.done() >= done);
        }
    }
}
