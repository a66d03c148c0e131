//! The rules of the mapping over the embedded DynamoDB's stream.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use stageline_local::pump::{
    FailedBatch, GiveUpReason, InvokeError, MappingRules, Source, StartingPosition, StreamFunction,
    StreamPump,
};
use stageline_local::{LocalAws, LocalOptions, sdk_config};
use tokio::sync::mpsc;

use crate::function::{done, failed, ids, scripted};

/// An embedded AWS of its own, and a client of its tasks table.
struct Bench {
    aws: LocalAws,
    client: aws_sdk_dynamodb::Client,
}

impl Bench {
    async fn new() -> Self {
        let options = LocalOptions { data_dir: None, port: 0, prefix: "p".to_owned() };
        let aws = LocalAws::start(options).await.unwrap();
        let client = aws_sdk_dynamodb::Client::new(&aws.sdk_config());
        Self { aws, client }
    }

    /// A pump that reads on announced writes only: no test here waits for a poll.
    async fn pump(
        &self,
        start: StartingPosition,
        rules: MappingRules,
        function: Arc<dyn StreamFunction>,
    ) -> (StreamPump, mpsc::Receiver<FailedBatch>) {
        let (failures, failed) = mpsc::channel(100);
        let streams = sdk_config(&self.aws.dynamodb_endpoint());
        let source = Source {
            streams: aws_sdk_dynamodbstreams::Client::new(&streams),
            table: self.aws.names().tasks.clone(),
            start,
            writes: Some(self.aws.writes()),
        };
        let rules = MappingRules { poll_interval: Duration::from_secs(3600), ..rules };
        let pump = StreamPump::start(source, rules, function, failures).await;
        (pump.unwrap(), failed)
    }

    async fn put(&self, id: &str, status: &str) {
        let put = self.client.put_item().table_name("p-tasks");
        let put = put.item("id", AttributeValue::S(id.to_owned()));
        let put = put.item("status", AttributeValue::S(status.to_owned()));
        put.send().await.unwrap();
    }

    /// Several in one write, so that the pump finds them in one read.
    async fn put_all(&self, ids: &[&str]) {
        let write = |id: &&str| {
            let put = aws_sdk_dynamodb::types::Put::builder()
                .table_name("p-tasks")
                .item("id", AttributeValue::S((*id).to_owned()))
                .build()
                .unwrap();
            aws_sdk_dynamodb::types::TransactWriteItem::builder().put(put).build()
        };
        let writes = ids.iter().map(write).collect();
        let transaction = self.client.transact_write_items();
        let transaction = transaction.set_transact_items(Some(writes));
        transaction.send().await.unwrap();
    }
}

#[tokio::test]
async fn every_write_reaches_the_function_in_order_with_its_images() {
    let bench = Bench::new().await;
    let (function, mut calls) = scripted(|_| done());
    let rules = MappingRules::default();
    let (pump, _) = bench.pump(StartingPosition::Latest, rules, function).await;
    bench.put("a", "PENDING").await;
    bench.put("a", "QUEUED").await;
    let delete = bench.client.delete_item().table_name("p-tasks");
    let delete = delete.key("id", AttributeValue::S("a".to_owned()));
    delete.send().await.unwrap();
    let mut records = Vec::new();
    while records.len() < 3 {
        records.extend(calls.next().await);
    }
    let names: Vec<_> = records.iter().map(|r| r.event_name.as_str()).collect();
    assert_eq!(names, ["INSERT", "MODIFY", "REMOVE"]);
    let status = |item: &serde_dynamo::Item| match item.inner().get("status") {
        Some(serde_dynamo::AttributeValue::S(status)) => status.clone(),
        _ => String::new(),
    };
    let change = &records[1].change;
    assert_eq!(status(&change.old_image), "PENDING");
    assert_eq!(status(&change.new_image), "QUEUED");
    assert_eq!(records[0].event_source.as_deref(), Some("aws:dynamodb"));
    assert!(records[0].event_source_arn.as_ref().unwrap().contains("p-tasks"));
    let stats = pump.stats();
    pump.shutdown().await;
    assert_eq!(stats.records_read.load(Relaxed), 3);
    assert_eq!(stats.records_matched.load(Relaxed), 3);
    assert!(stats.invocations.load(Relaxed) <= 3);
}

#[tokio::test]
async fn a_write_that_nobody_announced_is_found_by_the_next_poll() {
    let bench = Bench::new().await;
    let (function, mut calls) = scripted(|_| done());
    let streams = sdk_config(&bench.aws.dynamodb_endpoint());
    let source = Source {
        streams: aws_sdk_dynamodbstreams::Client::new(&streams),
        table: "p-tasks".to_owned(),
        start: StartingPosition::Latest,
        writes: None,
    };
    let rules = MappingRules { poll_interval: Duration::from_millis(5), ..MappingRules::default() };
    let (failures, _failed) = mpsc::channel(1);
    let _pump = StreamPump::start(source, rules, function, failures).await;
    bench.put("a", "PENDING").await;
    assert_eq!(calls.ids(1).await, ["a"]);
}

#[tokio::test]
async fn the_starting_position_decides_about_what_was_written_before() {
    let bench = Bench::new().await;
    bench.put("before", "PENDING").await;
    let rules = MappingRules::default;
    let (function, mut latest) = scripted(|_| done());
    let _one = bench.pump(StartingPosition::Latest, rules(), function).await;
    let (function, mut all) = scripted(|_| done());
    let _two = bench.pump(StartingPosition::TrimHorizon, rules(), function).await;
    bench.put("after", "PENDING").await;
    assert_eq!(latest.ids(1).await, ["after"]);
    assert_eq!(all.ids(2).await, ["before", "after"]);
}

