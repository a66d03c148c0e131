//! The mapping's settings, by the names of an event source mapping, with AWS's meaning.

use std::time::Duration;

use super::filter::FilterPattern;
use super::replay::ReplayRules;

/// How records become calls of the function.
#[derive(Debug, Clone)]
pub struct MappingRules {
    /// The most records of one call; at least one.
    pub batch_size: usize,
    /// How often a failed batch is tried again before it goes to the failure destination.
    pub max_retries: u32,
    /// Whether a failed batch is split in two.
    pub bisect: bool,
    /// The age at which a record is given up instead of tried; none never gives up by age.
    pub max_record_age: Option<Duration>,
    /// How often an idle stream is read when nobody announces a write.
    pub poll_interval: Duration,
    /// Which records the function is called for; none means all.
    pub filter: Vec<FilterPattern>,
}

impl Default for MappingRules {
    /// AWS's defaults, but for the retries, which AWS by default never ends.
    fn default() -> Self {
        Self {
            batch_size: 100,
            max_retries: 10,
            bisect: false,
            max_record_age: None,
            poll_interval: Duration::from_millis(250),
            filter: Vec::new(),
        }
    }
}

impl MappingRules {
    pub(crate) fn replay(&self) -> ReplayRules {
        ReplayRules { max_retries: self.max_retries, bisect: self.bisect }
    }
}

/// Where a stream is read from when nothing is known about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartingPosition {
    /// Only what is written from now on.
    Latest,
    /// Everything that the stream still has.
    TrimHorizon,
}

/// The wait before the next try: it doubles from 50 ms up to 2 s until something succeeds.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Backoff(u32);

impl Backoff {
    pub fn next(&mut self) -> Duration {
        let factor = 1_u32 << self.0.min(6);
        self.0 = self.0.saturating_add(1);
        (Duration::from_millis(50) * factor).min(Duration::from_secs(2))
    }

    pub fn reset(&mut self) {
        self.0 = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_two_seconds_and_starts_over_after_a_success() {
        let mut backoff = Backoff::default();
        let waits: Vec<u128> = (0..8).map(|_| backoff.next().as_millis()).collect();
        assert_eq!(waits, [50, 100, 200, 400, 800, 1600, 2000, 2000]);
        backoff.reset();
        assert_eq!(backoff.next().as_millis(), 50);
    }
}
