use std::time::Duration;

use axum::body::to_bytes;
use serde_json::json;

use super::*;
use crate::sqs::clock::manual::ManualClock;

/// An endpoint with a queue `q` and a clock in the test's hand.
struct Bench {
    sqs: Sqs,
    clock: Arc<ManualClock>,
    closing: CancellationToken,
}

impl Bench {
    async fn new() -> Self {
        let clock = Arc::new(ManualClock::new());
        let closing = CancellationToken::new();
        let sqs = Sqs::new(clock.clone(), closing.clone());
        let bench = Self { sqs, clock, closing };
        bench.ok("CreateQueue", json!({ "QueueName": "q" })).await;
        bench
    }

    async fn ask(&self, operation: &str, mut body: Value) -> (StatusCode, Option<String>, Value) {
        if body.get("QueueName").is_none() && body.get("QueueUrl").is_none() {
            body["QueueUrl"] = json!("http://elsewhere:1/000000000000/q");
        }
        let body = body.to_string();
        let response = self.sqs.respond(operation, body.as_bytes(), "here:1").await;
        let status = response.status();
        let code = response.headers().get("x-amzn-query-error");
        let code = code.map(|code| code.to_str().unwrap().to_owned());
        let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, code, serde_json::from_slice(&bytes).unwrap())
    }

    async fn ok(&self, operation: &str, body: Value) -> Value {
        let (status, _, answer) = self.ask(operation, body).await;
        assert_eq!(status, StatusCode::OK, "{operation}: {answer}");
        answer
    }

    async fn send(&self, body: &str) {
        self.ok("SendMessage", json!({ "MessageBody": body })).await;
    }

    /// A receive that has looked once, found nothing, and waits.
    async fn waiting(&self) -> std::pin::Pin<Box<impl Future<Output = Value> + use<'_>>> {
        let mut receive = Box::pin(self.ok("ReceiveMessage", json!({ "WaitTimeSeconds": 20 })));
        assert!(futures::poll!(&mut receive).is_pending());
        receive
    }
}

fn bodies(answer: &Value) -> Vec<&str> {
    let messages = answer["Messages"].as_array();
    messages.into_iter().flatten().filter_map(|message| message["Body"].as_str()).collect()
}

#[tokio::test]
async fn a_long_poll_wakes_when_a_message_arrives() {
    let bench = Bench::new().await;
    let receive = bench.waiting().await;
    bench.send("hello").await;
    assert_eq!(bodies(&receive.await), ["hello"]);
}

#[tokio::test]
async fn a_long_poll_wakes_when_a_delayed_message_becomes_due() {
    let bench = Bench::new().await;
    let delayed = json!({ "MessageBody": "later", "DelaySeconds": 5 });
    bench.ok("SendMessage", delayed).await;
    let receive = bench.waiting().await;
    bench.clock.advance(Duration::from_secs(5));
    assert_eq!(bodies(&receive.await), ["later"]);
}

#[tokio::test]
async fn a_long_poll_wakes_when_another_receiver_releases_a_message() {
    let bench = Bench::new().await;
    bench.send("again").await;
    let held = bench.ok("ReceiveMessage", json!({})).await;
    let receive = bench.waiting().await;
    let release = json!({
        "ReceiptHandle": held["Messages"][0]["ReceiptHandle"],
        "VisibilityTimeout": 0,
    });
    bench.ok("ChangeMessageVisibility", release).await;
    assert_eq!(bodies(&receive.await), ["again"]);
}

#[tokio::test]
async fn a_long_poll_on_the_dead_letter_queue_wakes_when_a_message_is_given_up() {
    let bench = Bench::new().await;
    bench.ok("CreateQueue", json!({ "QueueName": "dead" })).await;
    let policy =
        json!({ "deadLetterTargetArn": "arn:aws:sqs:us-east-1:000000000000:dead", "maxReceiveCount": 1 });
    let attributes = json!({ "RedrivePolicy": policy.to_string() });
    bench.ok("SetQueueAttributes", json!({ "Attributes": attributes })).await;
    bench.send("poison").await;
    bench.ok("ReceiveMessage", json!({ "VisibilityTimeout": 0 })).await;
    let ask = json!({ "QueueUrl": "http://h/0/dead", "WaitTimeSeconds": 20 });
    let mut dead = Box::pin(bench.ok("ReceiveMessage", ask));
    assert!(futures::poll!(&mut dead).is_pending());
    // This receive finds the poison, gives it up, and goes on waiting.
    let waiting = bench.waiting().await;
    assert_eq!(bodies(&dead.await), ["poison"]);
    drop(waiting);
}

#[tokio::test]
async fn a_long_poll_ends_empty_at_its_deadline() {
    let bench = Bench::new().await;
    let receive = bench.waiting().await;
    bench.clock.advance(Duration::from_secs(20));
    assert_eq!(receive.await, json!({}));
}

#[tokio::test]
async fn a_long_poll_ends_at_once_when_the_endpoint_closes() {
    let bench = Bench::new().await;
    let receive = bench.waiting().await;
    bench.closing.cancel();
    assert_eq!(receive.await, json!({}));
}

