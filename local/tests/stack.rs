//! The embedded AWS as its clients see it: through the official SDK, over HTTP, on one address.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use aws_sdk_dynamodb::types::{AttributeValue, TimeToLiveStatus};
use aws_sdk_sqs::types::QueueAttributeName;
use stageline_local::{LocalAws, LocalError, LocalOptions, schema};

fn in_memory() -> LocalOptions {
    LocalOptions { data_dir: None, port: 0, prefix: "t".to_owned() }
}

fn dynamodb(aws: &LocalAws) -> aws_sdk_dynamodb::Client {
    aws_sdk_dynamodb::Client::new(&aws.sdk_config())
}

fn sqs(aws: &LocalAws) -> aws_sdk_sqs::Client {
    aws_sdk_sqs::Client::new(&aws.sdk_config())
}

async fn put(client: &aws_sdk_dynamodb::Client, id: &str) {
    let put = client.put_item().table_name("t-tasks");
    put.item("id", AttributeValue::S(id.to_owned())).send().await.unwrap();
}

async fn exists(client: &aws_sdk_dynamodb::Client, id: &str) -> bool {
    let get = client.get_item().table_name("t-tasks");
    let answer = get.key("id", AttributeValue::S(id.to_owned())).send().await;
    answer.unwrap().item.is_some()
}

#[tokio::test]
async fn one_endpoint_serves_tables_streams_and_queues() {
    let aws = LocalAws::start(in_memory()).await.unwrap();
    let dynamodb = dynamodb(&aws);
    put(&dynamodb, "a").await;
    assert!(exists(&dynamodb, "a").await);

    let streams = aws_sdk_dynamodbstreams::Client::new(&aws.sdk_config());
    let listed = streams.list_streams().table_name("t-tasks").send().await;
    assert_eq!(listed.unwrap().streams().len(), 1);

    let sqs = sqs(&aws);
    let url = &aws.queues().normal;
    let send = sqs.send_message().queue_url(url).message_body("m");
    send.send().await.unwrap();
    let receive = sqs.receive_message().queue_url(url).send().await.unwrap();
    assert_eq!(receive.messages()[0].body(), Some("m"));
    aws.shutdown().await;
}

#[tokio::test]
async fn the_tables_and_queues_are_those_of_the_design() {
    let aws = LocalAws::start(in_memory()).await.unwrap();
    let client = dynamodb(&aws);
    let expected = [
        (&aws.names().tasks, 1, 2, true),
        (&aws.names().stages, 2, 0, false),
        (&aws.names().control, 2, 0, false),
    ];
    for (name, keys, indexes, streamed) in expected {
        let described = client.describe_table().table_name(name).send().await;
        let table = described.unwrap().table.unwrap();
        assert_eq!(table.key_schema().len(), keys, "{name}");
        assert_eq!(table.global_secondary_indexes().len(), indexes, "{name}");
        assert_eq!(table.latest_stream_arn.is_some(), streamed, "{name}");
        let expiry = client.describe_time_to_live().table_name(name).send().await;
        let expiry = expiry.unwrap().time_to_live_description.unwrap();
        assert_eq!(expiry.attribute_name(), Some("expiresAt"));
        assert_eq!(expiry.time_to_live_status, Some(TimeToLiveStatus::Enabled));
    }
    let sqs = sqs(&aws);
    for url in [&aws.queues().high, &aws.queues().normal, &aws.queues().low] {
        let get = sqs.get_queue_attributes().queue_url(url);
        let all = get.attribute_names(QueueAttributeName::All).send().await;
        let all = all.unwrap().attributes.unwrap();
        assert_eq!(all[&QueueAttributeName::VisibilityTimeout], "30");
        let policy = &all[&QueueAttributeName::RedrivePolicy];
        assert!(policy.contains("t-default-dead"), "{policy}");
    }
}

#[tokio::test]
async fn creating_the_schema_again_changes_nothing() {
    let aws = LocalAws::start(in_memory()).await.unwrap();
    put(&dynamodb(&aws), "a").await;
    let names = aws.names();
    let again = schema::create(&dynamodb(&aws), &sqs(&aws), names).await;
    assert_eq!(&again.unwrap(), aws.queues());
    assert!(exists(&dynamodb(&aws), "a").await);
}

#[tokio::test]
async fn a_queue_whose_attributes_were_tuned_is_left_as_it_is() {
    let aws = LocalAws::start(in_memory()).await.unwrap();
    let client = sqs(&aws);
    let tune = client.set_queue_attributes().queue_url(&aws.queues().low);
    let tune = tune.attributes(QueueAttributeName::VisibilityTimeout, "120");
    tune.send().await.unwrap();
    let again = schema::create(&dynamodb(&aws), &client, aws.names()).await;
    assert_eq!(&again.unwrap(), aws.queues());
}

#[tokio::test]
async fn a_restart_on_the_same_directory_keeps_the_data() {
    let directory = tempfile::tempdir().unwrap();
    let options = LocalOptions { data_dir: Some(directory.path().join("nested")), ..in_memory() };
    let aws = LocalAws::start(options.clone()).await.unwrap();
    put(&dynamodb(&aws), "kept").await;
    aws.shutdown().await;
    let aws = LocalAws::start(options.clone()).await.unwrap();
    assert!(exists(&dynamodb(&aws), "kept").await);
    put(&dynamodb(&aws), "kept too").await;
    // Dropped, as by a panic, instead of shut down.
    drop(aws);
    let aws = LocalAws::start(options).await.unwrap();
    assert!(exists(&dynamodb(&aws), "kept too").await);
}

