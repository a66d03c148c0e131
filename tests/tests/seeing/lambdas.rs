//! The lines of metrics that the Lambdas write, held against the table and against the format's rules.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use aws_lambda_events::event::dynamodb::Event;
use serde_json::{Value, json};
use stageline::Clock;
use stageline::metrics::table::ALL;
use stageline::metrics::{Metric, Shown, Source};
use stageline::protocol::lease::Lease;
use stageline_sweeper::{Limits, SweepEvent};
use stageline_tests::parts::Parts;
use stageline_tests::system::{RunningWorker, eventually, worker_config};

type Values = BTreeMap<String, f64>;

/// Puts the records, and gives the batch that the stream would deliver for them half a minute later.
pub async fn batch(parts: &Parts, records: &[Value]) -> Result<Event> {
    let written = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() - 30;
    let client = aws_sdk_dynamodb::Client::new(&parts.local.sdk_config());
    let mut stream = Vec::new();
    for (n, record) in records.iter().enumerate() {
        let item: stageline::task::Item = serde_dynamo::to_item(record)?;
        client.put_item().table_name(&parts.deployment.tasks_table).set_item(Some(item)).send().await?;
        let image: serde_dynamo::Item = serde_dynamo::to_item(record)?;
        // What it was does not matter, but that it was something else.
        let paused = record["pauseRequested"] == false;
        let old = json!({
            "id": record["id"], "status": "RUNNING", "dispatchStatus": "DISPATCHED", "pauseRequested": paused,
        });
        let old: serde_dynamo::Item = serde_dynamo::to_item(old)?;
        let name = if record["status"].is_null() { "INSERT" } else { "MODIFY" };
        stream.push(json!({
            "eventID": n.to_string(), "eventName": name, "awsRegion": "us-east-1",
            "dynamodb": {
                "Keys": {"id": {"S": record["id"]}}, "NewImage": image, "OldImage": old,
                "SequenceNumber": (1000 + n).to_string(), "SizeBytes": 100,
                "ApproximateCreationDateTime": written,
            },
        }));
    }
    Ok(serde_json::from_value(json!({ "Records": stream }))?)
}

/// The values of a line by name, and its pool; every rule of the format and of the table is checked on the way.
/// The rules: <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>
fn read(line: &str, from: Source) -> Result<(Option<String>, Values)> {
    assert!(!line.contains('\n') && line.len() < 256 * 1024);
    let root: Value = serde_json::from_str(line)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as u64;
    assert!(root["_aws"]["Timestamp"].as_u64().context("a time")?.abs_diff(now) < 3_600_000);
    let directives = root["_aws"]["CloudWatchMetrics"].as_array().context("directives")?;
    let mut values = BTreeMap::new();
    let pool = root["Pool"].as_str().map(str::to_owned);
    for directive in directives {
        assert_eq!(directive["Namespace"], "Stageline");
        let sets = directive["Dimensions"].as_array().context("dimensions")?;
        let expected = if pool.is_some() { json!([["Prefix", "Pool"]]) } else { json!([["Prefix"]]) };
        assert_eq!(json!(sets), expected);
        for name in sets.iter().flat_map(|set| set.as_array().unwrap()) {
            let value = root[name.as_str().context("a name")?].as_str().context("a dimension's value")?;
            assert!((1..=1_024).contains(&value.len()));
        }
        let metrics = directive["Metrics"].as_array().context("metrics")?;
        assert!((1..=100).contains(&metrics.len()));
        for metric in metrics {
            let name = metric["Name"].as_str().context("a name")?;
            let known = ALL
                .iter()
                .find(|known| known.name == name)
                .with_context(|| format!("{name} is in no table"))?;
            assert!(known.from.contains(&from), "{name} is not of {from:?}");
            assert_eq!(metric["Unit"], known.unit.in_cloudwatch(), "{name}");
            assert!(pool.is_none() || known.labels == ["Pool"], "{name} is of no pool");
            let value = root[name].as_f64().with_context(|| format!("{name} has no number"))?;
            assert!(values.insert(name.to_owned(), value).is_none(), "{name} is there twice");
        }
    }
    // No number is left that is no metric.
    assert_eq!(root.as_object().unwrap().values().filter(|value| value.is_number()).count(), values.len());
    Ok((pool, values))
}

/// The line of all pools, and those of each.
fn read_all(lines: &[String], from: Source) -> Result<(Values, BTreeMap<String, Values>)> {
    let mut of_all = None;
    let mut pools = BTreeMap::new();
    for line in lines {
        match read(line, from)? {
            (None, values) => assert!(of_all.replace(values).is_none(), "one line of all"),
            (Some(pool), values) => assert!(pools.insert(pool, values).is_none(), "one line a pool"),
        }
    }
    Ok((of_all.context("a line of all")?, pools))
}

