//! AWS's limits, from `limits.toml`, where each has its source.

use anyhow::{Context, Result};
use serde::Deserialize;

const BUILT_IN: &str = include_str!("../limits.toml");

/// AWS's limits.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// DynamoDB's.
    pub dynamodb: DynamoDb,
    /// SQS's.
    pub sqs: Sqs,
    /// Lambda's.
    pub lambda: Lambda,
    /// Of what workers run on.
    pub compute: Compute,
}

/// DynamoDB's limits.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)] // In the file.
pub struct DynamoDb {
    pub partition_write_units: f64,
    pub partition_read_units: f64,
    pub table_write_units: f64,
    pub new_table_write_units: f64,
    pub burst_seconds: f64,
    pub item_kb: f64,
    pub split_after_minutes: u32,
}

/// SQS's limits.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)] // In the file.
pub struct Sqs {
    pub in_flight: u64,
    pub batch: u32,
}

/// Lambda's limits.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)] // In the file.
pub struct Lambda {
    pub concurrency: u32,
    pub parallelization_factor: u32,
}

/// Limits of what workers run on.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)] // In the file.
pub struct Compute {
    pub launches_a_second: f64,
    pub vcpus: f64,
}

impl Limits {
    /// Reads a file of the shape of `limits.toml`.
    ///
    /// # Errors
    /// What is missing, unknown, or no positive number.
    pub fn read(text: &str) -> Result<Self> {
        let limits: Self = toml::from_str(text).context("the limits cannot be read")?;
        let all = [
            ("dynamodb.partition_write_units", limits.dynamodb.partition_write_units),
            ("dynamodb.partition_read_units", limits.dynamodb.partition_read_units),
            ("dynamodb.table_write_units", limits.dynamodb.table_write_units),
            ("dynamodb.new_table_write_units", limits.dynamodb.new_table_write_units),
            ("dynamodb.item_kb", limits.dynamodb.item_kb),
            ("sqs.in_flight", limits.sqs.in_flight as f64),
            ("sqs.batch", f64::from(limits.sqs.batch)),
            ("lambda.concurrency", f64::from(limits.lambda.concurrency)),
            ("lambda.parallelization_factor", f64::from(limits.lambda.parallelization_factor)),
            ("compute.launches_a_second", limits.compute.launches_a_second),
            ("compute.vcpus", limits.compute.vcpus),
        ];
        for (name, value) in all {
            anyhow::ensure!(
                value > 0.0 && value.is_finite(),
                "the limit {name} is {value}; it must be above 0"
            );
        }
        Ok(limits)
    }
}

impl Default for Limits {
    #[allow(clippy::expect_used)] // Built in, and read by the tests of this crate: it is as it was then.
    fn default() -> Self {
        Self::read(BUILT_IN).expect("limits.toml is well-formed")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_limits_are_whole_and_bad_ones_are_named() {
        assert_eq!(Limits::default().sqs.in_flight, 120_000);
        let none = BUILT_IN.replace("in_flight = 120000", "in_flight = 0");
        assert!(Limits::read(&none).unwrap_err().to_string().contains("sqs.in_flight"));
        let unknown = BUILT_IN.replace("in_flight", "in_fligth");
        assert!(format!("{:#}", Limits::read(&unknown).unwrap_err()).contains("in_fligth"));
    }
}
