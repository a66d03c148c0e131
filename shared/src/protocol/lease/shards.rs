//! How what an observer remembers of all workers is laid out in parts of a bounded size.

use std::hash::Hasher;

use super::{Observations, Seen};
use crate::hash::Fnv;
use crate::task::WorkerId;

/// Bytes that one part takes as DynamoDB counts them: an item holds 400 KB, and there is room in it for more.
pub const SHARD_BYTES: usize = 250_000;

/// Parts at most, which are 140,000 workers: more of them would be one part too large.
const MOST: usize = 64;

/// Beside the id and the beat: the time, the names of both, and DynamoDB's own bytes for a map and its values.
const ENTRY_BYTES: usize = 24 + "beat".len() + "since".len() + 10;

impl Observations {
    /// The same in parts of at most [`SHARD_BYTES`]: one, or 2, 4, 8, … if they are too many for that. With twice
    /// as many parts a worker stays in its part or moves to a later one, with half as many to an earlier one.
    pub fn shards(&self) -> Vec<Self> {
        let mut count = 1;
        while count < MOST && self.largest_of(count) > SHARD_BYTES {
            count *= 2;
        }
        let mut shards = vec![Self::default(); count];
        for (worker, seen) in &self.0 {
            shards[shard_of(worker, count)].0.insert(worker.clone(), seen.clone());
        }
        shards
    }

    /// Puts parts together again. Of a worker that two of them know, since they were not written at once, the
    /// later sight counts: at worst it is waited for anew.
    pub fn merge(&mut self, other: Self) {
        for (worker, seen) in other.0 {
            if self.0.get(&worker).is_none_or(|known| known.since < seen.since) {
                self.0.insert(worker, seen);
            }
        }
    }

    fn largest_of(&self, count: usize) -> usize {
        let mut bytes = vec![0; count];
        for (worker, Seen { beat, .. }) in &self.0 {
            bytes[shard_of(worker, count)] += worker.as_str().len() + beat.len() + ENTRY_BYTES;
        }
        bytes.into_iter().max().unwrap_or_default()
    }
}

/// `count` is a power of two.
fn shard_of(worker: &WorkerId, count: usize) -> usize {
    let mut hash = Fnv::default();
    hash.write(worker.as_str().as_bytes());
    // The upper half: FNV mixes its low bits least. What is left of it is below `count`.
    usize::try_from((hash.finish() >> 32) & (count as u64 - 1)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::At;
    use crate::protocol::lease::Lease;

    fn seen(workers: usize) -> Observations {
        let mut seen = Observations::default();
        for n in 0..workers {
            let worker = format!("ip-10-0-{}-{}.eu-central-1.compute.internal:{n}:5f3a", n / 256, n % 256);
            seen.observe(
                &worker.parse().unwrap(),
                "2026-11-21T12:00:00.000Z",
                At::from_millis(0),
                Lease::default(),
            );
        }
        seen
    }

    fn together(shards: Vec<Observations>) -> Observations {
        let mut all = Observations::default();
        shards.into_iter().for_each(|shard| all.merge(shard));
        all
    }

    #[test]
    fn a_fleet_of_any_size_is_remembered_in_parts_that_fit_into_an_item() {
        for (workers, least, most) in
            [(0, 1, 1), (1, 1, 1), (1_500, 1, 1), (10_000, 4, 16), (100_000, 32, 64)]
        {
            let seen = seen(workers);
            let shards = seen.shards();
            assert!((least..=most).contains(&shards.len()), "{workers}: {}", shards.len());
            for shard in &shards {
                let bytes = serde_json::to_vec(shard).unwrap().len();
                assert!(bytes < SHARD_BYTES * 6 / 5, "{workers} workers: {bytes}");
            }
            assert_eq!(together(shards), seen);
        }
    }

    #[test]
    fn of_two_sights_of_a_worker_the_later_one_counts() {
        let worker = "w:1:a".parse().unwrap();
        let at = |seconds: i64| At::from_millis(seconds * 1_000);
        let sight = |beat: &str, seconds| {
            let mut seen = Observations::default();
            seen.observe(&worker, beat, at(seconds), Lease::default());
            seen
        };
        for (first, second) in [(("old", 0), ("new", 60)), (("new", 60), ("old", 0))] {
            let mut seen = sight(first.0, first.1);
            seen.merge(sight(second.0, second.1));
            assert!(!seen.observe(&worker, "new", at(89), Lease::default()));
            assert!(seen.observe(&worker, "new", at(90), Lease::default()));
        }
    }

    proptest! {
        /// Parts are written from the last one on: so what moves is written where it goes before it is gone from
        /// where it was.
        #[test]
        fn a_worker_moves_to_a_later_part_when_they_double(name in "[a-z0-9][a-z0-9.:-]{0,60}", power in 0u32..6) {
            let worker: WorkerId = format!("{name}:1:a").parse().unwrap();
            let count = 1 << power;
            let (before, after) = (shard_of(&worker, count), shard_of(&worker, 2 * count));
            prop_assert!(after == before || after == before + count);
        }
    }
}
