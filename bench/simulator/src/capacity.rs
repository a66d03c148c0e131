//! Write capacity: what a key range of DynamoDB takes a second, with what it may save up, and how a table
//! spreads over its partitions.

use crate::calendar::{Micros, SECOND};

/// A rate with a reserve: what exceeds both has to wait. The rate alone decides how long.
#[derive(Clone, Debug)]
pub(crate) struct Range {
    /// When all that was written so far would be through at the rate.
    busy_until: Micros,
    units: u64,
}

impl Range {
    pub fn new() -> Self {
        Self { busy_until: 0, units: 0 }
    }

    /// Writes `units`; gives the moment at which they are taken.
    pub fn write(&mut self, now: Micros, units: u32, rate: f64, burst: Micros) -> Micros {
        let time = (f64::from(units) / rate * SECOND as f64) as Micros;
        self.units += u64::from(units);
        // A reserve is saved up while nothing is written: it is never larger than `burst`.
        self.busy_until = self.busy_until.max(now) + time;
        now.max(self.busy_until.saturating_sub(burst.max(time)))
    }

    pub fn taken(&mut self) -> u64 {
        std::mem::take(&mut self.units)
    }
}

/// A table with keys that are spread evenly.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    partitions: Vec<Range>,
    rate: f64,
    burst: Micros,
    most: usize,
    split_after: u32,
    warm: u32,
    /// The most units in one second of a whole table and of one partition, as minutes' means.
    pub peak: f64,
    pub peak_partition: f64,
}

impl Table {
    pub fn new(partitions: usize, rate: f64, burst: Micros, table_units: f64, split_after: u32) -> Self {
        let most = ((table_units / rate).floor() as usize).max(1);
        let partitions = vec![Range::new(); partitions.clamp(1, most)];
        Self { partitions, rate, burst, most, split_after, warm: 0, peak: 0.0, peak_partition: 0.0 }
    }

    pub fn partition_of(&self, hash: u32) -> usize {
        hash as usize % self.partitions.len()
    }

    pub fn len(&self) -> usize {
        self.partitions.len()
    }

    pub fn write(&mut self, hash: u32, now: Micros, units: u32) -> Micros {
        let index = self.partition_of(hash);
        self.partitions[index].write(now, units, self.rate, self.burst)
    }

    /// A span of time is over: takes note of the peaks, and splits what was warm for long enough.
    pub fn sample(&mut self, span: Micros) {
        let per_second = |units: u64| units as f64 * SECOND as f64 / span as f64;
        let taken: Vec<u64> = self.partitions.iter_mut().map(Range::taken).collect();
        let hottest = taken.iter().copied().max().map_or(0.0, per_second);
        self.peak = self.peak.max(per_second(taken.iter().sum()));
        self.peak_partition = self.peak_partition.max(hottest);
        self.warm = if hottest > self.rate / 2.0 { self.warm + 1 } else { 0 };
        if self.warm >= self.split_after && self.len() < self.most {
            self.warm = 0;
            // Each half inherits what its whole had to catch up with.
            let halves = self.partitions.clone();
            self.partitions.extend(halves);
            self.partitions.truncate(self.most);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_rate_and_reserve_a_write_waits() {
        let mut range = Range::new();
        let burst = SECOND;
        let taken: Vec<_> = (0..30).map(|_| range.write(0, 1, 10.0, burst)).collect();
        assert_eq!(taken[..10], [0; 10], "the reserve");
        assert_eq!(taken[29], 2 * SECOND, "then ten a second");
        assert_eq!(range.write(60 * SECOND, 1, 10.0, burst), 60 * SECOND, "saved up again");
    }

    #[test]
    fn a_warm_table_is_split_and_has_its_peaks() {
        let mut table = Table::new(1, 100.0, 0, 400.0, 2);
        for _ in 0..8 {
            (0..90).for_each(|hash| {
                table.write(hash, 0, 1);
            });
            table.sample(SECOND);
        }
        assert_eq!(table.len(), 2, "half the rate is not warm any more");
        assert_eq!((table.peak, table.peak_partition), (90.0, 90.0));
    }
}