fn names(from: Source, shown: &[Shown]) -> BTreeSet<String> {
    let of = |metric: &&Metric| metric.from.contains(&from) && shown.contains(&metric.shown);
    ALL.iter().filter(of).map(|metric| metric.name.to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dispatchers_lines_are_those_of_the_table_and_say_what_it_did() -> Result<()> {
    let parts = Parts::start(Lease::default()).await?;
    let dispatcher = parts.dispatcher(&parts.local.sdk_config(), Clock::system());
    let records = [
        json!({"id": "sent-1", "command": "true"}),
        json!({"id": "sent-2", "command": "true"}),
        json!({"id": "rejected", "command": "true", "engine": "no-such-engine"}),
        json!({"id": "deferred", "command": "true", "notBefore": "2100-01-01T00:00:00.000Z"}),
        json!({"id": "foreign", "command": "true", "metadata": {"dispatch_mode": "local"}}),
        json!({"id": "cancelled", "command": "true", "attempt": 1, "history": [], "status": "QUEUED", "cancelRequested": true}),
        json!({"id": "held", "command": "true", "attempt": 1, "history": [], "status": "QUEUED", "pauseRequested": true}),
        json!({"id": "resumed", "command": "true", "attempt": 1, "history": [], "status": "PAUSED", "pauseRequested": false}),
        json!({"id": "again", "command": "true", "status": "COMPLETED", "dispatchStatus": "PENDING"}),
    ];
    let (response, lines) = dispatcher.handle_measured(batch(&parts, &records).await?).await;
    assert!(response.batch_item_failures.is_empty());
    let (all, pools) = read_all(&lines, Source::Dispatcher)?;
    let always = names(Source::Dispatcher, &[Shown::Always]);
    assert!(
        always.iter().all(|name| all.contains_key(name)),
        "{:?}",
        always.iter().filter(|n| !all.contains_key(*n)).collect::<Vec<_>>()
    );
    for (name, value) in [
        ("DispatcherRuns", 1.0),
        ("RecordsReceived", 9.0),
        ("RecordsLeft", 1.0),
        ("RecordsRejected", 1.0),
        ("RecordsFailed", 0.0),
        ("TasksSent", 2.0),
        ("TasksMarked", 2.0),
        ("TasksDeferred", 1.0),
        ("TasksCancelled", 1.0),
        ("TasksPaused", 1.0),
        ("TasksResumed", 1.0),
        ("TasksRunAgain", 1.0),
    ] {
        assert_eq!(all.get(name), Some(&value), "{name}");
    }
    assert!((30_000.0..300_000.0).contains(&all["RecordAge"]), "{}", all["RecordAge"]);
    // One send, and a write for each of the other eight, some of which share a request; each writes the record and
    // what indexes hold of it.
    assert!(all["AwsCalls"] >= 3.0 && all["WriteUnits"] >= 8.0, "{all:?}");
    assert_eq!(
        pools,
        BTreeMap::from([("default".to_owned(), BTreeMap::from([("TasksSent".to_owned(), 2.0)]))])
    );

    // An invocation is measured alone, and what did not happen is not said.
    let (_, lines) = dispatcher.handle_measured(Event::default()).await;
    let (all, pools) = read_all(&lines, Source::Dispatcher)?;
    assert_eq!(all.keys().cloned().collect::<BTreeSet<_>>(), always);
    assert_eq!((all["DispatcherRuns"], all["TasksSent"], all["AwsCalls"]), (1.0, 0.0, 0.0));
    assert!(pools.is_empty());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sweepers_lines_are_those_of_the_table_and_say_what_it_saw() -> Result<()> {
    let parts = Parts::start(Lease::default()).await?;
    let sweeper = parts.sweeper(&parts.local.sdk_config(), Clock::system());
    let folder = tempfile::tempdir()?;
    let worker = RunningWorker::start(
        worker_config(folder.path(), 3),
        &parts.local.sdk_config(),
        &parts.deployment,
        Clock::system(),
    )?;
    eventually("it beats", || async { Ok(parts.aws().workers.get(&worker.id).await?.map(drop)) }).await?;
    let old = "2026-01-01T00:00:00.000Z";
    let lost = json!({"id": "lost", "command": "true", "createdAt": old, "updatedAt": old});
    let _unseen_by_a_dispatcher = batch(&parts, &[lost]).await?;
    let limits = Limits::default();
    let (report, lines) = Box::pin(sweeper.handle_measured(SweepEvent::Scheduled, limits)).await;
    let (all, pools) = read_all(&lines, Source::Sweeper)?;
    let scheduled = names(Source::Sweeper, &[Shown::Always, Shown::OnSchedule]);
    assert!(scheduled.iter().all(|name| all.contains_key(name)), "{all:?}");
    for (name, value) in [
        ("SweeperRuns", 1.0),
        ("SweeperErrors", 0.0),
        ("WorkersAlive", 1.0),
        ("SlotsTotal", 3.0),
        ("SlotsBusy", 0.0),
        ("TasksRescued", 0.0),
        ("TasksSentAgain", 1.0),
        ("RecordsScanned", 1.0),
        ("ScansCompleted", 1.0),
    ] {
        assert_eq!(all.get(name), Some(&value), "{name} of {report:?}");
    }
    assert!(all["AwsCalls"] > 10.0 && all["ReadUnits"] > 0.0, "{all:?}");
    let of_pool = &pools["default"];
    assert_eq!((pools.len(), of_pool["WorkersAlive"], of_pool["SlotsTotal"]), (1, 1.0, 3.0));
    assert!(of_pool.contains_key("QueueVisible"));
    worker.drained().await?;

    let (_, lines) = Box::pin(sweeper.handle_measured(SweepEvent::Ignored("a test"), limits)).await;
    let (all, pools) = read_all(&lines, Source::Sweeper)?;
    assert_eq!(all.keys().cloned().collect::<BTreeSet<_>>(), names(Source::Sweeper, &[Shown::Always]));
    assert!(pools.is_empty(), "nothing was seen of workers and queues, which is not 0");
    Ok(())
}
