//! What the record says about an attempt that did not succeed.

use serde::{Deserialize, Serialize};

/// The class of a failure: what a retry can hope for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// Trying again may help.
    Retryable,
    /// The task itself is wrong.
    Fatal,
    /// Its time was up.
    TimedOut,
    /// It needed more memory than there was; the same again helps only beside other neighbours.
    OutOfMemory,
    /// Its worker stopped.
    Interrupted,
    /// Its worker was never heard of again.
    Lost,
    /// A class that a newer version wrote.
    #[serde(other)]
    Other,
}

/// `errorDetails` on the record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ErrorDetails {
    /// The stable code (`docs/errors.md`).
    pub code: String,
    /// The class of the failure.
    pub kind: ErrorKind,
    /// The process's exit code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The signal that ended the process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// Equal for failures that are alike, whatever numbers and paths their texts hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
}
