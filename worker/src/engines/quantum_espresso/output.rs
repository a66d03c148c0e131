//! Reads the standard output of `pw.x` line by line and says what each line means.
//!
//! `JOB DONE.` and even a table of timings are printed after failures too; the words that count are those
//! about convergence. Read from version 6.7. Fed by the Quantum ESPRESSO adapter; see [`super::progress`]
//! for what becomes of the events.

use super::super::fortran::{printed as number, whole};

#[cfg(test)]
mod tests;

/// Longer lines are no output of `pw.x`' own.
const LONGEST_LINE: usize = 4 * 1024;
/// What it says when it has found its file `PREFIX.EXIT`.
pub const ASKED: &str = "Program stopped by user request";
/// More text in an error frame is not kept.
const MOST_ERROR_BYTES: usize = 800;

/// What a line of output says. Energies are in Ry.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// `Program PWSCF v.6.7MaX starts on …`.
    Version(String),
    /// A number that describes the run, by the name it has in the result.
    Count(&'static str, u64),
    /// The accuracy at which the cycle will have converged.
    Threshold(f64),
    /// The most steps of the nuclei.
    Nstep(u64),
    /// A self-consistent cycle begins.
    CycleBegins,
    /// Its iteration with this number begins.
    Iteration(u64),
    /// A total energy, of an iteration or of the cycle.
    Energy(f64),
    /// The estimated accuracy of the density.
    Accuracy(f64),
    /// The cycle has converged after so many iterations.
    Converged(u64),
    /// It has not, and will not.
    NotConverged(u64),
    /// The length of all forces, in Ry/bohr.
    Force(f64),
    /// The pressure, in kbar.
    Pressure(f64),
    /// The Fermi energy, in eV.
    FermiEnergy(f64),
    /// The highest occupied level, in eV.
    HighestOccupied(f64),
    /// Cycles of the optimisation so far, of which each moves the nuclei once.
    ScfCycles(u64),
    /// Steps of the optimisation so far.
    BfgsSteps(u64),
    /// One step of a dynamics has been taken.
    DynamicsStep,
    /// The optimisation has reached its thresholds, with so many steps if it says.
    IonsConverged(Option<u64>),
    /// The optimisation gives up.
    IonsFailed,
    /// The nuclei have taken all steps that the input allows.
    StepsExhausted,
    /// A dynamics has come to its end.
    DynamicsEnded,
    /// Bands are computed in a given potential.
    BandsBegin,
    /// All bands are there.
    BandsEnded,
    /// It stops early because it was asked to, in its own words.
    Stopped(&'static str),
    /// It gives up: the routine and what it says.
    Error {
        /// Its name and number, such as `readpp (1)`.
        routine: String,
        /// The text in the frame.
        text: String,
    },
    /// Seconds by the clock.
    WallSeconds(f64),
    /// `JOB DONE.`: it has come to its end, whatever that is worth.
    JobDone,
}

/// The state between lines.
#[derive(Debug, Clone, Default)]
pub struct Output {
    frame: Frame,
}

/// The frame of `%` around an error.
#[derive(Debug, Clone, Default)]
enum Frame {
    #[default]
    None,
    Open,
    Error {
        routine: String,
        text: String,
    },
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
        if line.starts_with("%%%%%%%%") {
            return match std::mem::take(&mut self.frame) {
                Frame::None => {
                    self.frame = Frame::Open;
                    None
                }
                Frame::Open => None,
                Frame::Error { routine, text } => Some(Event::Error { routine, text }),
            };
        }
        match &mut self.frame {
            Frame::None => announcement(line),
            Frame::Open => {
                if let Some(routine) = routine(line) {
                    self.frame = Frame::Error { routine, text: String::new() };
                }
                None
            }
            Frame::Error { text, .. } => {
                if !line.is_empty() && text.len() + line.len() <= MOST_ERROR_BYTES {
                    let gap = if text.is_empty() { "" } else { " " };
                    text.push_str(gap);
                    text.push_str(line);
                }
                None
            }
        }
    }

    /// The error of a frame that was cut off, once there is no more output.
    pub fn end(&mut self) -> Option<Event> {
        match std::mem::take(&mut self.frame) {
            Frame::Error { routine, text } => Some(Event::Error { routine, text }),
            _ => None,
        }
    }
}

/// `Error in routine  read_namelists (1):`, or in the file CRASH `from readpp : error #         1`.
fn routine(line: &str) -> Option<String> {
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some(rest) = line.strip_prefix("Error in routine ") {
        return Some(words(rest.trim_end_matches(':')));
    }
    let (name, number) = line.strip_prefix("from ")?.split_once(" : error #")?;
    Some(format!("{} ({})", name.trim(), number.trim()))
}

fn announcement(line: &str) -> Option<Event> {
    summary(line).or_else(|| cycle(line)).or_else(|| nuclei(line)).or_else(|| ending(line))
}

