//! What it takes to see a deployment: the metrics of its functions, its alarms and its dashboard, and log lines. What is
//! of the code here is held to it by a test of `bench/simulator-check`, which runs the functions.

use serde::Serialize;

const WATCH: &str = include_str!("../../../infra/watch.yaml");

/// Calls of SQS of a round of the sweeper with one pool: a look at each of three lanes, and a receive of its dead
/// letters.
pub const ROUND_SQS_REQUESTS: f64 = 4.0;
/// What the dispatcher logs of a task, in bytes. Most of it is the ids, of the call and of the task.
pub const TASK_BYTES: f64 = 400.0;
/// What it logs of a call: its lines of metrics.
pub const CALL_BYTES: f64 = 1_000.0;
/// What the sweeper logs of a round with one pool: its report and its lines of metrics.
pub const ROUND_BYTES: f64 = 2_800.0;
/// What Lambda itself logs of each call of a function: that it began, and a report.
pub const PLATFORM_BYTES: f64 = 400.0;

/// What CloudWatch is paid for by the month, of a deployment with one pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Watched {
    /// Metrics that the sweeper publishes, each a name with its dimensions. AWS counts the hours in which one is
    /// there: these are in all.
    pub metrics: f64,
    /// Further ones that the dispatcher publishes when there are tasks; counted as if in every hour.
    pub metrics_of_tasks: f64,
    /// Metrics that alarms look at.
    pub alarm_metrics: f64,
    /// Dashboards.
    pub dashboards: f64,
}

impl Watched {
    /// What the core's functions publish, and what `infra/watch.yaml` makes.
    pub fn deployed() -> Self {
        let count = |what| WATCH.matches(what).count() as f64;
        Self {
            metrics: 25.0,
            metrics_of_tasks: 8.0,
            // One in an alarm, or one for each `MetricStat` of an alarm that computes.
            alarm_metrics: count("MetricName: "),
            dashboards: count("Type: AWS::CloudWatch::Dashboard\n"),
        }
    }
}

/// What is logged of a task that shares its call with others: so many calls a task.
pub fn log_bytes(calls: f64) -> f64 {
    TASK_BYTES + calls * (CALL_BYTES + PLATFORM_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_alarm_of_the_template_has_a_metric_and_there_is_a_dashboard() {
        let deployed = Watched::deployed();
        let alarms = WATCH.matches("Type: AWS::CloudWatch::Alarm\n").count();
        assert!(alarms > 10 && deployed.alarm_metrics >= alarms as f64, "{deployed:?}, {alarms} alarms");
        assert_eq!(deployed.dashboards, 1.0);
    }
}
