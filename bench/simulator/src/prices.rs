//! Dollars, from `bench/prices.toml` or a file of the same keys.

use anyhow::{Context, Result};
use serde::Deserialize;

const BUILT_IN: &str = include_str!("../../prices.toml");

/// Prices; what the model does not use is not read.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[allow(missing_docs)] // In the file.
pub struct Prices {
    pub region: String,
    pub date: String,
    pub dynamodb: DynamoDb,
    pub sqs: Sqs,
    pub lambda: Lambda,
    pub cloudwatch: CloudWatch,
    pub fargate: Fargate,
}

/// DynamoDB's prices.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[allow(missing_docs)] // In the file.
pub struct DynamoDb {
    pub write_unit_million: f64,
    pub read_unit_million: f64,
    pub storage_gb_month: f64,
    pub recovery_gb_month: f64,
}

/// SQS's prices.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[allow(missing_docs)] // In the file.
pub struct Sqs {
    pub request_million: f64,
}

/// Lambda's prices.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[allow(missing_docs)] // In the file.
pub struct Lambda {
    pub request_million: f64,
    pub gb_second_arm: f64,
}

/// CloudWatch's prices.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[allow(missing_docs)] // In the file.
pub struct CloudWatch {
    pub logs_ingest_gb: f64,
    pub metric_month: f64,
    pub alarm_metric_month: f64,
    pub dashboard_month: f64,
}

/// Fargate's prices.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[allow(missing_docs)] // In the file.
pub struct Fargate {
    pub vcpu_hour_arm: f64,
    pub gb_hour_arm: f64,
}

impl Prices {
    /// Reads a file of the keys of `prices.toml`.
    ///
    /// # Errors
    /// What is missing.
    pub fn read(text: &str) -> Result<Self> {
        toml::from_str(text).context("the prices cannot be read")
    }
}

impl Default for Prices {
    #[allow(clippy::expect_used)] // Built in, and read by the tests of this crate: it is as it was then.
    fn default() -> Self {
        Self::read(BUILT_IN).expect("prices.toml is well-formed")
    }
}
