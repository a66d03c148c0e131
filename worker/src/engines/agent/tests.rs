use proptest::prelude::*;
use serde_json::Value;
use stageline::task::Attempt;

use super::*;

fn task(params: Value) -> Task {
    let mut task = Task::new("t".parse().unwrap());
    task.params = params.as_object().cloned();
    task
}

fn result(mut params: Value) -> Value {
    params["failureRate"] = json!(0);
    match play(&task(params)).unwrap().outcome {
        Outcome::Succeeded { result } => result,
        other => panic!("{other:?}"),
    }
}

#[test]
fn there_are_the_twelve_agents_of_the_reference_dashboard() {
    let names: std::collections::BTreeSet<_> = PROFILES.iter().map(|profile| profile.name).collect();
    assert_eq!(names.len(), 12);
    for profile in &PROFILES {
        assert_eq!(Profile::named(profile.name), Some(profile));
        assert!(profile.speed > 0.0 && profile.cost >= 0.0 && (1..=10).contains(&profile.most_complex));
    }
    assert_eq!(Profile::named("Claude 3 Opus").unwrap().cost, 0.075);
    assert_eq!(Profile::named("GPT-3.5 Turbo").unwrap().most_complex, 7);
}

#[test]
fn no_agent_takes_what_is_too_complex_for_it() {
    for profile in &PROFILES {
        for complexity in 1..=10 {
            let params = json!({"profile": profile.name, "complexity": complexity});
            match play(&task(params)) {
                Ok(_) => assert!(complexity <= profile.most_complex),
                Err(failure) => {
                    assert!(complexity > profile.most_complex);
                    assert_eq!(failure.code, Code::EngineInputInvalid);
                }
            }
        }
    }
}

#[test]
fn a_result_is_decided_by_its_seed() {
    let one = |seed: u64| result(json!({"profile": "gemini-pro", "seed": seed}));
    assert_eq!(one(1), one(1));
    assert_ne!(one(1), one(2));
}

#[test]
fn a_seed_gives_the_same_numbers_for_ever() {
    insta::assert_json_snapshot!(result(json!({"profile": "claude-3-sonnet", "complexity": 6, "seed": 42})), @r#"
    {
      "complexity": 6,
      "costUsd": 0.0261,
      "inputTokens": 792,
      "latencySeconds": 24.176,
      "outputTokens": 948,
      "profile": "claude-3-sonnet",
      "quality": 0.92,
      "seed": 42,
      "specialization": "General, Balanced",
      "steps": 9,
      "tokensPerSecond": 39.21,
      "totalTokens": 1740
    }
    "#);
}

#[test]
fn the_cost_is_that_of_the_tokens() {
    let found = result(json!({"profile": "claude-3-opus", "tokens": 4_000, "seed": 3}));
    let output = found["outputTokens"].as_u64().unwrap();
    let expected = (4_000 + output) as f64 * 0.075 / 1_000.0;
    assert!((found["costUsd"].as_f64().unwrap() - expected).abs() < 1e-6, "{found}");
    assert_eq!(result(json!({"profile": "llama-2-70b"}))["costUsd"], 0.0);
    assert_eq!(result(json!({"prompt": "12345678"}))["inputTokens"], 2);
}

#[test]
fn what_is_harder_takes_more_and_who_is_faster_takes_less_time() {
    let mean = |params: Value, of: &str| {
        let one = |seed: u64| {
            let mut params = params.clone();
            params["seed"] = json!(seed);
            result(params)[of].as_f64().unwrap()
        };
        (0..300).map(one).sum::<f64>() / 300.0
    };
    let tokens = |complexity: u64| mean(json!({"complexity": complexity}), "totalTokens");
    assert!(tokens(2) < tokens(5) && tokens(5) < tokens(10));
    let latency = |profile: &str| mean(json!({"profile": profile}), "latencySeconds");
    assert!(latency("claude-3-haiku") < latency("claude-3-sonnet"));
    assert!(latency("claude-3-sonnet") < latency("llama-2-70b"));
}

#[test]
fn agents_at_their_limit_fail_as_often_as_the_documentation_says() {
    let failed = |attempt: u32| {
        let mut task = task(json!({"profile": "claude-3-haiku", "complexity": 6}));
        task.attempt = Attempt(attempt);
        !matches!(play(&task).unwrap().outcome, Outcome::Succeeded { .. })
    };
    let rate = (1..=4_000).filter(|attempt| failed(*attempt)).count() as f64 / 4_000.0;
    assert!((rate - USUAL_FAILURE_RATE).abs() < 0.02, "{rate}");
}

#[tokio::test]
async fn the_stages_pass_and_the_work_counts_its_steps() {
    let mut seen = Vec::new();
    let params = json!({"secondsPerStep": 0, "steps": 7, "failureRate": 0});
    let outcome = play(&task(params))
        .unwrap()
        .perform(|report| seen.push((report.enter, report.total, report.done)))
        .await;
    assert!(matches!(outcome, Outcome::Succeeded { .. }));
    let stages: Vec<_> =
        seen.iter().filter_map(|(enter, total, _)| Some((enter.as_deref()?, *total))).collect();
    assert_eq!(stages, [("Plan", None), ("Work", Some(7)), ("Review", None)]);
    assert_eq!(seen.iter().filter_map(|(_, _, done)| *done).max(), Some(7));
}

#[test]
fn senseless_parameters_are_refused() {
    for bad in [
        json!({"profile": "gpt-9"}),
        json!({"profile": 4}),
        json!({"complexity": 0}),
        json!({"complexity": 11}),
        json!({"complexity": 1.5}),
        json!({"tokens": 0}),
        json!({"prompt": []}),
        json!({"steps": 1e9}),
        json!({"secondsPerStep": -1}),
        json!({"failureRate": 2}),
    ] {
        assert_eq!(play(&task(bad.clone())).unwrap_err().code, Code::EngineInputInvalid, "{bad}");
    }
}

fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<f64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (0..12u64).prop_map(Value::from),
        ".{0,20}".prop_map(Value::from),
        prop::sample::select(PROFILES.map(|profile| profile.name).to_vec()).prop_map(Value::from),
    ]
}

proptest! {
    #[test]
    fn no_parameters_panic(
        profile in any_value(), complexity in any_value(), tokens in any_value(), seed in any_value(),
        prompt in any_value(), pace in any_value(), way in any_value(), rate in any_value(),
    ) {
        let params = json!({
            "profile": profile, "complexity": complexity, "tokens": tokens, "seed": seed, "prompt": prompt,
            "secondsPerStep": pace, "failWith": way, "failureRate": rate,
        });
        if let Ok(play) = play(&task(params)) {
            prop_assert!(play.seconds() >= 0.0 && play.seconds().is_finite());
        }
    }
}
