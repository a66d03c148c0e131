//! What a record must fulfil beyond the types of its attributes. Everything in it is hostile.

use std::path::{Component, Path, PathBuf};

use serde_json::Value;

use super::{LARGEST_INLINE_BYTES, Reference, Task};
use crate::{Code, Rejection};

/// The engines this version knows. A worker refuses the ones it does not carry.
pub const ENGINES: &[&str] = &[
    "agent",
    "command",
    "container",
    "demo",
    "fenicsx",
    "lammps",
    "mock",
    "noop",
    "openfoam",
    "python",
    "quantum-espresso",
    "vasp",
];

const LARGEST_COMMAND_BYTES: usize = 16 * 1024;
const LARGEST_TEXT_BYTES: usize = 1024;
const MOST_INPUTS: usize = 100;
const MOST_OUTPUTS: usize = 100;
const MOST_DEPENDENCIES: usize = 100;
const LONGEST_TIMEOUT_SECONDS: u64 = 366 * 24 * 3600;

impl Task {
    /// Checks what the types do not say: known engine, what that engine needs, safe paths, sizes.
    ///
    /// # Errors
    /// The first violation, with its code and what to do.
    pub fn validate(&self) -> Result<(), Rejection> {
        let bytes = self.params_bytes();
        if bytes > LARGEST_INLINE_BYTES {
            return Err(Rejection::new(
                Code::RecordTooLarge,
                format!(
                    "`params` has {bytes} bytes, more than {LARGEST_INLINE_BYTES}; put it into the artifact store \
                     (`stageline submit --artifacts URL` does it), or put large data into a file"
                ),
            ));
        }
        self.validate_beyond_params_size()
    }

    /// The same for a task whose `params` are not going to be on its record, or were brought from elsewhere.
    ///
    /// # Errors
    /// The first violation, with its code and what to do.
    pub fn validate_beyond_params_size(&self) -> Result<(), Rejection> {
        self.check_sizes()?;
        self.params_reference()?;
        if let Some(script) = &self.script {
            relative_path("script", script)?;
        }
        for input in self.inputs.iter().flatten() {
            relative_path("inputs", input.path())?;
            if !input.source().contains("://") {
                relative_path("inputs", input.source())?;
            }
        }
        for output in self.outputs.iter().flatten() {
            relative_path("outputs", output)?;
        }
        if let Some(resources) = &self.resources {
            resources.check()?;
        }
        if let Some(timeout) = self.timeout_seconds
            && !(1..=LONGEST_TIMEOUT_SECONDS).contains(&timeout)
        {
            return Err(Rejection::new(
                Code::RecordMalformed,
                format!("attribute `timeoutSeconds`: {timeout} is not 1 to {LONGEST_TIMEOUT_SECONDS}"),
            ));
        }
        if let Some(soft) = self.soft_timeout_seconds
            && (soft == 0 || soft >= self.timeout_seconds.unwrap_or(LONGEST_TIMEOUT_SECONDS))
        {
            return Err(Rejection::new(
                Code::RecordMalformed,
                format!("attribute `softTimeoutSeconds`: {soft} is not 1 or more and below `timeoutSeconds`"),
            ));
        }
        match self.engine() {
            "command" => self.command_line().map(drop),
            "container" => self.check_container(),
            "lammps" if self.script.is_none() => Err(Rejection::new(
                Code::EngineInputInvalid,
                "engine \"lammps\" needs `script`, the path of its input file below the inputs folder",
            )),
            "openfoam" if self.script.is_none() => Err(Rejection::new(
                Code::EngineInputInvalid,
                "engine \"openfoam\" needs `script`, the path of its case folder below the inputs folder",
            )),
            engine @ ("fenicsx" | "python") if self.script.is_none() => Err(Rejection::new(
                Code::EngineInputInvalid,
                format!("engine {engine:?} needs `script`, the path of its script below the inputs folder"),
            )),
            "quantum-espresso" if self.script.is_none() => Err(Rejection::new(
                Code::EngineInputInvalid,
                "engine \"quantum-espresso\" needs `script`, the path of its pw.x input below the inputs folder",
            )),
            "vasp" if self.script.is_none() => Err(Rejection::new(
                Code::EngineInputInvalid,
                "engine \"vasp\" needs `script`, the path of its INCAR, or of the INCAR's folder, below the inputs folder",
            )),
            engine if ENGINES.contains(&engine) => Ok(()),
            engine => Err(Rejection::new(
                Code::EngineUnknown,
                format!("there is no engine {engine:?}; use one of {}", ENGINES.join(", ")),
            )),
        }
    }

