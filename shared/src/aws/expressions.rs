//! Every DynamoDB expression of the project. Conditions come from [`Status::sources`]; names and values
//! are always placeholders, so nothing of a record is ever part of an expression's text.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use serde::Serialize;

use crate::protocol::outcome::Decision;
use crate::task::{
    Artifact, Attempt, DispatchStatus, ErrorDetails, ErrorKind, Event, HISTORY_ITEMS, HistoryEntry, Stage,
    Status, StatusReason, Task, WorkerId,
};
use crate::{At, Rejection};

/// An update with its condition, ready for `UpdateItem`.
#[derive(Clone, Debug, Default)]
pub(super) struct Update {
    sets: Vec<String>,
    removes: Vec<String>,
    conditions: Vec<String>,
    /// Placeholder → attribute name.
    pub names: HashMap<String, String>,
    /// Placeholder → value.
    pub values: HashMap<String, AttributeValue>,
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
        self.sets.push(format!("{name} = list_append(if_not_exists({name}, {empty}), {entry})"));
        self
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
        let sources: Vec<_> = Status::sources(event)
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

    fn when_exists(&mut self, key: &str) -> &mut Self {
        let name = self.name(key);
        self.conditions.push(format!("attribute_exists({name})"));
        self
    }

    /// The update expression.
    pub fn update(&self) -> String {
        let mut text = format!("SET {}", self.sets.join(", "));
        if !self.removes.is_empty() {
            text.push_str(" REMOVE ");
            text.push_str(&self.removes.join(", "));
        }
        text
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

/// Who writes, in the history.
pub(super) const DISPATCHER: &str = "dispatcher";

fn entry(at: At, status: Status, by: &str, reason: Option<&str>) -> HistoryEntry {
    HistoryEntry { at, status, by: by.to_owned(), reason: reason.map(str::to_owned) }
}

/// The state that `event` leads to from any state that allows it.
fn target_of(event: Event) -> Status {
    // Every event leads to one state, whatever it starts from (a test holds this).
    Status::ALL.into_iter().find_map(|status| status.next(event).ok()).unwrap_or_default()
}

/// The command of this attempt is on a queue. Fills what a minimal record lacks.
pub(super) fn mark_queued(task: &Task, now: At) -> Update {
    let mut update = Update::default();
    update
        .set("status", Status::Queued.as_str())
        .set("dispatchStatus", DispatchStatus::Dispatched.as_str())
        .set("queuedAt", now)
        .set("updatedAt", now)
        .push_history_of(task, entry(now, Status::Queued, DISPATCHER, None));
    if task.account_id.is_none() {
        update.set("accountId", "default");
    }
    if task.created_at.is_none() {
        update.set("createdAt", now);
    }
    update.when_exists("id").when_attempt_is(task.attempt).when_status_allows(Event::Sent);
    update
}

/// The record cannot be run. Overwrites whole attributes only, since any of them may be malformed.
pub(super) fn reject(rejection: &Rejection, now: At) -> Update {
    let reason = StatusReason::new(rejection.code, rejection.message.clone());
    let error = ErrorDetails {
        code: reason.code.clone(),
        kind: ErrorKind::Fatal,
        exit_code: None,
        signal: None,
        fingerprint: None,
    };
    let mut update = Update::default();
    update
        .set("status", Status::Failed.as_str())
        .set("dispatchStatus", DispatchStatus::Error.as_str())
        .set_json("statusReason", &reason)
        .set("errorMessage", rejection.message.as_str())
        .set_json("errorDetails", &error)
        .set("completedAt", now)
        .set("updatedAt", now)
        .set_json("history", &[entry(now, Status::Failed, DISPATCHER, Some(rejection.code.as_str()))])
        // So that the index lists it; an index key of another type cannot have been written.
        .set_if_absent("accountId", "default")
        .set_if_absent("createdAt", now)
        .when_exists("id");
    // Not "in one of the states that allow it": a status of another type or name is one of the faults
    // that a record is rejected for.
    let name = update.name("status");
    let others: Vec<_> = Status::ALL
        .into_iter()
        .filter(|status| status.next(Event::Rejected).is_err())
        .map(|status| update.value(AttributeValue::S(status.as_str().to_owned())))
        .collect();
    update.conditions.push(format!("NOT {name} IN ({})", others.join(", ")));
    update
}

/// What an attempt writes when it ends.
const ATTEMPT_LEAVES: [&str; 8] = [
    "completedAt",
    "result",
    "statusReason",
    "errorMessage",
    "errorDetails",
    "stdout",
    "stderr",
    "artifacts",
];

/// An ended task is to run again: what the last run left is removed.
pub(super) fn run_again(attempt: Attempt, now: At) -> Update {
    let next = target_of(Event::RunAgain);
    let mut update = Update::default();
    update
        .set("status", next.as_str())
        .set("updatedAt", now)
        .push_history(&[], entry(now, next, DISPATCHER, None));
    let of_the_run = ["startedAt", "workerNodeId", "cancelRequested", "failures", "interruptions"];
    for attribute in ATTEMPT_LEAVES.into_iter().chain(of_the_run) {
        update.remove(attribute);
    }
    let name = update.name("dispatchStatus");
    let pending = update.value(AttributeValue::S(DispatchStatus::Pending.as_str().to_owned()));
    update.conditions.push(format!("{name} = {pending}"));
    update.when_exists("id").when_attempt_is(attempt).when_status_allows(Event::RunAgain);
    update
}

/// A worker takes the task: the attempt goes up by one, which fences whoever held it before.
pub(super) fn claim(attempt: Attempt, worker: &WorkerId, now: At) -> Update {
    let mut update = claim_without_history(attempt, worker, now);
    // How long the history is, the claim cannot know: the writes before and after it trim.
    update.push_history(&[], entry(now, target_of(Event::Claimed), worker.as_str(), None));
    update
}

/// The claim of a record whose `history` is no list, so that nothing can be appended to it.
pub(super) fn claim_with_new_history(attempt: Attempt, worker: &WorkerId, now: At) -> Update {
    let mut update = claim_without_history(attempt, worker, now);
    update.set_json("history", &[entry(now, target_of(Event::Claimed), worker.as_str(), None)]);
    update
}

fn claim_without_history(attempt: Attempt, worker: &WorkerId, now: At) -> Update {
    let next = target_of(Event::Claimed);
    let mut update = Update::default();
    update
        .set("status", next.as_str())
        .set("attempt", attempt.next().0)
        .set("workerNodeId", worker.as_str())
        .set("dispatchStatus", DispatchStatus::Dispatched.as_str())
        .set("startedAt", now)
        .set("updatedAt", now)
        .set_if_absent("accountId", "default")
        .set_if_absent("createdAt", now)
        .when_exists("id")
        .when_attempt_is(attempt)
        .when_status_allows(Event::Claimed);
    // What an interrupted attempt left is not this one's.
    for attribute in ATTEMPT_LEAVES {
        update.remove(attribute);
    }
    let (name, yes) = (update.name("cancelRequested"), update.value(AttributeValue::Bool(true)));
    update.conditions.push(format!("NOT {name} = {yes}"));
    update
}

/// What an attempt leaves on the record beside its decision.
#[derive(Clone, Debug, Default)]
pub struct Leavings {
    /// The end of the standard output.
    pub stdout: String,
    /// The end of the standard error.
    pub stderr: String,
    /// Its files.
    pub artifacts: Vec<Artifact>,
}

/// The end of an attempt. `task` is the record as the claim returned it.
pub(super) fn end_attempt(
    task: &Task,
    worker: &WorkerId,
    decision: &Decision,
    left: &Leavings,
    now: At,
) -> Update {
    let next = target_of(decision.event);
    let reason = decision.reason.as_ref();
    let mut update = Update::default();
    update.set("status", next.as_str()).set("updatedAt", now).push_history(
        task.history.as_deref().unwrap_or_default(),
        entry(now, next, worker.as_str(), reason.map(|r| r.code.as_str())),
    );
    if let Some(at) = decision.completed_at {
        update.set("completedAt", at);
    }
    if let Some(result) = &decision.result {
        update.set_json("result", result);
    }
    if let Some(reason) = reason {
        update.set_json("statusReason", reason);
    }
    if let Some(error) = &decision.error {
        update.set_json("errorDetails", error);
        update.set("errorMessage", reason.map_or("", |r| r.message.as_str()));
    }
    if let Some(failures) = decision.failures {
        update.set("failures", failures);
    }
    if let Some(interruptions) = decision.interruptions {
        update.set("interruptions", interruptions);
    }
    for (attribute, text) in [("stdout", &left.stdout), ("stderr", &left.stderr)] {
        if !text.is_empty() {
            update.set(attribute, text.as_str());
        }
    }
    if !left.artifacts.is_empty() {
        update.set_json("artifacts", &left.artifacts);
    }
    if next == Status::Pending {
        update.set("dispatchStatus", DispatchStatus::Pending.as_str()).remove("workerNodeId");
    }
    let (name, value) = (update.name("workerNodeId"), update.value(AttributeValue::S(worker.to_string())));
    update.conditions.push(format!("{name} = {value}"));
    update.when_attempt_is(task.attempt).when_status_allows(decision.event);
    update
}

/// The condition of a stage's put: never over a later attempt's item.
pub(super) fn stage_is_not_newer(stage: &Stage) -> Update {
    let mut update = Update::default();
    let (name, value) = (update.name("attempt"), update.value(number(stage.attempt.0)));
    update.conditions.push(format!("attribute_not_exists({name}) OR {name} <= {value}"));
    update
}

#[cfg(test)]
#[path = "expressions_tests.rs"]
mod tests;
