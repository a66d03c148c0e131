//! What a month costs: counts a task times tasks, and what is paid without any task, times the prices.
//!
//! A month has 30 days. With `n` tasks a day:
//!
//! ```text
//! tasks' writes   = 30 n · task_write_units · dynamodb.write_unit_million / 10^6
//! progress writes = 30 n · stage_write_units · dynamodb.write_unit_million / 10^6
//! other writes    = 30 (n · control_write_units + standing.write_units) · dynamodb.write_unit_million / 10^6
//! reads           = 30 (n · read_units + standing.read_units) · dynamodb.read_unit_million / 10^6
//! SQS             = 30 (n · sqs_requests + standing.sqs_requests) · sqs.request_million / 10^6
//! Lambda          = 30 (n · lambda_calls + standing.lambda_calls) · lambda.request_million / 10^6, and the same of gb_seconds · lambda.gb_second_arm
//! logs            = 30 (n · log_bytes + standing.log_bytes) / 10^9 · cloudwatch.logs_ingest_gb
//! metrics         = watched.metrics, and where there are tasks watched.metrics_of_tasks, · cloudwatch.metric_month
//! alarms          = watched.alarm_metrics · cloudwatch.alarm_metric_month
//! dashboard       = watched.dashboards · cloudwatch.dashboard_month
//! storage         = n · record_kb · kept_days / 10^6 · (storage_gb_month + recovery_gb_month)
//! workers         = worker_hours · (vcpus · fargate.vcpu_hour_arm + gb · fargate.gb_hour_arm)
//! ```

use serde::Serialize;

use crate::outcome::Outcome;
use crate::parameters::{FUNCTION_GB, Parameters};
use crate::prices::Prices;
use crate::watched::{PLATFORM_BYTES, ROUND_BYTES, ROUND_SQS_REQUESTS, Watched, log_bytes};

/// Days of a month.
pub const DAYS: f64 = 30.0;

/// Counts a task, measured or modelled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct PerTask {
    /// Write units of `tasks` and its index: 5 for an ordinary task.
    pub task_write_units: f64,
    /// Write units of `stages`.
    pub stage_write_units: f64,
    /// Write units of `control`: its part of heartbeats and registry.
    pub control_write_units: f64,
    /// Read units.
    pub read_units: f64,
    /// Calls of SQS.
    pub sqs_requests: f64,
    /// Calls of the dispatcher.
    pub lambda_calls: f64,
    /// Its memory times its billed time, in GB s.
    pub lambda_gb_seconds: f64,
    /// Bytes of logs.
    pub log_bytes: f64,
    /// KB that its record and its index entry take.
    pub record_kb: f64,
    /// Hours of workers.
    pub worker_hours: f64,
}

/// What is there also without tasks, a day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Standing {
    /// Write units: the sweeper's memory.
    pub write_units: f64,
    /// Read units: the sweeper's look at the workers and its pages of the repair scan.
    pub read_units: f64,
    /// Calls of the sweeper.
    pub lambda_calls: f64,
    /// Its memory times its time, in GB s.
    pub lambda_gb_seconds: f64,
    /// Its calls of SQS.
    pub sqs_requests: f64,
    /// Bytes of its logs.
    pub log_bytes: f64,
}

/// What else a month depends on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Setup {
    /// Days that records are kept (`expiresAt`); without end they grow for ever.
    pub kept_days: f64,
    /// vCPUs of a worker.
    pub vcpus: f64,
    /// GB of a worker.
    pub memory_gb: f64,
    /// Pages of the repair scan a minute at most (`STAGELINE_SWEEP_PAGES` is `auto`).
    pub most_sweep_pages: f64,
    /// Metrics, alarms and dashboard.
    pub watched: Watched,
}

impl Setup {
    /// A core and 2 GB a slot, records kept for 30 days, the templates' repair scan and alarms.
    pub fn of_slots(slots: u32) -> Self {
        let slots = f64::from(slots);
        let watched = Watched::deployed();
        Self { kept_days: 30.0, vcpus: slots, memory_gb: 2.0 * slots, most_sweep_pages: 16.0, watched }
    }
}

/// One line of a bill.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Line {
    /// What is paid for.
    pub what: &'static str,
    /// How much of it a month.
    pub quantity: f64,
    /// Of what.
    pub unit: &'static str,
    /// Dollars.
    pub dollars: f64,
}

