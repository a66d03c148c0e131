//! Requests and units by kind of call.

use std::collections::BTreeMap;
use std::ops::{AddAssign, Sub};

use serde::Serialize;

/// What one kind of call came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Count {
    /// Requests, each try of a repeated one.
    pub requests: f64,
    /// DynamoDB's read units.
    pub read_units: f64,
    /// DynamoDB's write units, those of indexes included.
    pub write_units: f64,
}

/// What was asked of AWS, by service, operation and table, such as `dynamodb UpdateItem tasks`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Tally(pub BTreeMap<String, Count>);

impl AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.requests += other.requests;
        self.read_units += other.read_units;
        self.write_units += other.write_units;
    }
}

impl Sub for Count {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self {
            requests: self.requests - other.requests,
            read_units: self.read_units - other.read_units,
            write_units: self.write_units - other.write_units,
        }
    }
}

impl Tally {
    /// Counts one call.
    pub fn add(&mut self, kind: &str, count: Count) {
        *self.0.entry(kind.to_owned()).or_default() += count;
    }

    /// What came since `earlier`.
    pub fn since(&self, earlier: &Self) -> Self {
        let rest = self
            .0
            .iter()
            .map(|(kind, count)| (kind.clone(), *count - earlier.0.get(kind).copied().unwrap_or_default()));
        Self(rest.filter(|(_, count)| *count != Count::default()).collect())
    }

    /// Both together.
    pub fn with(mut self, other: &Self) -> Self {
        for (kind, count) in &other.0 {
            self.add(kind, *count);
        }
        self
    }

    /// The same of one of `n`, or of an hour of which a part was counted.
    pub fn times(&self, factor: f64) -> Self {
        let scaled = |count: &Count| Count {
            requests: count.requests * factor,
            read_units: count.read_units * factor,
            write_units: count.write_units * factor,
        };
        Self(self.0.iter().map(|(kind, count)| (kind.clone(), scaled(count))).collect())
    }

    /// The sum over all kinds that begin with `service`.
    pub fn of(&self, service: &str) -> Count {
        let mut sum = Count::default();
        self.0.iter().filter(|(kind, _)| kind.starts_with(service)).for_each(|(_, count)| sum += *count);
        sum
    }

    /// The sum over all calls to a table.
    pub fn table(&self, table: &str) -> Count {
        let mut sum = Count::default();
        let of_it = self.0.iter().filter(|(kind, _)| kind.split(' ').nth(2) == Some(table));
        of_it.for_each(|(_, count)| sum += *count);
        sum
    }

    /// The sum over everything.
    pub fn total(&self) -> Count {
        self.of("")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(kind: &str, requests: f64, write_units: f64) -> Tally {
        Tally([(kind.to_owned(), Count { requests, write_units, read_units: 0.0 })].into())
    }

    #[test]
    fn what_came_since_is_the_difference_and_nothing_else() {
        let before = tally("sqs ReceiveMessage", 2.0, 0.0);
        let after = before.clone().with(&tally("dynamodb PutItem", 3.0, 6.0)).with(&tally(
            "sqs ReceiveMessage",
            1.0,
            0.0,
        ));
        let since = after.since(&before);
        assert_eq!(since.of("sqs").requests, 1.0);
        assert_eq!(since.total().write_units, 6.0);
        assert_eq!(after.since(&after), Tally::default());
        let stages = since.clone().with(&tally("dynamodb UpdateItem stages", 4.0, 4.0));
        assert_eq!(stages.table("stages").requests, 4.0);
        assert_eq!(since.times(0.5).of("dynamodb").requests, 1.5);
    }
}
