//! The progress contract: one line on standard output by which any program tells what it is doing,
//!
//! ```text
//! ::stageline {"stage": "Solve", "done": 3, "total": 10, "message": "…", "metrics": {"loss": 0.1}, "result": {…}}
//! ```
//!
//! Every key may be left out. What cannot be used is left out too and never fails a task: a key that is not
//! known, a value of the wrong kind, a number that the tables cannot hold. `docs/engines.md` has the whole
//! specification. Pure; [`super::Script`] folds the lines into reports.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use stageline::task::relative_path;

/// What such a line begins with.
pub(crate) const MARK: &str = "::stageline";
const LONGEST_NAME_BYTES: usize = 100;
const LONGEST_PATH_BYTES: usize = 1000;
const LONGEST_MESSAGE_BYTES: usize = 500;
const MOST_METRICS: usize = 64;
/// A longer line is cut before it gets here, and a cut one cannot be read. It bounds what a result can have; JSON
/// takes up to sixteen times its text in memory.
pub(crate) const LONGEST_LINE_BYTES: usize = 1 << 20;
/// DynamoDB nests 32 levels, some of which are the record's own.
const DEEPEST_RESULT: usize = 16;
/// Every JSON library keeps whole numbers up to here.
const MOST_ITEMS: u64 = 1 << 53;

/// What one line says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Said {
    /// The stage it speaks of.
    pub stage: Option<String>,
    /// Items done in that stage.
    pub done: Option<u64>,
    /// Items there are in that stage.
    pub total: Option<u64>,
    /// A sentence about what goes on.
    pub message: Option<String>,
    /// The latest numbers.
    pub metrics: BTreeMap<String, f64>,
    /// What it can go on from: a file or a folder of its job folder.
    pub checkpoint: Option<String>,
    /// Why its solution is worth nothing, as it says itself.
    pub diverged: Option<String>,
    /// The task's result.
    pub result: Option<Value>,
    /// Why the line's result was not taken.
    pub refused: Option<&'static str>,
}

/// A line with the mark and without a JSON object behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// It was to give the result. A line that is too long was cut, and is no object any more.
    pub result: bool,
}

/// Reads a line; `None` for one that has nothing to do with the contract.
pub fn read(line: &str) -> Option<Result<Said, Unreadable>> {
    let rest = line.trim_start().strip_prefix(MARK)?;
    if !rest.starts_with([' ', '\t', '{']) {
        return None;
    }
    Some(object(rest.trim()).map(said).ok_or_else(|| Unreadable { result: rest.contains("\"result\"") }))
}

fn object(text: &str) -> Option<Map<String, Value>> {
    serde_json::from_str(text).ok().or_else(|| {
        let foreign = text.contains("NaN") || text.contains("Infinity");
        foreign.then(|| serde_json::from_str(&with_null_for_nan(text)).ok()).flatten()
    })
}

/// Python's `json` writes `NaN` and `Infinity`, which are no JSON. One diverging number should not cost the
/// line its counters.
fn with_null_for_nan(text: &str) -> String {
    let (mut out, mut rest, mut quoted) = (String::with_capacity(text.len()), text, false);
    while let Some(first) = rest.chars().next() {
        let word = ["NaN", "Infinity", "-Infinity"].into_iter().find(|word| rest.starts_with(word));
        let taken = match (first, word) {
            (_, Some(word)) if !quoted => {
                out.push_str("null");
                rest = &rest[word.len()..];
                continue;
            }
            ('\\', _) if quoted => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
            ('"', _) => {
                quoted = !quoted;
                1
            }
            _ => first.len_utf8(),
        };
        out.push_str(&rest[..taken]);
        rest = &rest[taken..];
    }
    out
}

