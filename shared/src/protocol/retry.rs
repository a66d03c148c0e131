//! Whether a failed attempt is followed by another, and when.

use std::hash::Hasher;
use std::time::Duration;

use crate::hash::Fnv;
use crate::task::{Attempt, ErrorKind, RetryPolicy, RetryStrategy, TaskId};

/// The longest delay of a policy that names none.
const DEFAULT_LONGEST_DELAY: u32 = 86_400;

/// Interruptions of a policy that names no number: a Spot instance may take a long task many times, and a
/// task that kills its workers must not go on for ever.
const DEFAULT_INTERRUPTIONS: u32 = 20;

/// Retries after an attempt that ran out of memory: the neighbours may have been the reason once.
pub const OUT_OF_MEMORY_RETRIES: u32 = 1;

impl RetryPolicy {
    /// Whether a failure of this class may be tried again at all.
    pub fn covers(&self, kind: ErrorKind) -> bool {
        match &self.retry_on {
            Some(kinds) => kinds.contains(&kind),
            None => matches!(kind, ErrorKind::Retryable | ErrorKind::OutOfMemory),
        }
    }

    /// Interruptions before the task is failed.
    pub fn interruptions(&self) -> u32 {
        self.max_interruptions.unwrap_or(DEFAULT_INTERRUPTIONS)
    }

    /// The delay before retry number `retry` (from 1) without jitter; `None` when the strategy is NONE.
    ///
    /// The first retry waits `delaySeconds` in every strategy but IMMEDIATE. Then EXPONENTIAL_BACKOFF
    /// doubles it (delay × 2^(retry − 1)) and FIBONACCI_BACKOFF multiplies it by 1, 1, 2, 3, 5, …
    pub fn delay(&self, retry: u32) -> Option<Duration> {
        let factor = match self.strategy {
            RetryStrategy::None => return None,
            RetryStrategy::Immediate => 0,
            RetryStrategy::FixedDelay => 1,
            RetryStrategy::ExponentialBackoff => {
                1u64.checked_shl(retry.saturating_sub(1)).unwrap_or(u64::MAX)
            }
            RetryStrategy::FibonacciBackoff => fibonacci(retry),
        };
        let longest = self.max_delay_seconds.unwrap_or(DEFAULT_LONGEST_DELAY);
        let seconds = u64::from(self.delay_seconds).saturating_mul(factor);
        Some(Duration::from_secs(seconds.min(u64::from(longest))))
    }

    /// The same with the policy's jitter. Which part of the delay a task draws depends on its id and
    /// attempt alone, so that a decision that is made twice is the same decision.
    pub fn jittered_delay(&self, retry: u32, id: &TaskId, attempt: Attempt) -> Option<Duration> {
        let delay = self.delay(retry)?;
        let grows =
            matches!(self.strategy, RetryStrategy::ExponentialBackoff | RetryStrategy::FibonacciBackoff);
        if !self.jitter.unwrap_or(grows) {
            return Some(delay);
        }
        let mut hash = Fnv::default();
        hash.write(id.as_str().as_bytes());
        hash.write(&attempt.0.to_le_bytes());
        let millis = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        // The upper half: FNV mixes its low bits least.
        let drawn = u128::from(millis) * u128::from(hash.finish() >> 32) / u128::from(u32::MAX);
        Some(Duration::from_millis(u64::try_from(drawn).unwrap_or(millis)))
    }
}

/// 1, 1, 2, 3, 5, … for 1, 2, 3, 4, 5, …; saturating.
fn fibonacci(n: u32) -> u64 {
    let (mut a, mut b) = (0u64, 1u64);
    // Number 94 is beyond u64.
    for _ in 0..n.min(94) {
        (a, b) = (b, a.saturating_add(b));
    }
    a
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn policy(strategy: RetryStrategy, cap: Option<u32>) -> RetryPolicy {
        RetryPolicy {
            strategy,
            max_retries: 9,
            delay_seconds: 10,
            max_delay_seconds: cap,
            jitter: Some(false),
            ..RetryPolicy::default()
        }
    }

    #[test]
    fn delays_of_the_five_strategies() {
        use RetryStrategy::{ExponentialBackoff, FibonacciBackoff, FixedDelay, Immediate, None as Never};
        let table: [(RetryStrategy, Option<u32>, [Option<u64>; 7]); 7] = [
            (Never, None, [None; 7]),
            (Immediate, None, [Some(0); 7]),
            (FixedDelay, None, [Some(10); 7]),
            (ExponentialBackoff, None, [10, 20, 40, 80, 160, 320, 640].map(Some)),
            (ExponentialBackoff, Some(100), [10, 20, 40, 80, 100, 100, 100].map(Some)),
            (FibonacciBackoff, None, [10, 10, 20, 30, 50, 80, 130].map(Some)),
            (FibonacciBackoff, Some(45), [10, 10, 20, 30, 45, 45, 45].map(Some)),
        ];
        for (strategy, cap, expected) in table {
            let policy = policy(strategy, cap);
            let delays: Vec<_> = (1..=7).map(|n| policy.delay(n).map(|d| d.as_secs())).collect();
            assert_eq!(delays, expected, "{strategy:?} {cap:?}");
        }
    }

    #[test]
    fn absurd_numbers_of_retries_saturate_at_the_cap() {
        for strategy in [RetryStrategy::ExponentialBackoff, RetryStrategy::FibonacciBackoff] {
            for retry in [0, 63, 64, 65, 94, 1_000_000, u32::MAX] {
                let delay = policy(strategy, None).delay(retry).unwrap();
                assert!(delay <= Duration::from_secs(86_400), "{strategy:?} {retry}: {delay:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn jitter_stays_within_the_delay_and_is_the_same_each_time(retry in 1u32..20, attempt in 0u32..50, id in "[a-z]{1,8}") {
            let id: TaskId = id.parse().unwrap();
            let policy = RetryPolicy { jitter: None, ..policy(RetryStrategy::ExponentialBackoff, Some(3600)) };
            let delay = policy.jittered_delay(retry, &id, Attempt(attempt));
            prop_assert!(delay <= policy.delay(retry));
            prop_assert_eq!(delay, policy.jittered_delay(retry, &id, Attempt(attempt)));
        }
    }

    #[test]
    fn jitter_spreads_tasks_that_failed_together() {
        let policy = RetryPolicy { jitter: Some(true), ..policy(RetryStrategy::FixedDelay, None) };
        let mut quarters = [0; 4];
        for n in 0..400 {
            let id: TaskId = format!("task-{n}").parse().unwrap();
            let delay = policy.jittered_delay(1, &id, Attempt(1)).unwrap();
            quarters[usize::try_from(delay.as_millis() / 2_501).unwrap()] += 1;
        }
        assert!(quarters.iter().all(|count| (50..150).contains(count)), "{quarters:?}");
    }
}
