//! What the three batch calls have in common: rules about the batch as a whole, then every entry for itself.

use std::collections::BTreeSet;

use super::error::SqsError;
use super::message::MAX_BYTES;
use super::wire::{BatchAnswer, Entry, Failed, Succeeded};

/// The most entries of a batch.
const MAX_ENTRIES: usize = 10;

/// Applies `call` to each entry of a well-formed batch. `size` is what counts against the batch's limit.
pub(crate) fn each<E, T>(
    entries: Vec<Entry<E>>,
    size: impl Fn(&E) -> usize,
    mut call: impl FnMut(E) -> Result<T, SqsError>,
) -> Result<BatchAnswer<T>, SqsError> {
    check(&entries, size)?;
    let mut answer = BatchAnswer { successful: Vec::new(), failed: Vec::new() };
    for Entry { id, call: entry } in entries {
        match call(entry) {
            Ok(value) => answer.successful.push(Succeeded { id, answer: value }),
            Err(error) => answer.failed.push(Failed {
                id,
                sender_fault: true,
                code: error.entry_code(),
                message: error.to_string(),
            }),
        }
    }
    Ok(answer)
}

fn check<E>(entries: &[Entry<E>], size: impl Fn(&E) -> usize) -> Result<(), SqsError> {
    if entries.is_empty() {
        return Err(SqsError::EmptyBatchRequest);
    }
    if entries.len() > MAX_ENTRIES {
        return Err(SqsError::TooManyEntriesInBatchRequest(entries.len()));
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let mut seen = BTreeSet::new();
    for entry in entries {
        if entry.id.is_empty() || entry.id.len() > 80 || !entry.id.chars().all(allowed) {
            return Err(SqsError::InvalidBatchEntryId);
        }
        if !seen.insert(&entry.id) {
            return Err(SqsError::BatchEntryIdsNotDistinct(entry.id.clone()));
        }
    }
    let total: usize = entries.iter().map(|entry| size(&entry.call)).sum();
    if total > MAX_BYTES {
        return Err(SqsError::BatchRequestTooLong(total));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(ids: &[&str]) -> Vec<Entry<usize>> {
        let entry = |id: &&str| Entry { id: (*id).to_owned(), call: 1 };
        ids.iter().map(entry).collect()
    }

    #[test]
    fn a_malformed_batch_is_refused_as_a_whole() {
        let eleven = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k"];
        let cases: [(Vec<Entry<usize>>, SqsError); 5] = [
            (entries(&[]), SqsError::EmptyBatchRequest),
            (entries(&eleven), SqsError::TooManyEntriesInBatchRequest(11)),
            (entries(&["a", "a"]), SqsError::BatchEntryIdsNotDistinct("a".to_owned())),
            (entries(&["a b"]), SqsError::InvalidBatchEntryId),
            (entries(&[""]), SqsError::InvalidBatchEntryId),
        ];
        for (batch, expected) in cases {
            let refused = each(batch, |_| 0, |_| Ok(())).unwrap_err();
            assert_eq!(refused, expected);
        }
        let heavy = each(entries(&["a", "b"]), |_| MAX_BYTES / 2 + 1, |_| Ok(()));
        assert_eq!(heavy.unwrap_err(), SqsError::BatchRequestTooLong(MAX_BYTES + 2));
    }

    #[test]
    fn an_entry_fails_alone() {
        let mut calls = 0;
        let answer = each(
            entries(&["a", "b", "c"]),
            |_| 0,
            |_| {
                calls += 1;
                if calls == 2 { Err(SqsError::ReceiptHandleIsInvalid) } else { Ok(calls) }
            },
        )
        .unwrap();
        let done: Vec<_> = answer.successful.iter().map(|s| s.id.as_str()).collect();
        assert_eq!(done, ["a", "c"]);
        assert_eq!(answer.failed.len(), 1);
        assert_eq!(answer.failed[0].id, "b");
        assert_eq!(answer.failed[0].code, "ReceiptHandleIsInvalid");
    }
}
