//! Reads the standard output of VASP line by line and says what each line means. The electronic and ionic
//! lines are those of OSZICAR, which VASP prints too.
//!
//! VASP is proprietary and could not be run: the forms are those that its documentation and published
//! outputs show, and the tests' outputs are synthetic.

use super::super::fortran::{printed, whole};

/// Longer lines are no output of VASP's own.
const LONGEST_LINE: usize = 4 * 1024;
/// More text in an error is not kept.
const MOST_ERROR_BYTES: usize = 800;

/// What a line of output says. Energies are in eV.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// `vasp.6.4.2 …`.
    Version(String),
    /// An electronic iteration: `DAV:   3    -0.10E+02   -0.1E+00 …`.
    Electronic {
        /// Its number in this ionic step.
        iteration: u64,
        /// The total energy.
        energy: f64,
        /// What it has changed by.
        change: f64,
    },
    /// An ionic step has ended: `   1 F= -.10E+02 E0= -.10E+02  d E =…`.
    Ionic {
        /// The free energy.
        free_energy: f64,
        /// The energy for a smearing of zero.
        energy: Option<f64>,
        /// The temperature of a dynamics, in K.
        temperature: Option<f64>,
    },
    /// VASP says itself that the electrons have not converged.
    NotConverged,
    /// The relaxation has reached its accuracy.
    IonsConverged,
    /// It stops early because it was asked to, in its own words.
    Stopped(&'static str),
    /// It gives up, in its own words.
    Error(String),
}

/// The state between lines.
#[derive(Debug, Clone, Default)]
pub struct Output {
    error: Open,
}

/// An error whose text goes on.
#[derive(Debug, Clone, Default)]
enum Open {
    #[default]
    None,
    /// The next line belongs to it.
    Line(String),
    /// The lines of a box do.
    Box(String),
}

impl Output {
    /// Starts before the first line.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads the next line, without its line feed.
    pub fn line(&mut self, line: &str) -> Option<Event> {
        if line.len() > LONGEST_LINE {
            return None;
        }
        let line = line.trim();
        match std::mem::take(&mut self.error) {
            Open::None => self.begins(line),
            Open::Line(text) => Some(Event::Error(joined(text, line))),
            Open::Box(text) => match line.strip_prefix('|').map(|inner| inner.trim_end_matches('|').trim()) {
                Some(inner) if !inner.starts_with("---->") => {
                    // The banner and empty lines have no small letters.
                    let says = inner.contains(|c: char| c.is_ascii_lowercase());
                    self.error = Open::Box(if says { joined(text, inner) } else { text });
                    None
                }
                _ => Some(Event::Error(text)),
            },
        }
    }

    /// The error that was cut off, once there is no more output.
    pub fn end(&mut self) -> Option<Event> {
        match std::mem::take(&mut self.error) {
            Open::Line(text) | Open::Box(text) => Some(Event::Error(text)),
            Open::None => None,
        }
    }

    fn begins(&mut self, line: &str) -> Option<Event> {
        if let Some(text) = line.strip_prefix("VERY BAD NEWS!") {
            self.error = Open::Line(text.trim().to_owned());
            return None;
        }
        // The banner of an error; a warning's is of other letters.
        if line.starts_with('|') && line.contains("EEEEEEE") && line.contains("RRRRRR") {
            self.error = Open::Box(String::new());
            return None;
        }
        electronic(line).or_else(|| ionic(line)).or_else(|| announcement(line))
    }
}

fn joined(mut text: String, more: &str) -> String {
    if text.len() + more.len() <= MOST_ERROR_BYTES && !more.is_empty() {
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(more);
    }
    text
}

/// Three capitals name the algorithm.
fn electronic(line: &str) -> Option<Event> {
    let (name, rest) = line.split_once(':')?;
    if name.len() != 3 || !name.bytes().all(|b| b.is_ascii_uppercase()) {
        return None;
    }
    let mut words = rest.split_whitespace();
    let iteration = words.next()?.parse().ok()?;
    let (energy, change) = (printed(words.next()?)?, printed(words.next()?)?);
    Some(Event::Electronic { iteration, energy, change })
}

fn ionic(line: &str) -> Option<Event> {
    whole(line)?;
    let value = |name: &str| line.find(name).and_then(|at| printed(&line[at + name.len()..]));
    let free_energy = value(" F=")?;
    Some(Event::Ionic { free_energy, energy: value(" E0="), temperature: value(" T=") })
}

