//! How long a process may still run. Only the time that it runs counts, not the time that it is paused.

use std::time::Duration;

use stageline::task::Task;
use tokio::time::Instant;

/// What a task with a soft limit alone gets after it, to save its state.
const AFTER_SOFT: Duration = Duration::from_secs(60);

/// The limits of one task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TimeLimits {
    /// Then the process is asked to stop by itself.
    pub soft: Option<Duration>,
    /// Then it is stopped.
    pub hard: Option<Duration>,
}

impl TimeLimits {
    /// Those that the record sets.
    pub fn of(task: &Task) -> Self {
        let soft = task.soft_timeout_seconds.map(Duration::from_secs);
        let hard = task.timeout_seconds.map(Duration::from_secs);
        Self { soft, hard: hard.or(soft.map(|soft| soft + AFTER_SOFT)) }
    }

    /// The limit that comes next.
    pub fn next(self, soft_is_over: bool) -> Option<Duration> {
        match self.soft {
            Some(soft) if !soft_is_over => Some(self.hard.map_or(soft, |hard| hard.min(soft))),
            _ => self.hard,
        }
    }
}

/// Counts the time that a process runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopwatch {
    ran: Duration,
    runs_since: Option<Instant>,
}

impl Stopwatch {
    /// One that runs.
    pub fn started(now: Instant) -> Self {
        Self { ran: Duration::ZERO, runs_since: Some(now) }
    }

    /// The process is stopped where it is.
    pub fn pause(&mut self, now: Instant) {
        if let Some(since) = self.runs_since.take() {
            self.ran += now.saturating_duration_since(since);
        }
    }

    /// It goes on.
    pub fn go_on(&mut self, now: Instant) {
        self.runs_since.get_or_insert(now);
    }

    /// How long it may still run until `limit`; none while it is paused, or without a limit.
    pub fn left(self, limit: Option<Duration>, now: Instant) -> Option<Duration> {
        let since = self.runs_since?;
        Some(limit?.saturating_sub(self.ran + now.saturating_duration_since(since)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn paused_time_does_not_count() {
        let start = Instant::now();
        let mut watch = Stopwatch::started(start);
        assert_eq!(watch.left(Some(seconds(10)), start + seconds(4)), Some(seconds(6)));
        watch.pause(start + seconds(4));
        watch.pause(start + seconds(5));
        assert_eq!(watch.left(Some(seconds(10)), start + seconds(900)), None);
        watch.go_on(start + seconds(1_000));
        watch.go_on(start + seconds(1_001));
        assert_eq!(watch.left(Some(seconds(10)), start + seconds(1_003)), Some(seconds(3)));
        assert_eq!(watch.left(Some(seconds(10)), start + seconds(2_000)), Some(seconds(0)));
        assert_eq!(watch.left(None, start + seconds(1_003)), None);
    }

    #[test]
    fn the_soft_limit_comes_before_the_hard_one_which_it_brings_along() {
        let limits = |soft, hard| {
            let mut task = Task::new("t".parse().unwrap());
            (task.soft_timeout_seconds, task.timeout_seconds) = (soft, hard);
            let limits = TimeLimits::of(&task);
            (limits.next(false), limits.next(true))
        };
        assert_eq!(limits(None, None), (None, None));
        assert_eq!(limits(None, Some(9)), (Some(seconds(9)), Some(seconds(9))));
        assert_eq!(limits(Some(5), Some(9)), (Some(seconds(5)), Some(seconds(9))));
        assert_eq!(limits(Some(5), None), (Some(seconds(5)), Some(seconds(65))));
    }
}
