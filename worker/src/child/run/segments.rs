//! Runs an engine that has to be stopped for a checkpoint: one process after the other of the same step, each
//! going on from what the one before has left. What is stored was left by a process that stopped in good order,
//! and nobody writes while it is stored, so a stored checkpoint is always whole.

use std::io;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tracing::{info, warn};

use super::super::below;
use super::super::follow::End;
use super::super::turn::{Rhythm, Turn};
use super::{Output, Steps};
use crate::context::Context;
use crate::control::{Order, Orders};
use crate::engines::{Again, Exit, Reader, Segments, SoftStop, Step};
use crate::store::Between;

/// How it is done, and how far.
pub(super) struct Segmented {
    segments: Segments,
    /// None where checkpoints are not stored: then nothing is stopped for one.
    saves: Option<Between>,
    rhythm: Rhythm,
    /// Whether the process goes on from what another has left.
    goes_on: bool,
    /// Whether what is in the folder was left in good order by the last process.
    is_clean: bool,
    /// Whether going on has failed: then it is not tried once more.
    started_over: bool,
    /// When the process before was asked to stop, and whether what it left is stored.
    before: Option<(Instant, bool)>,
}

/// What follows a process.
enum Next {
    /// Another one, that goes on.
    GoOn,
    /// Another one, from the beginning.
    StartOver,
    /// Nothing: that was the end.
    End(End),
}

impl Segmented {
    /// Before the first process, which goes on if the attempt does.
    pub fn new(segments: Segments, saves: Option<Between>, goes_on: bool, context: &Context) -> Self {
        let every = Duration::from_secs(context.config.checkpoint_seconds);
        Self {
            segments,
            saves,
            rhythm: Rhythm::of(every),
            goes_on,
            is_clean: false,
            started_over: false,
            before: None,
        }
    }

    /// Stores what the last process left, if that is good to go on from.
    pub async fn end(self) {
        if let Some(saves) = self.saves.filter(|_| self.is_clean) {
            saves.end().await;
        }
    }

    /// Whether the process is to be stopped for a checkpoint.
    fn stops_for_it(&self) -> bool {
        self.saves.is_some() && self.segments.while_it_runs && !self.started_over
    }

    /// What follows a process that ended like this.
    fn next(&mut self, end: End, reader: &mut dyn Reader) -> Next {
        if let End::Asked(_) = end {
            reader.asked_to_stop();
        }
        let exit = |status: ExitStatus| Exit::from(status);
        self.is_clean = match &end {
            End::Asked(status) => reader.stopped_as_asked(exit(*status)),
            End::Interrupted { last } | End::SoftTimedOut { last, .. } => {
                last.is_some_and(|status| reader.stopped_as_asked(exit(status)))
            }
            _ => false,
        };
        match end {
            // Nobody goes on from what has used up its bounds.
            End::Asked(status) if self.is_clean && reader.has_used_up() => {
                self.is_clean = false;
                Next::End(End::Exited(status))
            }
            End::Asked(_) if self.is_clean => Next::GoOn,
            End::Exited(status) | End::Asked(status)
                if self.goes_on && !self.started_over && reader.cannot_go_on(exit(status)) =>
            {
                Next::StartOver
            }
            // It came to its end at the same moment, or failed.
            End::Asked(status) => Next::End(End::Exited(status)),
            end => Next::End(end),
        }
    }
}

impl Steps<'_> {
    /// Runs a step to its end, in as many processes as it takes.
    pub(super) async fn in_segments(
        &mut self,
        index: usize,
        step: &Step,
        orders: &mut Orders,
    ) -> io::Result<End> {
        let Some(mut segmented) = self.segmented.take() else {
            return self.run(Some(index), step, None, orders).await;
        };
        let end = Box::pin(self.one_after_the_other(&mut segmented, index, step, orders)).await;
        self.segmented = Some(segmented);
        end
    }

    async fn one_after_the_other(
        &mut self,
        segmented: &mut Segmented,
        index: usize,
        step: &Step,
        orders: &mut Orders,
    ) -> io::Result<End> {
        let mut first = Some(index);
        loop {
            let mut turn = Turn::new(self.at_work(), segmented.rhythm.works());
            let asks = segmented.stops_for_it().then_some(&mut turn);
            let is_first = first.is_some();
            let end = match self.run(first.take(), step, asks, orders).await {
                Ok(end) => end,
                // What the one before has left is as good as it was.
                Err(error) if !is_first => return Ok(End::NotContinued(error)),
                Err(error) => return Err(error),
            };
            segmented.is_clean = false;
            if let Some((asked, stored)) = segmented.before.take()
                && let Some(cost) = turn.cost_since(asked)
            {
                segmented.rhythm.took(cost, stored);
            }
            let next = match &mut self.locked().reader {
                Some(reader) => segmented.next(end, reader.as_mut()),
                None => return Ok(end),
            };
            let again = match next {
                Next::End(end) => return Ok(end),
                Next::GoOn => {
                    info!("stopped for a checkpoint");
                    // It does not run meanwhile.
                    self.watch.pause(Instant::now());
                    let saved = save(&mut segmented.saves, self.context, orders).await;
                    self.watch.go_on(Instant::now());
                    let stored = match saved {
                        Ok(stored) => stored,
                        Err(end) => return Ok(end),
                    };
                    segmented.before = turn.asked().map(|asked| (asked, stored));
                    Again::GoingOn
                }
                Next::StartOver => {
                    warn!("it cannot go on from what was saved; starts over");
                    segmented.started_over = true;
                    Again::StartingOver
                }
            };
            segmented.goes_on = again == Again::GoingOn;
            if let Err(error) = self.prepare(&segmented.segments, again) {
                return Ok(End::NotContinued(error));
            }
        }
    }

    /// Makes the folder ready for another process of the step.
    fn prepare(&self, segments: &Segments, again: Again) -> io::Result<()> {
        let job_dir: &Path = self.folder.path();
        if let SoftStop::File { path, .. } = &self.soft_stop {
            // One that the process before did not take away would stop the next one.
            below::remove(job_dir, path)?;
        }
        let text = match again {
            Again::GoingOn => &segments.going_on,
            Again::StartingOver => &segments.starting_over,
        };
        below::write(job_dir, &segments.path, text)?;
        if let Some(reader) = &mut self.locked().reader {
            reader.begins_again(again);
        }
        Ok(())
    }

    fn at_work(&self) -> super::super::turn::AtWork {
        let output = Arc::clone(&self.output);
        Arc::new(move || {
            let output = output.lock().unwrap_or_else(PoisonError::into_inner);
            output.reader.as_ref().is_some_and(|reader| reader.is_at_work())
        })
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Output> {
        self.output.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Stores what is there, unless the attempt is to end meanwhile; whether it is stored.
async fn save(saves: &mut Option<Between>, context: &Context, orders: &mut Orders) -> Result<bool, End> {
    let Some(saves) = saves else { return Ok(false) };
    let mut saving = Box::pin(saves.save());
    let mut saved = None;
    loop {
        match orders.latest() {
            Order::Go | Order::Pause => {}
            Order::Cancel => return Err(End::Cancelled),
            Order::Interrupt => return Err(End::Fenced),
            Order::Abandon(why) => return Err(End::Abandoned(why)),
        }
        if context.stop.is_cancelled() {
            return Err(End::Interrupted { last: None });
        }
        if let Some(stored) = saved {
            return Ok(stored);
        }
        tokio::select! {
            stored = &mut saving => saved = Some(stored),
            () = context.stop.cancelled() => {}
            () = orders.changed() => {}
        }
    }
}

#[cfg(test)]
mod tests;
