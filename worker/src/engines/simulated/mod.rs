//! What the engines have in common that only pretend to work: numbers drawn from a seed, failures on demand,
//! and stages that pass with the time.

mod params;
mod play;

use fastrand::Rng;
use stageline::Code;
use stageline::protocol::outcome::{Failure, Outcome};
use stageline::task::{ErrorKind, Task};

pub(super) use params::Params;
pub(super) use play::{Act, Curve, Play};

/// Seeds that are not given stay below this, so that every JSON library reads them back as they are.
const SEEDS: u64 = 1 << 53;

/// A task's seed, and whether it is to fail.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Fate {
    pub seed: u64,
    /// The part of its time after which it fails, and in which way.
    pub fails: Option<(f64, Way)>,
}

/// How a task fails on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Retryable,
    Fatal,
    OutOfMemory,
    TimedOut,
}

impl Fate {
    /// Reads `seed`, `failureRate` and `failWith`. The seed decides everything; only whether it fails is
    /// drawn anew with each attempt, so that a retry can help.
    pub fn of(task: &Task, params: &Params<'_>, usual_rate: f64) -> Result<Self, Failure> {
        let seed = params.seed()?.unwrap_or_else(|| hash(task.id.as_str(), 0) % SEEDS);
        let way = match params.text("failWith")? {
            None => None,
            Some("retryable") => Some(Way::Retryable),
            Some("fatal") => Some(Way::Fatal),
            Some("out-of-memory") => Some(Way::OutOfMemory),
            Some("timed-out") => Some(Way::TimedOut),
            Some(_) => {
                return Err(params::invalid(
                    "failWith",
                    "must be retryable, fatal, out-of-memory or timed-out",
                ));
            }
        };
        // Who says how it is to fail, and not how often, wants to see it fail.
        let rate = params.number("failureRate", if way.is_some() { 1.0 } else { usual_rate }, 0.0, 1.0)?;
        let mut rng =
            Rng::with_seed(hash("failure", seed).wrapping_add(hash("attempt", task.attempt.0.into())));
        let fails = rng.f64() < rate;
        let share = 0.1 + 0.8 * rng.f64();
        Ok(Self { seed, fails: fails.then_some((share, way.unwrap_or(Way::Retryable))) })
    }

    /// Where numbers for `purpose` come from: the same for the same seed, whatever else is drawn.
    pub fn rng(&self, purpose: &str) -> Rng {
        Rng::with_seed(hash(purpose, self.seed))
    }
}

impl Way {
    /// What an attempt comes to that is to fail; `why` is its story.
    pub fn outcome(self, why: &str) -> Outcome {
        let (code, kind, message) = match self {
            Way::Retryable => (Code::SimulatedFailure, ErrorKind::Retryable, why),
            Way::Fatal => (Code::SimulatedFailure, ErrorKind::Fatal, why),
            Way::OutOfMemory => {
                (Code::OutOfMemory, ErrorKind::OutOfMemory, "it needed more memory than there was")
            }
            Way::TimedOut => (Code::TimedOut, ErrorKind::TimedOut, "its time was up"),
        };
        Outcome::Failed(Failure { kind, ..Failure::fatal(code, format!("simulated: {message}")) })
    }
}

/// FNV-1a. Not the standard library's hash, which may change: a seed gives the same numbers for ever.
fn hash(text: &str, number: u64) -> u64 {
    text.bytes().chain(number.to_le_bytes()).fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// A number from `least` to `most`.
pub(super) fn between(rng: &mut Rng, least: f64, most: f64) -> f64 {
    least + (most - least) * rng.f64()
}

/// With so many decimal places: results are read by people.
pub(super) fn rounded(number: f64, places: i32) -> f64 {
    let factor = 10f64.powi(places);
    (number * factor).round() / factor
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};
    use stageline::task::Attempt;

    use super::*;

    fn fate(id: &str, attempt: u32, params: Value) -> Result<Fate, Failure> {
        let mut task = Task::new(id.parse().unwrap());
        (task.attempt, task.params) = (Attempt(attempt), params.as_object().cloned());
        Fate::of(&task, &Params::of(&task), 0.0)
    }

    #[test]
    fn the_same_seed_has_the_same_fate_and_another_task_another_one() {
        let params = json!({"seed": 7, "failureRate": 0.5});
        assert_eq!(fate("a", 1, params.clone()).unwrap(), fate("b", 1, params).unwrap());
        assert_eq!(fate("a", 1, json!({})).unwrap(), fate("a", 2, json!({})).unwrap());
        assert_ne!(fate("a", 1, json!({})).unwrap().seed, fate("b", 1, json!({})).unwrap().seed);
        assert_ne!(
            fate("a", 1, json!({})).unwrap().rng("x").u64(..),
            fate("a", 1, json!({})).unwrap().rng("y").u64(..)
        );
    }

    #[test]
    fn as_many_fail_as_the_rate_says_over_seeds_and_over_attempts() {
        for rate in [0.0, 0.1, 0.5, 0.9, 1.0] {
            let failed =
                |fates: Vec<Fate>| fates.iter().filter(|fate| fate.fails.is_some()).count() as f64 / 4_000.0;
            let params = |seed: u32| json!({"seed": seed, "failureRate": rate});
            let by_seed = failed((0..4_000).map(|seed| fate("t", 1, params(seed)).unwrap()).collect());
            let by_attempt =
                failed((1..=4_000).map(|attempt| fate("t", attempt, params(3)).unwrap()).collect());
            // Five standard deviations of 4,000 draws are 0.04.
            assert!((by_seed - rate).abs() < 0.04, "{by_seed} of {rate}");
            assert!((by_attempt - rate).abs() < 0.04, "{by_attempt} of {rate}");
        }
    }

    #[test]
    fn who_says_how_it_fails_sees_it_fail() {
        for (text, way) in [
            ("retryable", Way::Retryable),
            ("fatal", Way::Fatal),
            ("out-of-memory", Way::OutOfMemory),
            ("timed-out", Way::TimedOut),
        ] {
            let (share, found) = fate("t", 1, json!({"failWith": text})).unwrap().fails.unwrap();
            assert!(found == way && (0.1..0.9).contains(&share));
        }
        assert_eq!(fate("t", 1, json!({"failWith": "fatal", "failureRate": 0})).unwrap().fails, None);
        assert!(fate("t", 1, json!({"failWith": "badly"})).is_err());
    }

    #[test]
    fn each_way_of_failing_has_its_kind() {
        for (way, code, kind) in [
            (Way::Retryable, Code::SimulatedFailure, ErrorKind::Retryable),
            (Way::Fatal, Code::SimulatedFailure, ErrorKind::Fatal),
            (Way::OutOfMemory, Code::OutOfMemory, ErrorKind::OutOfMemory),
            (Way::TimedOut, Code::TimedOut, ErrorKind::TimedOut),
        ] {
            let Outcome::Failed(failure) = way.outcome("why") else { panic!("{way:?} fails") };
            assert_eq!((failure.code, failure.kind), (code, kind));
            assert!(failure.message.starts_with("simulated: "));
        }
    }

    proptest! {
        #[test]
        fn drawn_numbers_stay_within_their_bounds(seed: u64, least in -1e6..1e6f64, more in 0.0..1e6f64) {
            let number = between(&mut fastrand::Rng::with_seed(seed), least, least + more);
            prop_assert!(least <= number && number <= least + more);
        }
    }
}