#[tokio::test]
async fn a_directory_in_use_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let options = LocalOptions { data_dir: Some(directory.path().to_owned()), ..in_memory() };
    let running = LocalAws::start(options.clone()).await.unwrap();
    let refused = LocalAws::start(options).await.unwrap_err();
    assert!(matches!(refused, LocalError::DirectoryInUse { .. }), "{refused}");
    drop(running);
}

#[tokio::test]
async fn a_directory_that_cannot_be_written_is_refused() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let options = LocalOptions {
        // A directory inside a file: refused whoever asks, the superuser too.
        data_dir: Some(file.path().join("data")),
        ..in_memory()
    };
    let refused = LocalAws::start(options).await.unwrap_err();
    let LocalError::DirectoryNotWritable { path, .. } = refused else {
        panic!("{refused}");
    };
    assert_eq!(path, file.path().join("data"));
}

#[tokio::test]
async fn a_port_in_use_is_refused() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = taken.local_addr().unwrap().port();
    let options = LocalOptions { port, ..in_memory() };
    let refused = LocalAws::start(options).await.unwrap_err();
    assert!(matches!(refused, LocalError::PortInUse { port: p } if p == port), "{refused}");
}

#[tokio::test]
async fn a_write_through_the_front_door_is_announced_and_a_read_is_not() {
    let aws = LocalAws::start(in_memory()).await.unwrap();
    let client = dynamodb(&aws);
    let mut writes = aws.writes();
    writes.mark_unchanged();
    exists(&client, "a").await;
    assert!(!writes.has_changed().unwrap());
    put(&client, "a").await;
    writes.changed().await.unwrap();
    let refused = client.put_item().table_name("t-tasks");
    let refused = refused.item("id", AttributeValue::S("a".to_owned()));
    let refused = refused.condition_expression("attribute_not_exists(id)");
    assert!(refused.send().await.is_err());
    assert!(!writes.has_changed().unwrap());
}

#[tokio::test]
async fn a_large_body_passes_the_front_door() {
    let aws = LocalAws::start(in_memory()).await.unwrap();
    let client = dynamodb(&aws);
    let mut requests = Vec::new();
    for n in 0..20 {
        let put = aws_sdk_dynamodb::types::PutRequest::builder()
            .item("id", AttributeValue::S(n.to_string()))
            .item("text", AttributeValue::S("x".repeat(390_000)))
            .build()
            .unwrap();
        let write = aws_sdk_dynamodb::types::WriteRequest::builder();
        requests.push(write.put_request(put).build());
    }
    let batch = client.batch_write_item().request_items("t-tasks", requests);
    let answer = batch.send().await.unwrap();
    assert!(answer.unprocessed_items().is_none_or(|left| left.is_empty()));
    assert!(exists(&client, "19").await);
}

#[tokio::test]
async fn a_receive_that_waits_does_not_hold_up_the_shutdown() {
    let aws = LocalAws::start(in_memory()).await.unwrap();
    let client = sqs(&aws);
    let url = aws.queues().normal.clone();
    let sent = client.send_message().queue_url(&url).message_body("first");
    sent.send().await.unwrap();
    let receive = |wait| {
        let receive = client.receive_message().queue_url(&url);
        receive.wait_time_seconds(wait).send()
    };
    // The answer to the first proves that the connection stands on which the second waits.
    receive(20).await.unwrap();
    let waiting = tokio::spawn(receive(20));
    tokio::task::yield_now().await;
    aws.shutdown().await;
    // It ended either with an empty answer or, not yet accepted, with a refused connection: it ended.
    waiting.await.unwrap().ok();
}

/// One request over a connection of its own, as no SDK would send it.
async fn raw(aws: &LocalAws, request: &str) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let address = aws.endpoint().replace("http://", "");
    let mut stream = tokio::net::TcpStream::connect(&address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn health_is_answered_on_a_plain_get() {
    let aws = LocalAws::start(in_memory()).await.unwrap();
    let answer = raw(&aws, "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
}

#[tokio::test]
async fn a_web_page_is_refused() {
    let aws = LocalAws::start(in_memory()).await.unwrap();
    for target in ["AmazonSQS.ListQueues", "DynamoDB_20120810.ListTables"] {
        let request = format!(
            "POST / HTTP/1.1\r\nhost: rebound.example\r\norigin: http://rebound.example\r\n\
             x-amz-target: {target}\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{{}}"
        );
        let answer = raw(&aws, &request).await;
        assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    }
}

#[tokio::test]
async fn a_client_that_hangs_up_while_it_waits_takes_no_message() {
    use tokio::io::AsyncWriteExt as _;
    let aws = LocalAws::start(in_memory()).await.unwrap();
    let url = aws.queues().normal.clone();
    let address = aws.endpoint().replace("http://", "");
    let body = format!(r#"{{"QueueUrl":"{url}","WaitTimeSeconds":20}}"#);
    let request = format!(
        "POST / HTTP/1.1\r\nhost: {address}\r\nx-amz-target: AmazonSQS.ReceiveMessage\r\n\
         content-type: application/x-amz-json-1.0\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    for _ in 0..20 {
        let mut stream = tokio::net::TcpStream::connect(&address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        drop(stream);
    }
    let client = sqs(&aws);
    let receive = client.receive_message().queue_url(&url).wait_time_seconds(20);
    let waiting = tokio::spawn(receive.send());
    // Requests on the same runtime: by the time the answer is back the hang-ups have been seen.
    let list = client.list_queues().send().await.unwrap();
    assert_eq!(list.queue_urls().len(), 4);
    let send = client.send_message().queue_url(&url).message_body("kept");
    send.send().await.unwrap();
    let received = waiting.await.unwrap().unwrap();
    assert_eq!(received.messages()[0].body(), Some("kept"));
}
