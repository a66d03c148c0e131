//! A hostile input, what has to come of it, and what did.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use serde_json::Value;
use stageline::task::Stage;

/// One input.
pub struct Case {
    pub what: &'static str,
    pub record: Value,
    /// `COMPLETED`, or the code of its end.
    pub end: &'static str,
    /// Words that its message (of one that completed: its result) has to have.
    pub words: &'static str,
    pub check: Option<Check>,
    /// Removed once the record is put, and before its time has come.
    pub vanishes: Option<PathBuf>,
}

/// What else has to hold.
type Check = Box<dyn Fn(&Ended) -> Result<()>>;

/// A task that has ended.
pub struct Ended {
    pub record: Value,
    pub stages: Vec<Stage>,
    /// Its message, or its result, without what differs from run to run.
    pub says: String,
}

impl Case {
    pub fn new(what: &'static str, record: Value, end: &'static str, words: &'static str) -> Self {
        Self { what, record, end, words, check: None, vanishes: None }
    }

    pub fn and(self, check: impl Fn(&Ended) -> Result<()> + 'static) -> Self {
        Self { check: Some(Box::new(check)), ..self }
    }

    pub fn vanishing(self, path: PathBuf) -> Self {
        Self { vanishes: Some(path), ..self }
    }

    pub fn judge(&self, ended: &Ended) -> Result<()> {
        let (found, says) = (ended.end(), &ended.says);
        ensure!(found == self.end, "{found} instead of {}: {says}\n{:#}", self.end, ended.record);
        ensure!(says.contains(self.words), "{:?} is not in {says:?}", self.words);
        ensure!(self.end == "COMPLETED" || says.len() > 10, "it does not say why: {says:?}");
        self.check.as_ref().map_or(Ok(()), |check| check(ended))
    }
}

impl Ended {
    pub fn status(&self) -> &str {
        self.record["status"].as_str().unwrap_or("none")
    }

    /// `COMPLETED`, or the code of its end.
    pub fn end(&self) -> &str {
        match self.status() {
            "COMPLETED" => "COMPLETED",
            status => self.record["statusReason"]["code"].as_str().unwrap_or(status),
        }
    }
}
