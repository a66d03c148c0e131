//! Writes what the tracker finds worth writing. The engine's side never waits: it leaves its report and
//! goes on, and while one write is under way the next ones gather.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use stageline::Clock;
use stageline::aws::{StagesTable, Write};
use stageline::task::Task;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, warn};

use super::{Report, Tracker};
use crate::ProgressMeter;

/// How often the last values are tried to be written when the attempt is over.
const LAST_TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_secs(1);

/// Where engines leave their reports.
#[derive(Clone)]
pub struct Sink {
    tracker: Arc<Mutex<Tracker>>,
    changed: Arc<Notify>,
    clock: Clock,
    meter: ProgressMeter,
}

impl Sink {
    /// Leaves a report.
    pub fn report(&self, report: Report) {
        self.meter.reports.one();
        let begun = {
            let mut tracker = self.tracker();
            let before = tracker.begun();
            tracker.apply(report, self.clock.now());
            tracker.begun() - before
        };
        if begun > 0 {
            self.meter.stages.add(begun as f64);
        }
        self.changed.notify_one();
    }

    // A panic while the lock was held leaves at worst one report half-applied.
    fn tracker(&self) -> MutexGuard<'_, Tracker> {
        self.tracker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The progress of one attempt.
pub struct Reporter {
    sink: Sink,
    over: CancellationToken,
    writing: JoinHandle<()>,
}

impl Reporter {
    /// Starts to write `task`'s progress, the counters of a long stage every `counter_period`. Writes nothing until something is reported; `when_fenced` hears of
    /// a write that was refused because a later attempt has written.
    pub fn start(
        task: &Task,
        counter_period: Duration,
        stages: StagesTable,
        clock: Clock,
        meter: ProgressMeter,
        when_fenced: impl FnOnce() + Send + 'static,
    ) -> Self {
        let tracker = Tracker::new(task.id.clone(), task.attempt, task.expires_at)
            .writing_at_least_every(counter_period);
        let sink = Sink { tracker: Arc::new(Mutex::new(tracker)), changed: Arc::default(), clock, meter };
        let over = CancellationToken::new();
        let written = write_until(sink.clone(), stages, over.clone());
        let writing = async {
            if written.await == Progress::Fenced {
                when_fenced();
            }
        };
        let writing = writing.in_current_span();
        Self { sink, over, writing: tokio::spawn(writing) }
    }

    /// Where the engine leaves its reports.
    pub fn sink(&self) -> Sink {
        self.sink.clone()
    }

    /// Ends the current stage, and waits until the last values are written.
    pub async fn finish(mut self, succeeded: bool) {
        self.end(succeeded);
        // It panics only if the tracker does; the attempt's outcome does not depend on it.
        let _ended = (&mut self.writing).await;
    }

    /// Writes nothing any more: the task is not this worker's.
    pub fn abandon(self) {
        self.writing.abort();
        self.over.cancel();
    }

    fn end(&self, succeeded: bool) {
        self.sink.tracker().finish(succeeded, self.sink.clock.now());
        self.over.cancel();
    }
}

impl Drop for Reporter {
    /// An attempt that was dropped half-way ends its stage all the same.
    fn drop(&mut self) {
        if !self.over.is_cancelled() {
            self.end(false);
        }
    }
}

/// How the writing of progress ended.
#[derive(PartialEq, Eq)]
enum Progress {
    Over,
    Fenced,
}

async fn write_until(sink: Sink, stages: StagesTable, over: CancellationToken) -> Progress {
    let mut fenced = false;
    while !over.is_cancelled() {
        let next = sink.tracker().next_due();
        let wait = next.map(|at| at.since(sink.clock.now()));
        tokio::select! {
            () = over.cancelled() => break,
            () = sink.changed.notified(), if wait.is_none_or(|wait| wait > Duration::ZERO) => {}
            () = tokio::time::sleep(wait.unwrap_or_default()), if wait.is_some() => {
                if !fenced && !write_due(&sink, &stages, &mut fenced).await {
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
        if fenced {
            return Progress::Fenced;
        }
    }
    for _ in 0..LAST_TRIES {
        if fenced || write_due(&sink, &stages, &mut fenced).await {
            break;
        }
        tokio::time::sleep(PAUSE).await;
    }
    if fenced { Progress::Fenced } else { Progress::Over }
}

/// Writes what is due; whether all of it is written.
async fn write_due(sink: &Sink, stages: &StagesTable, fenced: &mut bool) -> bool {
    let due = sink.tracker().due(sink.clock.now());
    let mut all = true;
    for stage in due {
        match stages.put(&stage).await {
            Ok(Write::Applied | Write::AlreadyApplied | Write::NotFound) => sink.meter.writes.one(),
            Ok(Write::Fenced) => {
                warn!(stage = %stage.name, "progress not written: a later attempt has written it");
                sink.meter.fenced.one();
                *fenced = true;
                return true;
            }
            Err(error) => {
                warn!(stage = %stage.name, %error, "progress not written");
                sink.tracker().not_written(stage.order);
                all = false;
            }
        }
    }
    all
}
