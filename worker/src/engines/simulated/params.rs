//! Reads the parameters of a task that pretends to work. A `null` counts as absent.

use serde_json::Value;
use stageline::Code;
use stageline::protocol::outcome::Failure;
use stageline::task::Task;

use super::hash;

/// The `params` of a task.
pub(in crate::engines) struct Params<'a>(&'a Task);

/// A failure that names the parameter.
pub(in crate::engines) fn invalid(name: &str, why: &str) -> Failure {
    Failure::fatal(Code::EngineInputInvalid, format!("`params.{name}` {why}"))
}

impl<'a> Params<'a> {
    /// Those of `task`.
    pub fn of(task: &'a Task) -> Self {
        Self(task)
    }

    fn get(&self, name: &str) -> Option<&'a Value> {
        self.0.params.as_ref()?.get(name).filter(|value| !value.is_null())
    }

    /// A number within its bounds.
    pub fn number(&self, name: &str, default: f64, least: f64, most: f64) -> Result<f64, Failure> {
        let Some(value) = self.get(name) else { return Ok(default) };
        let within = value.as_f64().filter(|number| (least..=most).contains(number));
        within.ok_or_else(|| invalid(name, &format!("must be a number from {least} to {most}")))
    }

    /// A whole number within its bounds.
    pub fn whole(&self, name: &str, least: u64, most: u64) -> Result<Option<u64>, Failure> {
        let Some(value) = self.get(name) else { return Ok(None) };
        // The command line's 5 and a dashboard's 5.0 are the same number.
        let whole = value.as_u64().or_else(|| {
            value.as_f64().filter(|n| n.fract() == 0.0 && (0.0..=most as f64).contains(n)).map(|n| n as u64)
        });
        let within = whole.filter(|number| (least..=most).contains(number));
        within
            .map(Some)
            .ok_or_else(|| invalid(name, &format!("must be a whole number from {least} to {most}")))
    }

    /// A text.
    pub fn text(&self, name: &str) -> Result<Option<&'a str>, Failure> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(invalid(name, "must be a text")),
        }
    }

    /// The seed: a whole number, or a text that stands for one.
    pub fn seed(&self) -> Result<Option<u64>, Failure> {
        match self.get("seed") {
            Some(Value::String(text)) => Ok(Some(hash(text, 0) % super::SEEDS)),
            _ => self.whole("seed", 0, u64::MAX),
        }
    }
}