fn summary(line: &str) -> Option<Event> {
    const COUNTS: [(&str, &str); 2] = [("number of atoms/cell", "atoms"), ("number of k points", "kPoints")];
    if let Some(rest) = line.strip_prefix("Program PWSCF v.") {
        return rest.split_whitespace().next().map(|version| Event::Version(version.to_owned()));
    }
    if let Some(rest) = line.strip_prefix("Parallel version (MPI), running on") {
        return whole(rest).map(|count| Event::Count("procs", count));
    }
    if let Some((_, name)) = COUNTS.iter().find(|(lead, _)| line.starts_with(lead)) {
        return whole(after_equals(line)?).map(|count| Event::Count(name, count));
    }
    match line.split_once('=').map(|(name, value)| (name.trim(), value)) {
        Some(("scf convergence threshold" | "new conv_thr", value)) => number(value).map(Event::Threshold),
        Some(("nstep", value)) => whole(value).map(Event::Nstep),
        _ => None,
    }
}

fn cycle(line: &str) -> Option<Event> {
    // An energy of PAW's all-electron terms has two marks, and is another one.
    let unmarked = line.strip_prefix('!').unwrap_or(line).trim_start();
    if let Some(rest) = unmarked.strip_prefix("total energy ") {
        return quantity(after_equals(rest)?, "Ry").map(Event::Energy);
    }
    if let Some(rest) = line.strip_prefix("estimated scf accuracy") {
        return quantity(rest.trim_start().strip_prefix('<')?, "Ry").map(Event::Accuracy);
    }
    if let Some(rest) = line.strip_prefix("iteration #") {
        return whole(rest).map(Event::Iteration);
    }
    if let Some(rest) = line.strip_prefix("convergence has been achieved in") {
        return whole(rest).map(Event::Converged);
    }
    if let Some(rest) = line.strip_prefix("convergence NOT achieved") {
        let count = rest.trim_start().strip_prefix("after").and_then(whole);
        return Some(Event::NotConverged(count.unwrap_or(0)));
    }
    if let Some(rest) = line.strip_prefix("the Fermi energy is") {
        return number(rest).map(Event::FermiEnergy);
    }
    if line.starts_with("highest occupied") {
        return number(line.split_once(':')?.1).map(Event::HighestOccupied);
    }
    match line {
        "Self-consistent Calculation" => Some(Event::CycleBegins),
        "Band Structure Calculation" => Some(Event::BandsBegin),
        "End of band structure calculation" => Some(Event::BandsEnded),
        _ => None,
    }
}

fn nuclei(line: &str) -> Option<Event> {
    if let Some(rest) = line.strip_prefix("Total force =") {
        return number(rest).map(Event::Force);
    }
    if line.starts_with("total   stress") {
        return number(line.split_once("P=")?.1).map(Event::Pressure);
    }
    if line.starts_with("number of scf cycles") {
        return whole(after_equals(line)?).map(Event::ScfCycles);
    }
    if line.starts_with("number of bfgs steps") {
        return whole(after_equals(line)?).map(Event::BfgsSteps);
    }
    if let Some(rest) = line.strip_prefix("Entering Dynamics:") {
        return rest.trim_start().starts_with("iteration").then_some(Event::DynamicsStep);
    }
    // Newton's, damped and cell dynamics have words of their own before these.
    if let Some(rest) = line.strip_prefix("bfgs converged in") {
        return Some(Event::IonsConverged(rest.split_once(" and ").and_then(|(_, steps)| whole(steps))));
    }
    if line.contains(": convergence achieved in") || line.starts_with("convergence achieved, Efinal") {
        return Some(Event::IonsConverged(None));
    }
    if line.starts_with("bfgs failed after") {
        return Some(Event::IonsFailed);
    }
    match line {
        "The maximum number of steps has been reached." => Some(Event::StepsExhausted),
        "End of molecular dynamics calculation" => Some(Event::DynamicsEnded),
        _ => None,
    }
}

fn ending(line: &str) -> Option<Event> {
    const STOPS: [&str; 2] = [ASKED, "Maximum CPU time exceeded"];
    if line == "JOB DONE." {
        return Some(Event::JobDone);
    }
    if let Some(stop) = STOPS.into_iter().find(|stop| line.starts_with(stop)) {
        return Some(Event::Stopped(stop));
    }
    let times = line.strip_prefix("PWSCF")?.trim_start().strip_prefix(':')?;
    let (_, wall) = times.split_once("CPU")?;
    duration(wall.split_once("WALL")?.0).map(Event::WallSeconds)
}

fn after_equals(line: &str) -> Option<&str> {
    line.split_once('=').map(|(_, value)| value)
}

/// The first word as a number, if the second is its unit.
fn quantity(text: &str, unit: &str) -> Option<f64> {
    (text.split_whitespace().nth(1) == Some(unit)).then(|| number(text)).flatten()
}

/// `1h 2m`, `1m12.65s` or `5.65s` in seconds.
fn duration(text: &str) -> Option<f64> {
    let mut seconds = 0.0;
    let mut digits = String::new();
    for c in text.chars().filter(|c| !c.is_whitespace()) {
        let unit = match c {
            'd' => 86_400.0,
            'h' => 3_600.0,
            'm' => 60.0,
            's' => 1.0,
            _ => {
                digits.push(c);
                continue;
            }
        };
        seconds += std::mem::take(&mut digits).parse::<f64>().ok()? * unit;
    }
    digits.is_empty().then_some(seconds)
}
