//! Whether the worker is well and whether it takes tasks, from what its parts say.

use std::time::Duration;

/// What the worker's parts say.
#[derive(Clone, Debug)]
pub(crate) struct Signs {
    /// How long ago the last heartbeat that was written was begun; none before the first.
    pub beaten: Option<Duration>,
    /// After so long without one others take its tasks.
    pub lease: Duration,
    /// It has stopped what it ran, since it cannot renew its lease.
    pub fenced: bool,
    /// It takes no more tasks.
    pub draining: bool,
    /// The last polls of some queues failed; why.
    pub polls_fail: Option<String>,
    /// The watchdog's finding.
    pub stuck: Option<String>,
}

impl Signs {
    /// Whether the process should go on; if not, why a new one would do better.
    pub fn healthy(&self) -> Result<(), String> {
        if self.fenced {
            return Err("it cannot write its heartbeat, and has stopped what it ran".to_owned());
        }
        if let Some(silence) = self.beaten.filter(|silence| *silence > self.lease) {
            let (silent, lease) = (silence.as_secs(), self.lease.as_secs());
            return Err(format!("its last heartbeat was {silent} s ago; a lease is {lease} s"));
        }
        self.stuck.clone().map_or(Ok(()), Err)
    }

    /// Whether it takes tasks.
    pub fn ready(&self) -> Result<(), String> {
        self.healthy()?;
        if self.beaten.is_none() {
            return Err("it has not written its first heartbeat yet".to_owned());
        }
        if self.draining {
            return Err("it drains: it takes no more tasks".to_owned());
        }
        self.polls_fail.clone().map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn well() -> Signs {
        Signs {
            beaten: Some(Duration::from_secs(3)),
            lease: Duration::from_secs(30),
            fenced: false,
            draining: false,
            polls_fail: None,
            stuck: None,
        }
    }

    #[test]
    fn each_sign_means_what_it_should() {
        let silent = Some(Duration::from_secs(31));
        let stuck = Some("stuck".to_owned());
        for (signs, healthy, ready) in [
            (well(), true, true),
            (Signs { beaten: None, ..well() }, true, false),
            (Signs { beaten: silent, ..well() }, false, false),
            (Signs { fenced: true, ..well() }, false, false),
            (Signs { draining: true, ..well() }, true, false),
            (Signs { polls_fail: Some("refused".into()), ..well() }, true, false),
            (Signs { stuck, ..well() }, false, false),
        ] {
            assert_eq!((signs.healthy().is_ok(), signs.ready().is_ok()), (healthy, ready), "{signs:?}");
        }
    }
}
