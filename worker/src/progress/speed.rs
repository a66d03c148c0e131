//! How fast a stage goes, from which its expected end follows. Pure.
//!
//! Two averages, each items by time, in which the past counts the less the longer ago it is. The long one looks back
//! over a tenth of the time that was counted, so that it is calm whether the run takes a minute or a day. The short
//! one looks back over a hundredth, and tells when the speed is another one: then the long one begins anew with what
//! the short one knows.

use std::time::Duration;

use stageline::At;

/// Reports closer than this say more about scheduling than about speed.
const SHORTEST_SAMPLE: Duration = Duration::from_millis(200);
/// How far back the averages look, as shares of the time that was counted.
const LONG: f64 = 0.1;
const SHORT: f64 = 0.01;
/// What is left of the past at least, however long nothing was reported: no report decides alone.
const LEAST_KEPT: f64 = 0.7;
/// The short average is so many times the long one, or the other way round: another speed.
const ANOTHER: f64 = 1.5;

/// The speed of one stage.
#[derive(Clone, Copy, Debug)]
pub(super) struct Speed {
    begun: At,
    /// Since when the long average has been counted, which is later when it began anew.
    long_begun: At,
    /// The last report that was counted, and the items that were done then.
    last: (At, u64),
    long: Average,
    short: Average,
}

/// Items and seconds, both fading alike.
#[derive(Clone, Copy, Debug, Default)]
struct Average {
    items: f64,
    seconds: f64,
}

impl Speed {
    /// Counts from here on, where `done` items are done.
    pub(super) fn from(begun: At, done: u64) -> Self {
        let (long, short) = (Average::default(), Average::default());
        Self { begun, long_begun: begun, last: (begun, done), long, short }
    }

    /// Takes a count; says whether it has told anything.
    pub(super) fn count(&mut self, done: u64, now: At) -> bool {
        let (at, before) = self.last;
        let elapsed = now.since(at);
        if elapsed < SHORTEST_SAMPLE || done <= before {
            return false;
        }
        let (items, seconds) = ((done - before) as f64, elapsed.as_secs_f64());
        self.long.add(items, seconds, LONG * now.since(self.long_begun).as_secs_f64());
        self.short.add(items, seconds, SHORT * now.since(self.begun).as_secs_f64());
        let times = self.short.rate() / self.long.rate();
        if !(1.0 / ANOTHER..=ANOTHER).contains(&times) {
            (self.long, self.long_begun) = (self.short, at);
        }
        self.last = (now, done);
        true
    }

    /// Items a second, once two reports were far enough apart.
    pub(super) fn rate(&self) -> Option<f64> {
        (self.long.seconds > 0.0).then(|| self.long.rate())
    }
}

impl Average {
    /// Adds what was done in `seconds`, looking back over about `horizon` seconds.
    fn add(&mut self, items: f64, seconds: f64, horizon: f64) {
        let kept = (-seconds / horizon).exp().max(LEAST_KEPT);
        self.items = self.items * kept + items;
        self.seconds = self.seconds * kept + seconds;
    }

    /// Only where something was added.
    fn rate(self) -> f64 {
        self.items / self.seconds
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_speed_is_never_beyond_those_that_were_reported(
            reports in prop::collection::vec((0_u64..1_000_000, 0_i64..100_000_000), 1..60),
        ) {
            let (mut now, mut done) = (0, 0);
            let mut speed = Speed::from(At::from_millis(0), 0);
            let (mut since, mut slowest, mut fastest) = ((0, 0), f64::MAX, 0.0_f64);
            for (items, millis) in reports {
                (now, done) = (now + millis, done + items);
                if speed.count(done, At::from_millis(now)) {
                    let rate = (done - since.1) as f64 / ((now - since.0) as f64 / 1_000.0);
                    (slowest, fastest) = (slowest.min(rate), fastest.max(rate));
                    since = (now, done);
                    let rate = speed.rate().unwrap();
                    prop_assert!((slowest * 0.999..=fastest * 1.001).contains(&rate), "{rate}: {slowest}, {fastest}");
                }
            }
        }
    }
}
