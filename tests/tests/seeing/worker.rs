//! `/metrics` of a worker that has run tasks, held against the table.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use serde_json::json;
use stageline::metrics::table::ALL;
use stageline::metrics::{Kind, Metric, Shown, Source, Unit};
use stageline_tests::system::{Stack, eventually, id};
use stageline_worker::Config;

use crate::http::get;

/// What a scraper makes of the text: the type of each family, and the value of each series.
struct Scraped {
    kinds: BTreeMap<String, String>,
    series: BTreeMap<String, f64>,
}

fn read(text: &str) -> Result<Scraped> {
    let (mut kinds, mut series) = (BTreeMap::new(), BTreeMap::new());
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').context("a type")?;
            assert!(kinds.insert(name.to_owned(), kind.to_owned()).is_none(), "{name} has one type");
        } else if !line.starts_with("# HELP ") {
            let (name, value) = line.rsplit_once(' ').with_context(|| format!("a value: {line}"))?;
            assert!(series.insert(name.to_owned(), value.parse()?).is_none(), "{name} is there once");
        }
    }
    Ok(Scraped { kinds, series })
}

impl Scraped {
    fn value(&self, series: &str) -> f64 {
        self.series.get(series).copied().unwrap_or_default()
    }
}

/// That a value can be one of the metric's unit: those of /metrics say theirs by the name's end, and yes and no are 1
/// and 0. A histogram's `_bucket` and `_count` count.
fn fits_its_unit(metric: &Metric, series: &str, value: f64) {
    let base = metric.name.strip_suffix("_total").unwrap_or(metric.name);
    assert_eq!(base.ends_with("_seconds"), metric.unit == Unit::Seconds, "{}", metric.name);
    assert_eq!(base.ends_with("_bytes"), metric.unit == Unit::Bytes, "{}", metric.name);
    assert_eq!(base.ends_with("_units"), metric.unit == Unit::CapacityUnits, "{}", metric.name);
    assert!(metric.unit != Unit::Milliseconds, "Prometheus has seconds: {}", metric.name);
    match metric.unit {
        Unit::YesNo => assert!(value == 0.0 || value == 1.0, "{series} is {value}"),
        Unit::Count | Unit::Bytes => assert!(value >= 0.0 && value.fract() == 0.0, "{series} is {value}"),
        Unit::Seconds | Unit::Milliseconds | Unit::CapacityUnits => {
            assert!(value >= 0.0, "{series} is {value}")
        }
    }
}

/// The names of a series's labels.
fn labels(series: &str) -> Vec<&str> {
    let inner = series.split_once('{').map_or("", |(_, rest)| rest.trim_end_matches('}'));
    inner.split(',').filter_map(|pair| pair.split_once('=')).map(|(name, _)| name).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_worker_counted_is_there_under_the_names_types_units_and_labels_of_the_table() -> Result<()> {
    let stack = Stack::embedded().await?;
    let config = Config { metrics_address: Some("127.0.0.1:0".to_owned()), ..stack.worker_config(3) };
    let worker = stack.worker(config)?;
    let address = worker.metrics.context("an address")?;
    let retry = json!({"strategy": "IMMEDIATE", "maxRetries": 1, "delaySeconds": 0});
    for (record, completes) in [
        (json!({"id": id("well"), "command": "echo hello"}), true),
        (json!({"id": id("badly"), "command": "false"}), false),
        (json!({"id": id("missing"), "command": "/no/such/program"}), false),
        (json!({"id": id("again"), "command": "sh -c 'test $STAGELINE_ATTEMPT = 2'", "retry": retry}), true),
        (json!({"id": id("stages"), "engine": "demo", "params": {"items": 20, "seconds": 0.2}}), true),
    ] {
        let task = stack.put(&record).await?;
        let ended = stack.ended(&task).await?;
        assert_eq!(ended.status == stageline::task::Status::Completed, completes, "{ended:#?}");
    }
    // The counts of an attempt follow its record by a moment.
    let scraped = eventually("every end is counted", || async {
        let (status, text) = get(address, "/metrics").await?;
        assert_eq!(status, 200);
        let scraped = read(&text)?;
        let deleted = scraped.value("stageline_messages_deleted_total");
        Ok((deleted >= 6.0).then_some(scraped))
    })
    .await?;

    let of_workers = || ALL.iter().filter(|metric| metric.from == [Source::Worker]);
    for metric in of_workers().filter(|metric| metric.shown == Shown::Always) {
        assert!(scraped.kinds.contains_key(metric.name), "{} is not there", metric.name);
    }
    let mut families = BTreeSet::new();
    for (name, kind) in &scraped.kinds {
        let metric = of_workers().find(|metric| metric.name == name);
        let metric = metric.with_context(|| format!("{name} is not in the table"))?;
        let expected = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram(_) => "histogram",
        };
        assert_eq!(kind, expected, "{name}");
        families.insert(name.clone());
    }
    for (series, value) in &scraped.series {
        let name = series.split('{').next().unwrap();
        let base =
            ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
        assert!(families.contains(base) || families.contains(name), "{series} has no type");
        let metric = of_workers().find(|metric| metric.name == name || metric.name == base).unwrap();
        fits_its_unit(metric, series, *value);
        let bound = name.ends_with("_bucket").then_some("le");
        let expected: Vec<&str> = metric.labels.iter().copied().chain(bound).collect();
        assert_eq!(labels(series), expected, "{series}");
    }

    let is = |series: &str, value: f64| assert_eq!(scraped.value(series), value, "{series}");
    is(r#"stageline_tasks_ended_total{engine="command",outcome="completed"}"#, 2.0);
    is(r#"stageline_tasks_ended_total{engine="command",outcome="failed"}"#, 2.0);
    is(r#"stageline_tasks_ended_total{engine="command",outcome="retrying"}"#, 1.0);
    is(r#"stageline_tasks_ended_total{engine="demo",outcome="completed"}"#, 1.0);
    is(r#"stageline_claims_total{result="won"}"#, 6.0);
    is("stageline_task_wait_seconds_bucket{le=\"+Inf\"}", scraped.value("stageline_task_wait_seconds_count"));
    is(r#"stageline_task_run_seconds_count{engine="command"}"#, 5.0);
    is(r#"stageline_messages_received_total{lane="normal"}"#, 6.0);
    is("stageline_spawn_failures_total", 1.0);
    is("stageline_slots", 3.0);
    is("stageline_log_bytes_total", 6.0);
    is(r#"stageline_aws_calls_total{operation="UpdateItem",outcome="fault"}"#, 0.0);
    for (series, least) in [
        ("stageline_progress_reports_total", 2.0),
        ("stageline_progress_writes_total", 1.0),
        ("stageline_stages_total", 1.0),
        // A claim and an end for each attempt write a unit at least.
        ("stageline_aws_write_units_total", 12.0),
        (r#"stageline_aws_calls_total{operation="UpdateItem",outcome="ok"}"#, 12.0),
        (r#"stageline_aws_calls_total{operation="ReceiveMessage",outcome="ok"}"#, 6.0),
    ] {
        assert!(scraped.value(series) >= least, "{series} is {}", scraped.value(series));
    }
    assert!(scraped.value("stageline_heartbeat_lag_seconds") < 30.0);
    worker.drained().await?;
    stack.shutdown().await;
    Ok(())
}
