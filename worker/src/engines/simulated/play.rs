//! Stages that pass with the time.

use std::collections::BTreeMap;
use std::time::Duration;

use stageline::protocol::outcome::Outcome;
use tokio::time::Instant;

use super::rounded;
use crate::progress::Report;

const TICK: Duration = Duration::from_millis(100);

/// One stage.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::engines) struct Act {
    pub stage: &'static str,
    pub message: String,
    pub seconds: f64,
    /// How many there are of what; a stage without counts nothing.
    pub total: Option<(u64, &'static str)>,
}

/// A number that comes closer and closer to its end while the counted stages pass.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::engines) struct Curve {
    pub name: &'static str,
    pub from: f64,
    pub to: f64,
    /// Whether it goes there evenly; otherwise it falls fast at first, as residuals do.
    pub even: bool,
}

/// All that will happen.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::engines) struct Play {
    pub acts: Vec<Act>,
    pub metrics: Vec<Curve>,
    /// The part of the time after which it ends.
    pub until: f64,
    pub outcome: Outcome,
}

impl Curve {
    fn at(&self, share: f64) -> f64 {
        let left = if self.even { 1.0 - share } else { (-6.0 * share).exp() * (1.0 - share) };
        // Relative to its size: a residual has no decimal places to spare.
        let value = self.to + (self.from - self.to) * left;
        let places = 6 - value.abs().max(1e-15).log10().floor() as i32;
        rounded(value, places)
    }
}

impl Play {
    /// How long all of it would take.
    pub fn seconds(&self) -> f64 {
        self.acts.iter().map(|act| act.seconds).sum()
    }

    /// Performs it.
    pub async fn perform(self, mut report: impl FnMut(Report)) -> Outcome {
        let mut left = self.seconds() * self.until;
        for act in &self.acts {
            // Without any time there is no middle: all stages pass.
            let share = if act.seconds > left { left / act.seconds } else { 1.0 };
            self.perform_act(act, share, &mut report).await;
            left -= act.seconds;
            if share < 1.0 {
                break;
            }
        }
        self.outcome
    }

    /// Performs one stage up to `until`, a part of it.
    async fn perform_act(&self, act: &Act, until: f64, report: &mut impl FnMut(Report)) {
        let whole = Duration::from_secs_f64(act.seconds);
        let mine = whole.mul_f64(until);
        report(Report::enter(act.stage, act.total.map(|(total, _)| total), act.message.clone()));
        let Some((total, unit)) = act.total else { return tokio::time::sleep(mine).await };
        let begun = Instant::now();
        loop {
            let passed = begun.elapsed().min(mine);
            let over = passed == mine;
            let share = if over { until } else { passed.as_secs_f64() / whole.as_secs_f64() };
            let done = (total as f64 * share) as u64;
            let metrics: BTreeMap<_, _> =
                self.metrics.iter().map(|curve| (curve.name.to_owned(), curve.at(share))).collect();
            let said = Report::progress(done).saying(format!("{done} of {total} {unit}"));
            report(Report { metrics, ..said });
            if over {
                return;
            }
            tokio::time::sleep(TICK.min(mine - passed)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn play(seconds: f64, until: f64) -> Play {
        let act = |stage, total| Act { stage, message: String::new(), seconds, total };
        let acts = vec![act("Setup", None), act("Run", Some((10, "steps"))), act("Finish", None)];
        let metrics = vec![Curve { name: "residual", from: 1.0, to: 1e-6, even: false }];
        Play { acts, metrics, until, outcome: Outcome::Interrupted }
    }

    async fn performed(play: Play) -> (Vec<String>, Report) {
        let mut reports = Vec::new();
        play.perform(|report| reports.push(report)).await;
        let last = reports.iter().rfind(|report| report.done.is_some()).cloned().unwrap_or_default();
        (reports.into_iter().filter_map(|report| report.enter).collect(), last)
    }

    #[tokio::test]
    async fn every_stage_passes_and_the_last_number_is_the_curves_end() {
        for seconds in [0.0, 0.05] {
            let (stages, last) = performed(play(seconds, 1.0)).await;
            assert_eq!(stages, ["Setup", "Run", "Finish"]);
            assert_eq!((last.done, last.metrics["residual"]), (Some(10), 1e-6));
        }
    }

    #[tokio::test]
    async fn a_failure_ends_the_stage_that_it_is_in() {
        let (stages, last) = performed(play(0.05, 0.5)).await;
        assert_eq!(stages, ["Setup", "Run"]);
        assert_eq!(last.done, Some(5));
        let (stages, _) = performed(play(0.05, 0.2)).await;
        assert_eq!(stages, ["Setup"]);
    }
}
