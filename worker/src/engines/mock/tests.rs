use std::path::Path;

use proptest::prelude::*;
use serde_json::Value;
use stageline::Code;

use super::*;

fn task(params: Value) -> Task {
    let mut task = Task::new("t".parse().unwrap());
    task.params = params.as_object().cloned();
    task
}

fn result(params: Value) -> Value {
    match play(&task(params)).unwrap().outcome {
        Outcome::Succeeded { result } => result,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_result_is_decided_by_its_seed() {
    for kind in Kind::ALL {
        let one = |seed: u64| result(json!({"kind": kind.name(), "seed": seed}));
        assert_eq!(one(1), one(1));
        assert_ne!(one(1), one(2));
        assert_eq!(one(1)["kind"], kind.name());
    }
    assert_eq!(result(json!({"seed": "a word"})), result(json!({"seed": "a word"})));
}

#[test]
fn a_seed_gives_the_same_numbers_for_ever() {
    insta::assert_json_snapshot!(result(json!({"kind": "lammps", "seed": 42})), @r#"
    {
      "atoms": 15254,
      "converged": true,
      "densityGPerCm3": 5.83,
      "kind": "lammps",
      "potentialEnergyEv": -48342.513,
      "pressureBar": 19.14,
      "seed": 42,
      "simulatedSeconds": 12.0,
      "steps": 29000,
      "stepsPerSecond": 137.8,
      "temperatureK": 290.953
    }
    "#);
}

#[test]
fn the_numbers_of_a_result_are_plausible() {
    for seed in 0..500 {
        let vasp = result(json!({"kind": "vasp", "seed": seed}));
        let per_atom = vasp["energyPerAtomEv"].as_f64().unwrap();
        assert!((-9.0..=-3.0).contains(&per_atom), "{vasp}");
        assert_eq!(vasp["isMetal"].as_bool().unwrap(), vasp["bandGapEv"].as_f64().unwrap() == 0.0);
        let fenicsx = result(json!({"kind": "fenicsx", "seed": seed}));
        assert!(fenicsx["l2Error"].as_f64().unwrap() > 0.0, "{fenicsx}");
        let lammps = result(json!({"kind": "lammps", "seed": seed}));
        assert!((290.0..=310.0).contains(&lammps["temperatureK"].as_f64().unwrap()), "{lammps}");
    }
}

#[test]
fn the_stages_take_the_time_that_was_asked_for_and_end_where_the_result_says() {
    for kind in Kind::ALL {
        let play = play(&task(json!({"kind": kind.name(), "seconds": 30}))).unwrap();
        assert!((play.seconds() - 30.0).abs() < 1e-9);
        assert!(play.acts.len() == 4 && play.acts.iter().filter(|act| act.total.is_some()).count() == 2);
        assert!(!play.metrics.is_empty());
    }
}

#[test]
fn names_are_taken_as_people_spell_them() {
    for (text, kind) in
        [("VASP", Kind::Vasp), ("Quantum Espresso", Kind::QuantumEspresso), ("qe", Kind::QuantumEspresso)]
    {
        assert_eq!(Kind::named(Some(text)).unwrap(), kind);
    }
    assert_eq!(Kind::named(None).unwrap(), Kind::Vasp);
}

#[test]
fn senseless_parameters_are_refused() {
    for bad in [
        json!({"kind": "gaussian"}),
        json!({"kind": 1}),
        json!({"seconds": -1}),
        json!({"seconds": "long"}),
        json!({"failureRate": 1.1}),
        json!({"failureRate": "often"}),
        json!({"seed": -1}),
        json!({"seed": 0.5}),
        json!({"seed": [1]}),
    ] {
        assert_eq!(play(&task(bad.clone())).unwrap_err().code, Code::EngineInputInvalid, "{bad}");
    }
}

#[test]
fn parameters_of_others_and_nulls_do_no_harm() {
    assert_eq!(
        result(json!({"structure": {"atoms": ["C"]}, "ecutwfc": 500, "kind": null, "seed": null})),
        result(json!({}))
    );
}

#[tokio::test]
async fn a_failure_comes_with_its_story_and_in_the_middle() {
    let params = json!({"kind": "lammps", "failWith": "fatal", "seconds": 0.2});
    let config = crate::Config::default();
    let site = Site { config: &config, job_dir: Path::new("/"), resume: None };
    assert!(matches!(Mock.plan(&task(params.clone()), &site), Ok(Execution::Inline(_))));
    let mut stages = Vec::new();
    let outcome = play(&task(params)).unwrap().perform(|report| stages.extend(report.enter)).await;
    let Outcome::Failed(failure) = outcome else { panic!("{outcome:?}") };
    assert_eq!((failure.code, failure.message.as_str()), (Code::SimulatedFailure, "simulated: Lost atoms"));
    assert!(stages.len() < 4 && stages[0] == "Setup", "{stages:?}");
}

fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        ".{0,20}".prop_map(Value::from),
        prop::sample::select(vec!["vasp", "qe", "lammps", "openfoam", "fenicsx", "fatal", "timed-out"])
            .prop_map(Value::from),
    ]
}

proptest! {
    #[test]
    fn no_parameters_panic(
        kind in any_value(), seconds in any_value(), rate in any_value(), seed in any_value(), way in any_value(),
    ) {
        let params = json!({"kind": kind, "seconds": seconds, "failureRate": rate, "seed": seed, "failWith": way});
        if let Ok(play) = play(&task(params)) {
            prop_assert!((0.0..=86_400.0 * 1.01).contains(&play.seconds()) && (0.0..=1.0).contains(&play.until));
        }
    }
}
