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

/// `count` tasks named `PREFIX-NUMBER` with these attributes.
///
/// # Errors
/// They are no task's.
pub fn tasks(prefix: &str, count: usize, attributes: &Value) -> Result<Vec<Task>> {
    let one = |number| {
        let mut record = json!({"id": format!("{prefix}-{number:06}"), "status": "PENDING"});
        if let (Some(record), Some(attributes)) = (record.as_object_mut(), attributes.as_object()) {
            record.extend(attributes.clone());
        }
        Ok(Task::from_item(serde_dynamo::to_item(&record)?)?)
    };
    (0..count).map(one).collect()
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
