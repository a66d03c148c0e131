//! The structured attributes of a Task record.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{ErrorKind, Status, TaskId};
use crate::{At, Code};

/// How many transitions `history` keeps; the oldest go first.
pub const HISTORY_ITEMS: usize = 50;

/// The longest message of a history entry, in bytes: a failure of each of many attempts fits the record.
pub const HISTORY_MESSAGE_BYTES: usize = 200;

/// How a failed task is tried again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RetryPolicy {
    /// How the delay grows.
    pub strategy: RetryStrategy,
    /// Attempts after the first.
    pub max_retries: u32,
    /// The first delay, in seconds.
    pub delay_seconds: u32,
    /// The longest delay, in seconds; a day when absent.
    pub max_delay_seconds: Option<u32>,
    /// Whether the delay is drawn evenly from zero to the computed one, so that tasks that failed together do
    /// not come back together. Absent: yes for the two growing strategies, no for a fixed delay.
    pub jitter: Option<bool>,
    /// The classes of failure that are tried again; when absent, `retryable` and `out_of_memory`.
    pub retry_on: Option<Vec<ErrorKind>>,
    /// Interruptions (a stopped or lost worker) before the task is failed; 20 when absent. They are no
    /// failures and use up no retry.
    pub max_interruptions: Option<u32>,
}

/// How the delay before the next attempt grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RetryStrategy {
    /// Never again.
    #[default]
    None,
    /// At once.
    Immediate,
    /// After the same delay each time.
    FixedDelay,
    /// The delay doubles each time.
    ExponentialBackoff,
    /// The delay grows as the Fibonacci numbers do.
    FibonacciBackoff,
}

/// What becomes of a task when one that it depends on does not complete.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DependencyFailure {
    /// It is cancelled.
    #[default]
    Cancel,
    /// It runs all the same.
    Run,
}

/// A file the task needs in its job folder: a bare path, or where it is and what it is called.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Input {
    /// A path below the worker's inputs folder, kept under the same name.
    Path(String),
    /// A source with its name in the job folder and its hash.
    Described {
        /// A path below the inputs folder, or an `s3://` or `file://` address.
        source: String,
        /// The name in the job folder; the source's last part when absent.
        #[serde(skip_serializing_if = "Option::is_none")]
        path: Option<String>,
        /// SHA-256 of the content, in hexadecimal.
        #[serde(skip_serializing_if = "Option::is_none")]
        sha256: Option<String>,
    },
}

impl Input {
    /// Where the input comes from.
    pub fn source(&self) -> &str {
        match self {
            Input::Path(source) | Input::Described { source, .. } => source,
        }
    }

    /// What the SHA-256 of its content has to be.
    pub fn sha256(&self) -> Option<&str> {
        match self {
            Input::Described { sha256, .. } => sha256.as_deref(),
            Input::Path(_) => None,
        }
    }

    /// What it is called in the job folder, relative to it.
    pub fn path(&self) -> &str {
        match self {
            Input::Path(path) | Input::Described { path: Some(path), .. } => path,
            Input::Described { source, path: None, .. } => source.rsplit('/').next().unwrap_or(source),
        }
    }
}

/// A file the task left behind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Artifact {
    /// What it is called.
    pub name: String,
    /// Where it is (`file://` or `s3://`).
    pub uri: String,
    /// Its size, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
    /// SHA-256 of its content, in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// Why the task is in its state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusReason {
    /// A stable code (see `docs/errors.md`). A string here, so that an older reader keeps newer codes.
    pub code: String,
    /// A sentence for a person.
    pub message: String,
}

impl StatusReason {
    /// A reason with one of this version's codes.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code: code.as_str().to_owned(), message: message.into() }
    }
}

/// One transition of the task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// When.
    pub at: At,
    /// The state it moved to.
    pub status: Status,
    /// Who moved it: `dispatcher`, or a worker's id.
    pub by: String,
    /// A code or a short phrase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The beginning of what went wrong, at most [`HISTORY_MESSAGE_BYTES`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// An attribute that is `null` counts as absent: AppSync writes nulls for fields that were not given.
pub(super) fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// A map, or a string that holds the JSON of one (AppSync's `AWSJSON`).
pub(super) fn map_or_json<'de, D>(deserializer: D) -> Result<Option<serde_json::Map<String, Value>>, D::Error>
where
    D: serde::Deserializer<'de>,
{
    use serde::de::Error;
    match Option::<Value>::deserialize(deserializer)? {
        None => Ok(None),
        Some(Value::Object(map)) => Ok(Some(map)),
        Some(Value::String(text)) => serde_json::from_str(&text)
            .map(Some)
            .map_err(|error| D::Error::custom(format_args!("the string is not the JSON of a map: {error}"))),
        Some(other) => Err(D::Error::custom(format_args!(
            "expected a map or a string with the JSON of a map, found {}",
            kind_of(&other)
        ))),
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}

/// The ids of a list, without repeats, in order.
pub(super) fn distinct(ids: &mut Vec<TaskId>) {
    let mut seen = std::collections::HashSet::new();
    ids.retain(|id| seen.insert(id.clone()));
}
