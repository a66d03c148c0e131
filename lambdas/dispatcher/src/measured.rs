//! The handler as the Lambda calls it: with metrics and traces, neither of which can fail a batch.

use std::time::{Duration, Instant};

use aws_lambda_events::event::dynamodb::Event;
use aws_lambda_events::event::streams::DynamoDbEventResponse;
use stageline::At;
use stageline::metrics::emf::{self, Dimensions};
use stageline::metrics::table::{DISPATCHER_DURATION, DISPATCHER_RUNS, RECORD_AGE, TASKS_SENT};

use crate::Dispatcher;

/// How long an invocation waits for the collector of traces.
const LAST_SPANS: Duration = Duration::from_millis(800);

impl Dispatcher {
    /// Handles one batch; gives the lines of metrics for it too.
    pub async fn handle_measured(&self, event: Event) -> (DynamoDbEventResponse, Vec<String>) {
        let (begun, at) = (Instant::now(), self.clock.now());
        let (before, pools) = (self.tally.values(), self.tally.by_pool());
        let aws_before = emf::calls(&self.aws.meters);
        let written = event.records.iter().filter_map(|record| {
            let millis = record.change.approximate_creation_date_time.timestamp_millis();
            // A record without its time has that of 1970.
            (millis > 0).then(|| At::from_millis(millis))
        });
        let age = written.min().map_or(Duration::ZERO, |oldest| at.since(oldest));
        let response = self.handle(event).await;

        let mut values = vec![
            (DISPATCHER_RUNS, 1.0),
            (DISPATCHER_DURATION, begun.elapsed().as_secs_f64() * 1_000.0),
            (RECORD_AGE, age.as_secs_f64() * 1_000.0),
        ];
        values.extend(emf::since(&before, self.tally.values()));
        values.extend(emf::since(&aws_before, emf::calls(&self.aws.meters)));
        let prefix = self.deployment.prefix();
        let mut lines = vec![emf::line(at, Dimensions { prefix, pool: None }, &values)];
        for (pool, sent) in self.tally.by_pool() {
            let sent = sent - pools.get(&pool).unwrap_or(&0.0);
            if sent > 0.0 {
                lines.push(emf::line(at, Dimensions { prefix, pool: Some(&pool) }, &[(TASKS_SENT, sent)]));
            }
        }
        self.tracer.flush(LAST_SPANS).await;
        (response, lines)
    }
}
