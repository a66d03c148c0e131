//! What an engine's progress costs: the writes of `stages`. The worker writes the beginning and the end of a stage at
//! once, and its counters the more rarely the longer it runs (`worker/src/progress/tracker.rs`); a test of
//! `bench/simulator-check` holds this to that.

use crate::calendar::{Micros, SECOND};
use crate::load::RunTime;

/// One stage, whose counters always have something new to say.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// Writes at the beginnings and ends of stages.
    pub edges: u32,
    /// Its counters; none: it has no counters.
    pub counters: Option<Counters>,
}

/// Between two writes of counters: half as long as the stage has run, within these.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Counters {
    /// At least.
    pub shortest: Micros,
    /// At most (`counter_seconds` of the worker).
    pub longest: Micros,
}

impl Default for Progress {
    fn default() -> Self {
        let counters = Counters { shortest: 2 * SECOND, longest: 10 * SECOND };
        Self { edges: 2, counters: Some(counters) }
    }
}

impl Progress {
    /// Nothing is reported, and nothing written.
    pub const NONE: Self = Self { edges: 0, counters: None };

    /// Writes of a run that lasts as long.
    pub fn writes(self, run: Micros) -> u64 {
        u64::from(self.edges) + self.counters.map_or(0, |counters| counters.writes(run))
    }

    /// Writes of counters a second for each running task, when there are many of every age.
    pub fn counters_a_second(self, run: RunTime) -> f64 {
        self.counters.map_or(0.0, |counters| counters.a_run(run) / run.mean())
    }
}

impl Counters {
    /// When the one after that at `at` is written.
    fn after(self, at: Micros) -> Micros {
        at + (at / 2).clamp(self.shortest, self.longest.max(self.shortest)).max(1)
    }

    fn writes(self, run: Micros) -> u64 {
        let (mut writes, mut at) = (0, self.after(0));
        while at < run {
            if at >= 2 * self.longest {
                // From here on they are as far apart.
                return writes + (run - at).div_ceil(self.longest.max(self.shortest).max(1));
            }
            (writes, at) = (writes + 1, self.after(at));
        }
        writes
    }

    /// Writes of a run on average.
    fn a_run(self, run: RunTime) -> f64 {
        let mean = run.mean();
        match run {
            RunTime::Fixed(_) => self.writes(crate::calendar::seconds(mean)) as f64,
            // As many as are expected to be reached.
            RunTime::Exponential(_) => {
                let reached = |at: Micros| (-(at as f64 / SECOND as f64) / mean).exp();
                let (mut sum, mut at) = (0.0, self.after(0));
                while at < 2 * self.longest {
                    (sum, at) = (sum + reached(at), self.after(at));
                }
                // From here on they are as far apart, and the rest is a geometric series.
                let apart = self.longest.max(self.shortest).max(1);
                sum + reached(at) / (1.0 - reached(apart))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longer_a_run_the_rarer_its_writes() {
        let writes = |seconds| Progress::default().writes(seconds * SECOND);
        // At 2, 4, 6, 9, 13.5, 20.25 seconds and every ten from there.
        assert_eq!([1, 2, 3, 10, 21, 31, 60].map(writes), [2, 2, 3, 6, 8, 9, 11]);
        assert_eq!(writes(3_600) - writes(3_500), 10);
        assert_eq!(Progress::NONE.writes(SECOND * 3_600), 0);
    }

    #[test]
    fn the_rate_of_many_tasks_is_that_of_their_runs() {
        let mut rng = fastrand::Rng::with_seed(1);
        let counters = Progress { edges: 0, ..Progress::default() };
        for mean in [1.0, 15.0, 60.0, 600.0] {
            let drawn = 200_000;
            let runs = (0..drawn).map(|_| crate::calendar::seconds(-(1.0 - rng.f64()).ln() * mean));
            let (writes, time) = runs.fold((0, 0.0), |(writes, time), run| {
                (writes + counters.writes(run), time + run as f64 / SECOND as f64)
            });
            let (drawn, rate) =
                (writes as f64 / time, counters.counters_a_second(RunTime::Exponential(mean)));
            assert!((drawn / rate - 1.0).abs() < 0.02, "{mean} s: {drawn} drawn, {rate}");
        }
        let fixed = counters.counters_a_second(RunTime::Fixed(60.0));
        assert!((fixed - 9.0 / 60.0).abs() < 1e-9);
    }
}
