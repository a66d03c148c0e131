//! The command on SQS: small, and nothing secret in it. The claim's own answer brings the task.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::At;
use crate::task::{Attempt, TaskId};

/// "Claim this task, if it is still at this attempt."
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Command {
    /// Version of this format.
    pub v: u32,
    /// The task.
    pub task_id: TaskId,
    /// The attempt the task had when the command was sent.
    pub attempt: Attempt,
    /// W3C trace context.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// Of a record without a history: how that begins, with the sender's mark or with the claim. What cannot be
    /// read of it is as good as absent: the claim is then two writes where it comes before the mark.
    #[serde(default, deserialize_with = "readable", skip_serializing_if = "Option::is_none")]
    pub queued: Option<Queued>,
}

/// The entry QUEUED of a history, which the sender of a command writes once that is sent. A claim may come before it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queued {
    /// When; `queuedAt` of the record as well.
    pub at: At,
    /// Who, in at most 64 bytes.
    pub by: String,
}

/// Longer than what any sender is called.
const MOST_BY_BYTES: usize = 64;

fn readable<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Queued>, D::Error> {
    let queued = serde_json::from_value(Value::deserialize(deserializer)?).ok();
    Ok(queued.filter(|queued: &Queued| queued.by.len() <= MOST_BY_BYTES))
}

/// A message that is not a command of this version.
#[derive(Debug, thiserror::Error)]
pub enum UnreadableCommand {
    /// Not the JSON of a command.
    #[error("not a command: {0}")]
    Malformed(#[from] serde_json::Error),
    /// From a later version.
    #[error("a command of version {0}, newer than this worker; update the worker")]
    Newer(u32),
}

impl Command {
    /// The version this code writes, and the newest it reads.
    pub const VERSION: u32 = 1;

    /// The command for a task at an attempt.
    pub fn new(task_id: TaskId, attempt: Attempt) -> Self {
        Self { v: Self::VERSION, task_id, attempt, traceparent: None, queued: None }
    }

    /// The message body.
    pub fn to_body(&self) -> String {
        let mut body = format!(r#"{{"v":{},"taskId":"{}","attempt":{}"#, self.v, self.task_id, self.attempt);
        if let Some(traceparent) = &self.traceparent {
            // Only hexadecimal digits and dashes are valid in a trace context; others are dropped.
            body.push_str(r#","traceparent":""#);
            body.extend(traceparent.chars().filter(|c| c.is_ascii_hexdigit() || *c == '-'));
            body.push('"');
        }
        // A time and a text always have a JSON form.
        if let Some(queued) = self.queued.as_ref().and_then(|queued| serde_json::to_string(queued).ok()) {
            body.push_str(r#","queued":"#);
            body.push_str(&queued);
        }
        body.push('}');
        body
    }

    /// Reads a message body.
    ///
    /// # Errors
    /// When it is not a command, or one of a later version.
    pub fn from_body(body: &str) -> Result<Self, UnreadableCommand> {
        let command: Self = serde_json::from_str(body)?;
        if command.v > Self::VERSION { Err(UnreadableCommand::Newer(command.v)) } else { Ok(command) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_survives_the_queue() {
        let mut command = Command::new("t:1".parse().unwrap(), Attempt(3));
        assert_eq!(Command::from_body(&command.to_body()).unwrap(), command);
        command.traceparent = Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into());
        assert_eq!(Command::from_body(&command.to_body()).unwrap(), command);
        command.queued = Some(Queued { at: At::from_millis(1_234), by: "a \"dispatcher\"".into() });
        assert_eq!(Command::from_body(&command.to_body()).unwrap(), command);
    }

    #[test]
    fn what_is_not_understood_of_the_mark_is_no_fault_of_the_command() {
        let by = "x".repeat(MOST_BY_BYTES + 1);
        let long = format!(r#"{{"at":"2026-01-01T00:00:00.000Z","by":"{by}"}}"#);
        for queued in ["null", "7", "{}", r#"{"at":"yesterday","by":"d"}"#, &long] {
            let body = format!(r#"{{"v":1,"taskId":"t","attempt":0,"queued":{queued}}}"#);
            assert_eq!(
                Command::from_body(&body).unwrap(),
                Command::new("t".parse().unwrap(), Attempt(0)),
                "{body}"
            );
        }
    }

    #[test]
    fn what_is_no_command_is_said_to_be_none() {
        for body in ["", "{}", "[]", r#"{"v":1,"taskId":"../x","attempt":0}"#] {
            assert!(matches!(Command::from_body(body), Err(UnreadableCommand::Malformed(_))), "{body}");
        }
        let newer = r#"{"v":2,"taskId":"t","attempt":0,"more":1}"#;
        assert!(matches!(Command::from_body(newer), Err(UnreadableCommand::Newer(2))));
    }
}
