//! Whether an engine's tasks are taken: a circuit breaker, as a state machine over an injected clock.
//!
//! Closed, until several failures in a row were this machine's own; then open, and nothing of the engine is
//! taken; after a pause one task is taken as a probe. What the probe shows closes it or opens it again, for
//! twice as long.

use std::time::Duration;

use stageline::At;

/// A probe that has gone on for this long has shown what it is to show: a simulation may run for days.
pub(crate) const PROBE_ENOUGH: Duration = Duration::from_secs(60);

/// When a breaker opens, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rules {
    /// Failures in a row; 0 never opens.
    pub failures: u32,
    pub first_pause: Duration,
    pub longest_pause: Duration,
}

/// What an attempt showed of its engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    /// It works.
    Works,
    /// It cannot work on this machine.
    Broken,
    /// Neither: the attempt never got that far, or was stopped.
    Nothing,
}

/// Whether a task may be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    Go,
    /// As the one that shows whether the engine works again.
    Probe,
    /// Not before this long.
    Wait(Duration),
}

/// What a finding changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Opened(Duration),
    Closed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed { failures: u32 },
    Open { until: At },
    Probing { since: At, until: At },
}

/// The breaker of one engine.
#[derive(Clone, Debug)]
pub(crate) struct Breaker {
    rules: Rules,
    state: State,
    /// The next pause.
    pause: Duration,
}

impl Breaker {
    pub fn new(rules: Rules) -> Self {
        Self { rules, state: State::Closed { failures: 0 }, pause: rules.first_pause }
    }

    /// Asks for one task. Whoever is admitted says later what it found ([`Breaker::settle`]).
    pub fn admit(&mut self, now: At) -> Admission {
        match self.state {
            State::Closed { .. } => Admission::Go,
            State::Open { until } => {
                let left = until.since(now);
                // More than any pause is left only when the clock was set back.
                if left.is_zero() || left > self.rules.longest_pause {
                    self.state = State::Probing { since: now, until };
                    Admission::Probe
                } else {
                    Admission::Wait(left)
                }
            }
            State::Probing { since, .. } if now < since || now.since(since) >= PROBE_ENOUGH => {
                // On probation: the next failure opens it again.
                self.state = State::Closed { failures: self.rules.failures.saturating_sub(1) };
                Admission::Go
            }
            State::Probing { since, .. } => Admission::Wait(PROBE_ENOUGH.saturating_sub(now.since(since))),
        }
    }

    /// What an admitted task found; `probe` says how it was admitted.
    pub fn settle(&mut self, probe: bool, finding: Finding, now: At) -> Option<Change> {
        match (self.state, finding) {
            (State::Probing { .. }, Finding::Works) if probe => self.close(),
            (State::Probing { .. }, Finding::Broken) if probe => self.open(now),
            (State::Probing { until, .. }, Finding::Nothing) if probe => {
                // Another probe, at once.
                self.state = State::Open { until: until.min(now) };
                None
            }
            // It began before the breaker opened, and says nothing about what begins now.
            (State::Open { .. } | State::Probing { .. }, _) | (State::Closed { .. }, Finding::Nothing) => {
                None
            }
            (State::Closed { .. }, Finding::Works) => self.close(),
            (State::Closed { failures }, Finding::Broken) => {
                let failures = failures.saturating_add(1);
                self.state = State::Closed { failures };
                if self.rules.failures > 0 && failures >= self.rules.failures { self.open(now) } else { None }
            }
        }
    }

    /// Until when nothing is taken; `None` while it is closed. In the past while a probe runs or is due.
    pub fn open_until(&self) -> Option<At> {
        match self.state {
            State::Closed { .. } => None,
            State::Open { until } | State::Probing { until, .. } => Some(until),
        }
    }

    fn open(&mut self, now: At) -> Option<Change> {
        let pause = self.pause;
        self.state = State::Open { until: now.plus(pause) };
        self.pause = (pause * 2).min(self.rules.longest_pause);
        Some(Change::Opened(pause))
    }

