//! Progress: what an engine reports, folded into stages (pure), and written as rarely as is still honest.

mod bars;
pub(crate) mod contract;
#[cfg(test)]
mod expected_end_tests;
mod reporter;
mod script;
mod speed;
mod tracker;

pub use reporter::{Reporter, Sink};
pub use script::Script;
pub use tracker::{COUNTER_PERIOD, Tracker};

use std::collections::BTreeMap;

/// What an engine has to say about its progress.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// The stage that begins; `None` speaks of the current one.
    pub enter: Option<String>,
    /// Items done.
    pub done: Option<u64>,
    /// Items there are.
    pub total: Option<u64>,
    /// A sentence about what goes on.
    pub message: Option<String>,
    /// The engine's latest numbers.
    pub metrics: BTreeMap<String, f64>,
}

impl Report {
    /// A stage begins, and with it the one before is done.
    pub fn enter(stage: impl Into<String>, total: Option<u64>, message: impl Into<String>) -> Self {
        Self { enter: Some(stage.into()), total, message: Some(message.into()), ..Self::default() }
    }

    /// Items done in the current stage.
    pub fn progress(done: u64) -> Self {
        Self { done: Some(done), ..Self::default() }
    }

    /// The same with a sentence.
    pub fn saying(self, message: impl Into<String>) -> Self {
        Self { message: Some(message.into()), ..self }
    }
}
