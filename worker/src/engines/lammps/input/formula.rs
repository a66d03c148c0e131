//! The arithmetic of `variable NAME equal FORMULA`, as far as it needs no simulation: numbers,
//! `+ - * / % ^`, parentheses, rounding functions and other variables. Everything else (thermo keywords,
//! computes, random numbers) has no value before the run and evaluates to `None`.

use super::variables::Variables;

/// How deep parentheses and variables may nest.
const DEPTH: u32 = 40;

/// Evaluates a formula with LAMMPS' precedences: sign before `^` before `* / %` before `+ -`, all
/// from left to right.
pub(super) fn evaluate(formula: &str, variables: &mut Variables, depth: u32) -> Option<f64> {
    let mut parser = Parser { rest: formula, variables, depth };
    let value = parser.sum()?;
    parser.rest.trim_start().is_empty().then_some(value)
}

struct Parser<'a, 'v> {
    rest: &'a str,
    variables: &'v mut Variables,
    depth: u32,
}

impl<'a> Parser<'a, '_> {
    fn sum(&mut self) -> Option<f64> {
        let mut value = self.product()?;
        while let Some(operator) = self.take(&['+', '-']) {
            let right = self.product()?;
            value = if operator == '+' { value + right } else { value - right };
        }
        Some(value)
    }

    fn product(&mut self) -> Option<f64> {
        let mut value = self.power()?;
        while let Some(operator) = self.take(&['*', '/', '%']) {
            let right = self.power()?;
            value = match operator {
                '*' => value * right,
                _ if right == 0.0 => return None,
                '/' => value / right,
                _ => value % right,
            };
        }
        Some(value)
    }

    fn power(&mut self) -> Option<f64> {
        let mut value = self.signed()?;
        while self.take(&['^']).is_some() {
            value = value.powf(self.signed()?);
        }
        Some(value)
    }

    fn signed(&mut self) -> Option<f64> {
        let mut sign = 1.0;
        while self.take(&['-']).is_some() {
            sign = -sign;
        }
        self.operand().map(|value| sign * value)
    }

    fn operand(&mut self) -> Option<f64> {
        self.variables.spend()?;
        if self.take(&['(']).is_some() {
            return self.parenthesis();
        }
        let start = self.rest.trim_start();
        if start.starts_with(|first: char| first.is_ascii_digit() || first == '.') {
            return self.number(start);
        }
        let length = start.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(start.len());
        let (name, rest) = start.split_at(length);
        self.rest = rest;
        if let Some(variable) = name.strip_prefix("v_") {
            let depth = self.depth.checked_add(1).filter(|depth| *depth < DEPTH)?;
            return self.variables.number(variable, depth);
        }
        let function: fn(f64) -> f64 = match name {
            "ceil" => f64::ceil,
            "floor" => f64::floor,
            "round" => |value| (value + 0.5).floor(),
            "sqrt" => f64::sqrt,
            _ => return None,
        };
        self.take(&['('])?;
        self.parenthesis().map(function)
    }

    fn parenthesis(&mut self) -> Option<f64> {
        self.depth += 1;
        if self.depth >= DEPTH {
            return None;
        }
        let value = self.sum()?;
        self.take(&[')'])?;
        self.depth -= 1;
        Some(value)
    }

    fn number(&mut self, start: &'a str) -> Option<f64> {
        let mut length = 0;
        let mut previous = ' ';
        for c in start.chars() {
            let exponent_sign = matches!(c, '+' | '-') && matches!(previous, 'e' | 'E');
            if !(c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E') || exponent_sign) {
                break;
            }
            length += 1;
            previous = c;
        }
        let (digits, rest) = start.split_at(length);
        self.rest = rest;
        digits.parse().ok()
    }

    fn take(&mut self, wanted: &[char]) -> Option<char> {
        let start = self.rest.trim_start();
        let first = start.chars().next().filter(|first| wanted.contains(first))?;
        self.rest = start.get(first.len_utf8()..)?;
        Some(first)
    }
}
