//! An HTTP client that answers at once and remembers calls, and the same calls once more through the SDK alone.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use aws_config::SdkConfig;
use aws_sdk_dynamodb::operation::batch_execute_statement::builders::BatchExecuteStatementFluentBuilder;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{
    AttributeValue, BatchStatementRequest, ReturnValue, ReturnValuesOnConditionCheckFailure,
};
use aws_sdk_sqs::operation::send_message_batch::builders::SendMessageBatchFluentBuilder;
use aws_sdk_sqs::types::SendMessageBatchRequestEntry;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use serde_json::{Map, Value, json};

/// One call: operation and body.
#[derive(Clone, Debug)]
pub(super) struct Recorded {
    pub operation: String,
    pub body: Value,
}

/// Answers every call of the dispatcher as AWS does when all goes well.
#[derive(Clone, Debug, Default)]
pub(super) struct StubHttp(Arc<Memory>);

#[derive(Debug, Default)]
struct Memory {
    records: AtomicBool,
    calls: Mutex<Vec<Recorded>>,
}

impl StubHttp {
    /// A configuration whose calls come here.
    pub fn config(&self) -> SdkConfig {
        stageline_local::sdk_config("http://127.0.0.1:9").to_builder().http_client(self.clone()).build()
    }

    /// Whether it remembers from now on.
    pub fn record(&self, records: bool) {
        self.0.records.store(records, Ordering::Relaxed);
    }

    /// What it remembers.
    pub fn recorded(&self) -> Vec<Recorded> {
        self.0.calls.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn answer(&self, request: &HttpRequest) -> Result<Value> {
        let target = request.headers().get("x-amz-target").unwrap_or_default();
        let operation = target.split_once('.').map_or("", |(_, operation)| operation).to_owned();
        let bytes = request.body().bytes().unwrap_or_default();
        // Parsed only where the answer depends on it: this work is in both measurements.
        let records = self.0.records.load(Ordering::Relaxed);
        let body = match records || operation == "SendMessageBatch" || operation == "BatchExecuteStatement" {
            true => serde_json::from_slice(bytes)?,
            false => Value::Null,
        };
        let answer = match operation.as_str() {
            "SendMessageBatch" => {
                let entries = body["Entries"].as_array().context("a batch without entries")?;
                let sent =
                    |entry: &Value| json!({"Id": entry["Id"], "MessageId": "m", "MD5OfMessageBody": ""});
                json!({"Successful": entries.iter().map(sent).collect::<Vec<_>>(), "Failed": []})
            }
            "BatchExecuteStatement" => {
                let statements = body["Statements"].as_array().context("a batch without statements")?;
                json!({"Responses": vec![json!({"TableName": "bench-tasks"}); statements.len()]})
            }
            _ => json!({}),
        };
        if records {
            self.0.calls.lock().unwrap_or_else(PoisonError::into_inner).push(Recorded { operation, body });
        }
        Ok(answer)
    }
}

impl HttpClient for StubHttp {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for StubHttp {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let answer = self.answer(&request).map_err(|error| ConnectorError::user(error.into()));
        let answer = answer.and_then(|body| {
            let response = hyper::Response::new(body.to_string().into());
            HttpResponse::try_from(response).map_err(|error| ConnectorError::user(error.into()))
        });
        HttpConnectorFuture::ready(answer)
    }
}

/// A call as the SDK takes it, ready to be sent.
#[expect(clippy::large_enum_variant, reason = "most are of the largest")]
pub(super) enum Prepared {
    Update(UpdateItemFluentBuilder),
    Statements(BatchExecuteStatementFluentBuilder),
    Send(SendMessageBatchFluentBuilder),
}

impl Prepared {
    /// The recorded call once more.
    pub fn of(
        call: &Recorded,
        dynamodb: &aws_sdk_dynamodb::Client,
        sqs: &aws_sdk_sqs::Client,
    ) -> Result<Self> {
        let body = &call.body;
        let text = |name: &str| body[name].as_str().map(str::to_owned);
        Ok(match call.operation.as_str() {
            "UpdateItem" => {
                let names = body["ExpressionAttributeNames"].as_object();
                let names = names.map(|names| {
                    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                    names.iter().map(|(name, value)| (name.clone(), text(value))).collect()
                });
                let on_refusal = text("ReturnValuesOnConditionCheckFailure");
                Self::Update(
                    dynamodb
                        .update_item()
                        .set_table_name(text("TableName"))
                        .set_key(Some(values(&body["Key"])?))
                        .set_update_expression(text("UpdateExpression"))
                        .set_condition_expression(text("ConditionExpression"))
                        .set_expression_attribute_names(names)
                        .set_expression_attribute_values(Some(values(&body["ExpressionAttributeValues"])?))
                        .set_return_values(text("ReturnValues").map(|text| ReturnValue::from(text.as_str())))
                        .set_return_values_on_condition_check_failure(
                            on_refusal.map(|text| ReturnValuesOnConditionCheckFailure::from(text.as_str())),
                        ),
                )
            }
            "BatchExecuteStatement" => {
                let statements = body["Statements"].as_array().context("statements")?;
                let one = |statement: &Value| -> Result<BatchStatementRequest> {
                    let parameters = statement["Parameters"].as_array().into_iter().flatten().map(value);
                    let on_refusal = statement["ReturnValuesOnConditionCheckFailure"].as_str();
                    Ok(BatchStatementRequest::builder()
                        .statement(statement["Statement"].as_str().unwrap_or_default())
                        .set_parameters(Some(parameters.collect::<Result<_>>()?))
                        .set_return_values_on_condition_check_failure(
                            on_refusal.map(ReturnValuesOnConditionCheckFailure::from),
                        )
                        .build()?)
                };
                let statements = statements.iter().map(one).collect::<Result<_>>()?;
                Self::Statements(dynamodb.batch_execute_statement().set_statements(Some(statements)))
            }
            "SendMessageBatch" => {
                let entries = body["Entries"].as_array().context("entries")?;
                let one = |entry: &Value| {
                    let delay =
                        entry["DelaySeconds"].as_i64().and_then(|seconds| i32::try_from(seconds).ok());
                    SendMessageBatchRequestEntry::builder()
                        .id(entry["Id"].as_str().unwrap_or_default())
                        .message_body(entry["MessageBody"].as_str().unwrap_or_default())
                        .set_delay_seconds(delay)
                        .build()
                };
                let entries = entries.iter().map(one).collect::<Result<_, _>>()?;
                Self::Send(
                    sqs.send_message_batch().set_queue_url(text("QueueUrl")).set_entries(Some(entries)),
                )
            }
            other => bail!("the handler calls {other}, which the meter cannot repeat yet"),
        })
    }

