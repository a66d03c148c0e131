//! The worker's lease: a small item that says that it lives, and beside it the registry of what it runs.
//!
//! The answer of each beat brings the signals that others left. A message is deleted once a registry item
//! that lists its task is written: from then on the registry remembers the task if this worker dies. A task
//! shorter than a heartbeat never costs a registry write.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use stageline::aws::{AwsError, Beaten, Heartbeat, Signal, WorkersTable};
use stageline::protocol::lease::Lease;
use stageline::task::TaskId;
use stageline::{At, Clock};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::acknowledge::Acknowledger;
use crate::guard::Breakers;
use crate::meters::Meters;
use crate::notices::Notices;
use crate::received::Received;
use crate::registry::Registry;
use crate::review::Reviewer;
use crate::running::Running;

/// The longest that one call may take: the lease has to outlive a call that hangs.
const LONGEST_CALL: Duration = Duration::from_secs(5);

/// Why a call of the keeper brought nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    #[error(transparent)]
    Aws(#[from] AwsError),
    #[error("no answer within {0:?}")]
    TooLong(Duration),
}

/// Keeps the lease.
pub(crate) struct LeaseKeeper {
    pub workers: WorkersTable,
    pub clock: Clock,
    pub lease: Lease,
    pub running: Arc<Running>,
    pub received: Arc<Received>,
    pub breakers: Arc<Breakers>,
    pub notices: Arc<Notices>,
    pub meters: Arc<Meters>,
    pub reviewer: Reviewer,
    /// Tasks that attempts want looked at.
    pub asked: mpsc::Receiver<TaskId>,
    pub acknowledger: Acknowledger,
    /// The heartbeat as it was last written.
    pub beat: Heartbeat,
    pub drain: CancellationToken,
    /// Signals that were acted on; the next beat takes them back.
    pub handled: Vec<Signal>,
    /// When the last beat that was written was begun.
    pub alive: watch::Sender<Instant>,
}

impl LeaseKeeper {
    /// Writes the first heartbeat, which makes the item.
    pub async fn begin(&mut self) -> Result<(), AwsError> {
        let begun = self.present();
        self.workers.beat(&self.beat, &[], true).await?;
        self.alive.send_replace(begun);
        Ok(())
    }

    /// Beats until `done`, then gives the lease up.
    pub async fn keep(mut self, done: CancellationToken) {
        let mut registry = Registry::default();
        let (mut tried, mut failed) = (Instant::now(), false);
        let mut looked = Instant::now();
        loop {
            let pause =
                if failed || self.running.count() > 0 { self.lease.busy() } else { self.lease.idle() };
            // A task that begins meanwhile is worth a beat sooner.
            let nap = (tried + pause).saturating_duration_since(Instant::now()).min(self.lease.busy());
            tokio::select! {
                () = done.cancelled() => break,
                Some(id) = self.asked.recv() => {
                    self.look(Some(&[id])).await;
                    continue;
                }
                () = tokio::time::sleep(nap) => {}
            }
            if tried.elapsed() >= pause {
                tried = Instant::now();
                failed = !self.beat(&mut registry).await;
            }
            if looked.elapsed() >= self.lease.length() * 2 {
                looked = Instant::now();
                self.look(None).await;
            }
            if !failed {
                self.list(&mut registry).await;
            }
        }
        if let Err(error) = self.workers.remove(&self.beat.worker_id).await {
            warn!(%error, "heartbeat item not removed; it is taken for a dead worker's");
        }
    }

    /// Brings the heartbeat up to date; gives the moment that it is of.
    fn present(&mut self) -> Instant {
        self.beat.heartbeat_at = self.clock.now();
        self.beat.running = u32::try_from(self.running.count()).unwrap_or(u32::MAX);
        self.beat.draining = self.drain.is_cancelled();
        self.beat.received_until = self.received.until();
        self.beat.broken = self.breakers.broken();
        self.beat.notice = self.notices.notice();
        Instant::now()
    }

    /// Beats, and acts on what the beat brings; whether it is written.
    async fn beat(&mut self, registry: &mut Registry) -> bool {
        let mut begun = self.present();
        let mut beaten = self.limited(self.workers.beat(&self.beat, &self.handled, false)).await;
        let gone = matches!(beaten, Ok(Beaten::Gone));
        if gone {
            warn!("others took this worker for dead, and have taken its tasks; it begins anew");
            // Its pages went with its item.
            *registry = Registry::default();
            begun = self.present();
            beaten = self.limited(self.workers.beat(&self.beat, &[], true)).await;
        }
        match beaten {
            Ok(Beaten::Alive(signals)) => {
                self.alive.send_replace(begun);
                self.handled.clear();
                if gone {
                    self.look(None).await;
                }
                self.obey(signals).await;
                true
            }
            Ok(Beaten::Gone) => {
                warn!("heartbeat not written: its item went away again");
                false
            }
            Err(error) => {
                warn!(%error, "heartbeat not written");
                false
            }
        }
    }

    async fn obey(&mut self, signals: Vec<Signal>) {
        let named = signals.iter().filter_map(|signal| match signal {
            Signal::Look { id, .. } => Some(id.clone()),
            Signal::Drain | Signal::Rebalance => None,
        });
        let named: Vec<_> = named.collect();
        // A look that failed is not handled: the next beat brings its signal again.
        let looked = named.is_empty() || self.look(Some(&named)).await;
        for signal in signals {
            match signal {
                Signal::Drain => {
                    info!("told to take no more tasks");
                    self.drain.cancel();
                    self.handled.push(Signal::Drain);
                }
                Signal::Rebalance => {
                    info!("told that its machine is at risk");
                    self.notices.recommended();
                    self.handled.push(Signal::Rebalance);
                }
                look @ Signal::Look { .. } if looked => self.handled.push(look),
                Signal::Look { .. } => {}
            }
        }
    }

    /// Reviews these tasks, or all; whether their records could be read.
    async fn look(&self, only: Option<&[TaskId]>) -> bool {
        let looked = self.limited(self.reviewer.look(only)).await;
        if let Err(error) = &looked {
            warn!(%error, "running tasks not looked at");
        }
        looked.is_ok()
    }

    async fn list(&self, registry: &mut Registry) {
        let worth = i64::try_from(self.lease.worth_listing().as_millis()).unwrap_or_default();
        let before = At::from_millis(self.clock.now().millis().saturating_sub(worth));
        let attempts = self.running.older_than(before);
        for page in registry.changed_pages(&attempts) {
            let written = self.limited(self.workers.register(&self.beat.worker_id, &page)).await;
            if let Err(error) = written {
                warn!(%error, page = page.page, "registry not written; messages stay on the queue");
                return;
            }
            registry.wrote(page);
        }
        self.meters.registry_tasks.set(attempts.len() as f64);
        for handle in self.running.release(&attempts) {
            self.acknowledger.delete(handle);
        }
    }

    async fn limited<T>(&self, call: impl Future<Output = Result<T, AwsError>>) -> Result<T, CallError> {
        let longest = LONGEST_CALL.min(self.lease.busy() * 2);
        match tokio::time::timeout(longest, call).await {
            Ok(answer) => Ok(answer?),
            Err(_elapsed) => Err(CallError::TooLong(longest)),
        }
    }
}
