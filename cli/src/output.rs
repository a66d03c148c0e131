//! Data on standard output, everything else on standard error.

use std::io::Write;

use clap::ValueEnum;
use console::{Style, style};
use serde::Serialize;
use serde_json::json;
use stageline::task::Status;

use crate::failure::Failure;

/// How results are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON document a line.
    Json,
}

/// Writes one line of data. A closed pipe ends the command quietly, as `head` expects.
pub fn line(text: impl std::fmt::Display) {
    let mut stdout = std::io::stdout().lock();
    if writeln!(stdout, "{text}").and_then(|()| stdout.flush()).is_err() {
        std::process::exit(0);
    }
}

/// Writes one JSON document.
pub fn json(value: &impl Serialize) {
    // Our own types always have a JSON text.
    line(serde_json::to_string(value).unwrap_or_default());
}

/// Says why the command failed, and what to type next.
pub fn failure(format: Format, failure: &Failure) {
    match format {
        Format::Text => {
            eprintln!("{} {failure}", style("error:").for_stderr().red().bold());
            if let Some(hint) = failure.hint() {
                eprintln!("{} {hint}", style("next:").for_stderr().cyan());
            }
        }
        Format::Json => {
            let text = failure.to_string();
            let (code, message) = text.split_once(": ").unwrap_or(("ERROR", &text));
            let error = json!({ "error": { "code": code, "message": message, "next": failure.hint() } });
            eprintln!("{error}");
        }
    }
}

/// The colour of a state.
pub fn colour(status: Status) -> Style {
    match status {
        Status::Completed => Style::new().green(),
        Status::Failed | Status::TimedOut => Style::new().red(),
        Status::Cancelled | Status::Paused => Style::new().yellow(),
        Status::Running | Status::Preparing => Style::new().cyan(),
        _ => Style::new().dim(),
    }
}
