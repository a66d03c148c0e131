//! The faults themselves: what is injected happens, to the calls it is meant for, and again with the
//! same seed.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod http;
mod proxy;
mod stream;

use anyhow::Result;
use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use aws_sdk_dynamodb::types::AttributeValue;
use stageline_local::{LocalAws, LocalOptions};

async fn local() -> Result<LocalAws> {
    Ok(LocalAws::start(LocalOptions { data_dir: None, port: 0, prefix: "faults".to_owned() }).await?)
}

/// A configuration whose SDK does not try again: a call is one request.
fn once(config: &SdkConfig) -> SdkConfig {
    config.to_builder().retry_config(RetryConfig::disabled()).build()
}

/// Adds one to the item's counter, which shows how often it was applied. Fails with the error's code.
async fn add(aws: &LocalAws, config: &SdkConfig, id: &str) -> Result<(), String> {
    let update = Client::new(config)
        .update_item()
        .table_name(&aws.names().tasks)
        .key("id", AttributeValue::S(id.to_owned()))
        .update_expression("ADD applied :one")
        .expression_attribute_values(":one", AttributeValue::N("1".to_owned()));
    match update.send().await {
        Ok(_) => Ok(()),
        Err(error) => Err(error.code().unwrap_or("no answer").to_owned()),
    }
}

/// How often [`add`] was applied, as the table itself says.
async fn applied(aws: &LocalAws, id: &str) -> Result<u32> {
    let key = AttributeValue::S(id.to_owned());
    let get = Client::new(&aws.sdk_config()).get_item().table_name(&aws.names().tasks).key("id", key);
    let item = get.consistent_read(true).send().await?.item.unwrap_or_default();
    match item.get("applied").map(AttributeValue::as_n) {
        None => Ok(0),
        Some(Ok(count)) => Ok(count.parse()?),
        Some(Err(other)) => anyhow::bail!("{other:?}"),
    }
}