/// A month's bill.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Bill {
    /// Tasks a day.
    pub tasks_a_day: f64,
    /// Its lines, the workers last.
    pub lines: Vec<Line>,
}

impl Bill {
    /// All of it without the workers.
    pub fn service(&self) -> f64 {
        self.lines.iter().filter(|line| line.what != WORKERS).map(|line| line.dollars).sum()
    }

    /// The workers.
    pub fn workers(&self) -> f64 {
        self.lines.iter().filter(|line| line.what == WORKERS).map(|line| line.dollars).sum()
    }
}

/// The line of the workers.
pub const WORKERS: &str = "workers (Fargate, ARM, on demand)";

impl PerTask {
    /// What a run came to, a task.
    pub fn of(outcome: &Outcome, parameters: &Parameters) -> Self {
        let requests = &outcome.requests;
        let each = |count: u64| count as f64 / outcome.tasks.max(1) as f64;
        let calls = each(requests.calls);
        Self {
            task_write_units: each(
                requests.puts + requests.index_entries + requests.marks + requests.claims + requests.ends,
            ),
            stage_write_units: each(requests.stages),
            control_write_units: each(requests.beats + requests.registry_units),
            // A strongly consistent read of a record of up to 4 KB.
            read_units: each(requests.reviews),
            sqs_requests: each(requests.sqs()),
            lambda_calls: calls,
            lambda_gb_seconds: requests.call_seconds * parameters.dispatcher.memory_gb
                / outcome.tasks.max(1) as f64,
            log_bytes: log_bytes(calls),
            record_kb: 1.2,
            worker_hours: outcome.workers * outcome.seconds / 3_600.0 / outcome.tasks.max(1) as f64,
        }
    }
}

impl Standing {
    /// A sweeper's call a minute over this many workers and this many kept records.
    pub fn of(workers: f64, slots: u32, records_kb: f64, setup: &Setup) -> Self {
        let calls = 1_440.0;
        // A heartbeat of half a KB and a registry item, read strongly consistent, 4 KB a unit.
        let worker_kb = 0.6 + 0.05 * f64::from(slots);
        let workers_read = workers * worker_kb / 4.0 + 8.0;
        // As many pages of 1 MB as pass the table within the hour, two at least.
        let pages = (records_kb / 1_024.0 / 60.0).ceil().clamp(2.0, setup.most_sweep_pages);
        let scanned_kb = (pages * 1_024.0).min(records_kb);
        // Eventually consistent: half a unit for 4 KB.
        let scanned = scanned_kb / 8.0;
        let memory_kb = (workers * MEMORY_BYTES / 1_024.0).ceil().max(1.0);
        // A start of 50 ms, its reads, and 1 ms a KB of scanned pages' parsing at 256 MB.
        let seconds = 0.15 + scanned_kb * 0.001 + workers * 0.000_05;
        Self {
            write_units: calls * memory_kb,
            read_units: calls * (workers_read + scanned + memory_kb / 4.0),
            lambda_calls: calls,
            lambda_gb_seconds: calls * seconds * FUNCTION_GB,
            sqs_requests: calls * ROUND_SQS_REQUESTS,
            log_bytes: calls * (ROUND_BYTES + PLATFORM_BYTES),
        }
    }
}

/// What the sweeper remembers of a worker, in bytes of an item: the id of about 45, two times of 24, names.
pub const MEMORY_BYTES: f64 = 110.0;

