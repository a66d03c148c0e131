//! Follows a program that tells its own progress, by the contract's lines on standard output or by tqdm's bars on
//! standard error, and keeps its result.
//!
//! Where a program does both, its own words count: from the contract's first line on, bars are left alone.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tracing::debug;

use super::Report;
use super::bars::{self, Bar};
use super::contract::{self, Said};

/// The tracker has as many.
const MOST_STAGES: usize = 50;
/// What progress without a name is called.
const UNNAMED: &str = "Running";

/// What one program has told so far.
#[derive(Debug, Default)]
pub struct Script {
    stages: Stages,
    /// It speaks by the contract.
    speaks: bool,
    lead: Option<Bar>,
    /// Bars that were drawn inside another one; their last line does not show it any more.
    nested: BTreeSet<(String, Option<u64>)>,
    /// Several processes print the same bar in turn, so that a smaller number is no new bar.
    several: bool,
    checkpoint: Option<String>,
    diverged: Option<String>,
    result: Option<Value>,
    refused: Option<&'static str>,
    unreadable: u64,
}

/// The stages that were begun.
#[derive(Debug, Default)]
struct Stages {
    current: Option<String>,
    begun: BTreeSet<String>,
}

impl Script {
    /// One whose output comes from `ranks` processes.
    pub fn of_ranks(ranks: u32) -> Self {
        Self { several: ranks > 1, ..Self::default() }
    }

    /// Takes a line of standard output.
    pub fn stdout(&mut self, line: &str) -> Option<Report> {
        match contract::read(line)? {
            Ok(said) => self.said(said),
            Err(contract::Unreadable { result }) => {
                self.unreadable += 1;
                if result {
                    let why = "its line is no JSON object, or longer than 1 MiB; write it into a file and name the file in `outputs`";
                    (self.result, self.refused) = (None, Some(why));
                }
                None
            }
        }
    }

    /// Takes a line of standard error.
    pub fn stderr(&mut self, line: &str) -> Option<Report> {
        if self.speaks {
            return None;
        }
        self.bar(bars::read(line)?)
    }

    /// What it has said last that it can go on from.
    pub fn checkpoint(&self) -> Vec<String> {
        self.checkpoint.iter().cloned().collect()
    }

    /// Why its solution is worth nothing, if it has said so: the first reason, as what follows is more of the same.
    pub fn diverged(&self) -> Option<&str> {
        self.diverged.as_deref()
    }

    /// The task's result: what it gave last, or that it ended well.
    pub fn result(self) -> Value {
        if self.unreadable > 0 {
            debug!(lines = self.unreadable, "lines of the progress contract without a JSON object, ignored");
        }
        match (self.result, self.refused) {
            (Some(result), _) => result,
            (None, Some(why)) => json!({ "exitCode": 0, "note": format!("the result was not taken: {why}") }),
            (None, None) => json!({ "exitCode": 0 }),
        }
    }

    fn said(&mut self, said: Said) -> Option<Report> {
        if said.result.is_some() || said.refused.is_some() {
            (self.result, self.refused) = (said.result, said.refused);
        }
        if said.checkpoint.is_some() {
            self.checkpoint = said.checkpoint;
        }
        if self.diverged.is_none() {
            self.diverged = said.diverged;
        }
        let counts = said.stage.is_some() || said.done.is_some() || said.total.is_some();
        if !counts && said.message.is_none() && said.metrics.is_empty() {
            return None;
        }
        self.speaks = true;
        let enter = match said.stage {
            // Of a stage that is over, or of one more than there can be: nothing of it belongs to the current.
            Some(name) if !self.stages.enter(&name) => return None,
            Some(name) => Some(name),
            None => {
                if self.stages.current.is_none() {
                    self.stages.enter(UNNAMED);
                }
                None
            }
        };
        Some(Report {
            enter,
            done: said.done,
            total: said.total,
            message: said.message,
            metrics: said.metrics,
        })
    }

    fn bar(&mut self, bar: Bar) -> Option<Report> {
        let key = (bar.name.clone(), bar.total);
        if bar.nested && self.lead.is_some() {
            if self.nested.len() < MOST_STAGES {
                self.nested.insert(key);
            }
            return Some(beside(&bar));
        }
        let Some(lead) = &self.lead else { return self.begin(bar) };
        let is_leads = (&lead.name, lead.total) == (&key.0, key.1);
        let is_nested = self.nested.contains(&key)
            || (bar.total != lead.total && self.nested.iter().any(|(_, total)| *total == bar.total));
        if is_nested && !is_leads {
            return Some(beside(&bar));
        }
        // A description may change with every step, and a total too; a count does not go back.
        let goes_on =
            (bar.total == lead.total || bar.name == lead.name) && (bar.done >= lead.done || self.several);
        if !goes_on {
            return self.begin(bar);
        }
        let message = (bar.name != lead.name).then(|| bar.name.clone());
        let report = Report {
            enter: None,
            done: Some(bar.done),
            total: bar.total,
            message,
            metrics: bar.metrics.clone(),
        };
        self.lead = Some(bar);
        Some(report)
    }

    fn begin(&mut self, bar: Bar) -> Option<Report> {
        let name = if bar.name.is_empty() { UNNAMED } else { &bar.name };
        let mut names =
            std::iter::once(name.to_owned()).chain((2..=MOST_STAGES).map(|n| format!("{name} {n}")));
        let fresh = names.find(|name| !self.stages.begun.contains(name));
        let Some(enter) = fresh.filter(|name| self.stages.enter(name)) else { return Some(beside(&bar)) };
        let report = Report {
            enter: Some(enter),
            done: Some(bar.done),
            total: bar.total,
            message: None,
            metrics: bar.metrics.clone(),
        };
        self.lead = Some(bar);
        Some(report)
    }
}

/// What is shown of a bar that is not the stage's own.
fn beside(bar: &Bar) -> Report {
    let of = bar.total.map(|total| format!("/{total}")).unwrap_or_default();
    let name = if bar.name.is_empty() { String::new() } else { format!("{}: ", bar.name) };
    let message = Some(format!("{name}{}{of}", bar.done));
    Report { message, ..Report::default() }
}

impl Stages {
    /// Whether the stage is the current one now. One that is over does not come back to life.
    fn enter(&mut self, name: &str) -> bool {
        if self.current.as_deref() == Some(name) {
            return true;
        }
        if self.begun.len() >= MOST_STAGES || !self.begun.insert(name.to_owned()) {
            return false;
        }
        self.current = Some(name.to_owned());
        true
    }
}

#[cfg(test)]
mod tests;
