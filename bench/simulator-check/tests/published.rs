//! What the functions publish, log and ask of SQS, held against what the model says of it: the same handlers as in a
//! Lambda, on the embedded AWS.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail as the test does")]

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::{Arc, Mutex};

use anyhow::Result;
use serde_json::{Value, json};
use stageline::Clock;
use stageline::protocol::lease::Lease;
use stageline::task::{Task, TaskId};
use stageline_simulator::watched::{self, Watched};
use stageline_sweeper::{Limits, SweepEvent};
use stageline_tests::faults::{FaultyHttp, Plan};
use stageline_tests::parts::Parts;
use tracing::Instrument;
use tracing_subscriber::EnvFilter;

/// As long as the ids that Lambda gives.
const REQUEST: &str = "8b9f1f5a-6d3c-4a27-9f0e-5d3c4a279f0e";
const TRACE: &str =
    "Root=1-65a1b2c3-0123456789abcdef01234567;Parent=0123456789abcdef;Sampled=0;Lineage=1:01234567:0";

/// Log lines, as the functions' subscriber writes them.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// Catches what the functions log on this thread, for as long as the guard lives.
    fn catch(&self) -> tracing::subscriber::DefaultGuard {
        let log = self.clone();
        // The level of infra/core.yaml; the embedded AWS is not part of a function.
        let filter = EnvFilter::new("info,stageline_local=off,stageline_loopback=off");
        tracing::subscriber::set_default(stageline::logging::json(filter, move || log.clone()))
    }

    /// Bytes since the last time.
    fn taken(&self) -> f64 {
        std::mem::take(&mut *self.0.lock().unwrap()).len() as f64
    }
}

/// What `lambda_runtime` puts around each call, and so into each line.
fn invocation() -> tracing::Span {
    tracing::info_span!("Lambda runtime invoke", requestId = REQUEST, xrayTraceId = TRACE)
}

/// The metrics of lines: name and pool are what CloudWatch counts.
fn metrics(lines: &[String]) -> BTreeSet<(String, String)> {
    let mut all = BTreeSet::new();
    for line in lines {
        let line: Value = serde_json::from_str(line).unwrap();
        for metric in line["_aws"]["CloudWatchMetrics"][0]["Metrics"].as_array().unwrap() {
            all.insert((metric["Name"].to_string(), line["Pool"].to_string()));
        }
    }
    all
}

/// Bytes of lines with their ends.
fn bytes(lines: &[String]) -> f64 {
    lines.iter().map(|line| line.len() + 1).sum::<usize>() as f64
}

fn close(what: &str, real: f64, model: f64) {
    assert!((model - real).abs() <= 0.1 * real, "{what}: {real} really, {model} in the model");
}

/// Puts this many tasks, and gives the batch that the stream brings for them.
async fn batch(parts: &Parts, count: usize) -> Result<Value> {
    let (aws, now) = (parts.aws(), Clock::system().now());
    let mut records = Vec::new();
    for number in 0..count {
        let record = json!({
            "id": TaskId::fresh(), "status": "PENDING", "accountId": "default", "createdAt": now, "command": "true",
        });
        let task = Task::from_item(serde_dynamo::to_item(&record)?)?;
        anyhow::ensure!(aws.tasks.put_new(&task).await?, "an id that was there");
        let image: serde_dynamo::Item = serde_dynamo::to_item(&task)?;
        records.push(json!({
            "eventID": number.to_string(), "eventName": "INSERT", "awsRegion": "us-east-1",
            "dynamodb": {
                "Keys": {"id": {"S": task.id}}, "NewImage": image, "SequenceNumber": number.to_string(),
                "SizeBytes": 100, "ApproximateCreationDateTime": now.millis() / 1_000,
            },
        }));
    }
    Ok(json!({ "Records": records }))
}

#[tokio::test]
async fn metrics_log_lines_and_the_rounds_calls_are_those_of_the_model() -> Result<()> {
    let parts = Parts::start(Lease::default()).await?;
    let (config, calls) = FaultyHttp::wrap(&parts.local.sdk_config(), Plan::none())?;
    let (log, limits) = (Log::default(), Limits::default());
    let sweeper = parts.sweeper(&config, Clock::system());
    let dispatcher = parts.dispatcher(&parts.local.sdk_config(), Clock::system());
    let _caught = log.catch();

    // The first round remembers nothing yet.
    Box::pin(sweeper.handle_measured(SweepEvent::Scheduled, limits)).await;
    let (before, _) = (calls.log().len(), log.taken());
    let round = sweeper.handle_measured(SweepEvent::Scheduled, limits).instrument(invocation());
    let (report, sweeps) = Box::pin(round).await;
    assert_eq!(report.errors, 0, "{report:?}");
    let of_sqs = ["GetQueueAttributes", "ReceiveMessage"];
    let asked = calls.log()[before..].iter().filter(|c| of_sqs.contains(&c.operation.as_str())).count();
    assert_eq!(asked as f64, watched::ROUND_SQS_REQUESTS);
    close("bytes of a round", log.taken() + bytes(&sweeps), watched::ROUND_BYTES);

    let mut of_calls = Vec::new();
    for count in [1, 11] {
        let event = serde_json::from_value(batch(&parts, count).await?)?;
        log.taken();
        let (answer, lines) = dispatcher.handle_measured(event).instrument(invocation()).await;
        assert!(answer.batch_item_failures.is_empty());
        of_calls.push((log.taken(), lines));
    }
    let [(one, _), (eleven, lines)] = &of_calls[..] else { unreachable!() };
    close("bytes of a task", (eleven - one) / 10.0, watched::TASK_BYTES);
    close("bytes of a call", one - (eleven - one) / 10.0 + bytes(lines), watched::CALL_BYTES);

    let (sweeps, dispatches) = (metrics(&sweeps), metrics(lines));
    let published = (sweeps.len() as f64, dispatches.difference(&sweeps).count() as f64);
    let model = Watched::deployed();
    assert_eq!(published, (model.metrics, model.metrics_of_tasks), "{sweeps:#?} {dispatches:#?}");
    Ok(())
}

#[test]
fn what_lambda_itself_logs_of_a_call_is_as_long_as_the_model_says() {
    // By AWS's description of `platform.start` and `platform.report`, which are at the default level.
    let start = json!({
        "time": "2026-11-20T12:00:00.000Z", "type": "platform.start",
        "record": {"requestId": REQUEST, "version": "$LATEST"},
    });
    let report = json!({
        "time": "2026-11-20T12:00:00.000Z", "type": "platform.report",
        "record": {
            "requestId": REQUEST, "status": "success",
            "metrics": {"durationMs": 23.456, "billedDurationMs": 24, "memorySizeMB": 256, "maxMemoryUsedMB": 24},
        },
    });
    close("bytes", bytes(&[start.to_string(), report.to_string()]), watched::PLATFORM_BYTES);
}
