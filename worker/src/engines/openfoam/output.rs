//! What a line of a solver's standard output says. No state: a line speaks for itself.

/// Longer lines are no output of OpenFOAM's own.
const LONGEST_LINE: usize = 4 * 1024;
const LONGEST_FIELD: usize = 64;

/// What a line says. Numbers may be `nan` and `inf` where OpenFOAM prints them.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// `Create mesh for time = 0`: where the run starts.
    Mesh {
        /// The time, always finite.
        time: f64,
    },
    /// `Time = 0.005`: a time step, or an iteration of a steady solver, begins.
    Time {
        /// Its end, always finite.
        time: f64,
    },
    /// `Courant Number mean: … max: …`.
    Courant {
        /// Over all cells.
        mean: f64,
        /// Of the worst cell.
        max: f64,
    },
    /// `…: Solving for p, Initial residual = …`.
    Residual {
        /// The field, or a component of it.
        field: String,
        /// Before the linear solver; the largest where several components are solved at once.
        initial: f64,
        /// Behind it.
        last: f64,
    },
    /// `time step continuity errors : …`.
    Continuity {
        /// Of all cells.
        sum_local: f64,
        /// With signs.
        global: f64,
        /// Over all steps.
        cumulative: f64,
    },
    /// `ExecutionTime = 0.05 s  ClockTime = 0 s`: the step is over.
    Execution {
        /// Processor seconds.
        seconds: f64,
        /// Wall clock seconds.
        clock: Option<f64>,
    },
    /// `SIMPLE solution converged in 57 iterations`: it ends before its `endTime`, rightly.
    Converged,
    /// A signal told the solver to write and end.
    Stopping,
    /// `controlDict` was changed while the solver ran.
    Reread,
    /// `End`: it came to its end in order.
    End,
}

/// What `line` says, if anything.
#[must_use]
pub fn event(line: &str) -> Option<Event> {
    if line.len() > LONGEST_LINE {
        return None;
    }
    let line = line.trim();
    if line == "End" {
        return Some(Event::End);
    }
    if let Some(time) = line.strip_prefix("Time = ") {
        let time = time.strip_suffix('s').unwrap_or(time);
        return finite(time).map(|time| Event::Time { time });
    }
    if let Some((before, after)) =
        line.split_once(": Solving for ").or_else(|| line.split_once(":  Solving for "))
    {
        return (!before.contains(char::is_whitespace)).then(|| residual(after)).flatten();
    }
    if let Some(rest) = line.strip_prefix("time step continuity errors : ") {
        let value = |name| after(rest, name).and_then(number);
        let (sum_local, global, cumulative) =
            (value("sum local = ")?, value("global = ")?, value("cumulative = ")?);
        return Some(Event::Continuity { sum_local, global, cumulative });
    }
    if let Some(rest) = line.strip_prefix("ExecutionTime = ") {
        return Some(Event::Execution {
            seconds: finite(first_word(rest))?,
            clock: after(rest, "ClockTime = ").and_then(finite),
        });
    }
    if let Some((before, rest)) = line.split_once("Courant Number mean: ") {
        // `Interface Courant Number` is another quantity.
        let ours = before.is_empty() || before.starts_with("Region: ");
        let (mean, max) = (number(first_word(rest))?, after(rest, "max: ").and_then(number)?);
        return ours.then_some(Event::Courant { mean, max });
    }
    if line.starts_with("Create ") {
        let (_, time) = line.split_once("mesh for time = ").or_else(|| line.split_once(" for time = "))?;
        return finite(time).map(|time| Event::Mesh { time });
    }
    if line.contains(" solution converged in ") && line.ends_with(" iterations") {
        return Some(Event::Converged);
    }
    if line.starts_with("sigStopAtWriteNow : setting up") {
        return Some(Event::Stopping);
    }
    line.starts_with("Re-reading object controlDict from file").then_some(Event::Reread)
}

fn residual(text: &str) -> Option<Event> {
    let (field, rest) = text.split_once(", Initial residual = ")?;
    let (initial, rest) = rest.split_once(", Final residual = ")?;
    let (last, _) = rest.split_once(", No Iterations ")?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "_.:()".contains(c);
    if field.is_empty() || field.len() > LONGEST_FIELD || !field.chars().all(plain) {
        return None;
    }
    Some(Event::Residual { field: field.to_owned(), initial: largest(initial)?, last: largest(last)? })
}

