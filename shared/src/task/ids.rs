//! Newtype ids. They are parsed, never assumed: an id becomes a folder name and a part of log lines.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{Code, Rejection};

/// Longest id accepted, in bytes. UUIDs have 36, ULIDs 26.
pub const LONGEST_ID_BYTES: usize = 128;

fn check(text: &str, what: &str) -> Result<(), Rejection> {
    let reject = |why: &str| {
        // What is wrong with it stands behind it, and is not to be cut off.
        let cut = text.floor_char_boundary(LONGEST_ID_BYTES);
        let more = if cut < text.len() { "…" } else { "" };
        Err(Rejection::new(Code::IdInvalid, format!("{what} {:?}{more} {why}", &text[..cut])))
    };
    if text.is_empty() {
        return reject("is empty");
    }
    if text.len() > LONGEST_ID_BYTES {
        return reject("is longer than 128 bytes");
    }
    if text.starts_with('.') {
        return reject("starts with a dot");
    }
    if !text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':')) {
        return reject("has characters other than letters, digits, '-', '_', '.' and ':'");
    }
    Ok(())
}

macro_rules! id {
    ($(#[$doc:meta])+ $name:ident, $what:literal) => {
        $(#[$doc])+
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The id's text.
            pub fn as_str(&self) -> &str { &self.0 }
        }
        impl FromStr for $name {
            type Err = Rejection;
            fn from_str(text: &str) -> Result<Self, Rejection> { Self::try_from(text.to_owned()) }
        }
        impl TryFrom<String> for $name {
            type Error = Rejection;
            fn try_from(text: String) -> Result<Self, Rejection> {
                check(&text, $what).map(|()| Self(text))
            }
        }
        impl From<$name> for String {
            fn from(id: $name) -> String { id.0 }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str(&self.0) }
        }
    };
}

id!(
    /// A task's key in the `tasks` table.
    TaskId, "the task id"
);
id!(
    /// One life of one worker: host, process and a random incarnation, so that a restarted worker is a
    /// new one and its former self can be fenced.
    WorkerId, "the worker id"
);

impl TaskId {
    /// A fresh id that sorts by time of creation (UUIDv7).
    pub fn fresh() -> Self {
        Self(uuid::Uuid::now_v7().to_string())
    }
}

impl WorkerId {
    /// A fresh incarnation of the worker on `host`; what an id may not hold is replaced by `-`.
    pub fn fresh(host: &str) -> Self {
        let host: String = host
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || c == '-' || c == '.' { c } else { '-' })
            .take(64)
            .collect();
        let host = host.trim_start_matches('.');
        let host = if host.is_empty() { "worker" } else { host };
        let incarnation = uuid::Uuid::new_v4().simple().to_string();
        Self(format!("{host}:{}:{}", std::process::id(), &incarnation[..8]))
    }
}

/// How many times the task was claimed; the fencing token of every write. Zero before the first claim.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Attempt(pub u32);

impl Attempt {
    /// The attempt that the next claim makes.
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_could_leave_a_folder_are_refused() {
        for bad in ["", ".", "..", "../x", "a/b", "a b", "ä", "a\0", &"x".repeat(129)] {
            assert_eq!(bad.parse::<TaskId>().map_err(|r| r.code), Err(Code::IdInvalid), "{bad:?}");
        }
        for good in ["t", "0191f0e2-7c1d-7e6a-9d43-000000000001", "a.b_c-d:e"] {
            assert!(good.parse::<TaskId>().is_ok(), "{good}");
        }
    }

    #[test]
    fn a_worker_id_survives_any_host_name() {
        for host in ["", "...", "ip-10-0-0-1.ec2.internal", "höst name/../x", &"h".repeat(300)] {
            let id = WorkerId::fresh(host);
            assert_eq!(id.as_str().parse::<WorkerId>().as_ref(), Ok(&id), "{host}");
        }
        assert_ne!(WorkerId::fresh("h"), WorkerId::fresh("h"));
    }
}
