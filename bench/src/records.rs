//! Task records as the measurements make and read them.

use anyhow::{Context, Result, bail};
use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Value, json};
use stageline::At;
use stageline::task::{Item, Task};

/// The times of a task that has completed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Its id.
    pub id: String,
    /// When it was claimed, by the worker's clock.
    pub started: At,
    /// When it was over.
    pub completed: At,
    /// The attempt that completed it.
    pub attempt: u64,
}

/// `count` tasks named `PREFIX-NUMBER` with these attributes, in an account and with a time as `stageline submit` and
/// dashboards write them.
///
/// # Errors
/// They are no task's.
pub fn tasks(prefix: &str, count: usize, attributes: &Value) -> Result<Vec<Task>> {
    let now = stageline::Clock::system().now();
    let one = |number| {
        let id = format!("{prefix}-{number:06}");
        let mut record = json!({"id": id, "status": "PENDING", "accountId": "default", "createdAt": now});
        if let (Some(record), Some(attributes)) = (record.as_object_mut(), attributes.as_object()) {
            record.extend(attributes.clone());
        }
        Ok(Task::from_item(serde_dynamo::to_item(&record)?)?)
    };
    (0..count).map(one).collect()
}

/// The record of the stream for a task that has just been put.
///
/// # Errors
/// The task is none that a table could hold.
pub fn inserted(number: usize, task: &Task) -> Result<Value> {
    let image: serde_dynamo::Item = serde_dynamo::to_item(task)?;
    Ok(json!({
        "awsRegion": "us-east-1",
        "eventID": number.to_string(),
        "eventName": "INSERT",
        "dynamodb": {
            "ApproximateCreationDateTime": 0,
            "Keys": {"id": {"S": task.id.as_str()}},
            "NewImage": image,
            "SequenceNumber": format!("{number:021}"),
            "SizeBytes": 1,
            "StreamViewType": "NEW_AND_OLD_IMAGES",
        },
    }))
}

/// The tasks of `prefix` that have completed.
///
/// # Errors
/// One has ended otherwise, or the table cannot be read.
pub async fn ended(endpoint: &str, table: &str, prefix: &str) -> Result<Vec<Ended>> {
    let client = aws_sdk_dynamodb::Client::new(&stageline_local::sdk_config(endpoint));
    let mut pages = client
        .scan()
        .table_name(table)
        .consistent_read(true)
        .filter_expression("begins_with(id, :p)")
        .expression_attribute_names("#s", "status")
        .projection_expression("id, #s, startedAt, completedAt, attempt, errorMessage")
        .expression_attribute_values(":p", AttributeValue::S(format!("{prefix}-")))
        .into_paginator()
        .send();
    let mut all = Vec::new();
    while let Some(page) = pages.try_next().await? {
        for item in page.items() {
            all.extend(read(item)?);
        }
    }
    Ok(all)
}

fn read(item: &Item) -> Result<Option<Ended>> {
    let text = |name: &str| item.get(name).and_then(|value| value.as_s().ok()).map(String::as_str);
    let id = text("id").context("a record without an id")?;
    let time = |name: &str| -> Result<At> {
        let text = text(name).with_context(|| format!("{id} has no {name}"))?;
        serde_json::from_value(Value::from(text)).with_context(|| format!("{id}: {name} is {text:?}"))
    };
    match text("status") {
        Some("COMPLETED") => {
            let attempt = item.get("attempt").and_then(|value| value.as_n().ok()?.parse().ok());
            Ok(Some(Ended {
                id: id.to_owned(),
                started: time("startedAt")?,
                completed: time("completedAt")?,
                attempt: attempt.unwrap_or_default(),
            }))
        }
        Some(status @ ("FAILED" | "TIMED_OUT" | "CANCELLED")) => {
            bail!("the task {id} is {status}: {}", text("errorMessage").unwrap_or_default())
        }
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use aws_lambda_events::event::dynamodb::Event;

    use super::*;

    #[test]
    fn what_was_put_is_an_event_of_the_stream() {
        let task = tasks("t", 1, &json!({"engine": "noop", "params": {"a": [1, null]}})).unwrap().remove(0);
        let event = json!({"Records": [inserted(7, &task).unwrap()]});
        let event: Event = serde_json::from_value(event).unwrap();
        let image = event.records[0].change.new_image.clone().into_inner();
        let read: Value = serde_dynamo::from_item(image).unwrap();
        assert_eq!((read["id"].as_str(), read["engine"].as_str()), (Some("t-000000"), Some("noop")));
    }
}