    /// The attributes that this record has and this version accepts without honouring them (the README has
    /// the list).
    pub fn not_honoured_yet(&self) -> Vec<&'static str> {
        let present = [
            ("dependsOn", self.depends_on.as_ref().is_some_and(|ids| !ids.is_empty())),
            ("idempotencyKey", self.idempotency_key.is_some()),
            ("cache", self.cache.is_some()),
            ("concurrencyKey", self.concurrency_key.is_some()),
        ];
        present.into_iter().filter(|(_, present)| *present).map(|(name, _)| name).collect()
    }

    /// The words of `command`.
    ///
    /// # Errors
    /// [`Code::CommandInvalid`] when it is absent, empty or badly quoted.
    pub fn command_line(&self) -> Result<Vec<String>, Rejection> {
        let command = self.command.as_deref().ok_or_else(|| {
            Rejection::new(
                Code::CommandInvalid,
                "engine \"command\" needs `command`, such as \"echo hello\" \
                 (or name another engine in `engine`)",
            )
        })?;
        parse_argv(command)
    }

    /// How large `params` are as JSON.
    pub fn params_bytes(&self) -> usize {
        // A map of JSON values always has a JSON text.
        self.params
            .as_ref()
            .map_or(0, |params| serde_json::to_vec(params).map_or(usize::MAX, |json| json.len()))
    }

    /// Where `params` are, if they are not on the record.
    ///
    /// # Errors
    /// [`Code::RecordMalformed`] when they look like a reference and are none.
    pub fn params_reference(&self) -> Result<Option<Reference>, Rejection> {
        self.params.as_ref().map_or(Ok(None), |params| Reference::of("params", params))
    }

    fn check_container(&self) -> Result<(), Rejection> {
        // What is not on the record is looked at once the worker has it.
        let elsewhere = self.params_reference()?.is_some();
        if !elsewhere
            && !self.params.as_ref().is_some_and(|params| params.get("image").is_some_and(Value::is_string))
        {
            return Err(Rejection::new(
                Code::EngineInputInvalid,
                "engine \"container\" needs `params.image`, the name of its image, such as \"python:3.12-slim\"",
            ));
        }
        self.command.as_deref().map(parse_argv).transpose().map(drop)
    }

    fn check_sizes(&self) -> Result<(), Rejection> {
        let too_large = |what: &str, found: usize, limit: usize| {
            Rejection::new(
                Code::RecordTooLarge,
                format!("`{what}` has {found} bytes, more than {limit}; put large data into a file"),
            )
        };
        let texts = [
            ("command", &self.command, LARGEST_COMMAND_BYTES),
            ("script", &self.script, LARGEST_TEXT_BYTES),
            ("accountId", &self.account_id, LARGEST_TEXT_BYTES),
            ("type", &self.kind, LARGEST_TEXT_BYTES),
            ("engine", &self.engine, LARGEST_TEXT_BYTES),
            ("workflowId", &self.workflow_id, LARGEST_TEXT_BYTES),
            ("idempotencyKey", &self.idempotency_key, LARGEST_TEXT_BYTES),
            ("concurrencyKey", &self.concurrency_key, LARGEST_TEXT_BYTES),
        ];
        for (what, text, limit) in texts {
            let bytes = text.as_ref().map_or(0, String::len);
            if bytes > limit {
                return Err(too_large(what, bytes, limit));
            }
        }
        for output in self.outputs.iter().flatten() {
            if output.len() > LARGEST_TEXT_BYTES {
                return Err(too_large("outputs", output.len(), LARGEST_TEXT_BYTES));
            }
        }
        // DynamoDB refuses an empty string as an index key, and `accountId` is one.
        if self.account_id.as_deref() == Some("") {
            return Err(Rejection::new(
                Code::RecordMalformed,
                "attribute `accountId`: an empty string; leave it out or name the account",
            ));
        }
        let counts = [
            ("inputs", self.inputs.as_ref().map_or(0, Vec::len), MOST_INPUTS),
            ("outputs", self.outputs.as_ref().map_or(0, Vec::len), MOST_OUTPUTS),
            ("dependsOn", self.depends_on.as_ref().map_or(0, Vec::len), MOST_DEPENDENCIES),
        ];
        for (what, count, limit) in counts {
            if count > limit {
                return Err(Rejection::new(
                    Code::RecordTooLarge,
                    format!("`{what}` has {count} entries, more than {limit}; make it several tasks"),
                ));
            }
        }
        Ok(())
    }
}

/// Splits a command line into its words by the quoting rules of a POSIX shell, without one: nothing is
/// expanded, and `;`, `|` and `$` are ordinary characters.
///
/// # Errors
/// [`Code::CommandInvalid`] when there is no word, a quote is open, or a NUL is in it.
pub fn parse_argv(command: &str) -> Result<Vec<String>, Rejection> {
    let reject = |why: &str| {
        Rejection::new(Code::CommandInvalid, format!("`command` {why}: {:?}", shortened(command)))
    };
    if command.contains('\0') {
        return Err(reject("holds a NUL character"));
    }
    let words = shlex::split(command).ok_or_else(|| reject("has an open quote"))?;
    match words.first() {
        None => Err(reject("is empty")),
        Some(program) if program.is_empty() => Err(reject("names no program")),
        Some(_) => Ok(words),
    }
}

/// A path that stays below the folder it is joined to.
///
/// # Errors
/// [`Code::PathUnsafe`] when it is empty, absolute, climbs or holds a NUL.
pub fn relative_path(attribute: &str, text: &str) -> Result<PathBuf, Rejection> {
    let path = Path::new(text);
    let plain = path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if text.is_empty() || text.contains('\0') || !plain || path.file_name().is_none() {
        let folder = if attribute == "outputs" { "job" } else { "inputs" };
        return Err(Rejection::new(
            Code::PathUnsafe,
            format!(
                "`{attribute}` {:?} must be a path below the {folder} folder: not absolute and without `..`",
                shortened(text)
            ),
        ));
    }
    Ok(path.components().filter(|part| matches!(part, Component::Normal(_))).collect())
}

fn shortened(text: &str) -> &str {
    &text[..text.floor_char_boundary(200)]
}
