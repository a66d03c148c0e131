//! What a task asks of its container. All of it is hostile.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use stageline::Code;
use stageline::protocol::outcome::Failure;
use stageline::task::{Task, parse_argv};

use super::image::Image;
use crate::Config;

/// Docker takes no less.
const LEAST_MEMORY_MB: u64 = 6;
/// 16 TiB; more is a slip.
const MOST_MEMORY_MB: u64 = 16 * 1024 * 1024;
const MOST_CPUS: u32 = 4096;
const MOST_GPUS: u32 = 64;
/// Processes and threads of one container; a fork bomb ends here.
const MOST_PROCESSES: u32 = 2048;
const LONGEST_VARIABLE_BYTES: usize = 100;

/// What a task asks of its container, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub image: Image,
    /// The arguments of the image; its own when there are none.
    pub words: Vec<String>,
    pub env: BTreeMap<String, String>,
    pub network: bool,
    pub cpus: Option<u32>,
    pub memory_mb: Option<u64>,
    /// Of each file, in MiB.
    pub file_size_mb: Option<u64>,
    /// Of each process.
    pub open_files: Option<u32>,
    /// And threads, of the container.
    pub processes: u32,
    pub gpus: u32,
}

impl Request {
    /// Reads `task`, as far as the worker's configuration allows it.
    pub fn of(task: &Task, config: &Config) -> Result<Self, Failure> {
        let empty = Map::new();
        let params = task.params.as_ref().unwrap_or(&empty);
        let unknown = |name: &&String| !matches!(name.as_str(), "image" | "env" | "network");
        if let Some(name) = params.keys().find(unknown) {
            return Err(invalid(
                &format!("params.{name}"),
                "is not known; there are `image`, `env` and `network`",
            ));
        }
        let image = image(params, config)?;
        let words = match &task.command {
            None => Vec::new(),
            Some(command) => parse_argv(command).map_err(|r| Failure::fatal(r.code, r.message))?,
        };
        let resources = task.resources.clone().unwrap_or_default();
        Ok(Self {
            image,
            words,
            env: env(params)?,
            network: network(params, config)?,
            // Zero means without a limit to docker.
            cpus: within("resources.cpus", resources.cpus, 1, MOST_CPUS)?,
            memory_mb: less(
                within("resources.memoryMb", resources.memory_mb, LEAST_MEMORY_MB, MOST_MEMORY_MB)?,
                config.max_memory_mb,
            ),
            file_size_mb: less(resources.file_size_mb, config.max_file_size_mb),
            open_files: less(resources.open_files, config.max_open_files),
            processes: less(
                within("resources.processes", resources.processes, 1, u32::MAX)?,
                config.max_processes,
            )
            .map_or(MOST_PROCESSES, |processes| processes.min(MOST_PROCESSES)),
            gpus: within("resources.gpus", resources.gpus, 0, MOST_GPUS)?.unwrap_or(0),
        })
    }
}

/// What counts of what a task asks for and what the worker gives to any.
fn less<T: Ord>(asked: Option<T>, most: Option<T>) -> Option<T> {
    [asked, most].into_iter().flatten().min()
}

fn invalid(what: &str, why: &str) -> Failure {
    Failure::fatal(Code::EngineInputInvalid, format!("`{what}` {why}"))
}

fn image(params: &Map<String, Value>, config: &Config) -> Result<Image, Failure> {
    let text = match params.get("image") {
        Some(Value::String(text)) => text,
        _ => {
            return Err(invalid(
                "params.image",
                "must be the name of an image, such as \"python:3.12-slim\"",
            ));
        }
    };
    let image = Image::parse(text).map_err(|why| {
        invalid("params.image", &format!("{:?} {why}", &text[..text.floor_char_boundary(300)]))
    })?;
    if !config.allow_any_program && !image.is_among(&config.allowed_images) {
        let message = format!(
            "this worker does not allow the image \"{image}\"; it allows {}. Add it to `allowed_images` of the \
             worker's configuration",
            match config.allowed_images.as_slice() {
                [] => "none".to_owned(),
                some => some.join(", "),
            }
        );
        return Err(Failure::fatal(Code::ImageNotAllowed, message));
    }
    Ok(image)
}

fn network(params: &Map<String, Value>, config: &Config) -> Result<bool, Failure> {
    match params.get("network") {
        None | Some(Value::Null | Value::Bool(false)) => Ok(false),
        Some(Value::Bool(true)) if config.container_network => Ok(true),
        Some(Value::Bool(true)) => Err(invalid(
            "params.network",
            "is not allowed by this worker; set `container_network` of its configuration, or leave it out",
        )),
        Some(_) => Err(invalid("params.network", "must be true or false")),
    }
}

fn env(params: &Map<String, Value>) -> Result<BTreeMap<String, String>, Failure> {
    let variables = match params.get("env") {
        None | Some(Value::Null) => return Ok(BTreeMap::new()),
        Some(Value::Object(variables)) => variables,
        Some(_) => return Err(invalid("params.env", "must be a map of names and values")),
    };
    variables.iter().map(|(name, value)| variable(name, value)).collect()
}

fn variable(name: &str, value: &Value) -> Result<(String, String), Failure> {
    let shown = format!("params.env.{}", &name[..name.floor_char_boundary(LONGEST_VARIABLE_BYTES)]);
    let plain = name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_');
    if !plain || !(1..=LONGEST_VARIABLE_BYTES).contains(&name.len()) {
        return Err(invalid(&shown, "must be 1 to 100 capital letters, digits and underscores"));
    }
    if name.starts_with("AWS_") || name.starts_with("STAGELINE_") {
        return Err(invalid(&shown, "must not begin with AWS_ or STAGELINE_"));
    }
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Bool(yes) => yes.to_string(),
        _ => return Err(invalid(&shown, "must be a text, a number, true or false")),
    };
    if text.contains('\0') {
        return Err(invalid(&shown, "holds a NUL character"));
    }
    Ok((name.to_owned(), text))
}

fn within<T: PartialOrd + std::fmt::Display + Copy>(
    what: &str,
    value: Option<T>,
    least: T,
    most: T,
) -> Result<Option<T>, Failure> {
    match value {
        Some(n) if n < least || n > most => Err(invalid(what, &format!("is {n}, not {least} to {most}"))),
        other => Ok(other),
    }
}
