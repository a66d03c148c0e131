//! A result on its way to the record: itself, or where it is if it is too large for it.

use serde_json::{Value, json};
use stageline::Code;
use stageline::protocol::outcome::{Failure, Outcome};
use stageline::task::{ErrorKind, LARGEST_INLINE_BYTES, Reference, Task, without_the_key};
use tokio::time::Instant;
use tracing::warn;

use super::keep::{FIRST_PAUSE, LONGEST_PAUSE};
use super::upload::Stored;
use super::{Store, StoreError, task_part};
use crate::context::Context;

/// A result, and its JSON if that is too large.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Large {
    value: Value,
    json: Option<Vec<u8>>,
}

impl Large {
    /// Of what an engine has given.
    pub fn of(result: Value) -> Self {
        let value = without_the_key(result);
        // A JSON value always has a JSON text.
        let json = serde_json::to_vec(&value).unwrap_or_default();
        Self { value, json: (json.len() > LARGEST_INLINE_BYTES).then_some(json) }
    }

    /// Stores what is too large, as the attempt's own; tried again until `until`.
    pub async fn store(&mut self, task: &Task, context: &Context, until: Instant) -> Result<(), Failure> {
        let Some(json) = self.json.take() else { return Ok(()) };
        self.value = match &context.artifacts {
            Some(store) => stored(store, task, &json, until).await.map_err(|error| {
                let message = format!("its result of {} bytes could not be stored: {error}", json.len());
                Failure { kind: ErrorKind::Retryable, ..Failure::fatal(Code::ArtifactNotStored, message) }
            })?,
            None => not_taken(json.len()),
        };
        Ok(())
    }

    /// Whether there is something to store.
    pub fn is_too_large(&self) -> bool {
        self.json.is_some()
    }

    /// What the attempt came to with it. Without a result that should have been stored, it has to run again.
    pub fn outcome(self) -> Outcome {
        match self.json {
            None => Outcome::Succeeded { result: self.value },
            Some(_) => Outcome::Interrupted,
        }
    }
}

async fn stored(store: &Store, task: &Task, json: &[u8], until: Instant) -> Result<Value, StoreError> {
    // Not among the attempt's files, which may be called anything.
    let key = store.key(&format!("{}/result/{}.json", task_part(&task.id), task.attempt))?;
    let mut pause = FIRST_PAUSE;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let error = match tokio::time::timeout(left, store.put_value(json.to_vec(), &key)).await {
            Ok(Ok(Stored { bytes, sha256 })) => {
                let reference = Reference { uri: store.uri(&key), size_bytes: bytes, sha256 };
                return Ok(Value::Object(reference.to_map()));
            }
            Ok(Err(error)) => error,
            Err(_elapsed) => return Err(StoreError::Silent(left.as_secs())),
        };
        if Instant::now() + pause >= until {
            return Err(error);
        }
        warn!(%error, "result not stored, trying again");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// What stands for a result that has no place.
fn not_taken(bytes: usize) -> Value {
    let note = format!(
        "the result was not taken: it has {bytes} bytes, more than the {LARGEST_INLINE_BYTES} of a record, and its \
         worker has no artifact store (`artifacts_url`); write it into a file and name the file in `outputs`"
    );
    json!({ "exitCode": 0, "note": note })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_too_large_leaves_the_record() {
        // With the quotes of its text.
        let text = |bytes: usize| Value::String("x".repeat(bytes - 2));
        assert!(!Large::of(text(LARGEST_INLINE_BYTES)).is_too_large());
        let large = Large::of(text(LARGEST_INLINE_BYTES + 1));
        assert!(large.is_too_large());
        assert_eq!(large.outcome(), Outcome::Interrupted, "it is not on the record, and nowhere else");
        let forged = json!({"$artifact": {"uri": "file:///x", "sizeBytes": 1, "sha256": "0".repeat(64)}});
        assert_eq!(Reference::of_value(&Large::of(forged).value), None);
        assert!(not_taken(200_000)["note"].as_str().unwrap().contains("200000 bytes"));
    }
}
