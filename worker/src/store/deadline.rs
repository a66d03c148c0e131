//! For work in a thread of its own, which nobody can stop: it asks after each step whether it may go on.

use std::io;

use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Until when it may go on.
#[derive(Clone, Debug)]
pub(super) struct Deadline {
    until: Instant,
    over: CancellationToken,
}

impl Deadline {
    /// It is over at `until`, and before that once the guard is dropped: nobody waits for it any more.
    pub fn until(until: Instant) -> (Self, DropGuard) {
        let over = CancellationToken::new();
        (Self { until, over: over.clone() }, over.drop_guard())
    }

    /// # Errors
    /// [`io::ErrorKind::TimedOut`] when it is over.
    pub fn check(&self) -> io::Result<()> {
        if self.over.is_cancelled() || Instant::now() >= self.until {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "it took longer than there was time for it"));
        }
        Ok(())
    }
}

#[cfg(test)]
impl Deadline {
    /// Never over.
    pub fn never() -> Self {
        let until = Instant::now() + std::time::Duration::from_secs(1 << 20);
        Self { until, over: CancellationToken::new() }
    }

    /// Over.
    pub fn over() -> Self {
        Self { until: Instant::now(), over: CancellationToken::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_over_in_time_and_when_nobody_waits() {
        assert!(Deadline::never().check().is_ok());
        assert_eq!(Deadline::over().check().unwrap_err().kind(), io::ErrorKind::TimedOut);
        let (deadline, waits) = Deadline::until(Deadline::never().until);
        assert!(deadline.check().is_ok());
        drop(waits);
        assert_eq!(deadline.check().unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
