//! Time as the queues see it: an injected clock, so that every rule about visibility and delay is
//! tested by moving the hand and not by waiting.

use std::fmt;
use std::ops::Add;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use tokio::time::Instant;

/// Milliseconds since the Unix epoch, the unit of SQS timestamps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(pub u64);

impl Millis {
    /// The time that has passed since `earlier`, zero if it lies ahead.
    pub fn since(self, earlier: Millis) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Millis {
    type Output = Millis;

    fn add(self, duration: Duration) -> Millis {
        // A duration too long for the type only ever means "never".
        let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Millis(self.0.saturating_add(millis))
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where the SQS endpoint reads the time and waits for it.
#[async_trait]
pub trait Clock: Send + Sync + 'static {
    /// The present moment.
    fn now(&self) -> Millis;

    /// Resolves once `now()` has reached `at`, or a little before: callers look again.
    async fn until(&self, at: Millis);
}

/// The machine's clock. It advances monotonically, so that setting the wall clock back while the
/// endpoint runs cannot keep a message invisible.
#[derive(Debug)]
pub struct SystemClock {
    started: Instant,
    started_at: Millis,
}

impl SystemClock {
    /// A clock that shows the wall clock's time from now on.
    pub fn new() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { started: Instant::now(), started_at: Millis::default() + since_epoch }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> Millis {
        self.started_at + self.started.elapsed()
    }

    async fn until(&self, at: Millis) {
        tokio::time::sleep(at.since(self.now())).await;
    }
}

#[cfg(test)]
pub(crate) mod manual {
    use super::*;
    use tokio::sync::watch;

    /// A clock that moves only when a test moves it.
    #[derive(Debug)]
    pub(crate) struct ManualClock(watch::Sender<Millis>);

    impl ManualClock {
        pub(crate) fn new() -> Self {
            Self(watch::Sender::new(Millis(1_700_000_000_000)))
        }

        pub(crate) fn advance(&self, by: Duration) {
            self.0.send_modify(|now| *now = *now + by);
        }
    }

    #[async_trait]
    impl Clock for ManualClock {
        fn now(&self) -> Millis {
            *self.0.borrow()
        }

        async fn until(&self, at: Millis) {
            let mut hand = self.0.subscribe();
            // The sender lives in `self`, which this future borrows.
            hand.wait_for(|now| *now >= at).await.ok();
        }
    }
}