fn said(mut keys: Map<String, Value>) -> Said {
    let (result, refused) = match keys.remove("result").filter(|value| !value.is_null()).map(result) {
        None => (None, None),
        Some(Ok(result)) => (Some(result), None),
        Some(Err(why)) => (None, Some(why)),
    };
    Said {
        stage: keys.get("stage").and_then(|value| text(value, LONGEST_NAME_BYTES)),
        done: keys.get("done").and_then(count),
        total: keys.get("total").and_then(count),
        message: keys.get("message").and_then(|value| text(value, LONGEST_MESSAGE_BYTES)),
        metrics: keys.get("metrics").and_then(Value::as_object).map(metrics).unwrap_or_default(),
        diverged: keys.get("diverged").and_then(reason),
        checkpoint: keys.get("checkpoint").and_then(Value::as_str).and_then(below_the_folder),
        result,
        refused,
    }
}

/// A sentence, or only that it is so.
fn reason(value: &Value) -> Option<String> {
    match value {
        Value::Bool(true) => Some("the program says that its solution has diverged".to_owned()),
        _ => text(value, LONGEST_MESSAGE_BYTES),
    }
}

/// A path as the job folder has it; what leads elsewhere is no checkpoint.
fn below_the_folder(text: &str) -> Option<String> {
    let path = relative_path("checkpoint", text).ok().filter(|_| text.len() <= LONGEST_PATH_BYTES)?;
    // It is a name and no pattern.
    path.to_str().filter(|path| !path.contains(['*', '?'])).map(str::to_owned)
}

/// A text that a terminal may show, if anything is left of it.
fn text(value: &Value, longest: usize) -> Option<String> {
    let text = plain(value.as_str()?, longest);
    (!text.is_empty()).then_some(text)
}

/// Without control characters, which could do anything to the terminal that shows it, and bounded.
pub(super) fn plain(text: &str, longest: usize) -> String {
    let text = &text[..text.floor_char_boundary(longest)];
    text.replace(char::is_control, " ").trim().to_owned()
}

/// A number of items: whole, or cut to a whole one.
fn count(value: &Value) -> Option<u64> {
    let count = value.as_u64().or_else(|| {
        let number = value.as_f64().filter(|number| (0.0..=MOST_ITEMS as f64).contains(number))?;
        Some(number as u64)
    })?;
    (count <= MOST_ITEMS).then_some(count)
}

fn metrics(values: &Map<String, Value>) -> BTreeMap<String, f64> {
    let named = values.iter().filter_map(|(name, value)| {
        let name = plain(name, LONGEST_NAME_BYTES);
        let value = value.as_f64().filter(|value| is_storable(*value))?;
        (!name.is_empty()).then_some((name, value))
    });
    named.take(MOST_METRICS).collect()
}

/// Whether DynamoDB takes the number: it refuses a whole item for one that it does not take.
pub(super) fn is_storable(number: f64) -> bool {
    number == 0.0 || (number.is_finite() && (1e-130..1e125).contains(&number.abs()))
}

fn result(value: Value) -> Result<Value, &'static str> {
    storable(value, DEEPEST_RESULT).ok_or("it is nested too deeply")
}

/// The value as DynamoDB can hold it: numbers outside of its range become texts, and no key is empty.
fn storable(value: Value, depth: usize) -> Option<Value> {
    let below = depth.checked_sub(1);
    Some(match value {
        Value::Number(number) if number.as_f64().is_none_or(|number| !is_storable(number)) => {
            Value::String(number.to_string())
        }
        Value::Array(items) => {
            let below = below?;
            Value::Array(items.into_iter().map(|item| storable(item, below)).collect::<Option<_>>()?)
        }
        Value::Object(entries) => {
            let below = below?;
            let named = |(name, value): (String, Value)| {
                let name = if name.is_empty() { "_".to_owned() } else { name };
                Some((name, storable(value, below)?))
            };
            Value::Object(entries.into_iter().map(named).collect::<Option<_>>()?)
        }
        plain => plain,
    })
}

#[cfg(test)]
mod tests;
