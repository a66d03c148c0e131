//! Protection from scale-in: a service of ECS that has too many tasks stops any of them. While this worker has
//! tasks in hand, it has the agent of ECS say that it is not to be one of those.
//!
//! It is begun when a message is received and waited for by nobody: between the answer of the poll and the
//! agent's own a scale-in may still come. Then TERM drains the worker as ever, and what it runs is handed back;
//! nothing is lost but the time. The protection ends when the worker was idle for a lease, since short tasks that
//! follow each other are not worth two calls each, and before the worker ends.

mod agent;
mod settings;
mod standing;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::agent::{Agent, AgentError};
pub use self::settings::ScaleInProtection;
use self::standing::{Standing, Step};
use crate::running::Running;

/// Keeps the machine protected while there are tasks in hand, until `over`. An idle worker is one that had none
/// for `rest`.
pub(crate) async fn keep_protected(
    wanted: ScaleInProtection,
    running: Arc<Running>,
    rest: Duration,
    over: CancellationToken,
) {
    let Some(agent) = Agent::of(wanted, |name| std::env::var(name).ok()) else { return };
    keep_asking(&agent, &running, rest, &over).await;
}

async fn keep_asking(agent: &Agent, running: &Running, rest: Duration, over: &CancellationToken) {
    let mut counts = running.counts();
    let mut standing = Standing::default();
    let mut idle = Some(Instant::now());
    loop {
        let busy = *counts.borrow_and_update() > 0;
        idle = if busy { None } else { idle.or_else(|| Some(Instant::now())) };
        let until = match standing.next(idle, rest, Instant::now()) {
            Step::Ask(on) => {
                ask(agent, &mut standing, on).await;
                continue;
            }
            Step::Wait(until) => until,
        };
        tokio::select! {
            () = over.cancelled() => break,
            // Never closed: the sender is in `running`.
            Ok(()) = counts.changed() => {}
            () = tokio::time::sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => {}
        }
    }
    if standing.is_on() {
        ask(agent, &mut standing, false).await;
    }
}

async fn ask(agent: &Agent, standing: &mut Standing, on: bool) {
    let answer = agent.protect(on).await;
    let now = Instant::now();
    let news = standing.went(on, answer.is_ok(), now);
    match answer {
        Ok(()) if news => info!(on, "the agent of ECS does as it is told again"),
        Ok(()) => {}
        Err(error) => {
            if on && matches!(error, AgentError::Silent) {
                standing.may_be_on(now);
            }
            if news {
                warn!(
                    %error,
                    "this task of ECS is not protected from scale-in while it runs tasks; tried again. Its role \
                     needs ecs:UpdateTaskProtection, and it must be of a service; otherwise set \
                     scale_in_protection = \"off\""
                );
            }
        }
    }
}

#[cfg(test)]
mod tests;
