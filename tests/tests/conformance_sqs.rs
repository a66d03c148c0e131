//! What Stageline relies on in SQS, call by call, over every backend. Run it against another one with
//! `STAGELINE_TEST_ENDPOINT=http://127.0.0.1:4566 cargo test -p stageline-tests`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::HashMap;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{
    ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry, Message, MessageAttributeValue,
    MessageSystemAttributeName, MessageSystemAttributeNameForSends, MessageSystemAttributeValue,
    QueueAttributeName, SendMessageBatchRequestEntry,
};
use stageline_tests::backend::Backend;

/// The longest wait of a receive that expects something; it ends as soon as there is a message.
const PATIENT: i32 = 20;

async fn send(client: &Client, url: &str, body: &str) {
    let send = client.send_message().queue_url(url).message_body(body);
    send.send().await.unwrap();
}

async fn receive(client: &Client, url: &str, wait: i32) -> Vec<Message> {
    let receive = client
        .receive_message()
        .queue_url(url)
        .max_number_of_messages(10)
        .wait_time_seconds(wait)
        .message_system_attribute_names(MessageSystemAttributeName::All)
        .message_attribute_names("All");
    receive.send().await.unwrap().messages.unwrap_or_default()
}

/// Receives until `count` messages have come: SQS may give fewer at a time than there are.
async fn receive_all(client: &Client, url: &str, count: usize) -> Vec<Message> {
    let mut all = Vec::new();
    while all.len() < count {
        let more = receive(client, url, PATIENT).await;
        assert!(!more.is_empty(), "{} of {count} came", all.len());
        all.extend(more);
    }
    all
}

fn bodies(messages: &[Message]) -> Vec<&str> {
    let mut bodies: Vec<_> = messages.iter().filter_map(Message::body).collect();
    bodies.sort_unstable();
    bodies
}

async fn attribute(client: &Client, url: &str, name: QueueAttributeName) -> String {
    let get = client.get_queue_attributes().queue_url(url);
    let answer = get.attribute_names(name.clone()).send().await.unwrap();
    answer.attributes.unwrap().remove(&name).unwrap()
}

fn receive_count(message: &Message) -> &str {
    &message.attributes().unwrap()[&MessageSystemAttributeName::ApproximateReceiveCount]
}

fn entry(id: &str, body: &str) -> SendMessageBatchRequestEntry {
    let entry = SendMessageBatchRequestEntry::builder();
    entry.id(id).message_body(body).build().unwrap()
}

#[tokio::test]
async fn a_batch_is_sent_received_and_deleted() {
    let backend = Backend::start().await.unwrap();
    let (client, url) = (backend.sqs(), &backend.queues().normal);
    let entries = ["1", "2", "3"].map(|id| entry(id, &format!("body {id}")));
    let batch = client.send_message_batch().queue_url(url);
    let sent = batch.set_entries(Some(entries.to_vec())).send().await.unwrap();
    assert_eq!(sent.successful().len(), 3);
    assert!(sent.failed().is_empty());
    let received = receive_all(&client, url, 3).await;
    assert_eq!(bodies(&received), ["body 1", "body 2", "body 3"]);
    let in_flight = QueueAttributeName::ApproximateNumberOfMessagesNotVisible;
    assert_eq!(attribute(&client, url, in_flight.clone()).await, "3");
    let delete = |(n, message): (usize, &Message)| {
        let entry = DeleteMessageBatchRequestEntry::builder().id(n.to_string());
        let entry = entry.receipt_handle(message.receipt_handle().unwrap());
        entry.build().unwrap()
    };
    let entries = received.iter().enumerate().map(delete).collect();
    let batch = client.delete_message_batch().queue_url(url);
    let deleted = batch.set_entries(Some(entries)).send().await.unwrap();
    assert_eq!(deleted.successful().len(), 3);
    assert_eq!(attribute(&client, url, in_flight).await, "0");
}

