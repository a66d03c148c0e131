//! The event filter of an event source mapping: which records a function is called for at all. Pure.
//!
//! A pattern is an object shaped like the record; each of its leaves is a list of alternatives. A record
//! matches when every leaf of the pattern does. The operators are `null`, exact values, `prefix`,
//! `anything-but`, `numeric` and `exists`; a pattern with another one is refused when it is read, because
//! a pattern that silently matches nothing loses every record.

use std::str::FromStr;

use serde_json::{Map, Value};
use thiserror::Error;

/// One filter pattern. Several are alternatives.
#[derive(Debug, Clone, PartialEq)]
pub struct FilterPattern(Vec<(String, Node)>);

/// A pattern that Lambda would refuse, or that this pump does not know.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("invalid filter pattern at `{path}`: {reason}")]
pub struct FilterError {
    path: String,
    reason: String,
}

#[derive(Debug, Clone, PartialEq)]
enum Node {
    Object(Vec<(String, Node)>),
    AnyOf(Vec<Test>),
}

/// One alternative of a leaf.
#[derive(Debug, Clone, PartialEq)]
enum Test {
    Exact(Value),
    Prefix(String),
    AnythingBut(Vec<Value>),
    Numeric(Vec<(Comparison, f64)>),
    Exists(bool),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// Whether a record passes: one of the patterns matches, or there is none.
pub fn passes(patterns: &[FilterPattern], record: &Value) -> bool {
    patterns.is_empty() || patterns.iter().any(|pattern| pattern.matches(record))
}

impl FilterPattern {
    /// Reads a pattern as it stands in an event source mapping.
    ///
    /// # Errors
    /// It is no JSON object, or it holds an operator that is unknown or has a wrong operand.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        match serde_json::from_str(text) {
            Ok(Value::Object(fields)) => Ok(Self(read_fields("", fields)?)),
            Ok(_) => Err(error("", "must be an object")),
            Err(invalid) => Err(error("", invalid)),
        }
    }

    /// Whether a record, in the form in which the function would see it, matches.
    pub fn matches(&self, record: &Value) -> bool {
        all_match(&self.0, Some(record))
    }
}

fn all_match(fields: &[(String, Node)], value: Option<&Value>) -> bool {
    fields.iter().all(|(name, node)| {
        let field = value.and_then(|value| value.get(name));
        match node {
            Node::Object(fields) => all_match(fields, field),
            Node::AnyOf(tests) => tests.iter().any(|test| test.holds(field)),
        }
    })
}

impl Test {
    /// A list matches when one of its elements does. Only leaves have a value: an object is, to every test,
    /// as if it were absent.
    fn holds(&self, field: Option<&Value>) -> bool {
        let leaves: &[Value] = match field {
            Some(Value::Array(items)) => items,
            Some(Value::Object(_)) | None => &[],
            Some(leaf) => std::slice::from_ref(leaf),
        };
        match self {
            Self::Exists(wanted) => *wanted != leaves.is_empty(),
            Self::Exact(expected) => leaves.iter().any(|leaf| equal(leaf, expected)),
            Self::Prefix(prefix) => {
                leaves.iter().any(|leaf| leaf.as_str().is_some_and(|text| text.starts_with(prefix)))
            }
            Self::AnythingBut(unwanted) => {
                leaves.iter().any(|leaf| !unwanted.iter().any(|value| equal(leaf, value)))
            }
            Self::Numeric(bounds) => leaves.iter().any(|leaf| {
                // A DynamoDB number is text (`{"N": "5"}`) and, as on Lambda, no number to this operator.
                leaf.as_f64().is_some_and(|number| bounds.iter().all(|(op, bound)| op.holds(number, *bound)))
            }),
        }
    }
}

fn equal(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        // 5 and 5.0 are the same number.
        (Some(a), Some(b)) => a == b,
        _ => a == b,
    }
}

impl Comparison {
    fn holds(self, number: f64, bound: f64) -> bool {
        match self {
            Self::Equal => number == bound,
            Self::Less => number < bound,
            Self::LessOrEqual => number <= bound,
            Self::Greater => number > bound,
            Self::GreaterOrEqual => number >= bound,
        }
    }
}

impl FromStr for FilterPattern {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        Self::parse(text)
    }
}

fn error(path: &str, reason: impl ToString) -> FilterError {
    FilterError { path: path.to_owned(), reason: reason.to_string() }
}

fn read_fields(path: &str, fields: Map<String, Value>) -> Result<Vec<(String, Node)>, FilterError> {
    let read = |(name, value)| {
        let path = format!("{path}/{name}");
        let node = match value {
            Value::Object(fields) => Node::Object(read_fields(&path, fields)?),
            Value::Array(tests) if !tests.is_empty() => {
                let tests = tests.into_iter().map(|test| read_test(&path, test));
                Node::AnyOf(tests.collect::<Result<_, _>>()?)
            }
            _ => return Err(error(&path, "must be an object or a list that is not empty")),
        };
        Ok((name, node))
    };
    fields.into_iter().map(read).collect()
}

fn read_test(path: &str, test: Value) -> Result<Test, FilterError> {
    let Value::Object(operator) = test else {
        return match test {
            Value::Array(_) => Err(error(path, "a list within a list of alternatives")),
            exact => Ok(Test::Exact(exact)),
        };
    };
    let mut parts = operator.into_iter();
    let (Some((name, operand)), None) = (parts.next(), parts.next()) else {
        return Err(error(path, "an operator is an object with one member"));
    };
    match (name.as_str(), operand) {
        ("exists", Value::Bool(wanted)) => Ok(Test::Exists(wanted)),
        ("prefix", Value::String(prefix)) => Ok(Test::Prefix(prefix)),
        ("anything-but", Value::Array(values)) if values.iter().all(is_scalar) => {
            Ok(Test::AnythingBut(values))
        }
        ("anything-but", value) if is_scalar(&value) => Ok(Test::AnythingBut(vec![value])),
        ("numeric", Value::Array(terms)) => read_bounds(path, &terms).map(Test::Numeric),
        (other, _) => Err(error(path, format!("`{other}` is unknown or has a wrong operand"))),
    }
}

fn is_scalar(value: &Value) -> bool {
    value.is_string() || value.is_number()
}

fn read_bounds(path: &str, terms: &[Value]) -> Result<Vec<(Comparison, f64)>, FilterError> {
    let bounds: Option<Vec<_>> = terms
        .chunks(2)
        .map(|term| {
            let comparison = match term.first()?.as_str()? {
                "=" => Comparison::Equal,
                "<" => Comparison::Less,
                "<=" => Comparison::LessOrEqual,
                ">" => Comparison::Greater,
                ">=" => Comparison::GreaterOrEqual,
                _ => return None,
            };
            Some((comparison, term.get(1)?.as_f64()?))
        })
        .collect();
    bounds
        .filter(|bounds| (1..=2).contains(&bounds.len()))
        .ok_or_else(|| error(path, "`numeric` takes one or two comparisons with a number"))
}

#[cfg(test)]
mod tests;
