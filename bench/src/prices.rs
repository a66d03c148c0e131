//! What AWS asks for, and what counts come to in dollars.

use anyhow::{Context, Result};
use figment::Figment;
use figment::providers::{Format, Toml};
use serde::{Deserialize, Serialize};

use crate::meter::Tally;

/// `bench/prices.toml`: the list, and the assumptions where an emulator cannot say.
#[derive(Clone, Debug, Deserialize)]
pub struct Prices {
    /// What AWS asks.
    #[serde(flatten)]
    pub list: stageline_simulator::Prices,
    /// What is assumed.
    pub assumed: Assumed,
}

/// What an emulator cannot say.
#[derive(Clone, Debug, Deserialize)]
pub struct Assumed {
    /// Memory of a function.
    pub lambda_memory_mb: f64,
    /// How long a call of the dispatcher lasts.
    pub dispatcher_call_seconds: f64,
    /// How long a call of the sweeper lasts.
    pub sweeper_call_seconds: f64,
    /// How often the sweeper is called.
    pub sweeper_calls_an_hour: f64,
}

/// What was used of AWS.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Used {
    /// Calls of DynamoDB and SQS.
    pub tally: Tally,
    /// Calls of functions.
    pub calls: f64,
    /// How long they lasted together, in seconds.
    pub call_seconds: f64,
}

impl Prices {
    /// The project's list.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn load() -> Result<Self> {
        let list = Toml::string(include_str!("../prices.toml"));
        Figment::from(list).extract().context("bench/prices.toml")
    }

    /// Dollars for `used`.
    pub fn dollars(&self, used: &Used) -> f64 {
        let (list, tally) = (&self.list, &used.tally);
        let (dynamodb, sqs) = (tally.of("dynamodb"), tally.of("sqs"));
        let millions = dynamodb.write_units * list.dynamodb.write_unit_million
            + dynamodb.read_units * list.dynamodb.read_unit_million
            + sqs.requests * list.sqs.request_million
            + used.calls * list.lambda.request_million;
        let memory = used.call_seconds * self.assumed.lambda_memory_mb / 1024.0 * list.lambda.gb_second_arm;
        millions / 1e6 + memory
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meter::Count;

    #[test]
    fn a_million_of_everything_costs_what_the_list_says() {
        let prices = Prices::load().unwrap();
        let million = |requests, write_units, read_units| Count { requests, write_units, read_units };
        let mut used = Used::default();
        used.tally.add("dynamodb UpdateItem", million(7.0, 1e6, 0.0));
        used.tally.add("dynamodb Query", million(7.0, 0.0, 1e6));
        used.tally.add("sqs ReceiveMessage", million(1e6, 0.0, 0.0));
        assert!((prices.dollars(&used) - (0.625 + 0.125 + 0.40)).abs() < 1e-9);
        (used.tally, used.calls, used.call_seconds) = (Tally::default(), 1e6, 8.0);
        let expected =
            0.20 + prices.list.lambda.gb_second_arm * 8.0 * prices.assumed.lambda_memory_mb / 1024.0;
        assert!((prices.dollars(&used) - expected).abs() < 1e-9);
    }
}