#[tokio::test]
async fn the_function_is_called_for_matching_records_only() {
    let bench = Bench::new().await;
    let (function, mut calls) = scripted(|_| done());
    let pattern = r#"{"dynamodb": {"NewImage": {"status": {"S": ["PENDING"]}}}}"#;
    let rules = MappingRules { filter: vec![pattern.parse().unwrap()], ..MappingRules::default() };
    let (pump, _) = bench.pump(StartingPosition::Latest, rules, function).await;
    bench.put("a", "RUNNING").await;
    bench.put("b", "PENDING").await;
    bench.put("c", "RUNNING").await;
    bench.put("d", "PENDING").await;
    assert_eq!(calls.ids(2).await, ["b", "d"]);
    assert_eq!(pump.stats().records_read.load(Relaxed), 4);
    assert_eq!(pump.stats().records_matched.load(Relaxed), 2);
}

#[tokio::test]
async fn a_call_has_at_most_as_many_records_as_the_batch_size() {
    let bench = Bench::new().await;
    let (function, mut calls) = scripted(|_| done());
    let rules = MappingRules { batch_size: 2, ..MappingRules::default() };
    let _pump = bench.pump(StartingPosition::Latest, rules, function).await;
    bench.put_all(&["a", "b", "c", "d", "e"]).await;
    for expected in [&["a", "b"][..], &["c", "d"], &["e"]] {
        assert_eq!(ids(&calls.next().await), expected);
    }
}

#[tokio::test]
async fn a_listed_failure_is_tried_again_with_the_records_after_it() {
    let bench = Bench::new().await;
    let tries = std::sync::atomic::AtomicUsize::new(0);
    let (function, mut calls) = scripted(move |records| match tries.fetch_add(1, Relaxed) {
        0 => failed(records, &["b", "c"]),
        _ => done(),
    });
    let rules = MappingRules::default();
    let (pump, mut given_up) = bench.pump(StartingPosition::Latest, rules, function).await;
    bench.put_all(&["a", "b", "c"]).await;
    assert_eq!(ids(&calls.next().await), ["a", "b", "c"]);
    assert_eq!(ids(&calls.next().await), ["b", "c"]);
    pump.shutdown().await;
    assert!(given_up.try_recv().is_err());
}

#[tokio::test]
async fn poison_goes_to_the_failure_destination_and_its_neighbours_are_handled() {
    let bench = Bench::new().await;
    let (function, mut calls) = scripted(|records| {
        if ids(records).contains(&"poison".to_owned()) {
            return Err(InvokeError("cannot digest this".to_owned()));
        }
        done()
    });
    let rules = MappingRules { max_retries: 1, bisect: true, ..MappingRules::default() };
    let (pump, mut given_up) = bench.pump(StartingPosition::Latest, rules, function).await;
    bench.put_all(&["a", "poison", "b", "c"]).await;
    let batch = given_up.recv().await.unwrap();
    assert_eq!(ids(&batch.records), ["poison"]);
    assert_eq!(batch.attempts, 2);
    assert_eq!(batch.reason, GiveUpReason::RetriesExhausted);
    assert_eq!(batch.first_sequence, batch.last_sequence);
    assert!(!batch.shard.is_empty());
    bench.put("later", "PENDING").await;
    loop {
        if ids(&calls.next().await) == ["later"] {
            break;
        }
    }
    assert_eq!(pump.stats().failed_batches.load(Relaxed), 1);
}

#[tokio::test]
async fn a_panic_of_the_function_fails_the_call_and_not_the_pump() {
    let bench = Bench::new().await;
    let tries = std::sync::atomic::AtomicUsize::new(0);
    let (function, mut calls) = scripted(move |_| {
        assert!(tries.fetch_add(1, Relaxed) > 0, "the first call panics");
        done()
    });
    let rules = MappingRules::default();
    let _pump = bench.pump(StartingPosition::Latest, rules, function).await;
    bench.put("a", "PENDING").await;
    assert_eq!(calls.ids(2).await, ["a", "a"]);
}

#[tokio::test]
async fn nobody_listening_for_failures_does_not_stop_the_pump() {
    let bench = Bench::new().await;
    let (function, mut calls) = scripted(|records| failed(records, &["poison"]));
    let rules = MappingRules { max_retries: 0, ..MappingRules::default() };
    let (pump, given_up) = bench.pump(StartingPosition::Latest, rules, function).await;
    drop(given_up);
    bench.put("poison", "PENDING").await;
    bench.put("good", "PENDING").await;
    assert_eq!(calls.ids(2).await, ["poison", "good"]);
    pump.shutdown().await;
}

#[tokio::test]
async fn a_table_without_a_stream_is_refused() {
    let bench = Bench::new().await;
    let (function, _calls) = scripted(|_| done());
    let streams = sdk_config(&bench.aws.dynamodb_endpoint());
    let source = Source {
        streams: aws_sdk_dynamodbstreams::Client::new(&streams),
        table: "p-stages".to_owned(),
        start: StartingPosition::Latest,
        writes: None,
    };
    let (failures, _failed) = mpsc::channel(1);
    let refused = StreamPump::start(source, MappingRules::default(), function, failures).await;
    assert!(refused.unwrap_err().to_string().contains("p-stages"));
}
