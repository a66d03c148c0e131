//! Reads LAMMPS' standard output line by line and says what each line means.
//!
//! Columns come from the header, never from their position. Lines count as thermo rows only between a
//! header and `Loop time of`: `  1 by 1 by 1 MPI processor grid` looks like a row too. Versions from 2021 to 2025
//! were read, in the thermo line styles `one`, `multi` and `yaml`. Fed by the LAMMPS adapter; see
//! [`super::progress`] for what becomes of the events.

use std::collections::BTreeMap;

mod parse;
#[cfg(test)]
mod tests;

/// Longer lines are no output of LAMMPS' own.
const LONGEST_LINE: usize = 16 * 1024;

/// What a line of output says.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A thermo header: rows follow. The columns are empty in the style `multi`, where each row brings
    /// its own names.
    RunStarted {
        /// The header's names, `Step` included.
        columns: Vec<String>,
    },
    /// Thermo output of one timestep. In the style `multi` it comes once a line, each time more complete.
    Row {
        /// The timestep.
        step: u64,
        /// The other columns by name; `nan` and `inf` are kept.
        values: BTreeMap<String, f64>,
    },
    /// `Loop time of …`: the run or minimisation has ended, by itself or by a soft stop.
    RunFinished {
        /// Seconds it took.
        loop_seconds: f64,
        /// MPI processes.
        procs: u64,
        /// Timesteps really taken.
        steps: u64,
        /// Atoms at the end.
        atoms: u64,
    },
    /// The speed printed after a run.
    Performance {
        /// Timesteps a second.
        timesteps_per_second: f64,
    },
    /// An `ERROR` line: LAMMPS gives up.
    Error {
        /// Its text after `ERROR: ` or `ERROR on proc N: `.
        message: String,
    },
    /// The command at which LAMMPS gave up, as it stands in the input script; comes after the error.
    LastCommand {
        /// The statement, continued lines joined.
        command: String,
    },
    /// A `WARNING` line.
    Warning {
        /// Its text.
        message: String,
    },
    /// The run ends early although LAMMPS will exit with 0: `timer timeout` or `fix halt`.
    SoftStop {
        /// LAMMPS' own words, without the place in its source.
        reason: String,
        /// Whether the wall time limit was the cause, and not a condition the script asked for.
        wall_time: bool,
    },
    /// `Total wall time`, the last line of a script that came to its end.
    WallTime {
        /// In seconds.
        seconds: u64,
    },
}

/// The state between lines.
#[derive(Debug, Clone, Default)]
pub struct Output {
    run: Run,
    /// Whether the next line is a header whatever it begins with.
    header_next: bool,
}

#[derive(Debug, Clone, Default)]
enum Run {
    #[default]
    None,
    /// Rows of these columns may come.
    Table { columns: Vec<String>, rows: bool },
    /// Blocks of `name = value` under `---- Step N ----`.
    Blocks { step: u64, values: BTreeMap<String, f64> },
}

impl Output {
    /// Starts before the first line.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads the next line, without its line feed.
    pub fn line(&mut self, line: &str) -> Vec<Event> {
        if line.len() > LONGEST_LINE {
            return Vec::new();
        }
        let header_expected = std::mem::take(&mut self.header_next);
        if let Some(event) = parse::announcement(line) {
            if matches!(event, Event::RunFinished { .. } | Event::Error { .. }) {
                self.run = Run::None;
            }
            return vec![event];
        }
        if line.starts_with("Per MPI rank memory") || line.starts_with("Setting up ") {
            self.run = Run::None;
            self.header_next = true;
            return Vec::new();
        }
        if let Some(step) = parse::block_header(line) {
            return self.block(step);
        }
        if let Run::Blocks { step, values } = &mut self.run {
            let Some(pairs) = parse::pairs(line) else { return Vec::new() };
            values.extend(pairs);
            return vec![Event::Row { step: *step, values: values.clone() }];
        }
        if let Some(columns) = parse::header(line, header_expected).filter(|_| !self.has_rows()) {
            self.run = Run::Table { columns: columns.clone(), rows: false };
            return vec![Event::RunStarted { columns }];
        }
        self.header_next = header_expected && line.trim() == "---";
        self.row(line).into_iter().collect()
    }

    /// A header in the middle of a table is something the script printed.
    fn has_rows(&self) -> bool {
        matches!(self.run, Run::Table { rows: true, .. })
    }

    fn block(&mut self, step: u64) -> Vec<Event> {
        let first = !matches!(self.run, Run::Blocks { .. });
        self.run = Run::Blocks { step, values: BTreeMap::new() };
        let row = Event::Row { step, values: BTreeMap::new() };
        if first { vec![Event::RunStarted { columns: Vec::new() }, row] } else { vec![row] }
    }

    fn row(&mut self, line: &str) -> Option<Event> {
        let Run::Table { columns, rows } = &mut self.run else { return None };
        let (step, values) = parse::row(line, columns)?;
        *rows = true;
        Some(Event::Row { step, values })
    }
}
