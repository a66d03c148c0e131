//! The dispatcher's handler on batches as a stream delivers them, against the embedded AWS.

use anyhow::{Context, Result};
use aws_lambda_events::event::dynamodb::Event;
use serde_json::{Value, json};
use stageline::Clock;
use stageline::aws::{Aws, Deployment};
use stageline::protocol::command::Command;
use stageline::protocol::pools::{Pool, Pools, Queues};
use stageline::task::{Status, TaskId};
use stageline_dispatcher::Dispatcher;
use stageline_tests::backend::Backend;

struct Bench {
    backend: Backend,
    deployment: Deployment,
}

impl Bench {
    async fn start() -> Result<Self> {
        let backend = Backend::start().await?;
        let deployment = backend.deployment()?;
        Ok(Self { backend, deployment })
    }

    fn aws(&self) -> Aws {
        Aws::new(self.backend.config(), &self.deployment)
    }

    fn dispatcher(&self) -> Dispatcher {
        Dispatcher::new(self.aws(), self.deployment.clone(), Clock::system())
    }

    /// Puts the records, and gives the batch that the stream would deliver for them.
    async fn batch(&self, records: &[Value]) -> Result<Event> {
        let mut stream = Vec::new();
        for (n, record) in records.iter().enumerate() {
            let item: stageline::task::Item = serde_dynamo::to_item(record)?;
            let put = self.backend.dynamodb().put_item().table_name(&self.deployment.tasks_table);
            put.set_item(Some(item)).send().await?;
            let image: serde_dynamo::Item = serde_dynamo::to_item(record)?;
            stream.push(json!({
                "eventID": n.to_string(), "eventName": "INSERT", "awsRegion": "us-east-1",
                "dynamodb": {
                    "Keys": {"id": {"S": record["id"]}}, "NewImage": image,
                    "SequenceNumber": (1000 + n).to_string(), "SizeBytes": 100,
                },
            }));
        }
        Ok(serde_json::from_value(json!({ "Records": stream }))?)
    }

    async fn status(&self, id: &str) -> Result<Status> {
        let id: TaskId = id.parse()?;
        Ok(self.aws().tasks.get(&id).await?.context("a task")?.status)
    }

    /// Every command on a queue, each once.
    async fn commands(&self, queue_url: &str) -> Result<Vec<Command>> {
        let mut commands = Vec::new();
        loop {
            let receive =
                self.backend.sqs().receive_message().queue_url(queue_url).max_number_of_messages(10);
            let messages = receive.send().await?.messages.unwrap_or_default();
            if messages.is_empty() {
                return Ok(commands);
            }
            for message in messages {
                commands.push(Command::from_body(&message.body.context("a body")?)?);
            }
        }
    }
}

#[tokio::test]
async fn a_whole_batch_is_sent_once_and_marked_queued() -> Result<()> {
    let bench = Bench::start().await?;
    let records: Vec<_> = (0..105).map(|n| json!({"id": format!("t{n}"), "command": "true"})).collect();
    let response = bench.dispatcher().handle(bench.batch(&records).await?).await;
    assert!(response.batch_item_failures.is_empty());
    let commands = bench.commands(&bench.backend.queues().normal).await?;
    let ids: std::collections::BTreeSet<_> = commands.iter().map(|command| &command.task_id).collect();
    assert_eq!((commands.len(), ids.len()), (105, 105));
    for record in &records {
        assert_eq!(bench.status(record["id"].as_str().context("id")?).await?, Status::Queued);
    }
    Ok(())
}

#[tokio::test]
async fn a_failed_send_answers_with_the_lowest_sequence_number_and_a_replay_repairs_it() -> Result<()> {
    let mut bench = Bench::start().await?;
    let working = bench.deployment.clone();
    let pool = working.pools.get("default").context("pool")?.clone();
    let broken = Queues { normal: format!("{}-gone", pool.queues.normal), ..pool.queues.clone() };
    bench.deployment.pools = Pools::new([Pool { queues: broken, ..pool }]);
    let record = |id: &str, priority: &str| json!({"id": id, "command": "true", "priority": priority});
    let records = [
        record("a", "HIGH"),
        json!({"id": "bad", "command": 5}),
        record("b", "MEDIUM"),
        record("c", "LOW"),
        record("d", "MEDIUM"),
    ];
    let batch = bench.batch(&records).await?;
    let response = bench.dispatcher().handle(batch.clone()).await;
    let failures: Vec<_> =
        response.batch_item_failures.iter().map(|f| f.item_identifier.as_deref()).collect();
    assert_eq!(failures, [Some("1002")], "the number of b, the first that was not sent");
    for (id, status) in [("a", Status::Queued), ("b", Status::Pending), ("c", Status::Queued)] {
        assert_eq!(bench.status(id).await?, status, "{id}");
    }

    // The mapping delivers from b on again; c is sent twice, which its claim drops.
    bench.deployment = working;
    let mut again = batch;
    again.records.drain(..2);
    let response = bench.dispatcher().handle(again).await;
    assert!(response.batch_item_failures.is_empty());
    for id in ["b", "c", "d"] {
        assert_eq!(bench.status(id).await?, Status::Queued, "{id}");
    }
    assert_eq!(bench.commands(&bench.backend.queues().low).await?.len(), 2);
    Ok(())
}

#[tokio::test]
async fn bad_records_never_fail_the_batch() -> Result<()> {
    let bench = Bench::start().await?;
    let records = [
        json!({"id": "t1", "command": 5}),
        json!({"id": "not/valid", "command": "true"}),
        json!({"id": "t2", "command": "true", "target": "nowhere"}),
        json!({"id": "t3", "status": 7, "command": "true"}),
        json!({"id": "t4", "attempt": "x", "history": "y", "command": "true"}),
        json!({"id": "good", "command": "true"}),
    ];
    let dispatcher = bench.dispatcher();
    let response = dispatcher.handle(bench.batch(&records).await?).await;
    assert!(response.batch_item_failures.is_empty());
    for (id, code) in [
        ("t1", "RECORD_MALFORMED"),
        ("not/valid", "ID_INVALID"),
        ("t2", "TARGET_UNROUTABLE"),
        ("t3", "RECORD_MALFORMED"),
        ("t4", "RECORD_MALFORMED"),
    ] {
        let key = aws_sdk_dynamodb::types::AttributeValue::S(id.to_owned());
        let get =
            bench.backend.dynamodb().get_item().table_name(&bench.deployment.tasks_table).key("id", key);
        let item: Value = serde_dynamo::from_item(get.send().await?.item.context("a record")?)?;
        assert_eq!(
            (&item["status"], &item["statusReason"]["code"]),
            (&json!("FAILED"), &json!(code)),
            "{id}"
        );
    }
    assert_eq!(bench.status("good").await?, Status::Queued);
    let listed = bench.aws().tasks.newest("default", 10).await?;
    assert_eq!(listed.len(), 5, "rejected ones are listed, but for the one that has no valid id");
    assert_eq!(dispatcher.tally().rejected.load(std::sync::atomic::Ordering::Relaxed), 5);
    Ok(())
}