/// The bill of a month with this many tasks a day.
pub fn month(tasks: f64, each: &PerTask, standing: &Standing, setup: &Setup, prices: &Prices) -> Bill {
    let (n, million) = (tasks * DAYS, 1e6);
    let write = prices.dynamodb.write_unit_million / million;
    let read = prices.dynamodb.read_unit_million / million;
    let line =
        |what, quantity: f64, unit, price: f64| Line { what, quantity, unit, dollars: quantity * price };
    let lambda = |what, calls: f64, gb_seconds: f64| {
        let dollars =
            calls * prices.lambda.request_million / million + gb_seconds * prices.lambda.gb_second_arm;
        Line { what, quantity: calls, unit: "calls", dollars }
    };
    let control = n * each.control_write_units + DAYS * standing.write_units;
    let reads = n * each.read_units + DAYS * standing.read_units;
    let sqs = n * each.sqs_requests + DAYS * standing.sqs_requests;
    let logs_gb = (n * each.log_bytes + DAYS * standing.log_bytes) / 1e9;
    let (cloudwatch, watched) = (&prices.cloudwatch, &setup.watched);
    let metrics = watched.metrics + if tasks > 0.0 { watched.metrics_of_tasks } else { 0.0 };
    let stored_gb = tasks * each.record_kb * setup.kept_days / million;
    let storage = prices.dynamodb.storage_gb_month + prices.dynamodb.recovery_gb_month;
    let worker_hour =
        setup.vcpus * prices.fargate.vcpu_hour_arm + setup.memory_gb * prices.fargate.gb_hour_arm;
    let lines = vec![
        line("writes of tasks and their index", n * each.task_write_units, "units", write),
        line("writes of progress", n * each.stage_write_units, "units", write),
        line("heartbeats, registry, sweeper's memory", control, "units", write),
        line("reads of workers and sweeper", reads, "units", read),
        line("SQS", sqs, "requests", prices.sqs.request_million / million),
        lambda("dispatcher", n * each.lambda_calls, n * each.lambda_gb_seconds),
        lambda("sweeper", DAYS * standing.lambda_calls, DAYS * standing.lambda_gb_seconds),
        line("logs", logs_gb, "GB", cloudwatch.logs_ingest_gb),
        line("metrics", metrics, "metrics", cloudwatch.metric_month),
        line("alarms", watched.alarm_metrics, "metrics", cloudwatch.alarm_metric_month),
        line("dashboard", watched.dashboards, "dashboards", cloudwatch.dashboard_month),
        line("storage with recovery", stored_gb, "GB", storage),
        line(WORKERS, n * each.worker_hours, "worker hours", worker_hour),
    ];
    Bill { tasks_a_day: tasks, lines }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bill(tasks: f64, each: &PerTask) -> Bill {
        let setup = Setup { watched: Watched::default(), ..Setup::of_slots(8) };
        month(tasks, each, &Standing::default(), &setup, &Prices::default())
    }

    #[test]
    fn a_million_ordinary_tasks_cost_what_their_units_do() {
        let each = PerTask { task_write_units: 5.0, sqs_requests: 0.4, ..PerTask::default() };
        // A million a month, in a month of 30 days.
        let dollars = bill(1e6 / DAYS, &each).service();
        assert!((dollars - (5.0 * 0.625 + 0.4 * 0.40)).abs() < 1e-9, "{dollars}");
    }

    #[test]
    fn a_bill_is_linear_in_its_tasks_and_in_each_count() {
        let each = PerTask {
            task_write_units: 5.0,
            stage_write_units: 3.0,
            control_write_units: 0.5,
            read_units: 1.0,
            sqs_requests: 2.0,
            lambda_calls: 0.1,
            lambda_gb_seconds: 0.001,
            log_bytes: 400.0,
            record_kb: 1.2,
            worker_hours: 0.002,
        };
        let (one, thousand) = (bill(1e3, &each), bill(1e6, &each));
        for (small, large) in one.lines.iter().zip(&thousand.lines) {
            assert!(
                (large.dollars - 1e3 * small.dollars).abs() <= 1e-9 * large.dollars.max(1.0),
                "{small:?}"
            );
        }
        let whole: f64 = one.lines.iter().map(|line| line.dollars).sum();
        assert!((whole - one.service() - one.workers()).abs() < 1e-12);
        assert!(one.workers() > 0.0);
    }

    #[test]
    fn without_tasks_only_what_stands_is_paid() {
        let setup = Setup::of_slots(8);
        let standing = Standing::of(0.0, 8, 0.0, &setup);
        let bill = month(0.0, &PerTask::default(), &standing, &setup, &Prices::default());
        let cloudwatch = 25.0 * 0.30 + setup.watched.alarm_metrics * 0.10 + 3.0;
        let others = bill.service() - cloudwatch;
        assert!(others > 0.0 && others < 1.0, "{bill:?}");
        let sqs = bill.lines.iter().find(|line| line.what == "SQS").unwrap();
        assert!((sqs.quantity - 43_200.0 * 4.0).abs() < 1e-6, "{sqs:?}");
        let one = month(1.0, &PerTask::default(), &standing, &setup, &Prices::default());
        assert!((one.service() - bill.service() - 8.0 * 0.30).abs() < 1e-9, "the dispatcher publishes too");
    }
}
