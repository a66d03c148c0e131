//! CloudWatch's embedded metric format: a line of JSON on standard output, from which CloudWatch Logs makes
//! metrics. No call, and nothing is waited for.

use std::io::Write;

use serde_json::{Map, Value, json};

use super::table::{
    AWS_CALLS, AWS_ERRORS, AWS_RETRIES, AWS_THROTTLES, READ_UNITS, WORKER_AWS_CALLS, WORKER_AWS_RETRIES,
    WORKER_READ_UNITS, WORKER_WRITE_UNITS, WRITE_UNITS,
};
use super::{Metric, Registry, Shown};
use crate::At;

/// The namespace of every metric.
pub const NAMESPACE: &str = "Stageline";

/// The most metrics of one line, by the format's specification.
pub const MOST_METRICS: usize = 100;

/// Of which deployment, and of which pool, a line's values are.
#[derive(Clone, Copy, Debug)]
pub struct Dimensions<'a> {
    /// The deployment's prefix.
    pub prefix: &'a str,
    /// The pool, where it is of one.
    pub pool: Option<&'a str>,
}

/// One line.
pub fn line(at: At, dimensions: Dimensions<'_>, values: &[(Metric, f64)]) -> String {
    let values = &values[..values.len().min(MOST_METRICS)];
    let metrics: Vec<_> = values
        .iter()
        .map(|(metric, _)| json!({ "Name": metric.name, "Unit": metric.unit.in_cloudwatch() }))
        .collect();
    let mut members = Map::new();
    let mut names = vec!["Prefix"];
    members.insert("Prefix".to_owned(), json!(dimensions.prefix));
    if let Some(pool) = dimensions.pool {
        names.push("Pool");
        members.insert("Pool".to_owned(), json!(pool));
    }
    members.extend(values.iter().map(|(metric, value)| (metric.name.to_owned(), number(*value))));
    members.insert(
        "_aws".to_owned(),
        json!({
            "Timestamp": at.millis(),
            "CloudWatchMetrics": [{ "Namespace": NAMESPACE, "Dimensions": [names], "Metrics": metrics }],
        }),
    );
    Value::Object(members).to_string()
}

/// What the calls of this process have come to so far.
pub fn calls(registry: &Registry) -> Vec<(Metric, f64)> {
    let with = |pass: fn(&str) -> bool| registry.sum(&WORKER_AWS_CALLS, |labels| pass(&labels[1]));
    vec![
        (AWS_CALLS, with(|_| true)),
        (AWS_RETRIES, registry.sum(&WORKER_AWS_RETRIES, |_| true)),
        (AWS_THROTTLES, with(|outcome| outcome == "throttled")),
        (AWS_ERRORS, with(|outcome| !matches!(outcome, "ok" | "refused" | "throttled"))),
        (READ_UNITS, registry.sum(&WORKER_READ_UNITS, |_| true)),
        (WRITE_UNITS, registry.sum(&WORKER_WRITE_UNITS, |_| true)),
    ]
}

/// What has come to counters since `before`, which has the same metrics. What is only worth a word when it
/// happens, and has not, is left out.
pub fn since(before: &[(Metric, f64)], now: Vec<(Metric, f64)>) -> Vec<(Metric, f64)> {
    let grown = now.into_iter().zip(before).map(|((metric, now), (_, before))| (metric, now - before));
    grown.filter(|(metric, by)| metric.shown != Shown::WhenItHappens || *by != 0.0).collect()
}

/// Whether lines are written: `STAGELINE_METRICS=off` says no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Output(bool);

impl Output {
    /// As the environment says.
    pub fn from_env(lookup: impl Fn(&str) -> Option<String>) -> Self {
        Self(lookup("STAGELINE_METRICS").as_deref() != Some("off"))
    }

    /// Writes lines where the Lambda's log takes them from.
    pub fn print(self, lines: &[String]) {
        let mut stdout = std::io::stdout().lock();
        for line in lines.iter().filter(|_| self.0) {
            // Without a log there is nobody to tell.
            let _unread = writeln!(stdout, "{line}");
        }
    }
}

fn number(value: f64) -> Value {
    // A number without a form in JSON is none that was measured.
    if value.is_finite() { json!(value) } else { json!(0.0) }
}
