//! LAMMPS' variables as far as their values are known before the run, and the `$` substitution.
//! A value that is not known becomes [`UNKNOWN`], which is no number, so that every number made from it
//! is unknown as well.

use std::collections::BTreeMap;

use super::formula::evaluate;
use super::lines::Quotes;

/// Stands for a value that only the run will tell.
pub(super) const UNKNOWN: &str = "?";
/// Longer values cannot be numbers; without a bound `variable a string $a$a` would double for ever.
const LONGEST_VALUE: usize = 256;
/// A statement that grows beyond this by substitution is given up.
const LONGEST_STATEMENT: usize = 1 << 16;
/// How many operands all formulas of one script may have together.
const OPERANDS: u32 = 1_000_000;

enum Value {
    /// Set once: `index`, `loop` and `-v`. Later definitions do not change it.
    Fixed(String),
    /// Replaced by a later definition.
    Text(String),
    /// Evaluated where it is used, not where it is defined.
    Formula(String),
    Unknown,
}

/// The variables defined so far.
pub(super) struct Variables {
    values: BTreeMap<String, Value>,
    operands_left: u32,
}

impl Variables {
    /// Starts with those of the command line, which win over the script's as `lmp -v` does.
    pub(super) fn new(command_line: &BTreeMap<String, String>) -> Self {
        let fixed = |(name, value): (&String, &String)| (name.clone(), Value::Fixed(bounded(value)));
        Self { values: command_line.iter().map(fixed).collect(), operands_left: OPERANDS }
    }

    /// Pays for one operand; `None` when the script's allowance is used up.
    pub(super) fn spend(&mut self) -> Option<()> {
        self.operands_left = self.operands_left.checked_sub(1)?;
        Some(())
    }

    /// Carries out `variable NAME STYLE ARGUMENTS`.
    pub(super) fn define(&mut self, name: &str, style: &str, arguments: &[&str]) {
        if style == "delete" {
            self.values.remove(name);
            return;
        }
        if matches!(self.values.get(name), Some(Value::Fixed(_))) {
            return;
        }
        let first = arguments.first().copied().unwrap_or(UNKNOWN);
        let value = match style {
            "index" => Value::Fixed(bounded(first)),
            "loop" => Value::Fixed(match arguments {
                [_, last, ..] if last.parse::<u64>().is_ok() => bounded(first),
                _ => "1".to_owned(),
            }),
            "string" => Value::Text(bounded(first)),
            "equal" if arguments.len() == 1 && first.len() <= LONGEST_VALUE => {
                Value::Formula(first.to_owned())
            }
            _ => Value::Unknown,
        };
        self.values.insert(name.to_owned(), value);
    }

    /// Forgets a variable's value, as after `next`.
    pub(super) fn forget(&mut self, name: &str) {
        self.values.insert(name.to_owned(), Value::Unknown);
    }

    /// The value of `v_NAME` in a formula.
    pub(super) fn number(&mut self, name: &str, depth: u32) -> Option<f64> {
        match self.values.get(name)? {
            Value::Fixed(text) | Value::Text(text) => text.trim().parse().ok(),
            Value::Formula(formula) => {
                let formula = formula.clone();
                evaluate(&formula, self, depth)
            }
            Value::Unknown => None,
        }
    }

    fn text(&mut self, name: &str) -> Option<String> {
        match self.values.get(name)? {
            Value::Fixed(text) | Value::Text(text) => Some(text.clone()),
            Value::Formula(_) => self.number(name, 0).and_then(fifteen_digits),
            Value::Unknown => None,
        }
    }

    /// Replaces `$x`, `${name}` and `$(formula)` outside quotes, once. `None` when it gets too long.
    pub(super) fn substitute(&mut self, text: &str) -> Option<String> {
        let mut out = String::new();
        let mut quotes = Quotes::default();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            if out.len() > LONGEST_STATEMENT {
                return None;
            }
            if let Some(length) = quotes.step(rest) {
                out.push_str(rest.get(..length).unwrap_or_default());
                rest = rest.get(length..).unwrap_or_default();
            } else if first == '$' && !quotes.inside() {
                let (value, after) = self.reference(rest.get(1..).unwrap_or_default());
                out.push_str(value.as_deref().unwrap_or(UNKNOWN));
                rest = after;
            } else {
                out.push(first);
                rest = rest.get(first.len_utf8()..).unwrap_or_default();
            }
        }
        Some(out)
    }

    /// Reads what follows a `$`: the value and the rest of the text.
    fn reference<'a>(&mut self, text: &'a str) -> (Option<String>, &'a str) {
        if let Some(inner) = text.strip_prefix('{') {
            return match inner.split_once('}') {
                Some((name, after)) => (self.text(name), after),
                None => (None, ""),
            };
        }
        if let Some(inner) = text.strip_prefix('(') {
            let Some(end) = closing(inner) else { return (None, "") };
            let (formula, after) = inner.split_at(end);
            return (self.immediate(formula), after.get(1..).unwrap_or_default());
        }
        let length = text.chars().next().map_or(0, char::len_utf8);
        let (name, after) = text.split_at(length);
        (self.text(name), after)
    }

    fn immediate(&mut self, formula: &str) -> Option<String> {
        match formula.split_once(":%") {
            None => evaluate(formula, self, 0).and_then(twenty_digits),
            Some((formula, ".0f")) => evaluate(formula, self, 0)
                .filter(|value| value.is_finite())
                .map(|value| format!("{:.0}", value.round_ties_even())),
            Some(_) => None,
        }
    }
}

fn closing(text: &str) -> Option<usize> {
    let mut open = 0_usize;
    text.bytes().position(|byte| {
        let end = byte == b')' && open == 0;
        match byte {
            b'(' => open += 1,
            b')' => open = open.saturating_sub(1),
            _ => {}
        }
        end
    })
}

fn bounded(value: &str) -> String {
    if value.len() <= LONGEST_VALUE { value.to_owned() } else { UNKNOWN.to_owned() }
}

/// C's `%.15g`, which `${name}` prints: the digits beyond are lost, and from 1e15 on it is no integer.
fn fifteen_digits(value: f64) -> Option<String> {
    let rounded: f64 = format!("{value:.14e}").parse().ok()?;
    (rounded.abs() < 1e15).then(|| format!("{}", rounded + 0.0))
}

/// C's `%.20g`, which `$(formula)` prints, as far as a count of steps needs it.
fn twenty_digits(value: f64) -> Option<String> {
    (value.abs() < 1e18).then(|| format!("{}", value + 0.0))
}
