//! Waits for a process to end, and meanwhile does with its tree what the attempt's orders and limits say.

use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use nix::sys::signal::Signal;
use stageline::aws::Write;
use stageline::protocol::outcome::Failure;
use stageline::task::Task;
use tokio::process::Child;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::aside::Pauser;
use super::disk::DiskWatch;
use super::time_limits::{Stopwatch, TimeLimits};
use super::tree::Tree;
use super::turn::{self, Turn};
use super::{below, memory};
use crate::context::Context;
use crate::control::{Order, Orders};
use crate::engines::SoftStop;

/// What TERM leaves a process that did not end when it was asked by a file: it has had its time.
const AFTER_ASKING: Duration = Duration::from_secs(2);
/// Between tries to write that a task is paused, or goes on.
const WRITE_PAUSE: Duration = Duration::from_secs(2);

/// Why the process is not running any more.
pub(super) enum End {
    /// It ended.
    Exited(ExitStatus),
    /// It ended after it had been asked to for a checkpoint.
    Asked(ExitStatus),
    /// It ended after it had been asked to at its soft limit.
    SoftTimedOut {
        /// The limit.
        limit: Duration,
        /// How it ended, if no other process was to follow.
        last: Option<ExitStatus>,
    },
    /// It was stopped at its limit.
    TimedOut(Duration),
    /// It was stopped because its worker stops.
    Interrupted {
        /// How it ended, if it did so by itself after it had been asked by a file.
        last: Option<ExitStatus>,
    },
    /// It was stopped because its worker cannot renew its lease.
    Fenced,
    /// It was stopped on request.
    Cancelled,
    /// It was stopped because its solution has diverged.
    Diverged(Failure),
    /// It was stopped because it used more memory than it may.
    OutOfMemory(Failure),
    /// It was stopped because its folder took more of the disk than it may; or that was found at its end.
    OverQuota(Failure),
    /// It was stopped because the task is not this worker's any more.
    Abandoned(&'static str),
    /// The system does not tell of it.
    Lost(std::io::Error),
    /// It stopped to be gone on from, and no other process could be started.
    NotContinued(std::io::Error),
}

impl End {
    /// Whether another attempt may want what it saved to the last: it was stopped, or failed, and is still the
    /// worker's.
    pub fn may_be_gone_on_from(&self) -> bool {
        match self {
            End::Exited(status) | End::Asked(status) => !status.success(),
            End::SoftTimedOut { .. }
            | End::TimedOut(_)
            | End::OutOfMemory(_)
            | End::Interrupted { .. }
            | End::NotContinued(_) => true,
            End::Fenced
            | End::Cancelled
            | End::Diverged(_)
            | End::OverQuota(_)
            | End::Abandoned(_)
            | End::Lost(_) => false,
        }
    }
}

/// What came of waiting for an end.
enum Waited {
    /// It ended.
    Ended(Option<ExitStatus>),
    /// It did not, in the time that it had.
    TimeIsUp,
    /// The lease is being lost, and it has had the time that is left then.
    Fenced,
}

/// A process with its tree, and what is known of it.
pub(super) struct Followed<'a> {
    pub child: &'a mut Child,
    pub tree: Tree<'a>,
    pub context: &'a Context,
    pub task: &'a Task,
    pub limits: TimeLimits,
    /// What its processes may use of memory together, in MiB.
    pub memory_mb: Option<u64>,
    /// Watches what the job folder takes of the disk.
    pub disk: &'a mut DiskWatch,
    /// Counts the time of all steps.
    pub watch: &'a mut Stopwatch,
    pub soft_stop: &'a SoftStop,
    /// Who stops the processes where they are, when not a signal.
    pub pauser: Option<Pauser<'a>>,
    pub job_dir: &'a Path,
    /// When it is to be asked to stop for a checkpoint, if ever.
    pub turn: Option<&'a mut Turn>,
    /// Becomes a failure when the engine should not go on.
    pub diverged: watch::Receiver<Option<Failure>>,
}

