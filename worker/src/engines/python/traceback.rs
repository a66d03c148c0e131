//! Finds the exception that ended a script in what Python prints about it: its last line, and the line of the
//! script where it came up.

use std::fmt;
use std::path::Path;

/// Longer lines are no part of a traceback that somebody would read.
const LONGEST_LINE: usize = 4 * 1024;

/// Follows standard error.
#[derive(Debug, Default)]
pub(super) struct Tracebacks {
    /// The script as Python names it.
    script: String,
    /// A traceback has begun and its exception has not come yet.
    open: bool,
    /// The innermost line of the script, and the innermost line at all.
    in_script: Option<Place>,
    innermost: Option<Place>,
    last: Option<Raised>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    file: String,
    line: u64,
}

/// An exception.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::engines) struct Raised {
    /// Its type, with the module if Python names it.
    pub exception: String,
    /// What it says; the first line of it.
    pub text: String,
    place: Option<Place>,
}

impl Raised {
    /// Whether there was not enough memory.
    pub fn is_memory(&self) -> bool {
        self.exception.ends_with("MemoryError") || self.exception.ends_with("OutOfMemoryError")
    }

    /// Whether the script as it is written, or what is installed, is the reason: no try ends otherwise.
    pub fn is_of_the_text(&self) -> bool {
        matches!(
            self.exception.as_str(),
            "SyntaxError"
                | "IndentationError"
                | "TabError"
                | "NameError"
                | "ImportError"
                | "ModuleNotFoundError"
        )
    }
}

impl fmt::Display for Raised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.exception)?;
        if !self.text.is_empty() {
            write!(f, ": {}", self.text)?;
        }
        match &self.place {
            Some(Place { file, line }) => write!(f, " ({file}:{line})"),
            None => Ok(()),
        }
    }
}

impl Tracebacks {
    /// Of the script at this path.
    pub fn of(script: &Path) -> Self {
        Self { script: script.to_string_lossy().into_owned(), ..Self::default() }
    }

    /// The exception that came last.
    pub fn last(&self) -> Option<&Raised> {
        self.last.as_ref()
    }

    /// Takes a line of standard error.
    pub fn line(&mut self, line: &str) {
        if line.len() > LONGEST_LINE {
            self.open = false;
        } else if line.starts_with("Traceback (most recent call last)") {
            self.begin();
        } else if let Some((path, line)) = frame(line) {
            // A syntax error has a place and no traceback above it.
            if !self.open {
                self.begin();
            }
            self.frame(path, line);
        } else if self.open && !line.is_empty() && !line.starts_with([' ', '\t']) {
            self.open = false;
            if let Some((exception, text)) = exception(line) {
                let place = self.in_script.take().or(self.innermost.take());
                self.last = Some(Raised { exception: exception.to_owned(), text: text.to_owned(), place });
            }
        }
    }

    fn begin(&mut self) {
        (self.open, self.in_script, self.innermost) = (true, None, None);
    }

    fn frame(&mut self, path: &str, line: u64) {
        let file = Path::new(path).file_name().unwrap_or_default().to_string_lossy().into_owned();
        let place = Place { file, line };
        if path == self.script {
            self.in_script = Some(place.clone());
        }
        self.innermost = Some(place);
    }
}

/// `  File "/job/heat.py", line 12, in <module>`
fn frame(line: &str) -> Option<(&str, u64)> {
    let rest = line.strip_prefix("  ")?.trim_start().strip_prefix("File \"")?;
    let (path, rest) = rest.split_once("\", line ")?;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    Some((path, digits.parse().ok()?))
}

/// `ValueError: too cold`, or a name alone.
fn exception(line: &str) -> Option<(&str, &str)> {
    let (name, text) = line.split_once(':').unwrap_or((line, ""));
    let word = |part: &str| {
        part.starts_with(|c: char| c.is_alphabetic() || c == '_')
            && part.chars().all(|c| c.is_alphanumeric() || c == '_')
    };
    name.trim_end().split('.').all(word).then_some((name.trim_end(), text.trim()))
}
