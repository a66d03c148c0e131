//! The proxy between a worker's process and its endpoint.

use std::sync::Arc;

use anyhow::Result;
use aws_config::SdkConfig;
use serde_json::{Value, json};
use stageline_local::{LocalAws, sdk_config};
use stageline_tests::faults::{Fault, Plan, Proxy, Trigger};
use stageline_tests::system::eventually;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use crate::{add, applied, local, once};

/// Calls through a proxy, with a switch for the test's action.
async fn proxied() -> Result<(Arc<LocalAws>, Proxy, SdkConfig)> {
    let aws = Arc::new(local().await?);
    let proxy = Proxy::start(&aws.endpoint()).await?;
    let config = once(&sdk_config(&proxy.endpoint()));
    Ok((aws, proxy, config))
}

/// Arms a proxy with an action that looks how often `id` was applied at that moment.
fn look(proxy: &Proxy, trigger: Trigger, aws: &Arc<LocalAws>, id: &'static str) -> oneshot::Receiver<u32> {
    let (sender, seen) = oneshot::channel();
    let aws = Arc::clone(aws);
    proxy.arm(trigger, async move {
        sender.send(applied(&aws, id).await.unwrap()).unwrap();
    });
    seen
}

#[tokio::test]
async fn a_trigger_before_acts_when_nothing_is_applied_and_never_sends_the_request() -> Result<()> {
    let (aws, proxy, config) = proxied().await?;
    let seen = look(&proxy, Trigger::before("UpdateItem").containing("\"b\""), &aws, "b");
    add(&aws, &config, "a").await.expect("another item");
    assert_eq!(add(&aws, &config, "b").await.unwrap_err(), "no answer");
    assert_eq!(seen.await?, 0);
    assert_eq!(applied(&aws, "b").await?, 0);
    add(&aws, &config, "b").await.expect("it acts once");
    assert_eq!(applied(&aws, "b").await?, 1);
    Ok(())
}

#[tokio::test]
async fn a_trigger_after_acts_when_the_request_is_applied_and_not_answered() -> Result<()> {
    let (aws, proxy, config) = proxied().await?;
    let seen = look(&proxy, Trigger::after("UpdateItem"), &aws, "a");
    assert_eq!(add(&aws, &config, "a").await.unwrap_err(), "no answer");
    assert_eq!(seen.await?, 1);
    Ok(())
}

/// A client that can die in the middle of a call: its connection is closed when it is dropped.
async fn client(proxy: &Proxy, target: &str, body: &Value) -> Result<TcpStream> {
    let body = body.to_string();
    let head = format!(
        "POST / HTTP/1.1\r\nhost: localhost\r\nx-amz-target: {target}\r\n\
         content-type: application/x-amz-json-1.0\r\ncontent-length: {}\r\n\
         authorization: AWS4-HMAC-SHA256 Credential=local/20200101/us-east-1/dynamodb/aws4_request, \
         SignedHeaders=host, Signature=0\r\nx-amz-date: 20200101T000000Z\r\n\r\n",
        body.len()
    );
    let mut stream = TcpStream::connect(proxy.endpoint().trim_start_matches("http://")).await?;
    stream.write_all((head + &body).as_bytes()).await?;
    Ok(stream)
}

/// A client that does what [`add`] does.
async fn adding(aws: &LocalAws, proxy: &Proxy, id: &str) -> Result<TcpStream> {
    let body = json!({
        "TableName": aws.names().tasks,
        "Key": {"id": {"S": id}},
        "UpdateExpression": "ADD applied :one",
        "ExpressionAttributeValues": {":one": {"N": "1"}},
    });
    client(proxy, "DynamoDB_20120810.UpdateItem", &body).await
}

async fn until_applied(aws: &LocalAws, id: &str) -> Result<()> {
    eventually("it is applied", || async { Ok((applied(aws, id).await? == 1).then_some(())) }).await
}