fn announcement(line: &str) -> Option<Event> {
    const ERRORS: [&str; 4] = ["ZBRENT: fatal error", "Error EDDDAV", "LAPACK: Routine", "ERROR"];
    const STOPS: [&str; 2] = ["soft stop encountered", "hard stop encountered"];
    if line.starts_with("vasp.") {
        return line.split_whitespace().next().map(|version| Event::Version(version.to_owned()));
    }
    if let Some(stop) = STOPS.into_iter().find(|stop| line.starts_with(stop)) {
        return Some(Event::Stopped(stop));
    }
    if line.starts_with("reached required accuracy") {
        return Some(Event::IonsConverged);
    }
    if line.contains("electronic self-consistency was not achieved") {
        return Some(Event::NotConverged);
    }
    let fails = ERRORS.iter().any(|lead| line.starts_with(lead));
    fails.then(|| Event::Error(joined(String::new(), line)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn events(text: &str) -> Vec<Event> {
        let mut output = Output::new();
        let mut events: Vec<_> = text.lines().filter_map(|line| output.line(line)).collect();
        events.extend(output.end());
        events
    }

    #[test]
    fn electronic_lines_of_every_algorithm_are_read() {
        for name in ["DAV", "RMM", "CGA", "SDA"] {
            let line =
                format!("{name}:   2    -0.108304411E+02   -0.12E-01   -0.11E-01   640   0.2E+00    0.1E+00");
            let expected = Event::Electronic { iteration: 2, energy: -10.8304411, change: -0.012 };
            assert_eq!(events(&line), [expected], "{name}");
        }
        assert_eq!(events("DAVID: 1 2 3\nDAV: x\nDAV:   1\n       N       E                     dE"), []);
    }

    #[test]
    fn ionic_lines_of_relaxations_and_dynamics_are_read() {
        let relax = "   1 F= -.10830441E+02 E0= -.10829E+02  d E =-.108304E+02  mag=     0.0000";
        let expected = Event::Ionic { free_energy: -10.830441, energy: Some(-10.829), temperature: None };
        assert_eq!(events(relax), [expected]);
        let md =
            "      7 T=   298. E= -.10E+02 F= -.11E+02 E0= -.12E+02  EK= 0.1E+01 SP= 0.0E+00 SK= 0.0E+00";
        let expected = Event::Ionic { free_energy: -11.0, energy: Some(-12.0), temperature: Some(298.0) };
        assert_eq!(events(md), [expected]);
        assert_eq!(events("F= -.1E+02\n 1 atoms\n"), []);
    }

    #[test]
    fn errors_of_one_line_of_two_and_in_a_box_are_read() {
        let two = " VERY BAD NEWS! internal error in subroutine X:\n Found something odd      2\n";
        let expected = "internal error in subroutine X: Found something odd      2";
        assert_eq!(events(two), [Event::Error(expected.to_owned())]);
        assert_eq!(events(" ZBRENT: fatal error in bracketing\n").len(), 1);
        let boxed = " ----\n|     EEEEEEE  RRRRRR  ###  |\n|     E        R     R ###  |\n|                |\n\
                     |  The file is\n|  not there.  |\n|    ---->  I REFUSE TO CONTINUE  <----  |\n";
        assert_eq!(events(boxed), [Event::Error("The file is not there.".to_owned())]);
        let cut = "|     EEEEEEE  RRRRRR  ###  |\n|  The file is  |\n";
        assert_eq!(events(cut), [Event::Error("The file is".to_owned())]);
    }

    #[test]
    fn numbers_that_do_not_fit_or_are_none_are_kept() {
        assert!(
            matches!(events("DAV:   1  NaN  NaN")[..], [Event::Electronic { energy, .. }] if energy.is_nan())
        );
        let starred = events("   1 F= ******** E0= -.1E+02");
        assert!(matches!(starred[..], [Event::Ionic { free_energy: f64::INFINITY, .. }]));
    }

    #[test]
    fn a_line_of_ten_megabytes_says_nothing() {
        assert_eq!(events(&format!("DAV:   1 1.0 1.0 {}", "1 ".repeat(5_000_000))), []);
    }

    proptest! {
        #[test]
        fn no_line_panics(lines in prop::collection::vec("[DAVRM:F=E0|. 1-9é*-]{0,40}|\\PC{0,60}", 0..30)) {
            let _ = events(&lines.join("\n"));
        }
    }
}
