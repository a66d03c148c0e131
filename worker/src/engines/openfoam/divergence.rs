//! Whether a solution blows up, by what the solver prints.
//!
//! OpenFOAM divides its residuals by the size of the terms, so they seldom go above 1 even then; the Courant
//! number and the continuity error show it better. All bounds are far beyond what a sound run does when it
//! starts from rest: to stop a good run costs more than a few steps of a bad one.

use std::collections::{BTreeMap, VecDeque};

use super::output::Event;

/// Values of each series that are compared.
const WINDOW: usize = 50;
/// A residual above 1 that has grown so much is one of a solution that runs away.
const RESIDUAL_GROWTH: f64 = 1e3;
/// A Courant number this large that has grown so much.
const LARGE_COURANT: f64 = 1e3;
const COURANT_GROWTH: f64 = 100.0;
/// No Courant number or continuity error of a solution, however it came to be.
const ABSURD: f64 = 1e10;
/// More fields than a solver has.
const MOST_SERIES: usize = 64;

/// What was printed lately.
#[derive(Debug, Clone, Default)]
pub struct Divergence {
    time: Option<f64>,
    courant: VecDeque<f64>,
    residuals: BTreeMap<String, VecDeque<f64>>,
    reason: Option<String>,
    not_a_number: bool,
}

impl Divergence {
    /// Takes the next event. The first reason stands.
    pub fn apply(&mut self, event: &Event) {
        let reason = match event {
            Event::Time { time } => {
                self.time = Some(*time);
                None
            }
            Event::Courant { mean, max } => self.courant(*mean, *max),
            Event::Residual { field, initial, last } => self.residual(field, *initial, *last),
            Event::Continuity { sum_local, global, cumulative } => {
                let finite = [sum_local, global, cumulative].iter().all(|error| error.is_finite());
                self.not_a_number |= !finite;
                let absurd = !finite || sum_local.abs() >= ABSURD;
                absurd.then(|| format!("the local continuity error is {sum_local:e}"))
            }
            _ => None,
        };
        if self.reason.is_none() {
            let at = self.time.map(|time| format!(" (at time {time:?})")).unwrap_or_default();
            self.reason = reason.map(|reason| format!("{reason}{at}"));
        }
    }

    /// Why the solver should not go on.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    /// Whether something became no number: from that no solver recovers.
    #[must_use]
    pub fn not_a_number(&self) -> bool {
        self.not_a_number
    }

    fn courant(&mut self, mean: f64, max: f64) -> Option<String> {
        if !mean.is_finite() || !max.is_finite() {
            self.not_a_number = true;
            return Some(format!("the Courant number is {max}"));
        }
        let grown = growth(&mut self.courant, max);
        if max >= ABSURD {
            return Some(format!("the Courant number is {max:e}"));
        }
        (max >= LARGE_COURANT && grown >= COURANT_GROWTH)
            .then(|| format!("the Courant number is {max}, {grown:.0} times what it was a few steps before"))
    }

    fn residual(&mut self, field: &str, initial: f64, last: f64) -> Option<String> {
        if let Some(value) = [initial, last].into_iter().find(|value| !value.is_finite()) {
            self.not_a_number = true;
            return Some(format!("the residual of {field} is {value}"));
        }
        if !self.residuals.contains_key(field) && self.residuals.len() >= MOST_SERIES {
            return None;
        }
        let grown = growth(self.residuals.entry(field.to_owned()).or_default(), initial);
        (initial > 1.0 && grown >= RESIDUAL_GROWTH).then(|| {
            format!("the residual of {field} is {initial}, {grown:.0} times what it was a few steps before")
        })
    }
}

/// How many times the smallest of the last values `value` is; 0 where there is none above 0.
fn growth(last: &mut VecDeque<f64>, value: f64) -> f64 {
    let least = last.iter().copied().filter(|value| *value > 0.0).fold(f64::INFINITY, f64::min);
    if last.len() >= WINDOW {
        last.pop_front();
    }
    last.push_back(value);
    value / least
}

#[cfg(test)]
mod tests {
    use super::*;

    fn courant(values: impl IntoIterator<Item = f64>) -> Divergence {
        let mut divergence = Divergence::default();
        divergence.apply(&Event::Time { time: 0.5 });
        values.into_iter().for_each(|max| divergence.apply(&Event::Courant { mean: 0.0, max }));
        divergence
    }

    fn residuals(values: impl IntoIterator<Item = f64>) -> Divergence {
        let mut divergence = Divergence::default();
        for initial in values {
            divergence.apply(&Event::Residual { field: "p".into(), initial, last: 0.0 });
        }
        divergence
    }

    #[test]
    fn what_explodes_is_told_from_what_is_large() {
        assert_eq!(
            courant([0.0, 4.0, 40.0, 2_000.0]).reason(),
            Some("the Courant number is 2000, 500 times what it was a few steps before (at time 0.5)")
        );
        assert_eq!(courant([0.0, 1e-9, 0.5, 90.0, 999.0]).reason(), None);
        assert_eq!(courant([2_000.0, 3_000.0, 9_000.0]).reason(), None);
        assert!(courant([1e11]).reason().is_some());
        assert!(residuals([1e-6, 1e-3, 1.5]).reason().is_some());
        assert_eq!(residuals([1.0, 1e-9, 1.0, 0.9]).reason(), None);
        assert_eq!(residuals([1.5, 2.0]).reason(), None);
    }

    #[test]
    fn growth_is_seen_over_the_last_values_only() {
        let slow = (0..4_000).map(|step| 1e-6 * 1.01_f64.powi(step));
        assert_eq!(residuals(slow).reason(), None);
    }

    #[test]
    fn what_is_no_number_is_a_divergence_at_once() {
        assert!(residuals([f64::NAN]).not_a_number() && courant([f64::INFINITY]).not_a_number());
        assert_eq!(residuals([0.1, f64::INFINITY, f64::NAN]).reason(), Some("the residual of p is inf"));
        let mut divergence = Divergence::default();
        divergence.apply(&Event::Continuity { sum_local: f64::NAN, global: 0.0, cumulative: 0.0 });
        assert!(divergence.not_a_number());
        assert!(!residuals([1e-6, 1e-3, 1.5]).not_a_number());
    }
}
