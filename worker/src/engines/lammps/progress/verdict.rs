//! The end of a LAMMPS process: its exit code together with what it printed. LAMMPS exits with 0
//! after `timer timeout` and `fix halt`, so the code alone is no proof.

use serde_json::Value;
use stageline::Code;

use super::super::input::lines_of;
use super::Progress;
use crate::engines::Exit;

/// Whether the simulation is complete.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// All that was planned has run.
    Completed {
        /// For the task's record.
        result: Value,
    },
    /// It has not.
    Failed {
        /// LAMMPS' own error, an incomplete run, or how the process ended.
        code: Code,
        /// For people: the engine's own words, and where in the script.
        message: String,
    },
}

impl Progress {
    /// Judges the process once it has ended and all its output was applied.
    #[must_use]
    pub fn verdict(&self, exit: Exit) -> Verdict {
        let failed = |code, message| Verdict::Failed { code, message };
        if let Some(error) = &self.ending.error {
            return failed(Code::LammpsError, self.explain(error));
        }
        match exit {
            Exit { code: Some(0), signal: None } => {}
            Exit { code: Some(_), .. } => return failed(Code::ExitNonZero, self.without_error_text(exit)),
            _ => return failed(Code::ExitSignal, self.without_error_text(exit)),
        }
        match self.missing() {
            Some(message) => failed(Code::LammpsIncomplete, message),
            None => Verdict::Completed { result: self.result() },
        }
    }

    /// `Unrecognized pair style 'lj/cutt' (src/force.cpp:278), at in.melt line 12: pair_style lj/cutt 2.5`.
    fn explain(&self, error: &str) -> String {
        let Some(command) = &self.ending.last_command else { return error.to_owned() };
        let shown = command.split_whitespace().collect::<Vec<_>>().join(" ");
        let found = self.script.as_ref().map(|(name, text)| (name, lines_of(text, command)));
        match found {
            Some((name, lines)) if !lines.is_empty() => {
                let lines = lines.iter().map(usize::to_string).collect::<Vec<_>>().join(" or ");
                format!("{error}, at {name} line {lines}: {shown}")
            }
            _ => format!("{error}, at command: {shown}"),
        }
    }

    fn without_error_text(&self, exit: Exit) -> String {
        let how = match (exit.signal, exit.code) {
            (Some(signal), _) => format!("was killed by signal {signal}"),
            (None, Some(code)) => format!("exited with {code}"),
            (None, None) => "ended in an unknown way".to_owned(),
        };
        format!("LAMMPS {how} after {} and printed no ERROR line", self.of_planned(self.done))
    }

    /// Why a clean exit is not the end of the simulation.
    fn missing(&self) -> Option<String> {
        let reached = match self.planned() {
            Some(planned) => self.finished.steps >= planned,
            // The script asked for the halt itself, but nobody asks to run out of time.
            None => !self.plan.bounded() && !self.ending.wall_time_limit,
        };
        if reached {
            return None;
        }
        let reason = match &self.ending.soft_stop {
            Some(reason) => reason,
            None if self.finished.runs == 0 => {
                "no run was seen on standard output (`-screen none` hides them)"
            }
            None => "LAMMPS gave no reason",
        };
        Some(format!("{}: {reason}", self.of_planned(self.finished.steps)))
    }

    fn of_planned(&self, steps: u64) -> String {
        let of = self.planned().map(|planned| format!(" of {planned}")).unwrap_or_default();
        format!("{steps}{of} steps")
    }
}
