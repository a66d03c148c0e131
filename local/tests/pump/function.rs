//! A function in the test's hand.

use std::sync::Arc;

use async_trait::async_trait;
use aws_lambda_events::event::dynamodb::{Event, EventRecord};
use aws_lambda_events::event::streams::{DynamoDbBatchItemFailure, DynamoDbEventResponse};
use stageline_local::pump::{InvokeError, StreamFunction};
use tokio::sync::mpsc;

pub(crate) type Answer = Result<DynamoDbEventResponse, InvokeError>;

/// Answers by a closure and tells the test what it was called with.
pub(crate) struct Scripted<F> {
    calls: mpsc::UnboundedSender<Vec<EventRecord>>,
    answer: F,
}

/// The calls in their order.
pub(crate) struct Calls(mpsc::UnboundedReceiver<Vec<EventRecord>>);

pub(crate) fn scripted<F>(answer: F) -> (Arc<Scripted<F>>, Calls)
where
    F: Fn(&[EventRecord]) -> Answer + Send + Sync + 'static,
{
    let (calls, received) = mpsc::unbounded_channel();
    (Arc::new(Scripted { calls, answer }), Calls(received))
}

pub(crate) fn done() -> Answer {
    Ok(DynamoDbEventResponse::default())
}

/// Lists the records of these items as failed.
pub(crate) fn failed(records: &[EventRecord], ids: &[&str]) -> Answer {
    let mut response = DynamoDbEventResponse::default();
    for record in records.iter().filter(|r| ids.contains(&id(r).as_str())) {
        let mut failure = DynamoDbBatchItemFailure::default();
        failure.item_identifier = record.change.sequence_number.clone();
        response.batch_item_failures.push(failure);
    }
    Ok(response)
}

/// The key of the record's item.
pub(crate) fn id(record: &EventRecord) -> String {
    match &record.change.keys.inner()["id"] {
        serde_dynamo::AttributeValue::S(id) => id.clone(),
        other => panic!("not a key: {other:?}"),
    }
}

pub(crate) fn ids(records: &[EventRecord]) -> Vec<String> {
    records.iter().map(id).collect()
}

#[async_trait]
impl<F> StreamFunction for Scripted<F>
where
    F: Fn(&[EventRecord]) -> Answer + Send + Sync + 'static,
{
    async fn invoke(&self, event: Event) -> Answer {
        self.calls.send(event.records.clone()).ok();
        (self.answer)(&event.records)
    }
}

impl Calls {
    /// The records of the next call.
    pub(crate) async fn next(&mut self) -> Vec<EventRecord> {
        self.0.recv().await.unwrap()
    }

    /// The ids of the next `count` records, over however many calls.
    pub(crate) async fn ids(&mut self, count: usize) -> Vec<String> {
        let mut all = Vec::new();
        while all.len() < count {
            all.extend(ids(&self.next().await));
        }
        all
    }
}
