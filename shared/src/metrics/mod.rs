//! What is measured: [`table`] names every metric once, with kind, unit, labels and meaning. The worker counts
//! in a [`Registry`], which only takes metrics of the table and writes Prometheus text; the Lambdas write a line
//! of [`emf`] for each invocation.
//!
//! `docs/metrics.md` is written from the table, and a test holds the two together.

#[cfg(test)]
mod document;
pub mod emf;
mod registry;
pub mod table;

pub use registry::{Histogram, Number, Registry};

/// What kind of metric it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Only rises, from 0 at the process's start. In a Lambda: of one invocation, to be summed.
    Counter,
    /// Goes up and down. In a Lambda: as the invocation saw it, not to be summed.
    Gauge,
    /// Counts by upper bounds.
    Histogram(&'static [f64]),
}

/// What a value is a number of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Things.
    Count,
    /// Seconds.
    Seconds,
    /// Milliseconds.
    Milliseconds,
    /// Bytes.
    Bytes,
    /// 1 for yes, 0 for no.
    YesNo,
    /// Capacity units of DynamoDB.
    CapacityUnits,
}

impl Unit {
    /// As the document has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Seconds => "seconds",
            Self::Milliseconds => "milliseconds",
            Self::Bytes => "bytes",
            Self::YesNo => "1 or 0",
            Self::CapacityUnits => "capacity units",
        }
    }

    /// As CloudWatch has it.
    pub fn in_cloudwatch(self) -> &'static str {
        match self {
            Self::Seconds => "Seconds",
            Self::Milliseconds => "Milliseconds",
            Self::Bytes => "Bytes",
            Self::Count | Self::CapacityUnits => "Count",
            Self::YesNo => "None",
        }
    }
}

/// Who measures it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A worker, at `/metrics`.
    Worker,
    /// The stream Lambda.
    Dispatcher,
    /// The scheduled Lambda.
    Sweeper,
}

/// When it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// From the start, in each invocation.
    Always,
    /// Once it has happened; in a Lambda in invocations in which it does.
    WhenItHappens,
    /// In each scheduled call of the sweeper, and not when an event calls it.
    OnSchedule,
}

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Metric {
    /// Its name: for Prometheus in a worker, for CloudWatch in a Lambda.
    pub name: &'static str,
    /// Its kind.
    pub kind: Kind,
    /// Its unit.
    pub unit: Unit,
    /// Labels in Prometheus, further dimensions in CloudWatch. Their values are few, whatever tasks hold.
    pub labels: &'static [&'static str],
    /// Who measures it.
    pub from: &'static [Source],
    /// When it is there.
    pub shown: Shown,
    /// What it says.
    pub meaning: &'static str,
}
