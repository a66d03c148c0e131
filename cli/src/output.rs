//! Data on standard output, everything else on standard error.

use std::io::Write;
use std::process::ExitCode;

use clap::ValueEnum;
use console::{Style, style};
use serde::Serialize;
use serde_json::json;
use stageline::task::Status;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::plain::{escaped, plain};

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

/// Writes bytes of data as they are. A closed pipe ends the command as above.
pub fn raw(bytes: &[u8]) {
    let mut stdout = std::io::stdout().lock();
    if stdout.write_all(bytes).and_then(|()| stdout.flush()).is_err() {
        std::process::exit(0);
    }
}

/// Writes one JSON document.
pub fn json(value: &impl Serialize) {
    line(json_text(value));
}

/// A JSON document on one line.
pub fn json_text(value: &impl Serialize) -> String {
    // Our own types always have a JSON text.
    escaped(serde_json::to_string(value).unwrap_or_default())
}

/// Says why the command failed, and what to type next.
pub fn failure(format: Format, failure: &Failure) {
    match format {
        Format::Text => {
            // It may quote a record.
            let text = failure.to_string();
            eprintln!("{} {}", style("error:").for_stderr().red().bold(), plain(&text));
            if let Some(hint) = failure.hint() {
                next(&hint);
            }
        }
        Format::Json => {
            let text = failure.to_string();
            let (code, message) = text.split_once(": ").unwrap_or(("ERROR", &text));
            json_failure(code, message, failure.hint().as_deref());
        }
    }
}

/// What to type next, for people.
pub fn next(text: &str) {
    eprintln!("{} {text}", style("next:").for_stderr().cyan());
}

fn json_failure(code: &str, message: &str, next: Option<&str>) {
    let error = json!({ "error": { "code": code, "message": message, "next": next } });
    eprintln!("{}", json_text(&error));
}

/// Says what is wrong with the arguments, in the format that they ask for; help and version are no errors.
pub fn usage(error: &clap::Error) -> ExitCode {
    if !(error.use_stderr() && json_is_asked_for()) {
        error.exit();
    }
    let text = error.to_string();
    let message = text.split("\n\nUsage:").next().unwrap_or(&text);
    let message = message.split("\n\nFor more information").next().unwrap_or(message);
    let message = message.trim_start_matches("error: ").trim_end();
    json_failure("INVALID_ARGUMENT", message, Some("see what there is: stageline --help"));
    Exit::Invalid.into()
}

/// Whether arguments that could not be parsed ask for JSON.
fn json_is_asked_for() -> bool {
    let words = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned());
    let words: Vec<_> = words.take_while(|word| word != "--").collect();
    let typed = words.iter().rev().find_map(|word| word.strip_prefix("--output="));
    let typed = typed.or_else(|| {
        let at = words.iter().rposition(|word| word == "--output")?;
        words.get(at + 1).map(String::as_str)
    });
    match typed {
        Some(format) => format == "json",
        None => std::env::var("STAGELINE_OUTPUT").is_ok_and(|format| format == "json"),
    }
}

/// The colour of a state.
pub fn colour(status: Status) -> Style {
    match status {
        Status::Completed => Style::new().green(),
        Status::Failed | Status::TimedOut => Style::new().red(),
        Status::Cancelled | Status::Paused | Status::Retrying => Style::new().yellow(),
        Status::Running | Status::Preparing => Style::new().cyan(),
        _ => Style::new().dim(),
    }
}
