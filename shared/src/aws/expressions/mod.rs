//! Every DynamoDB expression of the project. Conditions come from [`Status::sources`]; names and values
//! are always placeholders, so nothing of a record is ever part of an expression's text.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use serde::Serialize;
use serde_json::Value;

use crate::At;
use crate::task::{
    Attempt, Event, HISTORY_ITEMS, HISTORY_MESSAGE_BYTES, HistoryEntry, Stage, Status, StatusReason, Task,
    WorkerId,
};

mod attempt;
mod dispatch;
mod request;
mod worker;

pub use attempt::Leavings;
pub(super) use attempt::{claim, continue_running, end_attempt, hold_running};
pub(super) use dispatch::{cancel, dead_letter, defer, hold, mark_queued, reject, resume, run_again};
pub use request::Request;
pub(super) use request::ask;
pub use worker::Signal;
pub(super) use worker::{beat, signal};

/// An update with its condition, ready for `UpdateItem`.
#[derive(Clone, Debug, Default)]
pub(super) struct Update {
    sets: Vec<String>,
    removes: Vec<String>,
    adds: Vec<String>,
    deletes: Vec<String>,
    conditions: Vec<String>,
    appended: Option<Appended>,
    /// Placeholder → attribute name.
    pub names: HashMap<String, String>,
    /// Placeholder → value.
    pub values: HashMap<String, AttributeValue>,
}

/// Where an update appends to `history`.
#[derive(Clone, Debug)]
struct Appended {
    /// The index among the sets.
    set: usize,
    /// The placeholder of the empty list, which only appending needs.
    empty: String,
    /// The placeholder of the list with the entry.
    entry: String,
}

impl Update {
    fn name(&mut self, attribute: &str) -> String {
        let placeholder = format!("#{attribute}");
        self.names.insert(placeholder.clone(), attribute.to_owned());
        placeholder
    }

    fn value(&mut self, value: AttributeValue) -> String {
        let placeholder = format!(":v{}", self.values.len());
        self.values.insert(placeholder.clone(), value);
        placeholder
    }

    fn set(&mut self, attribute: &str, value: impl Into<AttributeText>) -> &mut Self {
        let (name, value) = (self.name(attribute), self.value(value.into().0));
        self.sets.push(format!("{name} = {value}"));
        self
    }

    fn set_json(&mut self, attribute: &str, value: &impl Serialize) -> &mut Self {
        // Our own types and JSON values have a DynamoDB form; a number beyond its range is stored as null.
        let value = serde_dynamo::to_attribute_value(value).unwrap_or(AttributeValue::Null(true));
        let (name, value) = (self.name(attribute), self.value(value));
        self.sets.push(format!("{name} = {value}"));
        self
    }

    fn set_if_absent(&mut self, attribute: &str, value: impl Into<AttributeText>) -> &mut Self {
        let (name, value) = (self.name(attribute), self.value(value.into().0));
        self.sets.push(format!("{name} = if_not_exists({name}, {value})"));
        self
    }

    fn remove(&mut self, attribute: &str) -> &mut Self {
        let name = self.name(attribute);
        self.removes.push(name);
        self
    }

    /// Appends to `history`, or rewrites it without its oldest entries once it is full.
    fn push_history(&mut self, known: &[HistoryEntry], entry: HistoryEntry) -> &mut Self {
        if known.len() >= HISTORY_ITEMS {
            let kept: Vec<_> =
                known[known.len() + 1 - HISTORY_ITEMS..].iter().cloned().chain([entry]).collect();
            return self.set_json("history", &kept);
        }
        let entry = serde_dynamo::to_attribute_value(vec![entry]).unwrap_or(AttributeValue::L(vec![]));
        let (name, entry) = (self.name("history"), self.value(entry));
        let empty = self.value(AttributeValue::L(vec![]));
        let set = self.sets.len();
        self.sets.push(format!("{name} = list_append(if_not_exists({name}, {empty}), {entry})"));
        self.appended = Some(Appended { set, empty, entry });
        self
    }

    /// The same update for a record whose `history` is no list, so that nothing can be appended to it: the
    /// entry begins a new one. `None` when this update appends nothing.
    pub fn with_new_history(mut self) -> Option<Self> {
        let Appended { set, empty, entry } = self.appended.take()?;
        self.values.remove(&empty);
        let name = self.name("history");
        self.sets[set] = format!("{name} = {entry}");
        Some(self)
    }

    /// The same where the record is known as it lies in the table: a history that is absent may be a null,
    /// to which nothing can be appended.
    fn push_history_of(&mut self, task: &Task, entry: HistoryEntry) -> &mut Self {
        match &task.history {
            Some(known) => self.push_history(known, entry),
            None => self.set_json("history", &[entry]),
        }
    }

