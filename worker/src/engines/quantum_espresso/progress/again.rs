//! One calculation in several processes, of which each goes on from what the one before has saved. `pw.x` counts
//! what an input allows anew in each of them, so here it is counted over all.

use super::super::output::ASKED;
use super::{Again, Calculation, Ending, Process, Progress};
use crate::engines::Exit;

/// What an input bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bound {
    /// The iterations of one cycle: `electron_maxstep`.
    Iterations,
    /// The cycles of an optimisation: `nstep`.
    Steps,
}

impl Progress {
    /// Whether the process has begun what takes its time.
    pub fn is_at_work(&self) -> bool {
        self.process.at_work
    }

    /// Whether it stopped because it was asked to, and has saved what it goes on from. Its exit code is 2, or 255
    /// between a cycle and what follows it. Stopped while it still prepares to go on, it has written over its
    /// positions with those of the input.
    pub fn stopped_as_asked(&self, exit: Exit) -> bool {
        let ending = &self.ending;
        // The last cycle of a cell's optimisation is in a new basis.
        let lost = ending.ions_converged && self.input.calculation == Calculation::Relax;
        exit.signal.is_none()
            && self.process.at_work
            && ending.stopped == Some(ASKED)
            && ending.job_done
            && ending.error.is_none()
            && ending.not_converged.is_none()
            && !lost
    }

    /// The worker has asked the process to stop.
    pub fn asked_to_stop(&mut self) {
        self.process.asked = true;
    }

    /// Whether it has stopped because the worker, and nobody else, has asked it to.
    pub(super) fn obeyed(&self) -> bool {
        self.process.asked && self.ending.stopped == Some(ASKED)
    }

    /// What all processes together have used up. One alone would have ended there.
    pub(super) fn used_up(&self) -> Option<Bound> {
        let reached = |most: Option<u64>, count: u64| most.is_some_and(|most| count >= most);
        if self.cycle.open && reached(self.input.electron_maxstep, self.cycle.finished) {
            return Some(Bound::Iterations);
        }
        let moves = self.input.calculation == Calculation::Relax;
        (moves && reached(self.most_steps(), self.sums.scf_cycles)).then_some(Bound::Steps)
    }

    /// Whether another process would go beyond what the input allows.
    pub fn has_used_up(&self) -> bool {
        self.used_up().is_some()
    }

    /// Whether it failed before it had done anything.
    pub fn cannot_go_on(&self, exit: Exit) -> bool {
        let failed = exit.signal.is_none() && exit.code != Some(0);
        failed && self.ending.stopped.is_none() && !self.process.has_done
    }

    /// Another process begins.
    pub fn begins_again(&mut self, again: Again) {
        if again == Again::StartingOver {
            let shown = self.share;
            *self = Self { entered: self.entered, ..Self::new(self.input.clone()) };
            self.share = shown;
            return;
        }
        // A cycle that was open goes on, and one that had just converged is repeated from its end.
        self.process = Process { continues: self.sums.cycles > 0, ..Process::default() };
        self.sums.wall_seconds += self.ending.wall_seconds.unwrap_or_default();
        self.ending = Ending::default();
    }
}

#[cfg(test)]
mod tests;
