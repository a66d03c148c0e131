//! One attempt of one task.

use std::fmt;
use std::str::FromStr;

use super::{Attempt, TaskId};

/// One attempt of one task, written `ID#ATTEMPT`; ids have no `#`. What a registry lists: the attempt, not
/// the task, since an entry that is out of date must not speak for a later attempt.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptRef {
    /// The task.
    pub id: TaskId,
    /// The attempt, from 1.
    pub attempt: Attempt,
}

/// A text that names no attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an attempt such as \"my-task#2\"")]
pub struct NoAttemptRef;

impl fmt::Display for AttemptRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.id, self.attempt)
    }
}

impl FromStr for AttemptRef {
    type Err = NoAttemptRef;
    fn from_str(text: &str) -> Result<Self, NoAttemptRef> {
        let (id, attempt) = text.split_once('#').ok_or(NoAttemptRef)?;
        let id = id.parse().map_err(|_| NoAttemptRef)?;
        Ok(Self { id, attempt: Attempt(attempt.parse().map_err(|_| NoAttemptRef)?) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again_and_nothing_else() {
        for text in ["t#1", "a.b_c-d:e#4294967295"] {
            assert_eq!(text.parse::<AttemptRef>().unwrap().to_string(), text);
        }
        for text in ["", "t", "t#", "#1", "t#-1", "t#1#1", "t#4294967296", "a b#1"] {
            assert_eq!(text.parse::<AttemptRef>(), Err(NoAttemptRef), "{text}");
        }
    }
}
