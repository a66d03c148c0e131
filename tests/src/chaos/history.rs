//! The rules that every change of a record keeps, whoever makes it. Pure.

use std::collections::HashMap;

use serde_dynamo::{AttributeValue, Item};
use stageline::Code;
use stageline::task::{Event, Status};

/// What an ended task's record may still get: what a client asked too late.
const MARKERS: [&str; 3] = ["cancelRequested", "pauseRequested", "updatedAt"];

/// Why an attempt is ended by others than its holder: there is no other reason.
const LOST: Code = Code::WorkerLost;

/// A record at one moment, as far as the rules look at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its state.
    pub status: Status,
    /// How often it was claimed.
    pub attempt: u64,
    /// Who holds it, or held it last.
    pub worker: Option<String>,
    /// Who wrote the last entry of its history.
    pub by: Option<String>,
    /// Why, as that entry says.
    pub reason: Option<String>,
}

/// A record that no rule can be applied to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable(pub String);

impl Seen {
    /// Reads an image of the stream.
    ///
    /// # Errors
    /// It holds what no record holds.
    pub fn of(image: &Item) -> Result<Self, Unreadable> {
        let text = |value: Option<&AttributeValue>| match value {
            Some(AttributeValue::S(text)) => Some(text.clone()),
            _ => None,
        };
        let status = text(image.get("status")).unwrap_or_else(|| Status::default().as_str().to_owned());
        let status = Status::ALL.into_iter().find(|known| known.as_str() == status);
        let attempt = match image.get("attempt") {
            None => Some(0),
            Some(AttributeValue::N(number)) => number.parse().ok(),
            Some(_) => None,
        };
        let (by, reason) = match image.get("history") {
            Some(AttributeValue::L(entries)) => match entries.last() {
                Some(AttributeValue::M(entry)) => (text(entry.get("by")), text(entry.get("reason"))),
                _ => (None, None),
            },
            _ => (None, None),
        };
        match (status, attempt) {
            (Some(status), Some(attempt)) => {
                Ok(Self { status, attempt, worker: text(image.get("workerNodeId")), by, reason })
            }
            _ => Err(Unreadable(format!("{:?} {:?}", image.get("status"), image.get("attempt")))),
        }
    }

    /// Who holds the task, if anybody does.
    pub fn holder(&self) -> Option<&str> {
        match self.status {
            Status::Preparing | Status::Running | Status::Paused => self.worker.as_deref(),
            _ => None,
        }
    }
}

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let none = || "nobody".to_owned();
        let (worker, by) = (self.worker.clone().unwrap_or_else(none), self.by.clone().unwrap_or_else(none));
        write!(f, "{} attempt {} under {worker} by {by}", self.status, self.attempt)?;
        self.reason.iter().try_for_each(|reason| write!(f, ", {reason}"))
    }
}

/// Who took a held task away, from whom; `None` when nobody did, or its holder gave it up by itself.
pub fn taken<'a>(before: &'a Seen, after: &'a Seen) -> Option<(&'a str, &'a str)> {
    let holder = before.holder()?;
    let by = after.by.as_deref()?;
    let over = after.holder().is_none() && after.attempt == before.attempt;
    (over && by != holder).then_some((holder, by))
}

/// What a change breaks; nothing when it is as it should be.
pub fn broken(before: &Seen, after: &Seen) -> Option<&'static str> {
    let moved = before.status != after.status;
    let legal = Event::ALL
        .iter()
        .any(|event| event.sources().contains(&before.status) && event.target() == after.status);
    let claimed = after.status == Status::Running && before.status != Status::Paused && moved;
    let attempt = if claimed { before.attempt + 1 } else { before.attempt };
    if moved && !legal {
        Some("no event leads from that state to this one")
    } else if after.attempt < before.attempt {
        Some("the attempt went down")
    } else if after.attempt != attempt {
        Some("the attempt goes up by one with a claim, and with nothing else")
    } else if before.holder().is_some() && after.holder().is_some() && before.holder() != after.holder() {
        Some("the holder changed without a claim")
    } else if after.status == Status::Completed
        && moved
        && (after.by != before.worker || after.worker != before.worker)
    {
        Some("it was completed by somebody who did not hold it")
    } else if taken(before, after).is_some() && after.reason.as_deref() != Some(LOST.as_str()) {
        Some("its attempt was ended by somebody who did not hold it")
    } else {
        None
    }
}

