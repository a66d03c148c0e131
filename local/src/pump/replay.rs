//! What becomes of a batch after each answer of the function: the rules of an event source mapping with
//! partial batch answers, bisect and finite retries. Pure: no clock, no I/O. Called by `super::lane`.
//!
//! - A listed failure rewinds to the first record that is listed: those before it are done, it and those
//!   after it are tried again.
//! - An error, or an answer that names no record of the batch, fails the whole batch.
//! - With bisect a failed batch is split: at the record that is listed, or else in the middle. Splitting
//!   is not charged as a retry.
//! - A batch that has used its retries is given up, and the next one follows.
//!
//! Invariant: the records are resolved in their order, each exactly once, as acknowledged or as given up.

use std::collections::VecDeque;
use std::ops::Range;

/// How long a batch is insisted on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplayRules {
    /// How often a failed batch is tried again.
    pub max_retries: u32,
    /// Whether a failed batch is split in two.
    pub bisect: bool,
}

/// What the function answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It failed as a whole.
    Error,
    /// It listed the records that failed, by sequence number; none means success.
    Failures(Vec<Option<String>>),
}

/// What an answer decided about the part that was tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Done, from the front of the part; may be empty.
    pub acknowledged: Range<usize>,
    /// Given up.
    pub given_up: Option<GivenUp>,
    /// Whether the function failed, so that the next try should wait.
    pub failed: bool,
}

/// Records whose retries are used up, or that became too old.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenUp {
    /// Which ones, by their place in the batch.
    pub records: Range<usize>,
    /// How often they were tried in this composition.
    pub attempts: u32,
}

/// A batch on its way through the function.
#[derive(Debug)]
pub struct Replay {
    rules: ReplayRules,
    sequences: Vec<String>,
    /// What is left, in order. Adjacent and never empty.
    parts: VecDeque<Part>,
}

#[derive(Debug)]
struct Part {
    records: Range<usize>,
    failures: u32,
}

impl Replay {
    /// A batch of the records with these sequence numbers.
    pub fn new(rules: ReplayRules, sequences: Vec<String>) -> Self {
        let mut replay = Self { rules, parts: VecDeque::new(), sequences };
        replay.put_back(0..replay.sequences.len(), 0);
        replay
    }

    /// The records to call the function with next; none when all are resolved.
    pub fn current(&self) -> Option<Range<usize>> {
        self.parts.front().map(|part| part.records.clone())
    }

    /// Gives up the leading records that are too old to be tried, up to the first that is not.
    pub fn expire(&mut self, too_old: impl Fn(usize) -> bool) -> Option<GivenUp> {
        let part = self.parts.front()?;
        let attempts = part.failures;
        let end = part.records.clone().find(|index| !too_old(*index));
        let old = part.records.start..end.unwrap_or(part.records.end);
        if old.is_empty() {
            return None;
        }
        let part = self.parts.pop_front()?;
        self.put_back(old.end..part.records.end, part.failures);
        Some(GivenUp { records: old, attempts })
    }

    /// Takes the answer about the current records.
    pub fn answer(&mut self, answer: &Answer) -> Verdict {
        let Some(Part { records, failures }) = self.parts.pop_front() else {
            return Verdict { acknowledged: 0..0, given_up: None, failed: false };
        };
        let rewind = match answer {
            Answer::Failures(listed) if listed.is_empty() => {
                return Verdict { acknowledged: records, given_up: None, failed: false };
            }
            Answer::Failures(listed) => self.lowest(listed, &records),
            Answer::Error => None,
        };
        let restart = rewind.unwrap_or(records.start);
        let acknowledged = records.start..restart;
        let rest = restart..records.end;
        let given_up = if self.rules.bisect && !acknowledged.is_empty() {
            self.put_back(rest, 0);
            None
        } else if self.rules.bisect && rest.len() > 1 {
            let middle = rest.start + rest.len() / 2;
            self.put_back(middle..rest.end, failures);
            self.put_back(rest.start..middle, failures);
            None
        } else {
            // Another record leads now than when the earlier failures were counted.
            let before = if acknowledged.is_empty() { failures } else { 0 };
            self.charge(rest, before + 1)
        };
        Verdict { acknowledged, given_up, failed: true }
    }

    /// Where the listed failures rewind to; none when they do not all name records that were tried.
    fn lowest(&self, listed: &[Option<String>], tried: &Range<usize>) -> Option<usize> {
        let place = |identifier: &Option<String>| {
            let identifier = identifier.as_deref()?;
            tried.clone().find(|index| self.sequences.get(*index).map(String::as_str) == Some(identifier))
        };
        let places: Option<Vec<usize>> = listed.iter().map(place).collect();
        places?.into_iter().min()
    }

    fn charge(&mut self, records: Range<usize>, failures: u32) -> Option<GivenUp> {
        if failures <= self.rules.max_retries {
            self.put_back(records, failures);
            return None;
        }
        Some(GivenUp { records, attempts: failures })
    }

    fn put_back(&mut self, records: Range<usize>, failures: u32) {
        if !records.is_empty() {
            self.parts.push_front(Part { records, failures });
        }
    }
}

#[cfg(test)]
mod tests;
