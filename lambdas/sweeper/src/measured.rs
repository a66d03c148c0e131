//! The sweeper as the Lambda calls it: with metrics and traces, neither of which can fail a call.

use std::time::{Duration, Instant};

use stageline::At;
use stageline::metrics::emf::{self, Dimensions};
use stageline::metrics::table::{
    BREAKERS_OPEN, DEAD_LETTERS_DROPPED, DEAD_LETTERS_FAILED, QUEUE_DELAYED, QUEUE_IN_FLIGHT, QUEUE_VISIBLE,
    RECORDS_IMPOSSIBLE, RECORDS_REJECTED, RECORDS_SCANNED, RESCUED, SCANS_COMPLETED, SIGNALS_LEFT,
    SLOTS_IN_USE, SLOTS_TOTAL, SWEEPER_DURATION, SWEEPER_ERRORS, SWEEPER_RUNS, TASKS_CANCELLED,
    TASKS_DEFERRED, TASKS_DUE, TASKS_PAUSED, TASKS_RESUMED, TASKS_SENT_AGAIN, WORKERS_ALIVE, WORKERS_DEAD,
};
use stageline::metrics::{Metric, Shown};
use stageline::trace::Kind;

use crate::{Limits, PoolView, Report, SweepEvent, Sweeper};

/// How long a call waits for the collector of traces.
const LAST_SPANS: Duration = Duration::from_millis(800);

impl Sweeper {
    /// Does what an event asks for; gives the lines of metrics for it too.
    pub async fn handle_measured(&self, event: SweepEvent, limits: Limits) -> (Report, Vec<String>) {
        let (begun, at) = (Instant::now(), self.clock.now());
        let before = emf::calls(&self.aws.meters);
        let mut span = self.tracer.root("sweep", Kind::Internal, None);
        let report = Box::pin(self.handle(event, limits)).await;
        span.set("stageline.rescued", &report.rescued);
        span.set("stageline.sent_again", &report.sent_again);
        if report.errors > 0 {
            span.fail(format!("{} parts failed", report.errors));
        }
        drop(span);
        let mut values = of_report(&report);
        values.push((SWEEPER_DURATION, begun.elapsed().as_secs_f64() * 1_000.0));
        values.extend(emf::since(&before, emf::calls(&self.aws.meters)));
        let lines = lines(at, self.deployment.prefix(), values, &report);
        self.tracer.flush(LAST_SPANS).await;
        (report, lines)
    }
}

fn of_report(report: &Report) -> Vec<(Metric, f64)> {
    let counts = [
        (SWEEPER_RUNS, 1),
        (SWEEPER_ERRORS, report.errors),
        (WORKERS_DEAD, report.workers_dead),
        (RESCUED, report.rescued),
        (TASKS_DUE, report.due),
        (TASKS_SENT_AGAIN, report.sent_again),
        (RECORDS_SCANNED, report.scanned),
        (SCANS_COMPLETED, usize::from(report.pass_complete)),
        (RECORDS_IMPOSSIBLE, report.impossible_count),
        (RECORDS_REJECTED, report.rejected),
        (TASKS_DEFERRED, report.deferred),
        (TASKS_CANCELLED, report.cancelled),
        (TASKS_PAUSED, report.held),
        (TASKS_RESUMED, report.resumed),
        (SIGNALS_LEFT, report.signals),
        (DEAD_LETTERS_FAILED, report.dead_letters_failed),
        (DEAD_LETTERS_DROPPED, report.dead_letters_dropped),
    ];
    let worth = |(metric, count): &(Metric, usize)| metric.shown == Shown::Always || *count > 0;
    counts.into_iter().filter(worth).map(|(metric, count)| (metric, count as f64)).collect()
}

/// One line of the call and all pools together, and one a pool.
fn lines(at: At, prefix: &str, mut values: Vec<(Metric, f64)>, report: &Report) -> Vec<String> {
    let pools: Vec<_> = report.pools.iter().map(|(name, view)| (name, of_pool(view))).collect();
    let mut sums: Vec<(Metric, f64)> = Vec::new();
    for (metric, value) in pools.iter().flat_map(|(_, values)| values) {
        match sums.iter_mut().find(|(summed, _)| summed.name == metric.name) {
            Some((_, sum)) => *sum += value,
            None => sums.push((*metric, *value)),
        }
    }
    values.extend(sums);
    let mut lines = vec![emf::line(at, Dimensions { prefix, pool: None }, &values)];
    for (name, values) in &pools {
        lines.push(emf::line(at, Dimensions { prefix, pool: Some(name) }, values));
    }
    lines
}

fn of_pool(view: &PoolView) -> Vec<(Metric, f64)> {
    let mut values = Vec::new();
    if let Some(workers) = &view.workers {
        let counts = [
            (WORKERS_ALIVE, workers.workers_alive),
            (SLOTS_TOTAL, workers.slots_total),
            (SLOTS_IN_USE, workers.slots_busy),
            (BREAKERS_OPEN, workers.breakers_open),
        ];
        values.extend(counts);
    }
    if let Some(queues) = &view.queues {
        let depths = [
            (QUEUE_VISIBLE, queues.visible),
            (QUEUE_IN_FLIGHT, queues.in_flight),
            (QUEUE_DELAYED, queues.delayed),
        ];
        values.extend(depths);
    }
    values.into_iter().map(|(metric, value)| (metric, value as f64)).collect()
}
