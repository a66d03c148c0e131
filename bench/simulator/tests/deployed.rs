//! What the model and the documents take for granted of a deployment is what the templates make.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail as the test does")]

use std::path::{Path, PathBuf};

use stageline_simulator::month::PerTask;
use stageline_simulator::study::plain_bills;
use stageline_simulator::watched::{Watched, log_bytes};
use stageline_simulator::{FUNCTION_GB, Prices, Progress, SECOND};

fn read(path: &str) -> String {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// `MemorySize` of a function of `infra/core.yaml`, in MB.
fn memory(function: &str) -> f64 {
    let core = read("infra/core.yaml");
    let (_, rest) = core.split_once(&format!("\n  {function}:\n    Type: AWS::Lambda::Function\n")).unwrap();
    let (_, rest) = rest.split_once("\n      MemorySize: ").unwrap();
    rest.lines().next().unwrap().parse().unwrap()
}

#[test]
fn both_functions_have_the_memory_that_is_paid_for() {
    let prices: toml::Table = toml::from_str(&read("bench/prices.toml")).unwrap();
    let assumed = prices["assumed"]["lambda_memory_mb"].as_integer().unwrap() as f64;
    for function in ["DispatcherFunction", "SweeperFunction"] {
        let memory = memory(function);
        assert_eq!(memory, assumed, "bench/prices.toml has another memory of {function}");
        assert_eq!(memory, FUNCTION_GB * 1_024.0, "the model has another memory of {function}");
    }
}

#[test]
fn the_deployment_page_counts_metrics_and_alarms_as_the_model_does() {
    let (watched, prices) = (Watched::deployed(), Prices::default().cloudwatch);
    let cost = watched.alarm_metrics * prices.alarm_metric_month;
    for said in [
        format!("the {} [metrics]", watched.metrics),
        format!("each metric in them: {}, so ${cost:.2})", watched.alarm_metrics),
    ] {
        assert!(read("docs/deploy.md").contains(&said), "docs/deploy.md does not say {said}");
    }
}

#[test]
fn what_is_said_of_an_idle_month_and_of_a_task_is_what_the_model_says() {
    let bills = plain_bills(&PerTask::default(), &Prices::default(), 30.0);
    let (idle, watched) = (bills[0].service(), Watched::deployed());
    let bytes = log_bytes(0.1).round();
    let metrics = watched.metrics + watched.metrics_of_tasks;
    let minute = Progress::default().writes(60 * SECOND);
    for (document, said) in [
        ("README.md", format!("${idle:.0} a month")),
        ("docs/runbook.md", format!("${idle:.0} a month")),
        ("docs/runbook.md", format!("{bytes} bytes of log")),
        ("docs/runbook.md", format!("{metrics} metrics × $0.30")),
        ("docs/runbook.md", format!("a task of a minute has {minute}")),
        ("docs/scale.md", format!("{minute} units for a task of a minute")),
    ] {
        assert!(read(document).contains(&said), "{document} does not say {said}");
    }
}
