//! Median, spread and percentiles of repeated measurements.

/// The middle value; of an even number the mean of the two middle ones. Nothing of nothing.
pub fn median(values: &[f64]) -> Option<f64> {
    let sorted = sorted(values);
    let (low, high) = (sorted.get(values.len().checked_sub(1)? / 2)?, sorted.get(values.len() / 2)?);
    Some(f64::midpoint(*low, *high))
}

/// How far the values lie apart, as a part of their median: 0.1 is 10 %. Nothing of fewer than two.
pub fn spread(values: &[f64]) -> Option<f64> {
    let sorted = sorted(values);
    let (least, most) = (sorted.first()?, sorted.last()?);
    let middle = median(values)?;
    (values.len() > 1).then(|| if most == least { 0.0 } else { (most - least) / middle.abs() })
}

/// The smallest value that at least `share` of all do not exceed (nearest rank). Nothing of nothing.
pub fn percentile(values: &[f64], share: f64) -> Option<f64> {
    let rank = (share * values.len() as f64).ceil().max(1.0) as usize;
    sorted(values).get(rank.min(values.len()).checked_sub(1)?).copied()
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn middles_and_ranks_are_those_of_the_books() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&[]), None);
        let hundred: Vec<f64> = (1..=100).map(f64::from).collect();
        for (share, expected) in [(0.5, 50.0), (0.95, 95.0), (0.99, 99.0), (1.0, 100.0), (0.0, 1.0)] {
            assert_eq!(percentile(&hundred, share), Some(expected), "{share}");
        }
        assert_eq!(percentile(&[7.0], 0.99), Some(7.0));
        assert_eq!(percentile(&[], 0.5), None);
    }

    #[test]
    fn a_spread_needs_two_values_and_is_relative() {
        assert_eq!(spread(&[5.0]), None);
        assert_eq!(spread(&[2.0, 2.0]), Some(0.0));
        assert_eq!(spread(&[9.0, 10.0, 12.0]), Some(0.3));
    }

    proptest! {
        #[test]
        fn a_percentile_is_a_value_and_no_smaller_for_a_larger_share(
            values in prop::collection::vec(-1e6..1e6_f64, 1..50), a in 0.0..1.0_f64, b in 0.0..1.0_f64,
        ) {
            let (low, high) = (percentile(&values, a.min(b)).unwrap(), percentile(&values, a.max(b)).unwrap());
            prop_assert!(values.contains(&low) && low <= high);
        }
    }
}