    fn close(&mut self) -> Option<Change> {
        // On probation it was closed without anybody being told.
        let was_open = self.open_until().is_some() || self.pause > self.rules.first_pause;
        self.state = State::Closed { failures: 0 };
        self.pause = self.rules.first_pause;
        was_open.then_some(Change::Closed)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RULES: Rules =
        Rules { failures: 3, first_pause: Duration::from_secs(30), longest_pause: Duration::from_secs(900) };

    fn at(seconds: u64) -> At {
        At::from_millis(0).plus(Duration::from_secs(seconds))
    }

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// A breaker that opened at second 0.
    fn open() -> Breaker {
        let mut breaker = Breaker::new(RULES);
        for _ in 0..3 {
            assert_eq!(breaker.admit(at(0)), Admission::Go);
            breaker.settle(false, Finding::Broken, at(0));
        }
        breaker
    }

    #[test]
    fn only_failures_in_a_row_open_it() {
        use Finding::{Broken, Nothing, Works};
        for (findings, opens) in [
            (&[Broken, Broken][..], false),
            (&[Broken, Broken, Broken], true),
            (&[Broken, Broken, Works, Broken], false),
            (&[Broken, Nothing, Broken, Nothing, Broken], true),
            (&[Works, Works, Nothing], false),
        ] {
            let mut breaker = Breaker::new(RULES);
            let changes: Vec<_> =
                findings.iter().filter_map(|finding| breaker.settle(false, *finding, at(0))).collect();
            assert_eq!(changes.contains(&Change::Opened(secs(30))), opens, "{findings:?}");
            assert_eq!(breaker.open_until().is_some(), opens, "{findings:?}");
        }
        let mut never = Breaker::new(Rules { failures: 0, ..RULES });
        assert!((0..100).all(|_| never.settle(false, Broken, at(0)).is_none()));
    }

    #[test]
    fn each_failed_probe_doubles_the_pause_up_to_its_longest_and_a_good_one_closes() {
        let mut breaker = open();
        let (mut now, mut pauses) = (0, Vec::new());
        let mut pause = 30;
        for _ in 0..7 {
            assert_eq!(breaker.admit(at(now + pause - 1)), Admission::Wait(secs(1)));
            now += pause;
            assert_eq!(breaker.admit(at(now)), Admission::Probe);
            let Some(Change::Opened(next)) = breaker.settle(true, Finding::Broken, at(now)) else { panic!() };
            pause = next.as_secs();
            pauses.push(pause);
        }
        assert_eq!(pauses, [60, 120, 240, 480, 900, 900, 900]);
        assert_eq!(breaker.admit(at(now + 900)), Admission::Probe);
        assert_eq!(breaker.settle(true, Finding::Works, at(now + 901)), Some(Change::Closed));
        assert_eq!((breaker.admit(at(now + 901)), breaker.open_until()), (Admission::Go, None));
        assert_eq!(breaker.pause, secs(30));
    }

    #[test]
    fn a_probe_that_shows_nothing_is_followed_by_another_one() {
        let mut breaker = open();
        assert_eq!(breaker.admit(at(30)), Admission::Probe);
        assert_eq!(breaker.settle(true, Finding::Nothing, at(31)), None);
        assert_eq!(breaker.admit(at(31)), Admission::Probe);
    }

    #[test]
    fn a_probe_that_goes_on_and_on_lets_the_others_in_on_probation() {
        let mut breaker = open();
        assert_eq!(breaker.admit(at(30)), Admission::Probe);
        assert_eq!(breaker.admit(at(60)), Admission::Wait(secs(30)));
        assert_eq!(breaker.admit(at(90)), Admission::Go);
        let mut worse = breaker.clone();
        assert_eq!(worse.settle(false, Finding::Broken, at(91)), Some(Change::Opened(secs(60))));
        assert_eq!(breaker.settle(true, Finding::Works, at(99)), Some(Change::Closed));
    }

    #[test]
    fn what_began_before_it_opened_says_nothing() {
        let mut breaker = open();
        for finding in [Finding::Works, Finding::Broken] {
            assert_eq!(breaker.settle(false, finding, at(1)), None);
        }
        assert_eq!(breaker.admit(at(30)), Admission::Probe);
        assert_eq!(breaker.settle(false, Finding::Works, at(31)), None, "nor while the probe runs");
        assert!(breaker.open_until().is_some());
    }

    #[test]
    fn a_clock_that_was_set_back_does_not_keep_it_open() {
        let mut breaker = Breaker::new(RULES);
        for _ in 0..3 {
            breaker.settle(false, Finding::Broken, at(100_000));
        }
        assert_eq!(breaker.admit(at(5)), Admission::Probe);
        assert_eq!(breaker.admit(at(4)), Admission::Go);
    }

    proptest! {
        #[test]
        fn it_never_opens_without_enough_failures_in_a_row_and_always_probes_again(
            steps in prop::collection::vec((0u8..3, 0u64..1_200), 1..80),
        ) {
            let (mut breaker, mut now, mut in_a_row) = (Breaker::new(RULES), 0, 0);
            for (finding, later) in steps {
                now += later;
                let finding = [Finding::Works, Finding::Broken, Finding::Nothing][usize::from(finding)];
                let admission = breaker.admit(at(now));
                if let Admission::Wait(wait) = admission {
                    prop_assert!(!wait.is_zero() && wait <= RULES.longest_pause);
                    let mut later = breaker.clone();
                    let asked = later.admit(at(now).plus(wait));
                    prop_assert!(asked != Admission::Wait(wait), "it is asked again after its wait");
                    continue;
                }
                match finding {
                    Finding::Works => in_a_row = 0,
                    Finding::Broken => in_a_row += 1,
                    Finding::Nothing => {}
                }
                breaker.settle(admission == Admission::Probe, finding, at(now));
                prop_assert!(breaker.open_until().is_none() || in_a_row >= RULES.failures);
            }
        }

        #[test]
        fn there_is_one_probe_at_a_time(steps in prop::collection::vec((0u8..5, 0u64..50), 1..200)) {
            let (mut breaker, mut now) = (open(), 0);
            // When the probe began that has neither ended nor gone on for long enough.
            let mut probe: Option<u64> = None;
            for (step, later) in steps {
                now += later;
                let fresh = probe.filter(|since| now - since < PROBE_ENOUGH.as_secs());
                match step {
                    0 | 1 => match breaker.admit(at(now)) {
                        Admission::Probe => {
                            prop_assert_eq!(fresh, None);
                            probe = Some(now);
                        }
                        Admission::Go => prop_assert_eq!(fresh, None, "nothing but the probe is let in"),
                        Admission::Wait(_) => {}
                    },
                    _ if probe.is_some() => {
                        let finding = [Finding::Works, Finding::Broken, Finding::Nothing][usize::from(step - 2)];
                        breaker.settle(true, finding, at(now));
                        probe = None;
                    }
                    _ => {}
                }
            }
        }
    }
}
