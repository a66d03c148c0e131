//! Waiting for a sign of life of each worker. Pure: the looks and the time come from outside.

use std::collections::{BTreeMap, BTreeSet};

use stageline::At;
use stageline::aws::WorkerItem;
use stageline::protocol::lease::{Lease, Observations};
use stageline::task::WorkerId;

/// What was seen of the workers since the first look.
#[derive(Debug, Default)]
pub(super) struct Vigil {
    observations: Observations,
    /// The first beat of each that was there at the first look, as long as no other has been seen.
    waited_for: BTreeMap<WorkerId, String>,
    beaten: BTreeSet<WorkerId>,
    has_looked: bool,
}

impl Vigil {
    /// Takes note of a look at all workers.
    pub fn look(&mut self, items: &BTreeMap<WorkerId, WorkerItem>, now: At, lease: Lease) {
        for (worker, item) in items {
            // Who is dead is for the pass to say, which looks once more.
            let _dead = self.observations.observe(worker, &item.beat, now, lease);
            match self.waited_for.get(worker) {
                Some(first) if *first == item.beat => {}
                Some(_) => {
                    self.waited_for.remove(worker);
                    self.beaten.insert(worker.clone());
                }
                // One that has come since is alive, for all that is known, and not waited for.
                None if self.has_looked => {
                    self.beaten.insert(worker.clone());
                }
                None => {
                    self.waited_for.insert(worker.clone(), item.beat.clone());
                }
            }
        }
        // One that has gone did so by itself, or others have buried it.
        self.waited_for.retain(|worker, _| items.contains_key(worker));
        self.beaten.retain(|worker| items.contains_key(worker));
        self.has_looked = true;
    }

    /// Workers without a sign of life so far.
    pub fn silent(&self) -> usize {
        self.waited_for.len()
    }

    /// Workers that there are.
    pub fn all(&self) -> usize {
        self.waited_for.len() + self.beaten.len()
    }

    /// What the pass has to know, and the workers that have beaten.
    pub fn end(self) -> (Observations, BTreeSet<WorkerId>) {
        (self.observations, self.beaten)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn items(beats: &[(&str, &str)]) -> BTreeMap<WorkerId, WorkerItem> {
        let item = |(worker, beat): &(&str, &str)| {
            let worker: WorkerId = worker.parse().unwrap();
            (worker.clone(), WorkerItem { worker, beat: (*beat).to_owned(), heartbeat: None })
        };
        beats.iter().map(item).collect()
    }

    #[test]
    fn only_a_worker_that_was_there_and_has_not_beaten_since_is_waited_for() {
        let (mut vigil, lease) = (Vigil::default(), Lease::of(Duration::from_secs(30)));
        let at = |seconds: i64| At::from_millis(seconds * 1_000);
        vigil.look(&items(&[("a:1:x", "1"), ("b:1:x", "1"), ("c:1:x", "1")]), at(0), lease);
        assert_eq!((vigil.silent(), vigil.all()), (3, 3));
        // b has beaten, c is gone, d is new.
        vigil.look(&items(&[("a:1:x", "1"), ("b:1:x", "2"), ("d:1:x", "9")]), at(3), lease);
        assert_eq!((vigil.silent(), vigil.all()), (1, 3));
        let (mut observations, beaten) = vigil.end();
        assert_eq!(beaten.iter().map(WorkerId::as_str).collect::<Vec<_>>(), ["b:1:x", "d:1:x"]);
        let dead = |observations: &mut Observations, worker: &str, beat: &str| {
            observations.observe(&worker.parse().unwrap(), beat, at(30), lease)
        };
        assert!(dead(&mut observations, "a:1:x", "1"), "silent for a lease");
        assert!(!dead(&mut observations, "b:1:x", "2"), "its last beat is younger than a lease");
    }

    #[test]
    fn without_workers_nobody_is_waited_for() {
        let mut vigil = Vigil::default();
        vigil.look(&items(&[]), At::from_millis(0), Lease::default());
        assert_eq!(vigil.silent(), 0);
    }
}
