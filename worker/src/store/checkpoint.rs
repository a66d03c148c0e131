//! What a checkpoint is in the store: its files, and a manifest that is written after them and names them. A set
//! without a manifest is none.
//!
//! `TASK/checkpoint/ATTEMPT/NUMBER/files/…` and `TASK/checkpoint/ATTEMPT/NUMBER/manifest.json`. Only the
//! attempt's own worker writes below its number, so that nobody ever writes over what another one reads.

use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};
use stageline::task::{Attempt, Task, relative_path};

use super::upload::hexadecimal;
use super::{Store, StoreError, task_part};

const MANIFEST: &str = "manifest.json";
/// Of another version nothing is understood, and the task starts over.
const VERSION: u32 = 1;

/// What a set consists of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Manifest {
    version: u32,
    /// Of the task as it was asked for.
    fingerprint: String,
    pub files: Vec<Part>,
}

/// A file of a set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Part {
    /// Below the job folder.
    pub path: String,
    pub bytes: u64,
    pub sha256: String,
    /// When it was last written, in milliseconds since 1970: which of several is the newest.
    pub modified: u64,
}

impl Manifest {
    /// Of `task`.
    pub fn of(task: &Task, files: Vec<Part>) -> Self {
        Self { version: VERSION, fingerprint: fingerprint(task), files }
    }

    /// Whether `task` can go on from it: it is what was asked for then, and no path leads elsewhere.
    pub fn fits(&self, task: &Task) -> bool {
        self.version == VERSION
            && self.fingerprint == fingerprint(task)
            && !self.files.is_empty()
            && self.files.iter().all(|part| relative_path("checkpoint", &part.path).is_ok())
    }
}

/// Tells apart what was asked for under one id: a record that was edited or made anew starts over.
fn fingerprint(task: &Task) -> String {
    let asked = json!([task.engine(), task.command, task.script, task.params, task.inputs, task.created_at]);
    hexadecimal(&Sha256::digest(asked.to_string()))
}

/// Where a set is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub attempt: u32,
    pub number: u32,
}

impl Place {
    /// The key of a file of the set.
    pub fn file(
        self,
        store: &Store,
        task: &Task,
        path: &str,
    ) -> Result<object_store::path::Path, StoreError> {
        store.key(&format!("{}/{}/{}/files/{path}", folder(task), self.attempt, self.number))
    }

    /// The key of the manifest.
    pub fn manifest(self, store: &Store, task: &Task) -> Result<object_store::path::Path, StoreError> {
        store.key(&format!("{}/{}/{}/{MANIFEST}", folder(task), self.attempt, self.number))
    }

    /// The place whose manifest has this key.
    pub fn of_manifest(key: &str) -> Option<Self> {
        let mut parts = key.rsplit('/');
        if parts.next()? != MANIFEST {
            return None;
        }
        let number = parts.next()?.parse().ok()?;
        Some(Self { number, attempt: parts.next()?.parse().ok()? })
    }

    /// Whether `attempt` may go on from it: what a later one saved is of another record under the same id.
    pub fn is_before(self, attempt: Attempt) -> bool {
        self.attempt < attempt.0
    }
}

/// What the keys of all checkpoints of a task begin with.
pub(super) fn folder(task: &Task) -> String {
    format!("{}/checkpoint", task_part(&task.id))
}

#[cfg(test)]
mod tests {
    use stageline::At;

    use super::*;

    fn part(path: &str) -> Part {
        Part { path: path.into(), bytes: 1, sha256: "0".into(), modified: 1 }
    }

    #[test]
    fn a_record_that_asks_for_something_else_does_not_go_on() {
        let mut task = Task::new("t".parse().unwrap());
        task.created_at = Some(At::from_millis(1));
        task.script = Some("a.py".into());
        let manifest = Manifest::of(&task, vec![part("a")]);
        assert!(manifest.fits(&task));
        let changed = |change: fn(&mut Task)| {
            let mut other = task.clone();
            change(&mut other);
            manifest.fits(&other)
        };
        assert!(changed(|t| t.timeout_seconds = Some(9)) && changed(|t| t.description = Some("x".into())));
        assert!(!changed(|t| t.script = Some("b.py".into())));
        assert!(!changed(|t| t.params = Some([("n".to_owned(), 1.into())].into_iter().collect())));
        assert!(!changed(|t| t.created_at = Some(At::from_millis(2))));
        assert!(!Manifest { version: 2, ..manifest.clone() }.fits(&task));
        assert!(!Manifest { files: vec![], ..manifest.clone() }.fits(&task));
        for path in ["../x", "/x", ""] {
            assert!(!Manifest::of(&task, vec![part("a"), part(path)]).fits(&task), "{path}");
        }
    }

    #[test]
    fn places_are_ordered_by_attempt_and_number() {
        let place = |key: &str| Place::of_manifest(key);
        assert_eq!(place("p/t/checkpoint/2/10/manifest.json"), Some(Place { attempt: 2, number: 10 }));
        assert!(place("t/checkpoint/2/10/manifest.json") > place("t/checkpoint/2/9/manifest.json"));
        assert!(place("t/checkpoint/10/1/manifest.json") > place("t/checkpoint/9/7/manifest.json"));
        assert_eq!(place("t/checkpoint/2/10/files/manifest.json"), None);
        assert_eq!(place("t/checkpoint/2/10/files/a"), None);
        assert!(Place { attempt: 2, number: 1 }.is_before(Attempt(3)));
        assert!(!Place { attempt: 3, number: 1 }.is_before(Attempt(3)));
    }
}
