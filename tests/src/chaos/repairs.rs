//! The sweeper's rounds, with faults of its own.

use std::time::Duration;

use anyhow::Result;
use stageline::Clock;
use stageline_sweeper::{Limits, Report};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::faults::{Control, Counts, Fault, FaultyHttp, Plan};
use crate::parts::Parts;

/// Rounds, one a lease.
pub(super) struct Repairs {
    control: Control,
    stop: CancellationToken,
    rounds: AbortOnDropHandle<Repaired>,
}

/// What all rounds together did.
#[derive(Clone, Debug, Default)]
pub(super) struct Repaired {
    pub rounds: usize,
    pub sent_again: usize,
    pub due: usize,
    pub signals: usize,
    pub errors: usize,
    /// Records in a state that no path leads into: there must be none.
    pub impossible: Vec<String>,
    pub calls: Counts,
}

impl Repairs {
    /// Starts the rounds, by a clock that is this much ahead.
    pub fn start(parts: &Parts, seed: u64, ahead: Duration) -> Result<Self> {
        let plan = Plan::seeded(seed.wrapping_add(1))
            .with(0.05, Fault::Throttle)
            .with(0.03, Fault::ServerError)
            .with(0.03, Fault::LostAnswer);
        let (config, control) = FaultyHttp::wrap(&parts.local.sdk_config(), plan)?;
        let system = Clock::system();
        let sweeper = parts.sweeper(&config, Clock::of(move || system.now().plus(ahead)));
        let (stop, pause) = (CancellationToken::new(), parts.deployment.lease.length());
        let stopped = stop.clone();
        let rounds = AbortOnDropHandle::new(tokio::spawn(async move {
            let mut repaired = Repaired::default();
            while stopped.run_until_cancelled(tokio::time::sleep(pause)).await.is_some() {
                repaired.add(Box::pin(sweeper.sweep(Limits::default())).await);
            }
            repaired
        }));
        Ok(Self { control, stop, rounds })
    }

    /// From now on its calls succeed.
    pub fn heal(&self) {
        self.control.stop();
    }

    /// Ends the rounds after the one that runs.
    pub async fn end(self) -> Result<Repaired> {
        self.stop.cancel();
        Ok(Repaired { calls: self.control.counts(), ..self.rounds.await? })
    }
}

impl Repaired {
    fn add(&mut self, report: Report) {
        self.rounds += 1;
        self.sent_again += report.sent_again;
        self.due += report.due;
        self.signals += report.signals;
        self.errors += report.errors;
        self.impossible
            .extend(report.impossible.into_iter().map(|found| format!("{}: {}", found.id, found.why)));
    }
}
