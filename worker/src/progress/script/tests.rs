use proptest::prelude::*;
use stageline::At;
use stageline::task::{Attempt, Stage, StageStatus};

use super::super::Tracker;
use super::*;

/// What is shown after these lines: name, done, total and message of each stage.
fn shown(script: &mut Script, stdout: &[&str], stderr: &[&str]) -> Vec<(String, Option<u64>, Option<u64>)> {
    stages(script, stdout, stderr)
        .into_iter()
        .map(|stage| (stage.name, stage.processed_items, stage.total_items))
        .collect()
}

fn stages(script: &mut Script, stdout: &[&str], stderr: &[&str]) -> Vec<Stage> {
    let mut tracker = Tracker::new("t".parse().unwrap(), Attempt(1), None);
    let now = At::from_millis(1);
    stdout.iter().filter_map(|line| script.stdout(line)).for_each(|report| tracker.apply(report, now));
    stderr.iter().filter_map(|line| script.stderr(line)).for_each(|report| tracker.apply(report, now));
    tracker.due(now)
}

fn stage(name: &str, done: Option<u64>, total: Option<u64>) -> (String, Option<u64>, Option<u64>) {
    (name.to_owned(), done, total)
}

#[test]
fn what_a_program_says_first_of_its_divergence_stands() {
    for (line, reason) in [
        (r#"{"diverged": "the residual is inf"}"#, Some("the residual is inf")),
        (r#"{"diverged": true}"#, Some("the program says that its solution has diverged")),
        (r#"{"diverged": false}"#, None),
        (r#"{"diverged": ""}"#, None),
        (r#"{"diverged": null}"#, None),
        (r#"{"diverged": 5}"#, None),
    ] {
        let mut script = Script::default();
        assert_eq!(script.stdout(&format!("::stageline {line}")), None, "it is no progress");
        assert_eq!(script.diverged(), reason, "{line}");
        script.stdout(r#"::stageline {"diverged": "later"}"#);
        assert_eq!(script.diverged(), reason.or(Some("later")), "{line}");
    }
}

#[test]
fn stages_come_one_after_the_other_with_or_without_a_total() {
    let lines = [
        "starting",
        r#"::stageline {"stage": "Setup", "message": "reading"}"#,
        r#"::stageline {"stage": "Solve", "total": 10}"#,
        r#"::stageline {"done": 4, "metrics": {"residual": 1e-3}}"#,
        r#"::stageline {"stage": "Solve", "done": 7}"#,
        r#"::stageline {"stage": "Write", "done": 2}"#,
    ];
    let got = stages(&mut Script::default(), &lines, &[]);
    assert_eq!(
        got.iter().map(|s| s.status).collect::<Vec<_>>(),
        [StageStatus::Completed, StageStatus::Completed, StageStatus::Running]
    );
    assert_eq!(got[1].metrics.get("residual"), Some(&1e-3));
    let counts: Vec<_> = got.into_iter().map(|s| (s.name, s.processed_items, s.total_items)).collect();
    assert_eq!(
        counts,
        [stage("Setup", None, None), stage("Solve", Some(7), Some(10)), stage("Write", Some(2), None)]
    );
}

#[test]
fn a_stage_that_is_over_does_not_come_back_to_life() {
    let lines = [
        r#"::stageline {"stage": "A", "done": 1, "total": 2}"#,
        r#"::stageline {"stage": "B", "done": 1, "total": 9}"#,
        r#"::stageline {"stage": "A", "done": 2, "message": "late"}"#,
        r#"::stageline {"done": 3}"#,
    ];
    let got = shown(&mut Script::default(), &lines, &[]);
    assert_eq!(got, [stage("A", Some(1), Some(2)), stage("B", Some(3), Some(9))]);
}

#[test]
fn counters_without_a_stage_have_one_all_the_same() {
    let lines = [r#"::stageline {"done": 1}"#, r#"::stageline {"done": 5, "total": 4}"#];
    assert_eq!(shown(&mut Script::default(), &lines, &[]), [stage("Running", Some(5), Some(5))]);
}

#[test]
fn the_last_result_is_the_tasks() {
    let mut script = Script::default();
    for line in [
        r#"::stageline {"result": 1}"#,
        "::stageline {bad",
        r#"::stageline {"result": {"mass": 2.5}}"#,
        "bye",
    ] {
        assert_eq!(script.stdout(line), None);
    }
    assert_eq!(script.result(), json!({"mass": 2.5}));
    assert_eq!(Script::default().result(), json!({"exitCode": 0}));
    let mut large = Script::default();
    large.stdout(&format!(r#"::stageline {{"result": "{}"#, "x".repeat(1 << 20)));
    assert!(large.result()["note"].as_str().unwrap().contains("1 MiB"));
}

#[test]
fn more_stages_than_can_be_shown_leave_the_last_alone() {
    let lines: Vec<_> = (0..1_000)
        .map(|n| format!(r#"::stageline {{"stage": "s{n}", "done": {n}, "total": 1000}}"#))
        .collect();
    let lines: Vec<_> = lines.iter().map(String::as_str).collect();
    let got = shown(&mut Script::default(), &lines, &[]);
    assert_eq!((got.len(), got.last()), (50, Some(&stage("s49", Some(49), Some(1000)))));
}

fn tqdm(name: &str, done: u64, total: u64) -> String {
    let desc = if name.is_empty() { String::new() } else { format!("{name}: ") };
    format!("{desc}{:3}%|##   | {done}/{total} [00:01<00:09, 1.0it/s]", done * 100 / total)
}

fn bars(lines: &[String], ranks: u32) -> Vec<(String, Option<u64>, Option<u64>)> {
    let lines: Vec<_> = lines.iter().map(String::as_str).collect();
    shown(&mut Script::of_ranks(ranks), &[], &lines)
}

#[test]
fn bars_one_after_the_other_are_stages() {
    let lines = [
        tqdm("load", 0, 5),
        tqdm("load", 5, 5),
        tqdm("", 0, 7),
        tqdm("", 7, 7),
        tqdm("", 0, 7),
        tqdm("", 2, 7),
    ];
    let expected = [
        stage("load", Some(5), Some(5)),
        stage("Running", Some(7), Some(7)),
        stage("Running 2", Some(2), Some(7)),
    ];
    assert_eq!(bars(&lines, 1), expected);
}

#[test]
fn a_bar_inside_another_one_is_only_mentioned() {
    let inner = |done| format!("{}\u{1b}[A", tqdm("", done, 3));
    let lines = [tqdm("", 0, 2), inner(0), inner(2), tqdm("", 3, 3), tqdm("", 1, 2), inner(0), inner(1)];
    let lines: Vec<_> = lines.iter().map(String::as_str).collect();
    let got = stages(&mut Script::default(), &[], &lines);
    assert_eq!((got.len(), got[0].processed_items, got[0].total_items), (1, Some(1), Some(2)));
    assert_eq!(got[0].status_message.as_deref(), Some("1/3"));
}

#[test]
fn a_description_that_changes_is_the_same_bar() {
    let lines = [tqdm("loss 0.9", 0, 9), tqdm("loss 0.5", 4, 9), tqdm("loss 0.4", 9, 9)];
    assert_eq!(bars(&lines, 1), [stage("loss 0.9", Some(9), Some(9))]);
}

#[test]
fn several_processes_with_the_same_bar_are_not_counted_twice() {
    let lines = [tqdm("", 0, 9), tqdm("", 3, 9), tqdm("", 0, 9), tqdm("", 2, 9), tqdm("", 5, 9)];
    assert_eq!(bars(&lines, 2), [stage("Running", Some(5), Some(9))]);
}

#[test]
fn the_contract_outweighs_bars() {
    let got =
        shown(&mut Script::default(), &[r#"::stageline {"stage": "Own", "done": 1}"#], &[&tqdm("x", 5, 9)]);
    assert_eq!(got, [stage("Own", Some(1), None)]);
}

#[test]
fn floods_and_binary_are_no_progress() {
    let mut script = Script::default();
    let flood = "x".repeat(10_000_000);
    let binary = String::from_utf8_lossy(&[0, 255, 27, b'[', 200, b'|', b'%', b']']).repeat(1_000);
    for line in [&flood, &binary, &format!("::stageline {flood}"), &format!("::stageline {binary}")] {
        assert_eq!((script.stdout(line), script.stderr(line)), (None, None));
    }
    assert_eq!((script.unreadable, script.result()), (2, json!({"exitCode": 0})));
}

proptest! {
    #[test]
    fn whatever_is_printed_counters_go_only_up(
        lines in prop::collection::vec((0u8..6, 0u64..20, 0u64..12, "[ab]{0,1}"), 1..80)
    ) {
        let mut script = Script::default();
        let mut tracker = Tracker::new("t".parse().unwrap(), Attempt(1), None);
        let mut last = std::collections::HashMap::new();
        for (n, (kind, done, total, name)) in lines.into_iter().enumerate() {
            let now = At::from_millis(3_000 * n as i64);
            let report = match kind {
                0 => script.stdout(&format!("::stageline {}", json!({"stage": name, "done": done, "total": total}))),
                1 => script.stdout(&format!("::stageline {}", json!({"done": done as f64 - 5.0}))),
                2 => script.stdout("::stageline {\"done\": NaN, \"metrics\": {\"a\": 1}}"),
                3 => script.stderr(&format!("{}\u{1b}[A", tqdm(&name, done, total + 1))),
                4 => script.stderr("3it [00:01, 3it/s]"),
                _ => script.stderr(&tqdm(&name, done, total + 1)),
            };
            report.into_iter().for_each(|report| tracker.apply(report, now));
            for stage in tracker.due(now) {
                let over = stage.status.is_over();
                prop_assert!(stage.processed_items <= stage.total_items || stage.total_items.is_none());
                let before = last.insert(stage.order, (stage.processed_items, over));
                if let Some((done, was_over)) = before {
                    prop_assert!(stage.processed_items >= done && (!was_over || over));
                }
            }
        }
    }
}
