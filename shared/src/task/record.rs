//! The Task record: every attribute of the `tasks` table.
//!
//! What the system does not know is kept in [`Task::other`] and never written back, so a dashboard's own
//! attributes stay as they are. A `null` counts as an absent attribute.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_dynamodb::types::AttributeValue;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::fields::{distinct, map_or_json, null_is_default};
use super::{
    Artifact, Attempt, AttemptRef, DependencyFailure, DispatchStatus, ErrorDetails, HistoryEntry, Input,
    Priority, Resources, RetryPolicy, Status, StatusReason, Target, TaskId, WorkerId,
};
use crate::{At, Code, Rejection};

/// A DynamoDB item as the SDK holds it.
pub type Item = HashMap<String, AttributeValue>;

/// The JSON of an item or an image. Attributes without a JSON form, which are those with binary values
/// anywhere in them, are left out: no attribute of ours is binary, and one of somebody else's must not make the
/// record unreadable.
pub fn json_of<V: Into<serde_dynamo::AttributeValue>>(item: impl IntoIterator<Item = (String, V)>) -> Value {
    let json = |(name, value)| Some((name, serde_dynamo::from_attribute_value(value).ok()?));
    Value::Object(item.into_iter().filter_map(json).collect())
}

macro_rules! task_record {
    ($($(#[$meta:meta])* $name:ident: Option<$type:ty>,)+) => {
        /// One Task record. The groups: what was asked for, then what the system writes.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase")]
        pub struct Task {
            /// The key.
            pub id: TaskId,
            /// Where the task is; absent means PENDING.
            #[serde(default, deserialize_with = "null_is_default")]
            pub status: Status,
            /// How many times it was claimed; absent means never.
            #[serde(default, deserialize_with = "null_is_default")]
            pub attempt: Attempt,
            /// Where it wants to run.
            #[serde(default, deserialize_with = "null_is_default")]
            pub target: Target,
            /// How urgent it is.
            #[serde(default, deserialize_with = "null_is_default")]
            pub priority: Priority,
            $(
                $(#[$meta])*
                #[serde(default, skip_serializing_if = "Option::is_none")]
                pub $name: Option<$type>,
            )+
            /// Attributes the system does not know.
            #[serde(flatten)]
            pub other: BTreeMap<String, Value>,
        }

        impl Task {
            /// A record with nothing but its id.
            pub fn new(id: TaskId) -> Self {
                Self {
                    id,
                    status: Status::default(),
                    attempt: Attempt::default(),
                    target: Target::default(),
                    priority: Priority::default(),
                    $($name: None,)+
                    other: BTreeMap::new(),
                }
            }
        }
    };
}

task_record! {
    /// Whose task it is.
    account_id: Option<String>,
    /// What kind of task it is, for people.
    #[serde(rename = "type")]
    kind: Option<String>,
    /// Which engine runs it; absent means `command`.
    engine: Option<String>,
    /// The command line of the `command` engine, split into words without a shell.
    command: Option<String>,
    /// The engine's input file, below the worker's inputs folder.
    script: Option<String>,
    /// The engine's parameters.
    #[serde(deserialize_with = "map_or_json")]
    params: Option<Map<String, Value>>,
    /// Further files the engine needs.
    inputs: Option<Vec<Input>>,
    /// The files that a successful attempt leaves and that are kept: paths below its job folder, in which `*`
    /// and `?` stand for parts of a name and `**` for any number of folders.
    outputs: Option<Vec<String>>,
    /// A sentence for people.
    description: Option<String>,
    /// How it is tried again.
    retry: Option<RetryPolicy>,
    /// The longest an attempt may run, in seconds. Time during which it is paused does not count.
    timeout_seconds: Option<u64>,
    /// After this many seconds the engine is asked to save its state and stop; it then has until
    /// `timeoutSeconds`.
    soft_timeout_seconds: Option<u64>,
    /// Whether it is to be stopped, and to fail, as soon as its engine's output says that the solution has
    /// diverged: not a number, a growing residual, lost atoms.
    stop_on_divergence: Option<bool>,
    /// Not to be started before.
    #[serde(alias = "scheduledTime")]
    not_before: Option<At>,
    /// Tasks that must be done before.
    depends_on: Option<Vec<TaskId>>,
    /// What becomes of it when one of those does not complete.
    on_dependency_failure: Option<DependencyFailure>,
    /// The workflow it belongs to.
    workflow_id: Option<String>,
    /// Two tasks with the same key are one.
    idempotency_key: Option<String>,
    /// Whether an earlier result of the same inputs may stand in.
    cache: Option<Value>,
    /// Tasks with the same key share a limit.
    concurrency_key: Option<String>,
    /// What it takes of its worker.
    resources: Option<Resources>,
    /// The trace that its client began (W3C), which what is done for it continues.
    traceparent: Option<String>,
    /// The client's own data: a map, or a string that may hold JSON.
    metadata: Option<Value>,
    /// What the reference dashboard shows of the dispatch.
    dispatch_status: Option<DispatchStatus>,
    /// When the record was made.
    created_at: Option<At>,
    /// When the record was last changed.
    updated_at: Option<At>,
    /// When its command went onto a queue.
    queued_at: Option<At>,
    /// When its latest attempt began.
    started_at: Option<At>,
    /// When it ended.
    completed_at: Option<At>,
    /// When it is expected to end.
    estimated_completion_at: Option<At>,
    /// Why it is in its state.
    status_reason: Option<StatusReason>,
    /// Attempts that failed.
    failures: Option<u32>,
    /// Attempts that were interrupted; they are not failures.
    interruptions: Option<u32>,
    /// The worker of its latest attempt.
    worker_node_id: Option<WorkerId>,
    /// Its last transitions, oldest first.
    history: Option<Vec<HistoryEntry>>,
    /// What the engine found.
    result: Option<Value>,
    /// What went wrong, for people.
    error_message: Option<String>,
    /// What went wrong, for programs.
    error_details: Option<ErrorDetails>,
    /// The end of the standard output.
    stdout: Option<String>,
    /// The end of the standard error.
    stderr: Option<String>,
    /// A client's own output attribute; kept.
    output: Option<Value>,
    /// The files it left.
    artifacts: Option<Vec<Artifact>>,
    /// Tasks it still waits for.
    waiting_on: Option<Vec<TaskId>>,
    /// The partition of the index of waiting tasks.
    due_key: Option<String>,
    /// Somebody asked for its end.
    cancel_requested: Option<bool>,
    /// Somebody asked to hold it.
    pause_requested: Option<bool>,
    /// Other tasks wait for it.
    has_dependents: Option<bool>,
    /// The reference dashboard's pointer to a stage; kept.
    current_stage_id: Option<String>,
    /// When DynamoDB may delete it, in seconds since 1970.
    expires_at: Option<i64>,
}

impl Task {
    /// Reads an item of the `tasks` table.
    ///
    /// # Errors
    /// [`Code::RecordMalformed`] with the attribute's name and what was expected of it.
    pub fn from_item(item: Item) -> Result<Self, Rejection> {
        Self::from_json(json_of(item))
    }

    /// Reads the record's JSON, as the API and the stream carry it.
    ///
    /// # Errors
    /// [`Code::RecordMalformed`] with the attribute's name and what was expected of it.
    pub fn from_json(mut value: Value) -> Result<Self, Rejection> {
        settle_alias(&mut value);
        let has_text = value.get("id").is_some_and(Value::is_string);
        let mut task: Task = serde_path_to_error::deserialize(value).map_err(|error| {
            let path = error.path().to_string();
            let code = match path.as_str() {
                "id" if has_text => Code::IdInvalid,
                "target" => Code::TargetInvalid,
                _ => Code::RecordMalformed,
            };
            let inner = in_plain_words(&error.inner().to_string());
            // Ids and targets bring a rejection of their own, code and all.
            let inner = inner.strip_prefix(&format!("{code}: ")).unwrap_or(&inner);
            let message = match path.as_str() {
                "." => inner.to_owned(),
                _ => format!("attribute `{path}`: {inner}"),
            };
            Rejection::new(code, message)
        })?;
        for ids in [&mut task.depends_on, &mut task.waiting_on].into_iter().flatten() {
            distinct(ids);
        }
        Ok(task)
    }

    /// Reads what can be read of an item, to show a record that is malformed: attributes that are not what
    /// they should be are left out.
    ///
    /// # Errors
    /// When not even the id can be read.
    pub fn salvaged(item: Item) -> Result<Self, Rejection> {
        let mut value = json_of(item);
        settle_alias(&mut value);
        loop {
            let Err(error) = serde_path_to_error::deserialize::<_, Task>(&value) else {
                return Self::from_json(value);
            };
            let culprit = match error.path().iter().next() {
                Some(serde_path_to_error::Segment::Map { key }) if key != "id" => key.clone(),
                _ => return Self::from_json(value),
            };
            // One attribute fewer each time, so this ends.
            if value.as_object_mut().and_then(|record| record.remove(&culprit)).is_none() {
                return Self::from_json(value);
            }
        }
    }

    /// The item to put into the `tasks` table.
    ///
    /// # Errors
    /// When a value has no DynamoDB form, such as a number beyond its range.
    pub fn to_item(&self) -> Result<Item, serde_dynamo::Error> {
        serde_dynamo::to_item(self)
    }

    /// Its latest attempt.
    pub fn attempt_ref(&self) -> AttemptRef {
        AttemptRef { id: self.id.clone(), attempt: self.attempt }
    }

    /// Whether this worker has it in hand, by the record.
    pub fn is_held_by(&self, worker: &WorkerId) -> bool {
        let held = matches!(self.status, Status::Running | Status::Preparing | Status::Paused);
        held && self.worker_node_id.as_ref() == Some(worker)
    }

    /// The engine's name.
    pub fn engine(&self) -> &str {
        self.engine.as_deref().unwrap_or("command")
    }
}

/// `scheduledTime` is another name of `notBefore`. The dispatcher writes the latter beside it; then that counts.
fn settle_alias(value: &mut Value) {
    let Some(record) = value.as_object_mut().filter(|record| record.contains_key("scheduledTime")) else {
        return;
    };
    let superseded =
        if record.get("notBefore").is_some_and(|at| !at.is_null()) { "scheduledTime" } else { "notBefore" };
    record.remove(superseded);
}

/// What serde expected, for people who write records and no Rust.
fn in_plain_words(error: &str) -> String {
    let Some((found, expected)) = error.rsplit_once(", expected ") else { return error.to_owned() };
    let expected = match expected {
        "u16" | "u32" | "u64" => "a whole number from 0 on",
        "i32" | "i64" => "a whole number",
        "f64" => "a number",
        "a sequence" => "a list",
        one if one.starts_with("struct ") => "a map",
        other => other,
    };
    format!("{found}, expected {expected}")
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
