//! One number, as often as it was measured, with its target and its peer.

use serde::Serialize;

use crate::statistics::{median, spread};

/// Repetitions that lie further apart than this say more about the machine than about what is measured.
const WIDE: f64 = 0.30;

/// What a figure is to be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Target {
    /// No more than this.
    AtMost(f64),
    /// No less than this.
    AtLeast(f64),
}

/// Whether it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It has no target.
    Open,
    /// It is.
    Ok,
    /// It is not.
    Miss,
}

/// A peer's value of the same thing.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Peer {
    /// Who.
    pub name: String,
    /// Its value.
    pub value: f64,
}

/// One number.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Figure {
    /// What it is of.
    pub name: String,
    /// Its unit; may be empty.
    pub unit: String,
    /// It, as often as it was measured.
    pub values: Vec<f64>,
    /// What it is to be.
    pub target: Option<Target>,
    /// Who else has one.
    pub peer: Option<Peer>,
}

impl Figure {
    /// A figure from repetitions.
    pub fn new(name: impl Into<String>, unit: &str, values: impl Into<Vec<f64>>) -> Self {
        Self { name: name.into(), unit: unit.to_owned(), values: values.into(), target: None, peer: None }
    }

    /// A count, which is the same each time.
    pub fn one(name: impl Into<String>, unit: &str, value: f64) -> Self {
        Self::new(name, unit, [value])
    }

    /// It should be no more.
    pub fn at_most(mut self, target: f64) -> Self {
        self.target = Some(Target::AtMost(target));
        self
    }

    /// It should be no less.
    pub fn at_least(mut self, target: f64) -> Self {
        self.target = Some(Target::AtLeast(target));
        self
    }

    /// A peer has this, if it could be measured.
    pub fn beside(mut self, name: &str, value: Option<f64>) -> Self {
        self.peer = value.map(|value| Peer { name: name.to_owned(), value });
        self
    }

    /// The median.
    pub fn value(&self) -> Option<f64> {
        median(&self.values)
    }

    /// How often the peer's value is this one's: above 1 the peer takes more.
    pub fn ratio(&self) -> Option<f64> {
        let (own, peer) = (self.value()?, self.peer.as_ref()?.value);
        (own != 0.0).then_some(peer / own)
    }

    /// Whether its repetitions lie too far apart to be trusted.
    pub fn is_wide(&self) -> bool {
        spread(&self.values).is_some_and(|spread| spread > WIDE)
    }

    /// Whether it is what it should be.
    pub fn verdict(&self) -> Verdict {
        let (Some(target), Some(value)) = (self.target, self.value()) else { return Verdict::Open };
        let reached = match target {
            Target::AtMost(most) => value <= most,
            Target::AtLeast(least) => value >= least,
        };
        if reached { Verdict::Ok } else { Verdict::Miss }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_decides_and_targets_are_met_at_their_bound() {
        let figure = |values: &[f64]| Figure::new("x", "s", values);
        for (figure, expected) in [
            (figure(&[1.0, 5.0, 2.0]).at_most(2.0), Verdict::Ok),
            (figure(&[1.0, 5.0, 2.1]).at_most(2.0), Verdict::Miss),
            (figure(&[9.0]).at_least(9.0), Verdict::Ok),
            (figure(&[8.9]).at_least(9.0), Verdict::Miss),
            (figure(&[8.9]), Verdict::Open),
            (figure(&[]).at_most(1.0), Verdict::Open),
        ] {
            assert_eq!(figure.verdict(), expected, "{figure:?}");
        }
    }

    #[test]
    fn repetitions_that_lie_far_apart_are_marked() {
        assert!(!Figure::new("x", "", [1.0, 1.1, 1.2]).is_wide());
        assert!(Figure::new("x", "", [1.0, 1.1, 1.5]).is_wide());
        assert!(!Figure::one("x", "", 1.0).is_wide());
    }

    #[test]
    fn a_ratio_above_one_is_a_peer_that_takes_more() {
        let figure = Figure::one("x", "", 2.0).beside("them", Some(5.0));
        assert_eq!(figure.ratio(), Some(2.5));
        assert_eq!(Figure::one("x", "", 2.0).beside("them", None).ratio(), None);
        assert_eq!(Figure::one("x", "", 0.0).beside("them", Some(1.0)).ratio(), None);
    }
}
