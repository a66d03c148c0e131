//! What the worker's operator has put before and after every attempt: commands, and a signed webhook.
//!
//! The command before may keep an attempt from running; the one after, and the webhook, change nothing. Each
//! attempt that got as far as the first is followed by the second, whatever came of it.

mod command;
mod signature;
mod summary;
mod webhook;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use stageline::Code;
use stageline::protocol::outcome::{Failure, Outcome};
use stageline::task::{ErrorKind, Task};
use tracing::{info, warn};

pub(crate) use self::summary::Ended;
use self::summary::Summary;
pub(crate) use self::webhook::Webhook;
use crate::attempt::Abandoned;
use crate::context::Context;
use crate::control::{Order, Orders};
use crate::{Config, ConfigError};

/// How long a command may take.
const LIMIT: Duration = Duration::from_secs(30);
/// The same for the one after an attempt, when the worker is to stop at once.
const LIMIT_WHEN_STOPPING: Duration = Duration::from_secs(10);

/// The hooks of a worker.
pub(crate) struct Hooks {
    webhook: Option<Webhook>,
    /// Commands after an attempt that did not succeed.
    failed_after: AtomicU64,
}

/// Checks the settings.
///
/// # Errors
/// The first that makes no sense.
pub(crate) fn check(config: &Config) -> Result<(), ConfigError> {
    let invalid = |setting, why: String| Err(ConfigError::Invalid { setting, why });
    for (setting, argv) in [("hook_before", &config.hook_before), ("hook_after", &config.hook_after)] {
        if argv.first().is_some_and(|program| !program.starts_with('/')) {
            return invalid(setting, "must begin with the absolute path of a program".to_owned());
        }
        if argv.iter().any(|word| word.contains('\0')) {
            return invalid(setting, "must not hold a NUL".to_owned());
        }
    }
    match (&config.webhook_url, &config.webhook_secret_file) {
        (Some(url), Some(_)) => match webhook::address(url) {
            Ok(_) => Ok(()),
            Err(why) => invalid("webhook_url", why),
        },
        (Some(_), None) => invalid("webhook_secret_file", "is missing: every call is signed".to_owned()),
        (None, Some(_)) => invalid("webhook_url", "is missing, where there is a secret".to_owned()),
        (None, None) => Ok(()),
    }
}

impl Hooks {
    pub fn new(webhook: Option<Webhook>) -> Self {
        Self { webhook, failed_after: AtomicU64::new(0) }
    }

    /// Runs the command before an attempt; what the attempt comes to, when it is not to run.
    pub async fn before(
        &self,
        context: &Context,
        task: &Task,
        orders: &mut Orders,
    ) -> Result<Option<Outcome>, Abandoned> {
        let summary = Summary::before(context, task);
        self.tell(&summary);
        let argv = &context.config.hook_before;
        if argv.is_empty() {
            return Ok(None);
        }
        let work = command::run(context, task, argv, &summary, LIMIT);
        tokio::pin!(work);
        loop {
            match orders.latest() {
                Order::Go | Order::Pause => {}
                Order::Cancel => return Ok(Some(Outcome::Cancelled)),
                Order::Interrupt => return Ok(Some(Outcome::Interrupted)),
                Order::Abandon(why) => return Err(Abandoned(why)),
            }
            tokio::select! {
                ended = &mut work => return Ok(ended.err().map(|error| {
                    let message = format!("the worker's `hook_before` did not let it run: {error}");
                    let kind = ErrorKind::Retryable;
                    Outcome::Failed(Failure { kind, ..Failure::fatal(Code::HookFailed, message) })
                })),
                () = context.stop.cancelled() => return Ok(Some(Outcome::Interrupted)),
                () = orders.changed() => {}
            }
        }
    }

    /// Runs the command after an attempt, and calls the webhook.
    pub async fn after(&self, context: &Context, ended: &Ended) {
        let summary = Summary::after(context, ended);
        self.tell(&summary);
        let argv = &context.config.hook_after;
        if argv.is_empty() {
            return;
        }
        let limit = if context.stop.is_cancelled() { LIMIT_WHEN_STOPPING } else { LIMIT };
        match command::run(context, &ended.task, argv, &summary, limit).await {
            Ok(()) => info!("`hook_after` succeeded"),
            Err(error) => {
                let failed = self.failed_after.fetch_add(1, Ordering::Relaxed) + 1;
                warn!(%error, failed, "`hook_after` did not succeed; the task's outcome stands");
            }
        }
    }

    fn tell(&self, summary: &Summary) {
        if let Some(webhook) = &self.webhook {
            webhook.tell(summary);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn senseless_hooks_are_named() {
        let bad = |change: fn(&mut Config)| {
            let mut config = Config::default();
            change(&mut config);
            check(&config).map_err(|error| error.to_string())
        };
        assert_eq!(bad(|_| {}), Ok(()));
        let why = |change| bad(change).unwrap_err();
        assert!(why(|c| c.hook_before = vec!["notify".into()]).contains("`hook_before` must begin"));
        assert!(why(|c| c.hook_after = vec!["/bin/x".into(), "\0".into()]).contains("NUL"));
        assert!(why(|c| c.webhook_url = Some("https://h/x".into())).contains("`webhook_secret_file`"));
        assert!(why(|c| c.webhook_secret_file = Some("/s".into())).contains("`webhook_url`"));
        let plain = |c: &mut Config| {
            (c.webhook_url, c.webhook_secret_file) = (Some("http://example.org".into()), Some("/s".into()));
        };
        assert!(why(plain).contains("https"));
    }
}