#[tokio::test]
async fn a_long_poll_on_a_deleted_queue_ends_with_an_error() {
    let bench = Bench::new().await;
    let ask = bench.ask("ReceiveMessage", json!({ "WaitTimeSeconds": 20 }));
    let mut receive = Box::pin(ask);
    assert!(futures::poll!(&mut receive).is_pending());
    bench.ok("DeleteQueue", json!({})).await;
    let (status, code, _) = receive.await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let expected = "AWS.SimpleQueueService.NonExistentQueue;Sender";
    assert_eq!(code.as_deref(), Some(expected));
}

#[tokio::test]
async fn a_request_that_was_dropped_while_it_waited_takes_no_message() {
    let bench = Bench::new().await;
    let abandoned = bench.waiting().await;
    let other = bench.waiting().await;
    drop(abandoned);
    bench.send("kept").await;
    assert_eq!(bodies(&other.await), ["kept"]);
}

#[tokio::test]
async fn a_received_message_shows_what_was_asked_for() {
    let bench = Bench::new().await;
    let send = json!({
        "MessageBody": "hello world",
        "MessageAttributes": { "timestamp": { "DataType": "Number", "StringValue": "1493147359900" } },
        "MessageSystemAttributes": { "AWSTraceHeader": { "DataType": "String", "StringValue": "Root=1" } },
    });
    let sent = bench.ok("SendMessage", send).await;
    assert_eq!(sent["MD5OfMessageBody"], "5eb63bbbe01eeed093cb22bb8f5acdc3");
    assert_eq!(sent["MD5OfMessageAttributes"], "235c5c510d26fb653d073faed50ae77c");
    let ask = json!({
        "VisibilityTimeout": 0,
        "MessageSystemAttributeNames": ["All"],
        "MessageAttributeNames": ["time.*"],
    });
    let shown = bench.ok("ReceiveMessage", ask).await["Messages"][0].clone();
    assert_eq!(shown["MessageId"], sent["MessageId"]);
    assert_eq!(shown["MD5OfBody"], sent["MD5OfMessageBody"]);
    assert_eq!(shown["MD5OfMessageAttributes"], sent["MD5OfMessageAttributes"]);
    assert_eq!(shown["Attributes"]["ApproximateReceiveCount"], "1");
    assert_eq!(shown["Attributes"]["SentTimestamp"], "1700000000000");
    assert_eq!(shown["Attributes"]["AWSTraceHeader"], "Root=1");
    let plain = bench.ok("ReceiveMessage", json!({})).await["Messages"][0].clone();
    assert!(plain.get("Attributes").is_none() && plain.get("MessageAttributes").is_none());
}

#[tokio::test]
async fn refusals_carry_the_codes_of_both_protocols() {
    let bench = Bench::new().await;
    let cases = [
        ("GetQueueUrl", json!({ "QueueName": "none" }), "com.amazonaws.sqs#QueueDoesNotExist"),
        (
            "ReceiveMessage",
            json!({ "MaxNumberOfMessages": 11 }),
            "com.amazonaws.sqs#InvalidParameterValueException",
        ),
        (
            "ReceiveMessage",
            json!({ "WaitTimeSeconds": 21 }),
            "com.amazonaws.sqs#InvalidParameterValueException",
        ),
        (
            "ReceiveMessage",
            json!({ "VisibilityTimeout": 43201 }),
            "com.amazonaws.sqs#InvalidParameterValueException",
        ),
        ("DeleteMessage", json!({ "ReceiptHandle": "made up" }), "com.amazonaws.sqs#ReceiptHandleIsInvalid"),
        ("SendMessageBatch", json!({ "Entries": [] }), "com.amazonaws.sqs#EmptyBatchRequest"),
        (
            "GetQueueAttributes",
            json!({ "AttributeNames": ["Colour"] }),
            "com.amazonaws.sqs#InvalidAttributeName",
        ),
        ("SendMessage", json!({ "MessageBody": 7 }), "com.amazon.coral.service#SerializationException"),
        ("TagQueue", json!({}), "com.amazon.coral.service#UnknownOperationException"),
    ];
    for (operation, body, kind) in cases {
        let (status, code, answer) = bench.ask(operation, body).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{operation}");
        assert_eq!(answer["__type"], kind, "{operation}");
        assert!(code.is_some_and(|code| code.ends_with(";Sender")), "{operation}");
    }
}

#[tokio::test]
async fn queue_urls_name_the_address_that_the_client_used() {
    let bench = Bench::new().await;
    let url = bench.ok("GetQueueUrl", json!({ "QueueName": "q" })).await;
    assert_eq!(url["QueueUrl"], "http://here:1/000000000000/q");
}

#[tokio::test]
async fn queues_are_listed_by_prefix_and_in_pages() {
    let bench = Bench::new().await;
    for name in ["a1", "a2", "a3", "b1"] {
        bench.ok("CreateQueue", json!({ "QueueName": name })).await;
    }
    let ask = json!({ "QueueNamePrefix": "a", "MaxResults": 2 });
    let first = bench.ok("ListQueues", ask).await;
    assert_eq!(first["QueueUrls"].as_array().map(Vec::len), Some(2));
    let ask = json!({ "QueueNamePrefix": "a", "MaxResults": 2, "NextToken": first["NextToken"] });
    let rest = bench.ok("ListQueues", ask).await;
    assert_eq!(rest["QueueUrls"], json!(["http://here:1/000000000000/a3"]));
    assert!(rest.get("NextToken").is_none());
}
