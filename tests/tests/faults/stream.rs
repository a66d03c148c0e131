//! The faulty function behind the real pump. What it does to one call has tests beside its code.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use async_trait::async_trait;
use aws_lambda_events::event::dynamodb::Event;
use aws_lambda_events::event::streams::DynamoDbEventResponse;
use stageline_local::pump::{
    FailedBatch, InvokeError, MappingRules, Source, StartingPosition, StreamFunction, StreamPump,
    aws_sdk_dynamodbstreams,
};
use stageline_tests::faults::{FaultyFunction, StreamPlan};
use tokio::sync::mpsc;

use crate::{add, local};

/// Tells what it gets.
struct Tells(mpsc::UnboundedSender<String>);

#[async_trait]
impl StreamFunction for Tells {
    async fn invoke(&self, event: Event) -> Result<DynamoDbEventResponse, InvokeError> {
        for record in event.records {
            let id: String = serde_dynamo::from_attribute_value(record.change.keys["id"].clone())
                .map_err(|error| InvokeError(error.to_string()))?;
            self.0.send(id).map_err(|error| InvokeError(error.to_string()))?;
        }
        Ok(DynamoDbEventResponse::default())
    }
}

#[tokio::test]
async fn behind_a_pump_every_record_arrives_despite_failures_panics_copies_and_disorder() -> Result<()> {
    let aws = local().await?;
    let (sender, mut told) = mpsc::unbounded_channel();
    let plan = StreamPlan { seed: 5, duplicate: 0.3, reorder: 1.0, fail: 0.3, panic: 0.2, drop: 0.0 };
    let function = Arc::new(FaultyFunction::new(Arc::new(Tells(sender)), plan));
    let source = Source {
        streams: aws_sdk_dynamodbstreams::Client::new(&aws.sdk_config()),
        table: aws.names().tasks.clone(),
        start: StartingPosition::Latest,
        writes: Some(aws.writes()),
    };
    let rules =
        MappingRules { batch_size: 8, max_retries: u32::MAX, bisect: true, ..MappingRules::default() };
    let (failures, _failed) = mpsc::channel::<FailedBatch>(1);
    let pump = StreamPump::start(source, rules, function.clone(), failures).await?;
    let mut missing: HashSet<String> = (0..60).map(|n| format!("task-{n}")).collect();
    for id in &missing {
        add(&aws, &aws.sdk_config(), id).await.unwrap();
    }
    while !missing.is_empty() {
        let next = tokio::time::timeout(Duration::from_secs(120), told.recv()).await;
        missing.remove(&next.with_context(|| format!("never seen: {missing:?}"))?.context("the pump runs")?);
    }
    let counts = function.counts();
    assert!(
        counts.failed + counts.panicked > 0 && counts.duplicated > 0 && counts.reordered > 0,
        "{counts:?}"
    );
    pump.shutdown().await;
    Ok(())
}
