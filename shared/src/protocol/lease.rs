//! A worker's lease: how often it beats, when it is dead to others, and when it must stop by itself.
//!
//! Nobody compares two machines' clocks. An observer remembers each worker's latest beat and since when, by
//! the observer's own clock, it has been the same; a beat that does not change for the length of the lease
//! is a dead worker's. A worker measures its own silence by its own monotonic clock.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::At;
use crate::task::WorkerId;

mod shards;

pub use shards::SHARD_BYTES;

/// The times of a lease, all derived from its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    length: Duration,
}

impl Default for Lease {
    fn default() -> Self {
        Self { length: Duration::from_secs(30) }
    }
}

impl Lease {
    /// A lease of this length; at least a second. Every part of a deployment must use the same.
    pub fn of(length: Duration) -> Self {
        Self { length: length.max(Duration::from_secs(1)) }
    }

    /// No beat for this long is death.
    pub fn length(self) -> Duration {
        self.length
    }

    /// How long a received message stays invisible to others, a whole number of seconds if the lease is: a
    /// little longer than a lease, so that who looks at a silent worker when the message comes, and again when
    /// it comes back, has seen the same beat for a lease.
    pub fn invisible(self) -> Duration {
        self.length + Duration::from_secs(1)
    }

    /// Between the beats of a worker that runs tasks: 3 s of 30.
    pub fn busy(self) -> Duration {
        self.length / 10
    }

    /// Between the beats of an idle worker: 10 s of 30.
    pub fn idle(self) -> Duration {
        self.length / 3
    }

    /// A worker that could not beat for this long stops its children: 20 s of 30, so that they are gone when
    /// others take its tasks.
    pub fn fence(self) -> Duration {
        self.length * 2 / 3
    }

    /// What a process has to end by itself once its worker has fenced itself: 5 s of 30. As much again is
    /// left until others may take its task.
    pub fn last_grace(self) -> Duration {
        (self.length - self.fence()) / 2
    }

    /// A task younger than this is not worth a registry write: most end within it.
    pub fn worth_listing(self) -> Duration {
        self.length / 30
    }
}

/// What an observer remembers of a worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Seen {
    /// The beat as it was written: opaque here, only compared.
    beat: String,
    /// Since when it has been this one, by the observer's clock.
    since: At,
}

/// What an observer remembers of all workers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Observations(BTreeMap<WorkerId, Seen>);

impl Observations {
    /// Takes note of a worker's latest beat; whether the worker is dead.
    pub fn observe(&mut self, worker: &WorkerId, beat: &str, now: At, lease: Lease) -> bool {
        match self.0.get(worker) {
            // An observer's clock that was set back starts the wait anew.
            Some(seen) if seen.beat == beat && seen.since <= now => now.since(seen.since) >= lease.length(),
            _ => {
                self.0.insert(worker.clone(), Seen { beat: beat.to_owned(), since: now });
                false
            }
        }
    }

    /// Forgets all workers but these.
    pub fn retain(&mut self, keep: impl Fn(&WorkerId) -> bool) {
        self.0.retain(|worker, _| keep(worker));
    }
}

/// What is known of the worker that a running task's record names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// It has no heartbeat item: it gave up its lease, or its death has been dealt with.
    Gone,
    /// It does not beat any more.
    Dead,
    /// It beats.
    Alive {
        /// Its registry lists the task.
        lists: bool,
        /// It has had time to list it: it beat a whole lease after the task began, both by its own clock.
        had_time: bool,
    },
}

/// Whose turn it is with a running task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// The holder's, and its registry remembers the task.
    Remembered,
    /// The holder's, for all that is known; nothing but a message may remember the task.
    Unsure,
    /// Anybody's: the task is to be rescued.
    Rescue,
}

/// Decides about a task that a worker holds according to its record.
pub fn turn(holder: Holder) -> Turn {
    match holder {
        Holder::Gone | Holder::Dead | Holder::Alive { lists: false, had_time: true } => Turn::Rescue,
        Holder::Alive { lists: true, .. } => Turn::Remembered,
        Holder::Alive { lists: false, had_time: false } => Turn::Unsure,
    }
}

/// Whether a worker that beat at `beat` has had time to list a task that it began at `started`, both by its
/// own clock.
pub fn had_time(started: Option<At>, beat: At, lease: Lease) -> bool {
    started.is_some_and(|started| beat.since(started) >= lease.length())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn worker() -> WorkerId {
        "w:1:a".parse().unwrap()
    }

    fn at(seconds: i64) -> At {
        At::from_millis(seconds * 1_000)
    }

    #[test]
    fn a_worker_is_dead_when_its_beat_stays_the_same_for_a_lease() {
        let (mut seen, lease) = (Observations::default(), Lease::default());
        for (second, beat, dead) in [
            (0, "a", false),
            (29, "a", false),
            (30, "a", true),
            (31, "b", false),
            (60, "b", false),
            (61, "b", true),
            // The observer's own clock was set back.
            (10, "b", false),
            (39, "b", false),
            (40, "b", true),
        ] {
            assert_eq!(seen.observe(&worker(), beat, at(second), lease), dead, "{second}");
        }
    }

    #[test]
    fn a_worker_that_stops_by_itself_does_so_before_others_take_its_tasks() {
        for seconds in [1, 3, 30, 600] {
            let lease = Lease::of(Duration::from_secs(seconds));
            assert!(lease.fence() + lease.last_grace() < lease.length());
            assert!(lease.idle() <= lease.fence() / 2, "a beat may fail once");
        }
    }

    #[test]
    fn a_task_is_rescued_only_from_a_worker_that_cannot_have_it() {
        let alive = |lists, had_time| turn(Holder::Alive { lists, had_time });
        assert_eq!(turn(Holder::Gone), Turn::Rescue);
        assert_eq!(turn(Holder::Dead), Turn::Rescue);
        assert_eq!(alive(true, true), Turn::Remembered);
        assert_eq!(alive(true, false), Turn::Remembered);
        assert_eq!(alive(false, false), Turn::Unsure);
        assert_eq!(alive(false, true), Turn::Rescue);
    }

    proptest! {
        /// Clocks of workers that differ by minutes change nothing: only the observer's clock counts.
        #[test]
        fn a_beating_worker_is_never_dead_whatever_its_clock_says(skew in -120i64..120, gaps in prop::collection::vec(1i64..29, 1..40)) {
            let (mut seen, lease) = (Observations::default(), Lease::default());
            let mut now = 1_000;
            for gap in gaps {
                now += gap;
                prop_assert!(!seen.observe(&worker(), &at(now + skew).to_string(), at(now), lease));
            }
            prop_assert!(seen.observe(&worker(), &at(now + skew).to_string(), at(now + 30), lease));
        }
    }
}