/// A number, or the largest of `(0.1 0.2 0.3)`.
fn largest(text: &str) -> Option<f64> {
    let Some(inner) = text.strip_prefix('(').and_then(|text| text.strip_suffix(')')) else {
        return number(text);
    };
    let numbers = inner.split_whitespace().map(number).collect::<Option<Vec<_>>>()?;
    // `f64::max` would pass over what is no number.
    numbers.into_iter().reduce(|a, b| if a.is_nan() || a > b { a } else { b })
}

fn after<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.split_once(name).map(|(_, rest)| first_word(rest))
}

fn first_word(text: &str) -> &str {
    text.split([' ', ',']).next().unwrap_or_default()
}

fn number(text: &str) -> Option<f64> {
    text.parse().ok()
}

fn finite(text: &str) -> Option<f64> {
    number(text).filter(|number| number.is_finite())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_lines_of_solvers_are_understood() {
        let residual =
            |field: &str, initial, last| Some(Event::Residual { field: field.into(), initial, last });
        for (line, expected) in [
            ("Time = 0.005", Some(Event::Time { time: 0.005 })),
            ("Time = 1.5e-06s", Some(Event::Time { time: 1.5e-6 })),
            ("Create mesh for time = 0.3", Some(Event::Mesh { time: 0.3 })),
            ("Create mesh for time = latest", None),
            ("Create time", None),
            ("Courant Number mean: 0.1 max: 0.8", Some(Event::Courant { mean: 0.1, max: 0.8 })),
            ("Region: air Courant Number mean: 0.1 max: 2", Some(Event::Courant { mean: 0.1, max: 2.0 })),
            ("Interface Courant Number mean: 0 max: 9", None),
            (
                "GAMG:  Solving for p_rgh, Initial residual = 0.5, Final residual = 1e-3, No Iterations 4",
                residual("p_rgh", 0.5, 1e-3),
            ),
            (
                "DILUPBiCG:  Solving for alpha.water, Initial residual = 1, Final residual = 0, No Iterations 1",
                residual("alpha.water", 1.0, 0.0),
            ),
            (
                "smoothSolver:  Solving for U, Initial residual = (0.1 0.7 0.2), Final residual = (1 2 3), No Iterations (1 1 1)",
                residual("U", 0.7, 3.0),
            ),
            ("DICPCG:  Solving for p, Initial residual = , Final residual = 1, No Iterations 1", None),
            ("a note: Solving for p, Initial residual = 1, Final residual = 1, No Iterations 1", None),
            (
                "ExecutionTime = 3.8 s  ClockTime = 4 s",
                Some(Event::Execution { seconds: 3.8, clock: Some(4.0) }),
            ),
            ("ExecutionTime = 3.8 s", Some(Event::Execution { seconds: 3.8, clock: None })),
            ("SIMPLE solution converged in 57 iterations", Some(Event::Converged)),
            ("sigStopAtWriteNow : Enabling writing and stopping upon signal 15", None),
            (
                "sigStopAtWriteNow : setting up write and stop at end of the next iteration",
                Some(Event::Stopping),
            ),
            (
                "        Re-reading object controlDict from file \"/case/system/controlDict\"",
                Some(Event::Reread),
            ),
            ("End", Some(Event::End)),
            ("Endless", None),
            ("Time   : 07:44:42", None),
            ("Time = inf", None),
            ("Time = 1e999", None),
            ("Time = ", None),
        ] {
            assert_eq!(event(line), expected, "{line}");
        }
    }

    #[test]
    fn what_is_no_number_is_kept_for_the_divergence() {
        for word in ["nan", "-nan", "inf"] {
            let line = format!(
                "DICPCG:  Solving for p, Initial residual = 1, Final residual = {word}, No Iterations 1000"
            );
            let Some(Event::Residual { last, .. }) = event(&line) else { panic!("{line}") };
            assert!(!last.is_finite());
        }
        let both =
            "x:  Solving for U, Initial residual = (1 nan 2), Final residual = (nan 1), No Iterations 1";
        let Some(Event::Residual { initial, last, .. }) = event(both) else { panic!("{both}") };
        assert!(initial.is_nan() && last.is_nan());
    }

    #[test]
    fn a_line_of_ten_megabytes_says_nothing() {
        assert_eq!(event(&format!("Time = {}", "1".repeat(10 << 20))), None);
    }

    proptest! {
        #[test]
        fn no_line_panics(head in prop::sample::select(vec!["", "Time = ", "Create mesh for time = ", "Courant Number mean: ",
            "x:  Solving for ", "x:  Solving for p, Initial residual = (", "time step continuity errors : sum local = ", "ExecutionTime = "]),
            rest in ".{0,60}", bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = (event(&format!("{head}{rest}")), event(&String::from_utf8_lossy(&bytes)));
        }
    }
}
