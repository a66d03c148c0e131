//! The sweeper of a whole system: in this process for the embedded one, and the deployed function for the
//! deployed one, by the calls that its schedule and its rule make of it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use stageline::Clock;
use stageline_sweeper::{Limits, SweepEvent, Sweeper};

use crate::backend::ENDPOINT;
use crate::system::Stack;

/// Rules that tests add are called so, and have this source: nobody but AWS may say that an event is its own.
const TEST_SOURCE: &str = "stageline.test";

/// One round of the sweeper, as its schedule starts it; its report.
///
/// # Errors
/// It cannot be called, or fails.
pub async fn sweep(stack: &Stack) -> Result<Value> {
    let event = json!({"source": "aws.events", "detail-type": "Scheduled Event", "detail": {}});
    if stack.embedded.is_some() {
        return in_process(stack, &event).await;
    }
    let path = format!("/2015-03-31/functions/{}-sweeper/invocations", prefix(stack)?);
    call("lambda", &path, None, &event).await
}

/// Something happened to an instance. Where there is an EventBridge, it is asked whether the deployed rule would
/// take the event from AWS, and brings a like one to the deployed function by a rule that differs in the source
/// alone.
///
/// # Errors
/// The rule does not take it, or a call fails.
pub async fn event(stack: &Stack, kind: &str, detail: Value) -> Result<()> {
    let of_aws = json!({
        "id": "7bf73129-1428-4cd3-a780-95db273d1602", "account": "123456789012", "region": "us-east-1",
        "time": "2026-11-21T12:00:00Z", "resources": [], "version": "0",
        "source": if kind.starts_with("ECS") { "aws.ecs" } else { "aws.ec2" }, "detail-type": kind, "detail": detail,
    });
    if stack.embedded.is_some() {
        return in_process(stack, &of_aws).await.map(drop);
    }
    let name = format!("{}-instances", prefix(stack)?);
    let rule = events("DescribeRule", &json!({"Name": name})).await?;
    let pattern = rule["EventPattern"].as_str().context("a pattern")?;
    let test = json!({"EventPattern": pattern, "Event": of_aws.to_string()});
    let taken = events("TestEventPattern", &test).await?;
    ensure!(taken["Result"] == true, "the rule {name} does not take {of_aws}");
    let targets = events("ListTargetsByRule", &json!({"Rule": name})).await?;

    let mut like: Value = serde_json::from_str(pattern)?;
    like["source"] = json!([TEST_SOURCE]);
    let ours = format!("{name}-test");
    events("PutRule", &json!({"Name": ours, "EventPattern": like.to_string()})).await?;
    events("PutTargets", &json!({"Rule": ours, "Targets": targets["Targets"]})).await?;
    let entry = json!({"Source": TEST_SOURCE, "DetailType": kind, "Detail": detail.to_string()});
    let put = events("PutEvents", &json!({"Entries": [entry]})).await?;
    ensure!(put["FailedEntryCount"] == 0, "{put}");
    Ok(())
}

async fn in_process(stack: &Stack, event: &Value) -> Result<Value> {
    let sweeper = Sweeper::new(stack.aws.clone(), stack.deployment.clone(), Clock::system());
    let report = sweeper.handle(SweepEvent::parse(event), Limits::default()).await;
    Ok(serde_json::to_value(report)?)
}

fn prefix(stack: &Stack) -> Result<&str> {
    stack.deployment.control_table.strip_suffix("-control").context("a prefix")
}

async fn events(operation: &str, body: &Value) -> Result<Value> {
    call("events", "/", Some(&format!("AWSEvents.{operation}")), body).await
}

/// A call of the endpoint, which checks no signature.
async fn call(service: &str, path: &str, target: Option<&str>, body: &Value) -> Result<Value> {
    let endpoint = std::env::var(ENDPOINT)?;
    let scope = format!("Credential=test/20261121/us-east-1/{service}/aws4_request");
    let signed = format!("AWS4-HMAC-SHA256 {scope}, SignedHeaders=host, Signature=0");
    let mut request = Request::post(format!("{}{path}", endpoint.trim_end_matches('/')))
        .header("content-type", "application/x-amz-json-1.1")
        .header("authorization", signed);
    if let Some(target) = target {
        request = request.header("x-amz-target", target);
    }
    let request = request.body(Full::new(Bytes::from(body.to_string())))?;
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let answer = tokio::time::timeout(Duration::from_secs(60), client.request(request)).await??;
    let (head, content) = (answer.status(), answer.headers().contains_key("x-amz-function-error"));
    let text = answer.into_body().collect().await?.to_bytes();
    ensure!(head.is_success() && !content, "{target:?} {path}: {head} {}", String::from_utf8_lossy(&text));
    if text.is_empty() { Ok(Value::Null) } else { Ok(serde_json::from_slice(&text)?) }
}
