//! What stands on a record for a value that is too large for it: `{"$artifact": {"uri", "sizeBytes", "sha256"}}`,
//! where the value is and what it has to be.
//!
//! The hash is never left out: a reference shows nobody a file whose content its writer did not know already.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::{Code, Rejection};

/// The one key of a reference. No engine's result has it: [`without_the_key`] sees to that.
const KEY: &str = "$artifact";
const LONGEST_URI_BYTES: usize = 1024;
/// Hexadecimal digits of a SHA-256.
const HASH_DIGITS: usize = 64;

/// A value larger than this, as JSON, is not on a record. DynamoDB's whole item may have 400 KB, and updates are
/// charged by the whole item.
pub const LARGEST_INLINE_BYTES: usize = 100 * 1024;

/// The most bytes of a value that is elsewhere, as JSON.
pub const LARGEST_REFERENCED_BYTES: u64 = 64 << 20;

/// Where a value is, and what it has to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Reference {
    /// `file://` or `s3://`.
    pub uri: String,
    /// Its size as JSON, in bytes.
    pub size_bytes: u64,
    /// SHA-256 of that JSON, in hexadecimal.
    pub sha256: String,
}

impl Reference {
    /// The reference that a map is; `None` for an ordinary one.
    ///
    /// # Errors
    /// [`Code::RecordMalformed`] when it has the key of a reference and is none. `attribute` is where it stands.
    pub fn of(attribute: &str, map: &Map<String, Value>) -> Result<Option<Self>, Rejection> {
        let Some(inner) = map.get(KEY) else { return Ok(None) };
        let malformed = |why: &str| {
            let message = format!(
                "attribute `{attribute}`: {KEY:?} {why}; a reference is {{\"$artifact\": {{\"uri\": …, \"sizeBytes\": …, \
                 \"sha256\": …}}}} and nothing else"
            );
            Rejection::new(Code::RecordMalformed, message)
        };
        if map.len() > 1 {
            return Err(malformed("has other keys beside it"));
        }
        let reference = Self::deserialize(inner).map_err(|error| malformed(&format!("is none: {error}")))?;
        let is_hash = |text: &str| text.len() == HASH_DIGITS && text.bytes().all(|b| b.is_ascii_hexdigit());
        if !is_hash(&reference.sha256) {
            return Err(malformed("has a `sha256` that is not 64 hexadecimal digits"));
        }
        if reference.uri.len() > LONGEST_URI_BYTES {
            return Err(malformed("has a `uri` of more than 1024 bytes"));
        }
        Ok(Some(reference))
    }

    /// The reference that a value is, if it is one that can be used.
    pub fn of_value(value: &Value) -> Option<Self> {
        Self::of("result", value.as_object()?).ok().flatten()
    }

    /// As it stands on a record.
    pub fn to_map(&self) -> Map<String, Value> {
        Map::from_iter([(KEY.to_owned(), json!(self))])
    }
}

/// A value that an engine gave, in which nothing can be taken for a reference: the key is called otherwise.
pub fn without_the_key(mut value: Value) -> Value {
    if let Some(map) = value.as_object_mut()
        && let Some(inner) = map.remove(KEY)
    {
        map.insert("_artifact".to_owned(), inner);
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(value: Value) -> Result<Option<Reference>, Code> {
        Reference::of("params", value.as_object().unwrap()).map_err(|rejection| rejection.code)
    }

    #[test]
    fn a_reference_is_written_and_read_and_nothing_else_is_one() {
        let reference =
            Reference { uri: "s3://b/t/params/x.json".into(), size_bytes: 7, sha256: "aB".repeat(32) };
        assert_eq!(of(Value::Object(reference.to_map())), Ok(Some(reference.clone())));
        assert_eq!(of(json!({"artifact": 1, "a": {"$artifact": 1}})), Ok(None));
        let inner = json!(reference);
        let changed = |name: &str, value: Value| {
            let mut inner = inner.clone();
            inner[name] = value;
            json!({ "$artifact": inner })
        };
        for bad in [
            json!({"$artifact": null}),
            json!({"$artifact": "s3://b/t"}),
            json!({"$artifact": {"uri": "s3://b/t", "sizeBytes": 7}}),
            json!({"$artifact": inner, "x": 1}),
            changed("sha256", json!("ab")),
            changed("sha256", json!("xy".repeat(32))),
            changed("sizeBytes", json!(-1)),
            changed("uri", json!("x".repeat(1025))),
            changed("more", json!(1)),
        ] {
            assert_eq!(of(bad.clone()), Err(Code::RecordMalformed), "{bad}");
        }
    }

    #[test]
    fn what_an_engine_gives_is_never_taken_for_a_reference() {
        let reference = Reference { uri: "file:///etc/x".into(), size_bytes: 7, sha256: "0".repeat(64) };
        let given = without_the_key(Value::Object(reference.to_map()));
        assert_eq!(Reference::of_value(&given), None);
        assert_eq!(given["_artifact"]["uri"], "file:///etc/x");
        for kept in [json!(1), json!(["$artifact"]), json!({"a": 1})] {
            assert_eq!(without_the_key(kept.clone()), kept);
        }
    }
}