#[tokio::test]
async fn attributes_and_the_trace_header_travel_with_the_message() {
    let backend = Backend::start().await.unwrap();
    let (client, url) = (backend.sqs(), &backend.queues().normal);
    let kind = MessageAttributeValue::builder().data_type("String");
    let trace = MessageSystemAttributeValue::builder().data_type("String");
    let header = "Root=1-67891233-abcdef012345678912345678;Sampled=1";
    client
        .send_message()
        .queue_url(url)
        .message_body("body")
        .message_attributes("kind", kind.string_value("run").build().unwrap())
        .message_system_attributes(
            MessageSystemAttributeNameForSends::AwsTraceHeader,
            trace.string_value(header).build().unwrap(),
        )
        .send()
        .await
        .unwrap();
    let message = receive_all(&client, url, 1).await.remove(0);
    let attributes = message.message_attributes().unwrap();
    assert_eq!(attributes["kind"].string_value(), Some("run"));
    let system = message.attributes().unwrap();
    assert_eq!(system[&MessageSystemAttributeName::AwsTraceHeader], header);
    assert_eq!(receive_count(&message), "1");
    let sent_at = &system[&MessageSystemAttributeName::SentTimestamp];
    assert!(sent_at.parse::<u64>().unwrap() > 1_600_000_000_000);
}

#[tokio::test]
async fn a_waiting_receive_gets_a_message_that_arrives() {
    let backend = Backend::start().await.unwrap();
    let (client, url) = (backend.sqs(), backend.queues().normal.clone());
    let waiting = tokio::spawn({
        let (client, url) = (client.clone(), url.clone());
        async move { receive(&client, &url, PATIENT).await }
    });
    send(&client, &url, "hello").await;
    assert_eq!(bodies(&waiting.await.unwrap()), ["hello"]);
}

#[tokio::test]
async fn a_delayed_message_is_hidden_and_then_delivered() {
    let backend = Backend::start().await.unwrap();
    let (client, url) = (backend.sqs(), &backend.queues().normal);
    let delayed = client.send_message().queue_url(url).message_body("later");
    delayed.delay_seconds(2).send().await.unwrap();
    let count = QueueAttributeName::ApproximateNumberOfMessagesDelayed;
    assert_eq!(attribute(&client, url, count).await, "1");
    assert_eq!(bodies(&receive_all(&client, url, 1).await), ["later"]);
}

#[tokio::test]
async fn a_message_not_deleted_comes_back_with_a_higher_receive_count() {
    let backend = Backend::start().await.unwrap();
    let (client, url) = (backend.sqs(), &backend.queues().normal);
    send(&client, url, "again").await;
    let first = client.receive_message().queue_url(url).visibility_timeout(1);
    let first = first.wait_time_seconds(PATIENT).send().await.unwrap();
    assert_eq!(first.messages().len(), 1);
    let second = receive_all(&client, url, 1).await;
    assert_eq!(receive_count(&second[0]), "2");
}

#[tokio::test]
async fn a_batch_of_visibility_changes_releases_some_and_holds_others() {
    let backend = Backend::start().await.unwrap();
    let (client, url) = (backend.sqs(), &backend.queues().normal);
    for body in ["hold", "release"] {
        send(&client, url, body).await;
    }
    let received = receive_all(&client, url, 2).await;
    let change = |message: &Message| {
        let body = message.body().unwrap();
        let timeout = if body == "release" { 0 } else { 600 };
        let entry = ChangeMessageVisibilityBatchRequestEntry::builder().id(body);
        let entry = entry.receipt_handle(message.receipt_handle().unwrap());
        entry.visibility_timeout(timeout).build().unwrap()
    };
    let entries = received.iter().map(change).collect();
    let batch = client.change_message_visibility_batch().queue_url(url);
    let changed = batch.set_entries(Some(entries)).send().await.unwrap();
    assert_eq!(changed.successful().len(), 2);
    let again = receive_all(&client, url, 1).await;
    assert_eq!(bodies(&again), ["release"]);
    assert_eq!(receive_count(&again[0]), "2");
}

#[tokio::test]
async fn one_message_is_held_longer_by_its_receipt() {
    let backend = Backend::start().await.unwrap();
    let (client, url) = (backend.sqs(), &backend.queues().normal);
    send(&client, url, "mine").await;
    let message = receive_all(&client, url, 1).await.remove(0);
    let change = client.change_message_visibility().queue_url(url);
    let change = change.receipt_handle(message.receipt_handle().unwrap());
    change.visibility_timeout(0).send().await.unwrap();
    assert_eq!(receive_all(&client, url, 1).await.len(), 1);
}

