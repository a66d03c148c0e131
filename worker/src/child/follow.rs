//! Waits for a process to end, and meanwhile does with its tree what the attempt's orders and limits say.

use std::process::ExitStatus;
use std::time::Duration;

use nix::sys::signal::Signal;
use stageline::aws::Write;
use stageline::task::Task;
use tokio::process::Child;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::time_limits::{Stopwatch, TimeLimits};
use super::tree::Tree;
use crate::context::Context;
use crate::control::{Order, Orders};

/// Between tries to write that a task is paused, or goes on.
const WRITE_PAUSE: Duration = Duration::from_secs(2);

/// Why the process is not running any more.
pub(super) enum End {
    /// It ended.
    Exited(ExitStatus),
    /// It ended after it had been asked to at its soft limit.
    SoftTimedOut(Duration),
    /// It was stopped at its limit.
    TimedOut(Duration),
    /// It was stopped because its worker stops.
    Interrupted,
    /// It was stopped because its worker cannot renew its lease.
    Fenced,
    /// It was stopped on request.
    Cancelled,
    /// It was stopped because the task is not this worker's any more.
    Abandoned(&'static str),
    /// The system does not tell of it.
    Lost(std::io::Error),
}

/// A process with its tree, and what is known of it.
pub(super) struct Followed<'a> {
    pub child: &'a mut Child,
    pub tree: Tree<'a>,
    pub context: &'a Context,
    pub task: &'a Task,
    pub limits: TimeLimits,
}

impl Followed<'_> {
    /// Waits for the process to end, or ends it; afterwards nothing of its tree is left.
    pub async fn wait(mut self, orders: &mut Orders) -> End {
        debug!(pid = self.child.id(), "started");
        let mut paused = false;
        let end = self.until_end(orders, &mut paused).await;
        if !matches!(end, End::Exited(_) | End::SoftTimedOut(_)) {
            self.stop(paused, self.grace(&end)).await;
        }
        self.tree.end().await;
        end
    }

    async fn until_end(&mut self, orders: &mut Orders, paused: &mut bool) -> End {
        let mut watch = Stopwatch::started(Instant::now());
        let mut soft_is_over = false;
        // Whether the record does not say yet that the task is paused, or goes on.
        let mut unsaid = false;
        loop {
            match orders.latest() {
                Order::Cancel => return End::Cancelled,
                Order::Interrupt => return End::Fenced,
                Order::Abandon(why) => return End::Abandoned(why),
                Order::Pause if !*paused => {
                    info!("paused");
                    self.tree.signal(Signal::SIGSTOP);
                    watch.pause(Instant::now());
                    (*paused, unsaid) = (true, true);
                }
                Order::Go if *paused => {
                    info!("goes on");
                    self.tree.signal(Signal::SIGCONT);
                    watch.go_on(Instant::now());
                    (*paused, unsaid) = (false, true);
                }
                Order::Go | Order::Pause => {}
            }
            let limit = self.limits.next(soft_is_over);
            let left = watch.left(limit, Instant::now());
            tokio::select! {
                status = self.child.wait() => return match (status, self.limits.soft) {
                    (Ok(_), Some(soft)) if soft_is_over => End::SoftTimedOut(soft),
                    (Ok(status), _) => End::Exited(status),
                    (Err(error), _) => End::Lost(error),
                },
                () = tokio::time::sleep(left.unwrap_or_default()), if left.is_some() => {
                    if soft_is_over || limit != self.limits.soft {
                        return End::TimedOut(limit.unwrap_or_default());
                    }
                    info!("its soft limit is over; asked to stop by itself");
                    soft_is_over = true;
                    self.tree.signal(Signal::SIGTERM);
                }
                () = self.context.stop.cancelled() => return End::Interrupted,
                () = orders.changed() => {}
                () = say(self.context, self.task, *paused), if unsaid => unsaid = false,
            }
        }
    }

    /// How long the process has to end by itself. When the lease is being lost, it must be gone before
    /// others take its task.
    fn grace(&self, end: &End) -> Duration {
        let grace = self.context.config.term_grace();
        match end {
            End::Fenced | End::Abandoned(_) => grace.min(self.context.lease.last_grace()),
            _ => grace,
        }
    }

    async fn stop(&mut self, paused: bool, grace: Duration) {
        info!(pid = self.child.id(), ?grace, "stopping");
        self.tree.signal(Signal::SIGTERM);
        if paused {
            // A stopped process does not hear of it before it goes on.
            self.tree.signal(Signal::SIGCONT);
        }
        let mut fenced = self.context.running.fenced();
        let last_grace = self.context.lease.last_grace();
        let ended = tokio::select! {
            _reaped = self.child.wait() => true,
            () = tokio::time::sleep(grace) => false,
            // The lease is being lost meanwhile: others take the task soon, whatever this was stopped for.
            () = async {
                let _never_closed = fenced.wait_for(|fenced| *fenced).await.map(drop);
                tokio::time::sleep(last_grace).await;
            } => false,
        };
        if !ended {
            self.tree.signal(Signal::SIGKILL);
            // A process in the kernel's hands (a dead network disk) may not even die: do not wait for ever.
            let _reaped_later = tokio::time::timeout(grace, self.child.wait()).await;
        }
    }
}

/// Writes that the task is paused, or goes on.
async fn say(context: &Context, task: &Task, paused: bool) {
    loop {
        let now = context.clock.now();
        let written = if paused {
            context.aws.tasks.hold_running(task, &context.id, now).await
        } else {
            context.aws.tasks.continue_running(task, &context.id, now).await
        };
        match written {
            Ok(Write::Applied | Write::AlreadyApplied) => return,
            // What was asked has changed meanwhile, or the task is not this worker's any more.
            Ok(answer @ (Write::Fenced | Write::NotFound)) => {
                info!(paused, ?answer, "not written; the record is looked at again");
                context.reviews.ask(&task.id);
                return;
            }
            Err(error) => {
                warn!(paused, %error, "not written, trying again");
                tokio::time::sleep(WRITE_PAUSE).await;
            }
        }
    }
}
