//! What becomes of tasks is counted from the workers' logs by the metric filters of `infra/workers-ecs.yaml`: lines
//! of a real worker, held against their patterns.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use stageline_tests::process::WorkerProcess;
use stageline_tests::system::{Stack, id};

/// The pattern of the filter that counts `metric`.
fn pattern(metric: &str) -> Result<String> {
    let template = concat!(env!("CARGO_MANIFEST_DIR"), "/../infra/workers-ecs.yaml");
    let text = std::fs::read_to_string(template)?;
    let filters = text.split("Type: AWS::Logs::MetricFilter").skip(1);
    let filter = filters.into_iter().find(|filter| {
        // A filter ends where the next resource does.
        filter.split("\n\n").next().is_some_and(|own| own.contains(&format!("MetricName: {metric},")))
    });
    let line =
        filter.and_then(|filter| filter.lines().find_map(|l| l.trim().strip_prefix("FilterPattern: ")));
    let quoted = line.with_context(|| format!("a filter that counts {metric}"))?;
    Ok(quoted.trim_matches('\'').to_owned())
}

/// Whether a line fits: such a pattern is an "and" of comparisons, or of an "or" of them in brackets.
fn fits(pattern: &str, line: &Value) -> bool {
    let inner = pattern.trim().trim_start_matches('{').trim_end_matches('}');
    inner.split("&&").all(|clause| {
        clause.trim().trim_start_matches('(').trim_end_matches(')').split("||").any(|comparison| {
            let (name, value) = comparison.split_once(" = ").expect("a comparison");
            line[name.trim().trim_start_matches("$.")] == json!(value.trim().trim_matches('"'))
        })
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_filters_of_workers_on_ecs_count_each_end_once() -> Result<()> {
    let stack = Stack::embedded().await?;
    let folder = tempfile::tempdir()?;
    let endpoint = stack.embedded.as_ref().context("embedded")?.local().endpoint().to_owned();
    let program = env!("CARGO_BIN_EXE_test-worker");
    let mut worker = WorkerProcess::start(program, &endpoint, &stack.deployment, folder.path(), &[])?;
    worker.started().await?;
    for record in [
        json!({"id": id("well"), "command": "true"}),
        json!({"id": id("badly"), "command": "false"}),
        json!({"id": id("long"), "command": "sleep 60", "timeoutSeconds": 1}),
        // Neither: a failure that is retried, and counted by its second attempt.
        json!({"id": id("again"), "command": "sh -c 'test $STAGELINE_ATTEMPT = 2'",
               "retry": {"strategy": "IMMEDIATE", "maxRetries": 1, "delaySeconds": 0}}),
    ] {
        let task = stack.put(&record).await?;
        stack.ended(&task).await?;
    }
    worker.signal(nix::sys::signal::Signal::SIGTERM)?;
    assert!(worker.ended().await?.success());
    worker.log().until(|line| line["message"] == "worker stopped").await?;
    let mut counted = BTreeMap::new();
    for metric in ["TasksCompleted", "TasksFailed"] {
        let pattern = pattern(metric)?;
        counted.insert(metric, worker.log().count(|line| fits(&pattern, line)));
    }
    assert_eq!(counted, BTreeMap::from([("TasksCompleted", 2), ("TasksFailed", 2)]));
    stack.shutdown().await;
    Ok(())
}
