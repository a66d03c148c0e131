//! Every DynamoDB expression of the project. Conditions come from [`Status::sources`]; names and values
//! are always placeholders, so nothing of a record is ever part of an expression's text.
//!
//! What is to be written and when is in [`update`]; as which text, in [`expression`] (for `UpdateItem`) and
//! [`statement`] (for many at once).

use crate::At;
use crate::task::{HISTORY_MESSAGE_BYTES, HistoryEntry, Stage, Status, StatusReason};

mod attempt;
mod dispatch;
mod expression;
mod request;
mod statement;
mod update;
mod worker;

pub use attempt::Leavings;
pub(super) use attempt::{claim, continue_running, end_attempt, hold_running};
pub(super) use dispatch::{cancel, dead_letter, defer, hold, mark_queued, reject, resume, run_again};
pub use request::Request;
pub(super) use request::ask;
pub(super) use statement::Statement;
pub(super) use update::Update;
use update::{Condition, number, text};
pub use worker::Signal;
pub(super) use worker::{beat, signal};

fn entry(at: At, status: Status, by: &str, reason: Option<&StatusReason>) -> HistoryEntry {
    let message = reason.map(|reason| {
        let end = reason.message.floor_char_boundary(HISTORY_MESSAGE_BYTES);
        reason.message[..end].to_owned()
    });
    HistoryEntry { at, status, by: by.to_owned(), reason: reason.map(|r| r.code.clone()), message }
}

/// The condition of a stage's put: never over a later attempt's item.
pub(super) fn stage_is_not_newer(stage: &Stage) -> Update {
    let mut update = Update::default();
    update.when(Condition::Any(vec![
        Condition::Absent("attempt".to_owned()),
        Condition::AtMost("attempt".to_owned(), number(stage.attempt.0)),
    ]));
    update
}

#[cfg(test)]
mod tests;