/// The attribute of an ended task's record that changed and may not have.
pub fn changed_after_the_end(before: &Item, after: &Item) -> Option<String> {
    let before: &HashMap<String, AttributeValue> = before;
    let names = before.keys().chain(after.keys());
    names
        .filter(|name| !MARKERS.contains(&name.as_str()))
        .find(|name| before.get(*name) != after.get(*name))
        .cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(status: Status, attempt: u64, worker: &str, by: &str) -> Seen {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Seen { status, attempt, worker: some(worker), by: some(by), reason: None }
    }

    fn because(reason: Code, seen: Seen) -> Seen {
        Seen { reason: Some(reason.as_str().to_owned()), ..seen }
    }

    #[test]
    fn the_ordinary_life_of_a_task_breaks_nothing() {
        use Status::{Completed, Paused, Pending, Queued, Retrying, Running};
        let life = [
            seen(Pending, 0, "", ""),
            seen(Queued, 0, "", "dispatcher"),
            seen(Running, 1, "a", "a"),
            seen(Paused, 1, "a", "a"),
            seen(Running, 1, "a", "a"),
            because(Code::WorkerLost, seen(Pending, 1, "", "sweeper")),
            seen(Running, 2, "b", "b"),
            seen(Retrying, 2, "", "b"),
            seen(Queued, 2, "", "dispatcher"),
            seen(Queued, 2, "", "sweeper"),
            seen(Running, 3, "a", "a"),
            seen(Completed, 3, "a", "a"),
        ];
        for pair in life.windows(2) {
            assert_eq!(broken(&pair[0], &pair[1]), None, "{} -> {}", pair[0], pair[1]);
        }
        let taken: Vec<_> = life.windows(2).filter_map(|pair| taken(&pair[0], &pair[1])).collect();
        assert_eq!(taken, [("a", "sweeper")]);
    }

    #[test]
    fn what_fencing_prevents_is_seen() {
        use Status::{Completed, Failed, Pending, Retrying, Running};
        for (before, after) in [
            // A zombie's end, by its own name or under the new holder's.
            (seen(Running, 2, "b", "b"), seen(Completed, 2, "b", "a")),
            (seen(Running, 2, "b", "b"), seen(Completed, 1, "a", "a")),
            // Another end of its own attempt, which hits the new holder's.
            (seen(Running, 2, "b", "b"), seen(Pending, 2, "", "a")),
            (seen(Running, 2, "b", "b"), because(Code::Interrupted, seen(Pending, 2, "", "a"))),
            (seen(Running, 2, "b", "b"), because(Code::WorkerFault, seen(Retrying, 2, "", "a"))),
            (seen(Running, 2, "b", "b"), because(Code::WorkerFault, seen(Failed, 2, "b", "a"))),
            (seen(Pending, 1, "", "sweeper"), seen(Completed, 1, "a", "a")),
            (seen(Completed, 1, "a", "a"), seen(Running, 2, "b", "b")),
            (seen(Running, 1, "a", "a"), seen(Running, 1, "b", "b")),
            (seen(Pending, 1, "", ""), seen(Running, 1, "b", "b")),
            (seen(Pending, 1, "", ""), seen(Running, 3, "b", "b")),
            (seen(Pending, 1, "", ""), seen(Pending, 0, "", "")),
        ] {
            assert!(broken(&before, &after).is_some(), "{before} -> {after}");
        }
    }
}
