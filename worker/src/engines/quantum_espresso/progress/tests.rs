//! Whole recordings with the inputs they came from.

use proptest::prelude::*;
use serde_json::json;
use stageline::Code;

use super::super::input;
use super::super::output::Output;
use super::*;
use crate::engines::Exit;

macro_rules! recording {
    ($name:literal) => {
        include_str!(concat!("../../../../tests/recordings/quantum-espresso/", $name))
    };
}

fn exit(code: i32) -> Exit {
    Exit { code: Some(code), signal: None }
}

fn run(input: &str, output: &str) -> Progress {
    let mut progress = Progress::new(input::read(input));
    let mut reader = Output::new();
    for event in output.lines().filter_map(|line| reader.line(line)) {
        progress.apply(&event);
    }
    if let Some(event) = reader.end() {
        progress.apply(&event);
    }
    progress
}

fn reports(input: &str, output: &str) -> Vec<Report> {
    let mut progress = Progress::new(input::read(input));
    let mut reader = Output::new();
    output.lines().filter_map(|line| reader.line(line)).filter_map(|event| progress.apply(&event)).collect()
}

fn result(input: &str, output: &str) -> serde_json::Value {
    match run(input, output).verdict(exit(0)) {
        Verdict::Completed { result } => result,
        other => panic!("{other:?}"),
    }
}

fn failure(input: &str, output: &str, code: i32) -> (Code, String) {
    match run(input, output).verdict(exit(code)) {
        Verdict::Failed { code, message } => (code, message),
        other => panic!("{other:?}"),
    }
}

fn completes(progress: &Progress) -> bool {
    matches!(progress.verdict(exit(0)), Verdict::Completed { .. })
}

#[test]
fn a_converged_cycle_succeeds_with_its_numbers() {
    let expected = json!({"calculation": "scf", "version": "6.7MaX", "converged": true, "iterations": 8, "cycles": 1,
        "totalEnergyRy": -15.85237974, "accuracyRy": 8.3e-12, "forceRyPerBohr": 0.0, "pressureKbar": 0.86,
        "highestOccupiedEv": 6.083, "atoms": 2, "kPoints": 28, "procs": 1, "wallSeconds": 1.34});
    assert_eq!(result(recording!("si.scf.in"), recording!("scf.out")), expected);
    let two = result(recording!("si.scf.in"), recording!("scf-mpirun2.out"));
    assert_eq!((&two["procs"], &two["iterations"]), (&json!(2), &json!(8)));
}

#[test]
fn a_metal_has_a_fermi_energy() {
    let expected = json!({"calculation": "scf", "version": "6.7MaX", "converged": true, "iterations": 7, "cycles": 1,
        "totalEnergyRy": -15.81640525, "accuracyRy": 3e-12, "forceRyPerBohr": 0.0, "pressureKbar": -20.16,
        "fermiEnergyEv": 6.638, "atoms": 2, "kPoints": 2, "procs": 1, "wallSeconds": 0.27});
    assert_eq!(result(recording!("metal.in"), recording!("metal.out")), expected);
}

#[test]
fn a_restarted_cycle_counts_the_iterations_before_it_too() {
    let result = result(recording!("si.restart.in"), recording!("restart.out"));
    assert_eq!((&result["iterations"], &result["totalEnergyRy"]), (&json!(11), &json!(-15.85360428)));
}

#[test]
fn relaxations_succeed_when_every_cycle_and_the_geometry_converge() {
    let expected = json!({"calculation": "relax", "version": "6.7MaX", "converged": true, "iterations": 27, "cycles": 6,
        "bfgsSteps": 5, "totalEnergyRy": -15.81640497, "accuracyRy": 2.1e-12, "forceRyPerBohr": 1.7e-5,
        "highestOccupiedEv": 5.5208, "atoms": 2, "kPoints": 10, "procs": 1, "wallSeconds": 1.8});
    assert_eq!(result(recording!("relax.in"), recording!("relax.out")), expected);
    let cell = result(recording!("vc-relax.in"), recording!("vc-relax.out"));
    assert_eq!(
        (&cell["bfgsSteps"], &cell["cycles"]),
        (&json!(6), &json!(8)),
        "the last cycle is a final one"
    );
}

#[test]
fn a_dynamics_succeeds_when_its_steps_are_taken() {
    let result = result(recording!("md.in"), recording!("md.out"));
    assert_eq!((&result["dynamicsSteps"], &result["cycles"]), (&json!(6), &json!(6)));
}

#[test]
fn bands_succeed_without_a_cycle() {
    let expected = json!({"calculation": "nscf", "version": "6.7MaX", "highestOccupiedEv": 5.9411, "atoms": 2, "kPoints": 10,
        "procs": 1, "wallSeconds": 0.35});
    assert_eq!(result(recording!("nscf.in"), recording!("nscf.out")), expected);
}

