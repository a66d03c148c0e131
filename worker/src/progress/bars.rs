//! Recognises the progress bars of `tqdm` in what a script prints, so that a script that has some needs no change:
//!
//! ```text
//! training:  45%|████▌     | 45/100 [00:10<00:12,  4.4it/s, loss=0.25]
//! 1.05MB [00:10, 105kB/s]
//! ```
//!
//! Only tqdm's own shape counts: a number that some other line holds is no progress. Pure.

use std::collections::BTreeMap;

use super::contract::{is_storable, plain};

const LONGEST_LINE: usize = 4 * 1024;
const LONGEST_NAME_BYTES: usize = 100;
const MOST_METRICS: usize = 64;
const MOST_ITEMS: f64 = (1_u64 << 53) as f64;
/// What tqdm writes behind a bar that is not on its lowest line: one inside another.
const CURSOR_UP: &str = "\u{1b}[A";

/// One bar, as a line shows it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bar {
    /// Its description, empty without one.
    pub name: String,
    /// Items done.
    pub done: u64,
    /// Items there are.
    pub total: Option<u64>,
    /// The numbers of its postfix.
    pub metrics: BTreeMap<String, f64>,
    /// It is drawn below another one.
    pub nested: bool,
}

/// The bar that `line` shows, if it shows one.
pub fn read(line: &str) -> Option<Bar> {
    if line.len() > LONGEST_LINE || !line.ends_with([']', 'A', 'm', ' ']) {
        return None;
    }
    let nested = line.contains(CURSOR_UP);
    let text = without_escapes(line);
    let (head, inner) = text.trim().strip_suffix(']')?.rsplit_once('[')?;
    let mut parts = inner.split(',').map(str::trim);
    let clock = parts.next()?;
    let (elapsed, bounded) = clock.split_once('<').map_or((clock, false), |(elapsed, _)| (elapsed, true));
    let speed = parts.next()?;
    if !is_clock(elapsed) || !(speed.contains("/s") || speed.contains("s/")) {
        return None;
    }
    let (name, done, total) = if bounded { of_total(head)? } else { of_none(head)? };
    let name = plain(name.trim().trim_end_matches(':'), LONGEST_NAME_BYTES);
    Some(Bar { name, done, total, metrics: postfix(parts), nested })
}

/// `desc:  45%|████▌     | 45/100 `
fn of_total(head: &str) -> Option<(&str, u64, Option<u64>)> {
    let (front, counts) = head.rsplit_once('|')?;
    let (front, _bar) = front.split_once("%|")?;
    let name = front.trim_end_matches(|c: char| c.is_ascii_digit());
    if name.len() == front.len() {
        return None;
    }
    let (done, total) = counts.trim().split_once('/')?;
    Some((name, scaled(done, false)?, Some(scaled(total, false)?)))
}

/// `desc: 45it `
fn of_none(head: &str) -> Option<(&str, u64, Option<u64>)> {
    let head = head.trim_end();
    let (name, count) = head.rsplit_once(' ').map_or(("", head), |(name, count)| (name, count));
    let named = name.is_empty() || name.trim_end().ends_with(':');
    named.then_some((name, scaled(count, true)?, None))
}

/// `45`, `1.2k`, and with a unit behind it `45it`, `1.05MB`.
fn scaled(text: &str, with_unit: bool) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (digits, suffix) = text.split_at(end);
    let number: f64 = digits.parse().ok()?;
    let mut letters = suffix.chars();
    let exponent = letters.next().and_then(|letter| "kMGTPE".find(letter));
    let scale = match exponent {
        Some(index) if matches!(letters.as_str(), "" | "B" | "b" | "it") => 1000_f64.powi(index as i32 + 1),
        _ if with_unit || suffix.is_empty() => 1.0,
        _ => return None,
    };
    let count = (number * scale).round();
    (0.0..=MOST_ITEMS).contains(&count).then_some(count as u64)
}

/// `00:10` or `1:00:10`.
fn is_clock(text: &str) -> bool {
    let parts: Vec<_> = text.split(':').collect();
    let digits = |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    (2..=3).contains(&parts.len()) && parts.iter().all(digits)
}

fn postfix<'a>(parts: impl Iterator<Item = &'a str>) -> BTreeMap<String, f64> {
    let named = parts.filter_map(|part| {
        let (name, value) = part.split_once('=')?;
        let value = value.trim().parse().ok().filter(|value| is_storable(*value))?;
        let name = plain(name, LONGEST_NAME_BYTES);
        (!name.is_empty()).then_some((name, value))
    });
    named.take(MOST_METRICS).collect()
}

/// Without colours and cursor movements.
fn without_escapes(line: &str) -> String {
    let (mut out, mut rest) = (String::with_capacity(line.len()), line);
    while let Some((before, escape)) = rest.split_once("\u{1b}[") {
        out.push_str(before);
        rest = escape.trim_start_matches(|c: char| matches!(c, ' '..='?'));
        let mut letters = rest.chars();
        letters.next();
        rest = letters.as_str();
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests;
