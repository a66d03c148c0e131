//! Whole synthetic outputs: no VASP was at hand.

use proptest::prelude::*;

use super::super::incar;
use super::super::output::Output;
use super::*;

macro_rules! synthetic {
    ($name:literal) => {
        include_str!(concat!("../../../../tests/recordings/vasp/", $name, ".out"))
    };
}

const CLEAN: Exit = Exit { code: Some(0), signal: None };
const RELAX: &str = "IBRION = 2\nNSW = 20\nEDIFF = 1E-5\n";
const DYNAMICS: &str = "IBRION = 0\nNSW = 5\nEDIFF = 1E-1\n";

fn feed(incar: &str, output: &str) -> (Progress, Vec<Report>) {
    let mut progress = Progress::new(incar::read(incar));
    let mut reader = Output::new();
    let mut reports = Vec::new();
    for event in output.lines().filter_map(|line| reader.line(line)) {
        reports.extend(progress.apply(&event));
    }
    if let Some(event) = reader.end() {
        progress.apply(&event);
    }
    (progress, reports)
}

fn result(incar: &str, output: &str) -> Value {
    match feed(incar, output).0.verdict(CLEAN) {
        Verdict::Completed { result } => result,
        other => panic!("{other:?}"),
    }
}

fn failure(incar: &str, output: &str) -> (Code, String) {
    match feed(incar, output).0.verdict(CLEAN) {
        Verdict::Failed { code, message } => (code, message),
        other => panic!("{other:?}"),
    }
}

#[test]
fn converged_electrons_succeed_with_their_energy() {
    let expected = json!({"version": "vasp.6.4.2", "converged": true, "energyEv": -10.830041,
        "freeEnergyEv": -10.830441, "ionicSteps": 1, "iterations": 9});
    assert_eq!(result("", synthetic!("static")), expected);
}

#[test]
fn a_relaxation_succeeds_when_the_accuracy_is_reached() {
    let result = result(RELAX, synthetic!("relax"));
    assert_eq!((&result["ionicSteps"], &result["freeEnergyEv"]), (&json!(4), &json!(-10.8304)));
    let (code, message) = failure("IBRION=2\nNSW=4\nEDIFF=1E-5\n", synthetic!("relax-nsw"));
    assert_eq!(
        (code, message.as_str()),
        (Code::VaspNotConverged, "the geometry has not converged in 4 ionic steps")
    );
    assert_eq!(failure(RELAX, synthetic!("relax-nsw")).0, Code::VaspIncomplete, "steps are left");
}

#[test]
fn a_dynamics_succeeds_when_its_steps_are_taken() {
    let result = result(DYNAMICS, synthetic!("md"));
    assert_eq!((&result["ionicSteps"], &result["temperatureK"]), (&json!(5), &json!(295.0)));
    let more = failure("IBRION = 0\nNSW = 50\nEDIFF = 1E-1\n", synthetic!("md"));
    assert_eq!(more, (Code::VaspIncomplete, "5 of 50 ionic steps".to_owned()));
}

#[test]
fn electrons_that_use_up_their_iterations_have_not_converged() {
    let expected = "the electrons have not converged in 8 iterations (dE 1.4e1, wanted 1.0e-4)";
    assert_eq!(failure("NELM = 8", synthetic!("unconverged")), (Code::VaspNotConverged, expected.to_owned()));
    // The accuracy may be reached with the very last one.
    assert_eq!(result("NELM = 9", synthetic!("static"))["converged"], json!(true));
    let said =
        format!("{}| The electronic self-consistency was not achieved in the given |\n", "DAV: 1 1.0 1.0\n");
    let output = format!("{said}   1 F= -.1E+02 E0= -.1E+02\n");
    assert_eq!(failure("", &output).0, Code::VaspNotConverged);
}

#[test]
fn steps_whose_electrons_did_not_converge_are_counted() {
    let result = result("IBRION = 2\nNSW = 20\nEDIFF = 1E-12\nNELM = 10\n", synthetic!("relax"));
    assert_eq!(result.get("unconvergedIonicSteps"), Some(&json!(1)));
}

