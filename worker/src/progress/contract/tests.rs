use proptest::prelude::*;
use serde_json::json;

use super::*;

fn said(json: &str) -> Said {
    read(&format!("::stageline {json}")).unwrap().unwrap()
}

#[test]
fn a_line_says_all_that_it_may_say() {
    let line = r#"{"stage": "Solve", "done": 3, "total": 10, "message": "step 3", "metrics": {"loss": 0.5},
        "result": {"n": [1, null]}, "checkpoint": "a.npz", "future": true}"#;
    let expected = Said {
        diverged: None,
        stage: Some("Solve".into()),
        done: Some(3),
        total: Some(10),
        message: Some("step 3".into()),
        metrics: [("loss".to_owned(), 0.5)].into(),
        checkpoint: Some("a.npz".into()),
        result: Some(json!({"n": [1, null]})),
        refused: None,
    };
    assert_eq!(said(&line.replace('\n', "")), expected);
    assert_eq!(said("{}"), Said::default());
}

#[test]
fn only_a_line_that_begins_with_the_mark_is_one() {
    for other in
        ["", "stageline {}", "see ::stageline {}", "::stagelines {}", "::stageline", "::Stageline {}"]
    {
        assert_eq!(read(other), None, "{other:?}");
    }
    for ours in ["::stageline {}", "  ::stageline\t{}", "::stageline{}  "] {
        assert_eq!(read(ours), Some(Ok(Said::default())), "{ours:?}");
    }
}

#[test]
fn a_checkpoint_is_a_path_of_the_job_folder() {
    let named = |path: &str| said(&serde_json::json!({ "checkpoint": path }).to_string()).checkpoint;
    assert_eq!(named("./out/a.npz").as_deref(), Some("out/a.npz"));
    for path in ["", ".", "/etc/passwd", "../x", "a/../../x", "*.npz", &"x".repeat(2000)] {
        assert_eq!(named(path), None, "{path}");
    }
}

#[test]
fn what_is_no_json_object_is_unreadable() {
    let deep = format!("{}1{}", r#"{"a":"#.repeat(100_000), "}".repeat(100_000));
    for bad in [
        "{",
        "[1]",
        "null",
        "{\"a\": }",
        "{'stage': 'x'}",
        "{\"stage\": \"\u{0}\"",
        &deep,
        "\u{fffd}\u{fffd}",
    ] {
        assert_eq!(read(&format!("::stageline {bad}")), Some(Err(Unreadable { result: false })));
    }
}

#[test]
fn a_key_of_the_wrong_kind_leaves_the_others_valid() {
    let odd =
        said(r#"{"stage": 5, "done": "3", "total": [1], "message": "", "metrics": "no", "result": null}"#);
    assert_eq!(odd, Said::default());
    let half = said(r#"{"stage": " ", "done": 4, "metrics": {"a": 1, "b": "2", "c": true, "": 5}}"#);
    assert_eq!(half, Said { done: Some(4), metrics: [("a".to_owned(), 1.0)].into(), ..Said::default() });
}

#[test]
fn counters_are_whole_and_not_absurd() {
    let done = |text: &str| said(&format!("{{\"done\": {text}}}")).done;
    assert_eq!(
        (done("0"), done("2.9"), done("1e3"), done("9007199254740992")),
        (Some(0), Some(2), Some(1000), Some(1 << 53))
    );
    for absurd in ["-1", "-0.5", "1e300", "18446744073709551615", "99999999999999999999999", "null"] {
        assert_eq!(done(absurd), None, "{absurd}");
    }
    assert_eq!(read(r#"::stageline {"done": 1e999}"#), Some(Err(Unreadable { result: false })));
    assert_eq!(read(r#"::stageline {"result": "cut off"#), Some(Err(Unreadable { result: true })));
}

#[test]
fn the_last_of_two_keys_counts() {
    assert_eq!(said(r#"{"done": 1, "done": 2}"#).done, Some(2));
}

#[test]
fn what_pythons_json_writes_for_no_number_costs_only_that_number() {
    let line =
        said(r#"{"done": 7, "message": "NaN \" -Infinity", "metrics": {"a": NaN, "b": -Infinity, "c": 2}}"#);
    assert_eq!((line.done, line.message.as_deref()), (Some(7), Some("NaN \" -Infinity")));
    assert_eq!(line.metrics, [("c".to_owned(), 2.0)].into());
}

#[test]
fn names_and_sentences_are_bounded_and_safe_to_show() {
    let line = said(r#"{"stage": "\u001b[31mred\u0007\n", "message": "a\r\nb"}"#);
    assert_eq!((line.stage.as_deref(), line.message.as_deref()), (Some("[31mred"), Some("a  b")));
    let long = said(&format!(r#"{{"stage": "{0}", "message": "{0}"}}"#, "é".repeat(1_000)));
    assert!(
        long.stage.unwrap().len() <= LONGEST_NAME_BYTES
            && long.message.unwrap().len() <= LONGEST_MESSAGE_BYTES
    );
}

#[test]
fn metrics_are_bounded_and_storable() {
    let many: Map<_, _> = (0..1_000).map(|n| (format!("m{n:04}"), json!(n))).collect();
    assert_eq!(said(&json!({ "metrics": many }).to_string()).metrics.len(), MOST_METRICS);
    assert!(said(r#"{"metrics": {"a": 1e200, "b": 1e-200}}"#).metrics.is_empty());
}

#[test]
fn a_result_is_kept_as_the_table_can_hold_it() {
    let kept = said(r#"{"result": {"": 1, "big": 1e200, "n": 0.1}}"#).result;
    assert_eq!(kept, Some(json!({"_": 1, "big": "1e+200", "n": 0.1})));
    assert_eq!(said(r#"{"result": 5}"#).result, Some(json!(5)));
    let deep = format!("{}1{}", "[".repeat(17), "]".repeat(17));
    let line = said(&format!("{{\"result\": {deep}}}"));
    assert!(line.result.is_none() && line.refused.is_some());
}

proptest! {
    #[test]
    fn no_line_makes_it_panic(text in ".{0,200}", mark in any::<bool>()) {
        let _read = read(&if mark { format!("::stageline {text}") } else { text });
    }

    #[test]
    fn nothing_said_is_out_of_bounds(done in any::<f64>(), total in any::<i64>(), name in ".{0,300}", value in any::<f64>()) {
        let line = format!("::stageline {}", json!({"stage": name, "done": done, "total": total, "metrics": {name.clone(): value}}));
        if let Some(Ok(said)) = read(&line) {
            prop_assert!(said.done.max(said.total).unwrap_or(0) <= MOST_ITEMS);
            prop_assert!(said.stage.is_none_or(|name| name.len() <= LONGEST_NAME_BYTES && !name.contains(char::is_control)));
            prop_assert!(said.metrics.values().all(|value| value.is_finite()));
        }
    }

    #[test]
    fn json_with_numbers_that_are_none_is_read_as_with_nulls(words in prop::collection::vec(prop::sample::select(vec!["NaN", "-Infinity", "1.5", "\"NaN\"", "\"\\\"NaN\"", "{}"]), 0..10)) {
        let text = format!("[{}]", words.join(","));
        let value: Value = serde_json::from_str(&with_null_for_nan(&text)).unwrap();
        prop_assert_eq!(value.as_array().map(Vec::len), Some(words.len()));
    }
}