impl Followed<'_> {
    /// Waits for the process to end, or ends it; afterwards nothing of its tree is left.
    pub async fn wait(mut self, orders: &mut Orders) -> End {
        debug!(pid = self.child.id(), "started");
        let mut paused = false;
        let mut end = self.until_end(orders, &mut paused).await;
        match &mut end {
            End::Exited(_) | End::Asked(_) | End::SoftTimedOut { .. } => {}
            End::Interrupted { last } if self.asks_by_file() => *last = self.let_save(paused).await,
            _ => self.stop(paused, self.grace(&end)).await,
        }
        self.tree.end().await;
        end
    }

    async fn until_end(&mut self, orders: &mut Orders, paused: &mut bool) -> End {
        let (mut soft_is_over, mut asked) = (false, false);
        // Whether the record does not say yet that the task is paused, or goes on.
        let mut unsaid = false;
        loop {
            let order = orders.latest();
            match order {
                Order::Cancel => return End::Cancelled,
                Order::Interrupt => return End::Fenced,
                Order::Abandon(why) => return End::Abandoned(why),
                Order::Pause if !*paused && self.hold(true).await => {
                    info!("paused");
                    self.count(true, Instant::now());
                    (*paused, unsaid) = (true, true);
                }
                Order::Go if *paused && self.hold(false).await => {
                    info!("goes on");
                    self.count(false, Instant::now());
                    (*paused, unsaid) = (false, true);
                }
                Order::Go | Order::Pause => {}
            }
            // What could not be done is tried again.
            let unheld = matches!((order, *paused), (Order::Pause, false) | (Order::Go, true));
            let limit = self.limits.next(soft_is_over);
            let left = self.watch.left(limit, Instant::now());
            tokio::select! {
                status = self.child.wait() => return match (status, self.limits.soft) {
                    (Ok(status), Some(limit)) if soft_is_over => {
                        End::SoftTimedOut { limit, last: Some(status) }
                    }
                    (Ok(status), _) if self.is_asked() => End::Asked(status),
                    (Ok(status), _) => End::Exited(status),
                    (Err(error), _) => End::Lost(error),
                },
                () = tokio::time::sleep(left.unwrap_or_default()), if left.is_some() => {
                    if soft_is_over || limit != self.limits.soft {
                        return End::TimedOut(limit.unwrap_or_default());
                    }
                    info!("its soft limit is over; asked to stop by itself");
                    soft_is_over = true;
                    self.ask_to_save();
                }
                () = self.context.stop.cancelled() => return End::Interrupted { last: None },
                () = turn::over(&mut self.turn), if !*paused && !soft_is_over && !asked => {
                    info!("asked to stop for a checkpoint");
                    asked = true;
                    if self.asks_by_file() && let Some(turn) = &mut self.turn {
                        turn.ask(Instant::now());
                    }
                }
                failure = becomes_some(&mut self.diverged) => return End::Diverged(failure),
                failure = memory::exceeded(&self.tree, self.memory_mb) => return End::OutOfMemory(failure),
                failure = self.disk.exceeded() => return End::OverQuota(failure),
                () = orders.changed() => {}
                () = tokio::time::sleep(WRITE_PAUSE), if unheld => {}
                () = say(self.context, self.task, *paused), if unsaid => unsaid = false,
            }
        }
    }

    /// Stops the processes where they are, or lets them go on; whether that is so now.
    async fn hold(&self, still: bool) -> bool {
        if let Some(pauser) = &self.pauser {
            return pauser.hold(still).await;
        }
        self.tree.signal(if still { Signal::SIGSTOP } else { Signal::SIGCONT });
        true
    }

    /// Time does not count while it is `paused`.
    fn count(&mut self, paused: bool, now: Instant) {
        if paused {
            self.watch.pause(now)
        } else {
            self.watch.go_on(now)
        }
        if let Some(turn) = &mut self.turn {
            if paused { turn.pause(now) } else { turn.go_on(now) }
        }
    }

    /// Asks the engine to save its state and end.
    fn ask_to_save(&self) {
        if !self.asks_by_file() {
            self.tree.signal(Signal::SIGTERM);
        }
    }

    /// Asks it by the file that it looks for, if there is one.
    fn asks_by_file(&self) -> bool {
        let SoftStop::File { path, content } = self.soft_stop else { return false };
        let written = below::write(self.job_dir, path, content);
        if let Err(error) = &written {
            warn!(%error, path = %path.display(), "not written; it cannot be asked by a file");
        }
        written.is_ok()
    }

    /// Whether it was asked to stop for a checkpoint.
    fn is_asked(&self) -> bool {
        self.turn.as_ref().is_some_and(|turn| turn.asked().is_some())
    }

    /// Gives it the time to end by itself that it would have after TERM, now that it was asked by a file.
    async fn let_save(&mut self, paused: bool) -> Option<ExitStatus> {
        let grace = self.context.config.term_grace();
        info!(pid = self.child.id(), ?grace, "asked to save its state and end");
        if paused {
            self.tree.signal(Signal::SIGCONT);
        }
        match self.waits(grace, paused).await {
            Waited::Ended(status) => return status,
            Waited::TimeIsUp => self.stop(false, grace.min(AFTER_ASKING)).await,
            // That was the last grace.
            Waited::Fenced => self.stop(false, Duration::ZERO).await,
        }
        None
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
        // A stopped process does not hear of it before it goes on.
        if paused && self.pauser.is_none() {
            self.tree.signal(Signal::SIGCONT);
        }
        if !matches!(self.waits(grace, paused).await, Waited::Ended(_)) {
            self.tree.signal(Signal::SIGKILL);
            // A process in the kernel's hands (a dead network disk) may not even die: do not wait for ever.
            let _reaped_later = tokio::time::timeout(grace.max(AFTER_ASKING), self.child.wait()).await;
        }
    }

    /// Waits for its end, but not for ever. What others have `paused` is let go on meanwhile.
    async fn waits(&mut self, grace: Duration, paused: bool) -> Waited {
        let pauser = self.pauser.as_ref().filter(|_| paused);
        let go_on = async {
            if let Some(pauser) = pauser {
                pauser.ask(false, grace).await;
            }
            std::future::pending::<()>().await;
        };
        let mut fenced = self.context.running.fenced();
        let last_grace = self.context.lease.last_grace();
        tokio::select! {
            status = self.child.wait() => Waited::Ended(status.ok()),
            () = tokio::time::sleep(grace) => Waited::TimeIsUp,
            () = go_on => Waited::TimeIsUp,
            // The lease is being lost meanwhile: others take the task soon, whatever this was stopped for.
            () = async {
                let _never_closed = fenced.wait_for(|fenced| *fenced).await.map(drop);
                tokio::time::sleep(last_grace).await;
            } => Waited::Fenced,
        }
    }
}

/// Waits for a value; for ever when nobody is left to send one.
async fn becomes_some<T: Clone>(receiver: &mut watch::Receiver<Option<T>>) -> T {
    match receiver.wait_for(Option::is_some).await.map(|found| found.clone()) {
        Ok(Some(found)) => found,
        _ => std::future::pending().await,
    }
}

/// Writes that the task is paused, or goes on.
async fn say(context: &Context, task: &Task, paused: bool) {
    loop {
        let now = context.clock.now();
        let written = if paused {
            Box::pin(context.aws.tasks.hold_running(task, &context.id, now)).await
        } else {
            Box::pin(context.aws.tasks.continue_running(task, &context.id, now)).await
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