#[test]
fn job_done_is_no_success() {
    for (input, output, code, expected, said) in [
        (
            recording!("b3.in"),
            recording!("not-converged.out"),
            2,
            Code::QeNotConverged,
            "convergence NOT achieved after 3 iterations (accuracy 2.3e-4 Ry, wanted 1.0e-10)",
        ),
        (
            recording!("si.long.in"),
            recording!("exit-file.out"),
            2,
            Code::QeIncomplete,
            "Program stopped by user request, at iteration 3 (accuracy 1.0e-2 Ry, wanted 1.0e-10)",
        ),
        (
            recording!("max-seconds.in"),
            recording!("max-seconds.out"),
            255,
            Code::QeIncomplete,
            "Maximum CPU time exceeded",
        ),
        (
            recording!("relax-nstep.in"),
            recording!("relax-nstep.out"),
            3,
            Code::QeNotConverged,
            "the maximum number of steps was reached, at step 1, iteration 6",
        ),
    ] {
        assert!(output.contains("JOB DONE."));
        for code in [code, 0] {
            let (code, message) = failure(input, output, code);
            assert_eq!(code, expected);
            assert!(message.contains(said), "{message}");
        }
    }
}

#[test]
fn errors_are_told_with_routine_and_text() {
    for (output, said) in [
        (
            recording!("missing-pseudo.out"),
            "error in routine readpp (1): file /usr/share/espresso/pseudo/Si.nope.UPF not found",
        ),
        (
            recording!("CRASH"),
            "error in routine readpp (1): file /usr/share/espresso/pseudo/Si.nope.UPF not found",
        ),
        (recording!("missing-file.out"), "error in routine read_input (1): opening input file"),
        (
            recording!("bad-namelist.out"),
            "error in routine read_namelists (1): bad line in namelist &system: \"  ecutwffc = 30.0\" (error could be in the previous line)",
        ),
        (
            recording!("nscf-without-scf.out"),
            "error in routine read_conf_from_file (1): fatal error reading xml file",
        ),
    ] {
        assert_eq!(failure(recording!("b1.in"), output, 1), (Code::QeError, said.to_owned()));
        assert_eq!(failure("", output, 0).0, Code::QeError, "an error outweighs the exit code");
    }
}

#[test]
fn an_end_without_a_word_is_told_by_how_it_ended() {
    let killed = run(recording!("si.long.in"), recording!("sigterm.out"));
    assert_eq!(killed.verdict(Exit { code: None, signal: Some(15) }), Verdict::Died { said: None });
    assert_eq!(killed.verdict(exit(1)), Verdict::Died { said: None });
    assert_eq!(failure(recording!("si.long.in"), recording!("sigterm.out"), 0).0, Code::QeIncomplete);
}

#[test]
fn a_clean_exit_proves_nothing_without_the_words_for_the_kind_of_calculation() {
    let incomplete = |input: &str, output: &str| assert_eq!(failure(input, output, 0).0, Code::QeIncomplete);
    incomplete(recording!("relax.in"), recording!("scf.out"));
    incomplete(recording!("nscf.in"), recording!("scf.out"));
    incomplete(recording!("si.scf.in"), recording!("nscf.out"));
    incomplete(recording!("si.scf.in"), "JOB DONE.");
    incomplete("", "JOB DONE.");
    let cut = recording!("scf.out").replace("JOB DONE.", "");
    incomplete(recording!("si.scf.in"), &cut);
}

#[test]
fn an_input_that_is_not_understood_is_judged_by_the_output_alone() {
    for output in
        [recording!("scf.out"), recording!("relax.out"), recording!("nscf.out"), recording!("md.out")]
    {
        assert!(completes(&run("", output)));
    }
    assert_eq!(failure("", recording!("relax-nstep.out"), 0).0, Code::QeNotConverged);
    let stages: Vec<_> =
        reports("", recording!("relax.out")).into_iter().filter_map(|one| one.enter).collect();
    assert_eq!(stages, ["Scf", "Relax"]);
}

#[test]
fn the_share_of_a_cycle_follows_its_accuracy_and_is_whole_at_its_end() {
    let reports = reports(recording!("si.scf.in"), recording!("scf.out"));
    assert_eq!(reports[0].enter.as_deref(), Some("Scf"));
    assert!(reports[1..].iter().all(|report| report.enter.is_none()));
    let mut shares: Vec<_> = reports.iter().filter_map(|report| report.done).collect();
    shares.dedup();
    assert_eq!(shares, [0, 10, 87, 275, 387, 554, 649, 824, 999, 1000]);
    assert!(reports.iter().all(|report| report.total == Some(1000)));
    let said: Vec<_> = reports.iter().filter_map(|report| report.message.as_deref()).collect();
    assert!(said.contains(&"Iteration 5: accuracy 8.2e-7 Ry, wanted 1.0e-10"), "{said:?}");
}

