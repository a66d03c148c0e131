//! Times, counted in classes that are at most a hundredth of their value wide: percentiles of 10^8 waits in a
//! few kilobytes.

use crate::calendar::{Micros, SECOND};

/// Classes of each doubling.
const FINE: u32 = 7;

/// How often which time came.
#[derive(Clone, Debug, Default)]
pub struct Histogram {
    classes: Vec<u64>,
    count: u64,
    sum: u128,
    most: Micros,
}

impl Histogram {
    /// Counts a time.
    pub fn add(&mut self, time: Micros) {
        let class = class_of(time);
        if class >= self.classes.len() {
            self.classes.resize(class + 1, 0);
        }
        self.classes[class] += 1;
        self.count += 1;
        self.sum += u128::from(time);
        self.most = self.most.max(time);
    }

    /// How many times were counted.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Their mean in seconds; 0 of none.
    pub fn mean(&self) -> f64 {
        if self.count == 0 { 0.0 } else { self.sum as f64 / self.count as f64 / SECOND as f64 }
    }

    /// The longest in seconds.
    pub fn longest(&self) -> f64 {
        self.most as f64 / SECOND as f64
    }

    /// The time in seconds that this share of them does not exceed, to within one hundredth; 0 of none.
    pub fn quantile(&self, share: f64) -> f64 {
        let wanted = ((share.clamp(0.0, 1.0) * self.count as f64).ceil() as u64).max(1);
        let mut seen = 0;
        for (class, count) in self.classes.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return middle(class) / SECOND as f64;
            }
        }
        0.0
    }
}

fn class_of(time: Micros) -> usize {
    let exponent = time.max(1).ilog2();
    if exponent < FINE {
        return time as usize;
    }
    let shift = exponent - FINE;
    ((shift as usize + 1) << FINE) + ((time >> shift) as usize - (1 << FINE))
}

fn middle(class: usize) -> f64 {
    let fine = 1 << FINE;
    if class < fine {
        return class as f64;
    }
    let shift = (class >> FINE) - 1;
    let low = ((class & (fine - 1)) + fine) as f64;
    (low + 0.5) * (shift as f64).exp2()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_class_is_within_a_hundredth_of_its_times(time in 0u64..1 << 50) {
            let found = middle(class_of(time));
            prop_assert!((found - time as f64).abs() <= 0.01 * time as f64 + 0.5, "{time} {found}");
        }
    }

    #[test]
    fn percentiles_are_those_of_the_sorted_times() {
        let mut histogram = Histogram::default();
        (1..=1_000u64).rev().for_each(|n| histogram.add(n * SECOND));
        assert_eq!((histogram.count(), histogram.longest()), (1_000, 1_000.0));
        assert!((histogram.mean() - 500.5).abs() < 1e-9);
        for share in [0.5, 0.95, 0.99] {
            assert!((histogram.quantile(share) / (share * 1_000.0) - 1.0).abs() < 0.01, "{share}");
        }
        assert_eq!(Histogram::default().quantile(0.5), 0.0);
    }
}
