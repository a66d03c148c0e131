//! When the agent is asked for what. Pure.

use std::time::Duration;

use tokio::time::Instant;

use super::agent::LASTS;

/// A protection is renewed after this long: so often may it fail until it is over.
const RENEW: Duration = Duration::from_secs(LASTS.as_secs() / 2);
const FIRST_PAUSE: Duration = Duration::from_secs(15);
const LONGEST_PAUSE: Duration = Duration::from_secs(10 * 60);

/// What is known of the protection.
#[derive(Debug, Default)]
pub(super) struct Standing {
    /// When it was begun or renewed, where it may hold.
    on: Option<Instant>,
    /// Failures in a row.
    failures: u32,
    /// Before this nobody is asked again.
    pause: Option<Instant>,
}

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Ask for a protection, or for none.
    Ask(bool),
    /// Nothing until then, or until something changes.
    Wait(Option<Instant>),
}

impl Standing {
    /// Decides for a worker that has tasks, or has had none since `idle`; one that is idle for `rest` needs no
    /// protection.
    pub fn next(&self, idle: Option<Instant>, rest: Duration, now: Instant) -> Step {
        let step = match (idle, self.on) {
            (None, None) => Step::Ask(true),
            (None, Some(on)) => at(on + RENEW, now, true),
            (Some(_), None) => Step::Wait(None),
            // It is over by itself.
            (Some(_), Some(on)) if now >= on + LASTS => Step::Wait(None),
            (Some(idle), Some(_)) => at(idle + rest, now, false),
        };
        match (step, self.pause) {
            (Step::Ask(_), Some(pause)) if now < pause => Step::Wait(Some(pause)),
            _ => step,
        }
    }

    /// Takes note of an answer that came at `now`. Whether that is news: the first failure, or an end of failures.
    pub fn went(&mut self, on: bool, worked: bool, now: Instant) -> bool {
        if worked {
            let news = self.failures > 0;
            *self = Self { on: on.then_some(now), ..Self::default() };
            return news;
        }
        self.failures = self.failures.saturating_add(1);
        let pause = FIRST_PAUSE * 2u32.saturating_pow(self.failures.min(10) - 1);
        self.pause = Some(now + pause.min(LONGEST_PAUSE));
        self.failures == 1
    }

    /// Nobody knows whether what was asked for at `now` was done.
    pub fn may_be_on(&mut self, now: Instant) {
        self.on.get_or_insert(now);
    }

    /// Whether it may hold.
    pub fn is_on(&self) -> bool {
        self.on.is_some()
    }
}

fn at(due: Instant, now: Instant, on: bool) -> Step {
    if now >= due { Step::Ask(on) } else { Step::Wait(Some(due)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REST: Duration = Duration::from_secs(30);

    #[test]
    fn a_protection_begins_with_the_first_task_and_ends_a_rest_after_the_last() {
        let begin = Instant::now();
        let after = |seconds| begin + Duration::from_secs(seconds);
        let mut standing = Standing::default();
        assert_eq!(standing.next(Some(begin), REST, begin), Step::Wait(None), "an idle worker asks nobody");
        assert_eq!(standing.next(None, REST, begin), Step::Ask(true));
        assert!(!standing.went(true, true, begin));
        assert_eq!(standing.next(None, REST, after(1)), Step::Wait(Some(begin + LASTS / 2)));
        assert_eq!(standing.next(None, REST, begin + LASTS / 2), Step::Ask(true), "long before it is over");
        assert_eq!(standing.next(Some(after(10)), REST, after(39)), Step::Wait(Some(after(40))));
        assert_eq!(standing.next(Some(after(10)), REST, after(40)), Step::Ask(false));
        standing.went(false, true, after(40));
        assert!(!standing.is_on());
        assert_eq!(standing.next(Some(after(10)), REST, after(41)), Step::Wait(None));
    }

    #[test]
    fn who_fails_is_asked_ever_more_rarely_and_said_to_fail_once() {
        let begin = Instant::now();
        let mut standing = Standing::default();
        let (mut now, mut pauses, mut news) = (begin, Vec::new(), 0);
        for _ in 0..9 {
            assert_eq!(standing.next(None, REST, now), Step::Ask(true));
            news += u32::from(standing.went(true, false, now));
            let Step::Wait(Some(until)) = standing.next(None, REST, now) else { panic!("{standing:?}") };
            pauses.push((until - now).as_secs());
            now = until;
        }
        assert_eq!((pauses, news), (vec![15, 30, 60, 120, 240, 480, 600, 600, 600], 1));
        assert!(standing.went(true, true, now), "that it works again is news");
        // One that cannot be ended is over by itself.
        standing.went(false, false, now);
        assert_eq!(standing.next(Some(now), REST, now + LASTS), Step::Wait(None));
    }
}
