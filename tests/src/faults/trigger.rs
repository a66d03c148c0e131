//! The one moment at which a test wants to act: a request, and the side of it.

use super::call::{Call, holds_all};

/// On which side of the request's effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// It has not reached AWS and never will.
    Before,
    /// It has been applied, and nobody has the answer.
    After,
}

/// Matches requests by operation and body.
#[derive(Clone, Debug)]
pub struct Trigger {
    operation: String,
    body_contains: Vec<String>,
    moment: Moment,
}

impl Trigger {
    /// Before the first request of this operation, such as `UpdateItem`, has an effect.
    pub fn before(operation: &str) -> Self {
        Self { operation: operation.to_owned(), body_contains: Vec::new(), moment: Moment::Before }
    }

    /// After the first request of this operation had its effect.
    pub fn after(operation: &str) -> Self {
        Self { moment: Moment::After, ..Self::before(operation) }
    }

    /// Only a request whose body holds this text; given again, this one too.
    #[must_use]
    pub fn containing(mut self, text: &str) -> Self {
        self.body_contains.push(text.to_owned());
        self
    }

    /// The side.
    pub fn moment(&self) -> Moment {
        self.moment
    }

    /// Whether this is the request.
    pub fn matches(&self, call: &Call, body: &[u8]) -> bool {
        self.operation == call.operation && holds_all(body, &self.body_contains)
    }
}