    fn when_status_allows(&mut self, event: Event) -> &mut Self {
        let name = self.name("status");
        let sources: Vec<_> = event
            .sources()
            .iter()
            .map(|status| self.value(AttributeValue::S(status.as_str().to_owned())))
            .collect();
        let mut condition = format!("{name} IN ({})", sources.join(", "));
        if Status::default().next(event).is_ok() {
            // A minimal record has no status, which means PENDING; AppSync may write null for it.
            let null = self.value(AttributeValue::S("NULL".to_owned()));
            condition =
                format!("({condition} OR attribute_not_exists({name}) OR attribute_type({name}, {null}))");
        }
        self.conditions.push(condition);
        self
    }

    fn when_attempt_is(&mut self, attempt: Attempt) -> &mut Self {
        let (name, value) = (self.name("attempt"), self.value(number(attempt.0)));
        let mut condition = format!("{name} = {value}");
        if attempt == Attempt::default() {
            let null = self.value(AttributeValue::S("NULL".to_owned()));
            condition =
                format!("({condition} OR attribute_not_exists({name}) OR attribute_type({name}, {null}))");
        }
        self.conditions.push(condition);
        self
    }

    fn when_worker_is(&mut self, worker: &WorkerId) -> &mut Self {
        let (name, value) = (self.name("workerNodeId"), self.value(AttributeValue::S(worker.to_string())));
        self.conditions.push(format!("{name} = {value}"));
        self
    }

    fn when_no_worker(&mut self) -> &mut Self {
        let (name, null) = (self.name("workerNodeId"), self.value(AttributeValue::S("NULL".to_owned())));
        self.conditions.push(format!("(attribute_not_exists({name}) OR attribute_type({name}, {null}))"));
        self
    }

    fn when_flag(&mut self, attribute: &str, wanted: bool) -> &mut Self {
        let (name, yes) = (self.name(attribute), self.value(AttributeValue::Bool(true)));
        let not = if wanted { "" } else { "NOT " };
        self.conditions.push(format!("{not}{name} = {yes}"));
        self
    }

    /// The attribute is as `seen`, a value of a record's JSON; null is an absent attribute too.
    fn when_is(&mut self, attribute: &str, seen: &Value) -> &mut Self {
        let name = self.name(attribute);
        let condition = match serde_dynamo::to_attribute_value(seen) {
            Ok(value) if !seen.is_null() => format!("{name} = {}", self.value(value)),
            _ => {
                let null = self.value(AttributeValue::S("NULL".to_owned()));
                format!("(attribute_not_exists({name}) OR attribute_type({name}, {null}))")
            }
        };
        self.conditions.push(condition);
        self
    }

    /// Nothing says that the task must wait. The text compares as time does, since whoever sends the command
    /// writes it in that form.
    fn when_due(&mut self, now: At) -> &mut Self {
        let (name, now) = (self.name("notBefore"), self.value(AttributeValue::S(now.to_string())));
        let null = self.value(AttributeValue::S("NULL".to_owned()));
        self.conditions.push(format!(
            "(attribute_not_exists({name}) OR attribute_type({name}, {null}) OR {name} <= {now})"
        ));
        self
    }

    fn when_exists(&mut self, key: &str) -> &mut Self {
        let name = self.name(key);
        self.conditions.push(format!("attribute_exists({name})"));
        self
    }

    /// The update expression.
    pub fn update(&self) -> String {
        let clauses =
            [("SET", &self.sets), ("REMOVE", &self.removes), ("ADD", &self.adds), ("DELETE", &self.deletes)];
        let written = clauses.into_iter().filter(|(_, parts)| !parts.is_empty());
        written.map(|(clause, parts)| format!("{clause} {}", parts.join(", "))).collect::<Vec<_>>().join(" ")
    }

    /// The condition expression.
    pub fn condition(&self) -> String {
        self.conditions.join(" AND ")
    }
}

/// A string attribute, from the few types that are written as one.
struct AttributeText(AttributeValue);

impl From<&str> for AttributeText {
    fn from(text: &str) -> Self {
        Self(AttributeValue::S(text.to_owned()))
    }
}
impl From<At> for AttributeText {
    fn from(at: At) -> Self {
        Self(AttributeValue::S(at.to_string()))
    }
}
impl From<u32> for AttributeText {
    fn from(n: u32) -> Self {
        Self(number(n))
    }
}

pub(super) fn number(n: impl ToString) -> AttributeValue {
    AttributeValue::N(n.to_string())
}

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
    let (name, value) = (update.name("attempt"), update.value(number(stage.attempt.0)));
    update.conditions.push(format!("attribute_not_exists({name}) OR {name} <= {value}"));
    update
}

#[cfg(test)]
mod tests;