/// An action that ends the client, and then takes longer than the proxy needs to see that.
fn hang_up(
    aws: &Arc<LocalAws>,
    proxy: &Proxy,
    trigger: Trigger,
) -> (oneshot::Sender<TcpStream>, oneshot::Receiver<()>) {
    let (hand_over, stream) = oneshot::channel::<TcpStream>();
    let aws = Arc::clone(aws);
    let done = proxy.arm(trigger, async move {
        drop(stream.await.unwrap());
        for _ in 0..20 {
            applied(&aws, "a").await.unwrap();
        }
    });
    (hand_over, done)
}

#[tokio::test]
async fn an_action_that_ends_the_client_runs_to_its_own_end() -> Result<()> {
    let (aws, proxy, config) = proxied().await?;
    let (hand_over, done) = hang_up(&aws, &proxy, Trigger::after("UpdateItem"));
    hand_over.send(adding(&aws, &proxy, "a").await?).unwrap();
    done.await?;
    assert_eq!(applied(&aws, "a").await?, 1);
    // A receive is given up with its client, but not what the test does about it.
    let queue = &aws.queues().normal;
    aws_sdk_sqs::Client::new(&config).send_message().queue_url(queue).message_body("x").send().await?;
    let (hand_over, done) = hang_up(&aws, &proxy, Trigger::after("ReceiveMessage"));
    hand_over.send(client(&proxy, "AmazonSQS.ReceiveMessage", &json!({"QueueUrl": queue})).await?).unwrap();
    done.await?;
    Ok(())
}

#[tokio::test]
async fn what_a_client_sent_before_it_died_is_applied_after_the_release() -> Result<()> {
    let (aws, proxy, config) = proxied().await?;
    proxy.control().hold();
    let stream = adding(&aws, &proxy, "a").await?;
    proxy.control().until_waiting(1).await?;
    drop(stream);
    assert_eq!(applied(&aws, "a").await?, 0);
    proxy.control().release();
    until_applied(&aws, "a").await?;
    add(&aws, &config, "b").await.expect("others go on");
    Ok(())
}

#[tokio::test]
async fn a_plan_holds_for_a_proxy_as_for_a_client() -> Result<()> {
    let (aws, proxy, config) = proxied().await?;
    for (fault, error, times) in [
        (Fault::Throttle, Some("ProvisionedThroughputExceededException"), 0),
        (Fault::ServerError, Some("InternalServerError"), 0),
        (Fault::LostAnswer, Some("no answer"), 1),
        (Fault::Twice, None, 2),
        (Fault::Pass, None, 1),
    ] {
        proxy.control().set_plan(Plan::always(fault).only("UpdateItem"));
        let id = format!("{fault:?}");
        let answer = add(&aws, &config, &id).await;
        assert_eq!((answer.err().as_deref(), applied(&aws, &id).await?), (error, times), "{fault:?}");
    }
    let counts = proxy.control().counts();
    assert_eq!((counts.faults(), counts.passed), (4, 1));
    Ok(())
}

#[tokio::test]
async fn messages_go_through_a_proxy() -> Result<()> {
    let (aws, proxy, config) = proxied().await?;
    let sqs = aws_sdk_sqs::Client::new(&config);
    let queue = &aws.queues().normal;
    sqs.send_message().queue_url(queue).message_body("x").send().await?;
    let received = sqs.receive_message().queue_url(queue).send().await?;
    assert_eq!(received.messages()[0].body(), Some("x"));
    assert_eq!(proxy.control().counts().passed, 2);
    Ok(())
}

#[tokio::test]
async fn a_dropped_proxy_closes_what_it_held() -> Result<()> {
    let (aws, proxy, config) = proxied().await?;
    proxy.control().hold();
    let call = {
        let (aws, config) = (Arc::clone(&aws), config.clone());
        tokio::spawn(async move { add(&aws, &config, "a").await })
    };
    proxy.control().until_waiting(1).await?;
    drop(proxy);
    assert_eq!(call.await?.unwrap_err(), "no answer");
    assert_eq!(add(&aws, &config, "a").await.unwrap_err(), "no answer");
    assert_eq!(applied(&aws, "a").await?, 0);
    Ok(())
}
