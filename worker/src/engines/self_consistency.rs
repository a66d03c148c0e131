//! What can be told of a self-consistent cycle from the numbers that it drives towards a threshold:
//! about how far it is, and whether it runs away. Shared by the engines that compute electrons.

/// A cycle is done at 1000, which only its end may say.
pub(super) const WHOLE: u64 = 1000;

/// How far a cycle is, in thousandths: the share of the way from the `first` number to the `threshold` on
/// a logarithmic scale, because the number falls by about the same factor each iteration; and at least the
/// share of the `most` iterations that it may take. Below [`WHOLE`].
pub(super) fn share(
    first: Option<f64>,
    now: Option<f64>,
    threshold: Option<f64>,
    iterations: u64,
    most: Option<u64>,
) -> u64 {
    let by_number = match (first, now, threshold) {
        (Some(first), Some(now), Some(threshold)) if first > threshold && now > 0.0 => {
            (first / now).ln() / (first / threshold).ln()
        }
        _ => 0.0,
    };
    let by_iterations = most.map_or(0.0, |most| iterations as f64 / most.max(1) as f64);
    // The cast of what is no number is 0.
    let share = (by_number.max(by_iterations) * WHOLE as f64).floor() as u64;
    share.min(WHOLE - 1)
}

/// What was lost by less may come back: an accuracy that grew 1500-fold was seen to converge.
const GROWTH: f64 = 1e4;
/// Below this, in Ry or eV, a cycle is near a solution, however much worse it has become.
const HOPELESS: f64 = 1.0;
/// So many iterations in a row.
const IN_A_ROW: u32 = 5;

/// Tells a cycle that runs away from one that only takes a bad step.
#[derive(Debug, Clone)]
pub(super) struct Divergence {
    /// What the number is called.
    what: &'static str,
    unit: &'static str,
    best: Option<f64>,
    in_a_row: u32,
    /// It looks hopeless.
    runaway: Option<String>,
    /// It is: no number comes after one that is none.
    lost: Option<String>,
}

impl Divergence {
    /// Before the first cycle.
    pub fn of(what: &'static str, unit: &'static str) -> Self {
        Self { what, unit, best: None, in_a_row: 0, runaway: None, lost: None }
    }

    /// A cycle begins.
    pub fn begin(&mut self) {
        (self.best, self.in_a_row) = (None, 0);
    }

    /// The cycle has converged: it was not hopeless after all.
    pub fn converged(&mut self) {
        self.runaway = None;
    }

    /// The number after an iteration; its sign does not matter.
    pub fn number(&mut self, now: f64) {
        let now = now.abs();
        if now.is_nan() {
            return self.not_a_number(self.what);
        }
        let best = self.best.map_or(now, |best| best.min(now));
        self.best = Some(best);
        let grown = now >= HOPELESS && now >= best * GROWTH;
        self.in_a_row = if grown { self.in_a_row.saturating_add(1) } else { 0 };
        if self.in_a_row >= IN_A_ROW && self.runaway.is_none() {
            let Self { what, unit, .. } = self;
            self.runaway = Some(format!(
                "the {what} grew from {best:.1e} to {now:.1e} {unit} and stayed there for {IN_A_ROW} iterations"
            ));
        }
    }

    /// An energy.
    pub fn energy(&mut self, now: f64) {
        if now.is_nan() {
            self.not_a_number("total energy");
        }
    }

    /// Why it will not come back, if it will not.
    pub fn reason(&self) -> Option<&str> {
        self.lost.as_deref().or(self.runaway.as_deref())
    }

    fn not_a_number(&mut self, what: &str) {
        self.lost.get_or_insert_with(|| format!("the {what} is not a number any more"));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn after(numbers: &[f64]) -> Option<String> {
        let mut divergence = Divergence::of("accuracy", "Ry");
        divergence.begin();
        numbers.iter().for_each(|one| divergence.number(*one));
        divergence.reason().map(str::to_owned)
    }

    #[test]
    fn a_cycle_diverges_when_it_stays_far_worse_than_it_was() {
        let reason = after(&[0.01, 200.0, -300.0, 1e4, 1e5, f64::INFINITY]).unwrap();
        assert_eq!(reason, "the accuracy grew from 1.0e-2 to inf Ry and stayed there for 5 iterations");
    }

    #[test]
    fn bad_steps_are_no_divergence() {
        assert_eq!(after(&[0.066, 99.6, 2.8, 0.03, 1e-3]), None, "seen in a run that converged");
        assert_eq!(after(&[1e-9, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5]), None, "near a solution");
        assert_eq!(after(&[1e-3, 100.0, 100.0, 100.0, 100.0, 1e-3, 100.0]), None);
        assert_eq!(after(&[1e6; 20]), None, "bad from the start is not growth");
    }

    #[test]
    fn what_is_not_a_number_diverges_at_once() {
        assert!(after(&[f64::NAN]).is_some());
        let mut divergence = Divergence::of("accuracy", "Ry");
        divergence.energy(f64::NAN);
        assert_eq!(divergence.reason(), Some("the total energy is not a number any more"));
    }

    #[test]
    fn a_cycle_that_converges_has_not_run_away_but_what_is_lost_stays_lost() {
        let mut divergence = Divergence::of("accuracy", "Ry");
        [1e-3, 1e3, 1e3, 1e3, 1e3, 1e3].iter().for_each(|one| divergence.number(*one));
        assert!(divergence.reason().is_some());
        divergence.converged();
        assert_eq!(divergence.reason(), None);
        divergence.number(f64::NAN);
        divergence.converged();
        assert!(divergence.reason().is_some());
    }

    #[test]
    fn the_share_is_the_way_in_orders_of_magnitude() {
        let at = |now| share(Some(1e-1), Some(now), Some(1e-9), 0, None);
        assert_eq!((at(1e-1), at(1.1e-5), at(1e-12)), (0, 494, 999));
        assert_eq!(at(10.0), 0, "worse than at the start");
        assert_eq!(
            share(Some(1.0), Some(1.0), Some(1e-9), 30, Some(100)),
            300,
            "it ends there at the latest"
        );
    }

    proptest! {
        #[test]
        fn the_share_is_below_the_whole(
            first in any::<Option<f64>>(), now in any::<Option<f64>>(), threshold in any::<Option<f64>>(),
            iterations in any::<u64>(), most in any::<Option<u64>>(),
        ) {
            prop_assert!(share(first, now, threshold, iterations, most) < WHOLE);
        }
    }
}
