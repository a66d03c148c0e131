//! The forms of LAMMPS' lines, each on its own.

use std::collections::BTreeMap;

use super::Event;

/// The lines that mean the same wherever they stand.
pub(super) fn announcement(line: &str) -> Option<Event> {
    let line = line.trim_end();
    if let Some(rest) = line.strip_prefix("Loop time of ") {
        return run_finished(rest);
    }
    if let Some(rest) = line.strip_prefix("Performance: ") {
        let timesteps_per_second = before(rest, "timesteps/s")?;
        return Some(Event::Performance { timesteps_per_second });
    }
    if let Some(message) = error(line) {
        return Some(Event::Error { message: message.to_owned() });
    }
    let warning = line.strip_prefix("WARNING: ");
    if let Some(stop) = soft_stop(warning.unwrap_or(line)) {
        return Some(stop);
    }
    if let Some(message) = warning {
        return Some(Event::Warning { message: message.to_owned() });
    }
    if let Some(command) =
        ["Last command: ", "Last input line: "].iter().find_map(|lead| line.strip_prefix(lead))
    {
        let command = command.trim().to_owned();
        return (command != "(unknown)").then_some(Event::LastCommand { command });
    }
    let seconds = clock(line.strip_prefix("Total wall time: ")?)?;
    Some(Event::WallTime { seconds })
}

/// `10.3474 on 1 procs for 5000 steps with 4000 atoms`.
fn run_finished(text: &str) -> Option<Event> {
    let loop_seconds = text.split_whitespace().next()?.parse().ok()?;
    let (procs, steps, atoms) = (before(text, "procs")?, before(text, "steps")?, before(text, "atoms")?);
    Some(Event::RunFinished { loop_seconds, procs, steps, atoms })
}

/// The number before a word.
fn before<T: std::str::FromStr>(text: &str, unit: &str) -> Option<T> {
    let mut previous = "";
    for word in text.split_whitespace().map(|word| word.trim_end_matches(',')) {
        if word == unit {
            return previous.parse().ok();
        }
        previous = word;
    }
    None
}

fn error(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("ERROR")?;
    if let Some(message) = rest.strip_prefix(": ") {
        return Some(message);
    }
    let (process, message) = rest.strip_prefix(" on proc ")?.split_once(": ")?;
    process.parse::<u64>().ok().map(|_| message)
}

fn soft_stop(text: &str) -> Option<Event> {
    let wall_time = text.starts_with("Wall time limit reached");
    let stops = wall_time || text.starts_with("Fix halt condition for fix-id ");
    stops.then(|| Event::SoftStop { reason: without_source(text).to_owned(), wall_time })
}

/// Cuts ` (src/timer.cpp:238)` off the end.
fn without_source(text: &str) -> &str {
    match text.rsplit_once(" (src/") {
        Some((message, place)) if place.ends_with(')') => message,
        _ => text,
    }
}

/// `0:01:10`, hours unbounded.
fn clock(text: &str) -> Option<u64> {
    text.split(':').try_fold(0_u64, |seconds, part| {
        let part: u64 = part.trim().parse().ok()?;
        seconds.checked_mul(60)?.checked_add(part)
    })
}

/// `---------------- Step      100 ----- CPU =      0.0023 (sec) ----------------`.
pub(super) fn block_header(line: &str) -> Option<u64> {
    let words: Vec<&str> = line.split_whitespace().take(5).collect();
    let [dashes, "Step", step, second, "CPU"] = words.as_slice() else { return None };
    let ruled = dashes.starts_with("----") && second.starts_with("----");
    ruled.then(|| step.parse().ok()).flatten()
}

/// `TotEng   =        -2.3150 KinEng   =         4.4583`.
pub(super) fn pairs(line: &str) -> Option<Vec<(String, f64)>> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let pair = |chunk: &[&str]| match chunk {
        [name, "=", value] => value.parse().ok().map(|value| ((*name).to_owned(), value)),
        _ => None,
    };
    if words.is_empty() { None } else { words.chunks(3).map(pair).collect() }
}

/// The words of a line, also of YAML's `keywords: ['Step', 'Temp', ]` and `  - [0, 3, ]`.
fn cells(line: &str) -> impl Iterator<Item = &str> {
    let line = line.trim();
    let list = ["keywords: [", "- ["].iter().find_map(|lead| line.strip_prefix(lead)?.strip_suffix(']'));
    let separates = move |c: char| c.is_whitespace() || (list.is_some() && matches!(c, ',' | '\''));
    list.unwrap_or(line).split(separates).filter(|cell| !cell.is_empty())
}

/// The names of a header. Where one is expected `Step` may stand anywhere in it, elsewhere it must be the
/// first.
pub(super) fn header(line: &str, expected: bool) -> Option<Vec<String>> {
    let names: Vec<&str> = cells(line).collect();
    let step = names.iter().position(|name| *name == "Step")?;
    let named = names.iter().all(|name| name.parse::<f64>().is_err());
    (named && (expected || step == 0)).then(|| names.into_iter().map(str::to_owned).collect())
}

/// A row of exactly these columns.
pub(super) fn row(line: &str, columns: &[String]) -> Option<(u64, BTreeMap<String, f64>)> {
    let mut step = None;
    let mut values = BTreeMap::new();
    let mut names = columns.iter();
    for cell in cells(line) {
        let name = names.next()?;
        if name == "Step" {
            step = Some(cell.parse().ok()?);
        } else {
            values.insert(name.clone(), cell.parse().ok()?);
        }
    }
    let step = step.filter(|_| names.next().is_none())?;
    Some((step, values))
}