    /// Sends it.
    pub async fn send(self) -> Result<()> {
        match self {
            Self::Update(call) => call.send().await.map(drop)?,
            Self::Statements(call) => call.send().await.map(drop)?,
            Self::Send(call) => call.send().await.map(drop)?,
        }
        Ok(())
    }
}

fn values(typed: &Value) -> Result<HashMap<String, AttributeValue>> {
    let all = typed.as_object().into_iter().flatten();
    all.map(|(name, typed)| Ok((name.clone(), value(typed)?))).collect()
}

/// A value in DynamoDB's JSON.
fn value(typed: &Value) -> Result<AttributeValue> {
    let (kind, inner) =
        typed.as_object().and_then(|typed: &Map<_, _>| typed.iter().next()).context("a value")?;
    let text = || inner.as_str().map(str::to_owned).with_context(|| format!("{kind} of {inner}"));
    Ok(match kind.as_str() {
        "S" => AttributeValue::S(text()?),
        "N" => AttributeValue::N(text()?),
        "BOOL" => AttributeValue::Bool(inner.as_bool().unwrap_or_default()),
        "NULL" => AttributeValue::Null(true),
        "L" => AttributeValue::L(inner.as_array().into_iter().flatten().map(value).collect::<Result<_>>()?),
        "M" => AttributeValue::M(values(inner)?),
        other => bail!("a value of type {other}, which the meter cannot repeat yet"),
    })
}