#[test]
fn an_optimisation_has_steps_and_no_total() {
    let reports = reports(recording!("relax.in"), recording!("relax.out"));
    let last = reports.last().unwrap();
    assert_eq!((last.done, last.total), (Some(5), None));
    assert_eq!(last.message.as_deref(), Some("Step 5 of at most 50, iteration 3"));
    let metrics: Vec<_> = last.metrics.keys().map(String::as_str).collect();
    assert_eq!(metrics, ["accuracyRy", "forceRyPerBohr", "highestOccupiedEv", "iteration", "totalEnergyRy"]);
    assert_eq!(reports.iter().filter_map(|report| report.enter.as_deref()).collect::<Vec<_>>(), ["Relax"]);
}

#[test]
fn a_dynamics_has_a_total() {
    let reports = reports(recording!("md.in"), recording!("md.out"));
    let last = reports.last().unwrap();
    assert_eq!((last.done, last.total), (Some(6), Some(6)));
    assert_eq!(reports[0].enter.as_deref(), Some("Dynamics"));
}

#[test]
fn a_bad_step_is_no_divergence_and_a_lasting_one_is() {
    let bad = run(recording!("bad-step.in"), recording!("bad-step.out"));
    assert!(bad.divergence().is_none() && completes(&bad));
    let mut worse = "     Self-consistent Calculation\n".to_owned();
    for accuracy in ["0.06", "200.0", "900.0", "2.0E+05", "3.0E+05", "4.0E+05", "*****************"] {
        worse.push_str(&format!("     estimated scf accuracy    <       {accuracy} Ry\n"));
    }
    assert_eq!(failure(recording!("si.scf.in"), &worse, 0).0, Code::Diverged);
    let lost = "     total energy              =              NaN Ry\n";
    let (code, message) = failure(recording!("si.scf.in"), lost, 2);
    assert_eq!((code, message.contains("not a number")), (Code::Diverged, true));
}

#[test]
fn output_cut_anywhere_before_its_end_is_never_a_success() {
    for (input, output) in [
        (recording!("si.scf.in"), recording!("scf.out")),
        (recording!("relax.in"), recording!("relax.out")),
        (recording!("nscf.in"), recording!("nscf.out")),
    ] {
        let mut progress = Progress::new(input::read(input));
        let mut reader = Output::new();
        for line in output.lines() {
            assert!(!completes(&progress), "before: {line}");
            if line.trim() == "JOB DONE." {
                break;
            }
            if let Some(event) = reader.line(line) {
                progress.apply(&event);
            }
        }
    }
}

fn any_event() -> impl Strategy<Value = Event> {
    let number = prop_oneof![any::<f64>(), 1e-12..1e3_f64, Just(f64::INFINITY)];
    prop_oneof![
        Just(Event::CycleBegins),
        any::<u64>().prop_map(Event::Iteration),
        (0_u64..20).prop_map(Event::Iteration),
        number.clone().prop_map(Event::Accuracy),
        number.clone().prop_map(Event::Energy),
        number.clone().prop_map(Event::Threshold),
        number.prop_map(Event::Force),
        any::<u64>().prop_map(Event::Converged),
        any::<u64>().prop_map(Event::NotConverged),
        any::<u64>().prop_map(Event::BfgsSteps),
        any::<u64>().prop_map(Event::Nstep),
        Just(Event::DynamicsStep),
        Just(Event::BandsBegin),
        Just(Event::JobDone),
        prop::option::of(any::<u64>()).prop_map(Event::IonsConverged),
    ]
}

proptest! {
    #[test]
    fn counters_never_go_back_within_a_stage_nor_past_their_total(
        events in prop::collection::vec(any_event(), 0..60),
        kind in prop::sample::select(vec!["scf", "nscf", "relax", "md", "other"]),
    ) {
        let mut progress = Progress::new(input::read(&format!("&control calculation='{kind}' nstep=3 /")));
        let mut before = 0;
        for event in events {
            if let Some(report) = progress.apply(&event) {
                let done = report.done.unwrap_or(0);
                prop_assert!(report.enter.is_some() || report.done.is_none() || done >= before);
                prop_assert!(report.total.is_none_or(|total| total >= done));
                prop_assert!(report.metrics.values().all(|value| value.is_finite()));
                before = done;
            }
            for code in [0, 1] {
                let _ = progress.verdict(exit(code));
            }
        }
    }

    #[test]
    fn an_error_is_never_a_success(events in prop::collection::vec(any_event(), 0..20), code in any::<i32>()) {
        let mut progress = Progress::new(input::read("&control /"));
        events.iter().for_each(|event| { progress.apply(event); });
        progress.apply(&Event::Error { routine: "x (1)".to_owned(), text: String::new() });
        let completed = matches!(progress.verdict(exit(code)), Verdict::Completed { .. });
        prop_assert!(!completed);
    }
}
