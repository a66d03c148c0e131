//! What comes: when tasks are written, and how long they run.

use fastrand::Rng;

use crate::calendar::{Micros, SECOND, seconds};

/// One day in seconds.
pub const DAY: f64 = 86_400.0;

/// When tasks are written.
#[derive(Clone, Debug, PartialEq)]
pub enum Arrivals {
    /// At random, this many a second on average.
    Poisson {
        /// Tasks a second.
        rate: f64,
    },
    /// At random, by a curve with its peak at noon and its low at midnight.
    Daily {
        /// Tasks a second, the mean of a day.
        rate: f64,
        /// How far the peak is above the mean, from 0 to 1: 0.6 is a peak of 1.6 times the mean.
        swing: f64,
    },
    /// All at the beginning.
    Burst {
        /// How many.
        tasks: u64,
    },
    /// These, each with how long it runs; in order of time.
    Recorded(Vec<(Micros, Micros)>),
}

/// How long an engine runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RunTime {
    /// Always as long, in seconds.
    Fixed(f64),
    /// Exponentially distributed, with this mean in seconds.
    Exponential(f64),
}

impl RunTime {
    /// The mean in seconds.
    pub fn mean(self) -> f64 {
        match self {
            Self::Fixed(mean) | Self::Exponential(mean) => mean,
        }
    }

    fn draw(self, rng: &mut Rng) -> Micros {
        match self {
            Self::Fixed(mean) => seconds(mean),
            Self::Exponential(mean) => seconds(exponential(rng) * mean),
        }
    }
}

/// The tasks as they come.
#[derive(Debug)]
pub(crate) struct Source {
    arrivals: Arrivals,
    run: RunTime,
    until: Micros,
    at: f64,
    given: u64,
}

impl Source {
    pub fn new(arrivals: Arrivals, run: RunTime, until: Micros) -> Self {
        Self { arrivals, run, until, at: 0.0, given: 0 }
    }

    /// When the next task comes, and how long it runs.
    pub fn next(&mut self, rng: &mut Rng) -> Option<(Micros, Micros)> {
        self.given += 1;
        let at = match &self.arrivals {
            Arrivals::Poisson { rate } => {
                self.at += exponential(rng) / rate;
                seconds(self.at)
            }
            Arrivals::Daily { rate, swing } => {
                // Thinning: as if it were the peak all day, and each is kept as the curve says.
                loop {
                    self.at += exponential(rng) / (rate * (1.0 + swing));
                    let curve = 1.0 - swing * (std::f64::consts::TAU * self.at / DAY).cos();
                    if rng.f64() * (1.0 + swing) <= curve || self.at > self.until as f64 / SECOND as f64 {
                        break seconds(self.at);
                    }
                }
            }
            Arrivals::Burst { tasks } if self.given > *tasks => return None,
            Arrivals::Burst { .. } => 0,
            Arrivals::Recorded(tasks) => return tasks.get(self.given as usize - 1).copied(),
        };
        (at < self.until).then(|| (at, self.run.draw(rng)))
    }
}

/// One draw with mean 1.
pub(crate) fn exponential(rng: &mut Rng) -> f64 {
    -(1.0 - rng.f64()).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(arrivals: Arrivals, until: f64) -> Vec<Micros> {
        let mut rng = Rng::with_seed(1);
        let mut source = Source::new(arrivals, RunTime::Fixed(1.0), seconds(until));
        std::iter::from_fn(|| source.next(&mut rng)).map(|(at, _)| at).collect()
    }

    #[test]
    fn a_daily_curve_has_its_mean_and_its_peak() {
        let times = times(Arrivals::Daily { rate: 1.0, swing: 0.6 }, DAY);
        assert!((times.len() as f64 / DAY - 1.0).abs() < 0.02);
        let within =
            |from: f64| times.iter().filter(move |at| (seconds(from)..seconds(from + 3_600.0)).contains(at));
        let (noon, night) = (within(DAY / 2.0 - 1_800.0).count(), within(0.0).count());
        assert!((noon as f64 / 3_600.0 - 1.6).abs() < 0.1, "{noon}");
        assert!((night as f64 / 3_600.0 - 0.4).abs() < 0.1, "{night}");
    }

    #[test]
    fn a_burst_is_there_at_once_and_then_nothing() {
        assert_eq!(times(Arrivals::Burst { tasks: 3 }, 1.0), [0, 0, 0]);
    }
}