#[tokio::test]
async fn a_message_received_too_often_becomes_a_dead_letter() {
    let backend = Backend::start().await.unwrap();
    let client = backend.sqs();
    let dead = &backend.queues().dead;
    let arn = attribute(&client, dead, QueueAttributeName::QueueArn).await;
    let policy = format!(r#"{{"deadLetterTargetArn":"{arn}","maxReceiveCount":"1"}}"#);
    let name = format!("{}-once", backend.names().normal);
    let create = client.create_queue().queue_name(name);
    let create = create.attributes(QueueAttributeName::RedrivePolicy, policy);
    let url = create.send().await.unwrap().queue_url.unwrap();
    send(&client, &url, "poison").await;
    let first = client.receive_message().queue_url(&url).visibility_timeout(0);
    assert_eq!(first.send().await.unwrap().messages().len(), 1);
    assert_eq!(receive(&client, &url, 0).await, []);
    assert_eq!(bodies(&receive_all(&client, dead, 1).await), ["poison"]);
}

#[tokio::test]
async fn a_bad_entry_of_a_batch_fails_alone() {
    let backend = Backend::start().await.unwrap();
    let (client, url) = (backend.sqs(), &backend.queues().normal);
    send(&client, url, "good").await;
    let message = receive_all(&client, url, 1).await.remove(0);
    let release = |id: &str, handle: &str| {
        let entry = ChangeMessageVisibilityBatchRequestEntry::builder().id(id);
        let entry = entry.receipt_handle(handle).visibility_timeout(0);
        entry.build().unwrap()
    };
    let batch = client
        .change_message_visibility_batch()
        .queue_url(url)
        .entries(release("bad", "made-up"))
        .entries(release("good", message.receipt_handle().unwrap()));
    let answer = batch.send().await.unwrap();
    let done: Vec<_> = answer.successful().iter().map(|entry| entry.id()).collect();
    assert_eq!(done, ["good"]);
    let failed: Vec<_> = answer.failed().iter().map(|entry| entry.id()).collect();
    assert_eq!(failed, ["bad"]);
    assert!(answer.failed()[0].sender_fault());
    assert_eq!(receive_all(&client, url, 1).await.len(), 1);
}

#[tokio::test]
async fn a_malformed_batch_is_refused_as_a_whole() {
    let backend = Backend::start().await.unwrap();
    let (client, url) = (backend.sqs(), &backend.queues().normal);
    let batch = client.send_message_batch().queue_url(url);
    let twice = vec![entry("same", "a"), entry("same", "b")];
    let refused = batch.set_entries(Some(twice)).send().await.unwrap_err();
    assert!(refused.into_service_error().is_batch_entry_ids_not_distinct());
    let visible = QueueAttributeName::ApproximateNumberOfMessages;
    assert_eq!(attribute(&client, url, visible).await, "0");
}

#[tokio::test]
async fn a_purge_forgets_every_message() {
    let backend = Backend::start().await.unwrap();
    let (client, url) = (backend.sqs(), &backend.queues().normal);
    for body in ["a", "b"] {
        send(&client, url, body).await;
    }
    client.purge_queue().queue_url(url).send().await.unwrap();
    let visible = QueueAttributeName::ApproximateNumberOfMessages;
    assert_eq!(attribute(&client, url, visible).await, "0");
    assert_eq!(receive(&client, url, 0).await, []);
}

#[tokio::test]
async fn a_queue_that_does_not_exist_is_a_typed_error() {
    let backend = Backend::start().await.unwrap();
    let client = backend.sqs();
    let refused = client.get_queue_url().queue_name("no-such-queue").send().await;
    let refused = refused.unwrap_err().into_service_error();
    assert!(refused.is_queue_does_not_exist(), "{refused}");
}

#[tokio::test]
async fn creating_a_queue_again_gives_its_url() {
    let backend = Backend::start().await.unwrap();
    let client = backend.sqs();
    let url = &backend.queues().dead;
    let create = client.create_queue().queue_name(&backend.names().dead);
    let again = create.set_attributes(Some(HashMap::new())).send().await.unwrap();
    assert_eq!(again.queue_url(), Some(url.as_str()));
    let get = client.get_queue_url().queue_name(&backend.names().dead);
    assert_eq!(get.send().await.unwrap().queue_url(), Some(url.as_str()));
    let list = client.list_queues().queue_name_prefix(&backend.names().dead);
    let listed = list.send().await.unwrap();
    assert_eq!(listed.queue_urls(), std::slice::from_ref(url));
}