#[test]
fn a_stop_and_a_silent_end_are_incomplete() {
    let (code, message) = failure(RELAX, synthetic!("relax-stopped"));
    assert_eq!(code, Code::VaspIncomplete);
    assert_eq!(message, "soft stop encountered, after 2 ionic steps, at electronic iteration 7");
    assert_eq!(failure("", "").0, Code::VaspIncomplete);
}

#[test]
fn errors_are_told_in_their_own_words() {
    let old =
        "internal error in subroutine SGRCON: Found some non-integer element in rotation matrix           2";
    assert_eq!(failure("", synthetic!("error")), (Code::VaspError, old.to_owned()));
    let new = "The number of species in this POSCAR is not that of the POTCAR.";
    assert_eq!(failure("", synthetic!("error-box")), (Code::VaspError, new.to_owned()));
}

#[test]
fn an_end_without_a_word_is_told_by_how_it_ended() {
    let (progress, _) = feed(RELAX, synthetic!("relax"));
    for exit in [Exit { code: Some(1), signal: None }, Exit { code: None, signal: Some(9) }] {
        assert_eq!(progress.verdict(exit), Verdict::Died);
    }
}

#[test]
fn an_energy_that_runs_away_diverges() {
    let (code, message) = failure("NELM = 100", synthetic!("diverges"));
    assert_eq!(code, Code::Diverged);
    assert!(message.starts_with("the change of the energy grew from 1.0e-3 to "), "{message}");
    assert_eq!(failure("", "DAV: 1 NaN NaN").0, Code::Diverged);
}

#[test]
fn a_relaxation_shows_steps_and_a_dynamics_a_total() {
    let (_, reports) = feed(RELAX, synthetic!("relax"));
    let last = reports.last().unwrap();
    assert_eq!((reports[0].enter.as_deref(), last.done, last.total), (Some("Ionic"), Some(4), None));
    assert_eq!(last.message.as_deref(), Some("Ionic step 4 of at most 20, electronic iteration 5"));
    let (_, reports) = feed(DYNAMICS, synthetic!("md"));
    let last = reports.last().unwrap();
    assert_eq!((last.done, last.total), (Some(5), Some(5)));
    assert_eq!(last.metrics.get("temperatureK"), Some(&295.0));
}

#[test]
fn electrons_show_their_way_to_the_accuracy() {
    let (_, reports) = feed("", synthetic!("static"));
    assert_eq!(reports[0].enter.as_deref(), Some("Electronic"));
    let shares: Vec<_> = reports.iter().filter_map(|report| report.done).collect();
    assert!(shares.is_sorted() && shares.last() == Some(&1000), "{shares:?}");
    let said = reports[4].message.as_deref();
    assert_eq!(said, Some("Iteration 5: dE 6.1e-2 eV, wanted 1.0e-4"));
}

fn any_event() -> impl Strategy<Value = Event> {
    let number = prop_oneof![any::<f64>(), 1e-9..1e3_f64];
    let electronic = (prop_oneof![any::<u64>(), 0_u64..10], number.clone(), number.clone())
        .prop_map(|(iteration, energy, change)| Event::Electronic { iteration, energy, change });
    let ionic = (number.clone(), prop::option::of(number)).prop_map(|(free_energy, energy)| Event::Ionic {
        free_energy,
        energy,
        temperature: energy,
    });
    prop_oneof![electronic, ionic, Just(Event::IonsConverged), Just(Event::NotConverged)]
}

proptest! {
    #[test]
    fn counters_never_go_back_nor_past_their_total(
        events in prop::collection::vec(any_event(), 0..50),
        incar in prop::sample::select(vec!["", RELAX, DYNAMICS, "IBRION = 5", "NELM = 0", "NSW = x"]),
    ) {
        let mut progress = Progress::new(incar::read(incar));
        let mut before = 0;
        for event in events {
            if let Some(report) = progress.apply(&event) {
                let done = report.done.unwrap_or(0);
                prop_assert!(done >= before);
                prop_assert!(report.total.is_none_or(|total| total >= done));
                prop_assert!(report.metrics.values().all(|value| value.is_finite()));
                before = done;
            }
            let _ = progress.verdict(CLEAN);
        }
    }
}
