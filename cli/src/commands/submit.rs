//! `stageline submit`: one conditional put. Everything else happens because the record is there.

use std::io::Read;
use std::path::Path;

use serde_json::{Map, Value, json};
use stageline::clock::Clock;
use stageline::task::{Priority, Target, Task, TaskId};
use stageline::{Code, Rejection};

use crate::args::SubmitArgs;
use crate::connection::connect;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{self, Format};

pub(super) async fn run(args: SubmitArgs, dir: &Path, format: Format) -> Result<Exit, Failure> {
    let task = task(&args)?;
    let aws = connect(dir).await?;
    if !aws.tasks.put_new(&task).await? {
        return Err(Failure::Exists(task.id));
    }
    let ignored = task.not_honoured_yet();
    if !ignored.is_empty() {
        eprintln!("note: accepted and kept, but not honoured yet: {}", ignored.join(", "));
    }
    if args.watch {
        return super::watch::run(&aws, std::slice::from_ref(&task.id), format).await;
    }
    match format {
        Format::Text => output::line(&task.id),
        Format::Json => output::json(&json!({ "id": task.id, "status": task.status })),
    }
    Ok(Exit::Success)
}

/// The record that the arguments describe, checked as the dispatcher will check it.
fn task(args: &SubmitArgs) -> Result<Task, Failure> {
    let mut record = match &args.json {
        Some(path) => read_record(path)?,
        None => Map::new(),
    };
    let mut set = |name: &str, value: Value| record.insert(name.to_owned(), value);
    if let Some(id) = &args.id {
        set("id", json!(id));
    }
    let texts = [
        ("engine", &args.engine),
        ("script", &args.script),
        ("type", &args.kind),
        ("description", &args.description),
    ];
    for (name, text) in texts {
        if let Some(text) = text {
            set(name, json!(text));
        }
    }
    if !args.command.is_empty() {
        let words = args.command.iter().map(String::as_str);
        // An argument cannot hold a NUL, the one thing that has no quoting.
        let line = shlex::try_join(words).map_err(|e| Failure::Argument(e.to_string()))?;
        set("command", json!(line));
    }
    let scalars = [
        ("timeoutSeconds", args.timeout.map(|seconds| json!(seconds))),
        ("target", args.target.as_ref().map(|target| json!(target))),
        ("priority", args.priority.map(|priority| json!(priority))),
        ("accountId", args.account.as_ref().map(|account| json!(account))),
    ];
    for (name, value) in scalars {
        if let Some(value) = value {
            set(name, value);
        }
    }
    if !args.inputs.is_empty() {
        set("inputs", json!(args.inputs));
    }
    if !args.params.is_empty() {
        set("params", Value::Object(args.params.iter().map(|p| param(p)).collect::<Result<_, _>>()?));
    }
    let defaults = [
        ("id", json!(TaskId::fresh())),
        ("accountId", json!("default")),
        ("target", json!(Target::default())),
        ("priority", json!(Priority::default())),
        ("createdAt", json!(Clock::system().now())),
        ("dispatchStatus", json!("PENDING")),
        ("status", json!("PENDING")),
    ];
    for (name, value) in defaults {
        // A null counts as absent, as everywhere in a record.
        if record.get(name).is_none_or(Value::is_null) {
            record.insert(name.to_owned(), value);
        }
    }
    let task = Task::from_json(Value::Object(record))?;
    task.validate()?;
    Ok(task)
}

fn read_record(path: &Path) -> Result<Map<String, Value>, Failure> {
    let mut text = String::new();
    let read = if path.as_os_str() == "-" {
        std::io::stdin().read_to_string(&mut text).map(drop)
    } else {
        std::fs::read_to_string(path).map(|read| text = read)
    };
    read.map_err(|source| Failure::Io { what: path.display().to_string(), source })?;
    serde_json::from_str(&text).map_err(|error| {
        let message = format!("{} is not the JSON of a Task record: {error}", path.display());
        Rejection::new(Code::RecordMalformed, message).into()
    })
}

/// `name=value`: a value that is a JSON number or boolean is sent as one.
fn param(text: &str) -> Result<(String, Value), Failure> {
    let (name, value) = text
        .split_once('=')
        .filter(|(name, _)| !name.is_empty())
        .ok_or_else(|| Failure::Argument(format!("--param {text:?} is not NAME=VALUE")))?;
    let value = match serde_json::from_str(value) {
        Ok(scalar @ (Value::Number(_) | Value::Bool(_))) => scalar,
        _ => Value::String(value.to_owned()),
    };
    Ok((name.to_owned(), value))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Args, Command};

    fn submit(line: &str) -> Result<Task, Failure> {
        let words = shlex::split(line).unwrap();
        let args = Args::parse_from(["stageline", "submit"].map(str::to_owned).into_iter().chain(words));
        match args.command {
            Command::Submit(args) => task(&args),
            _ => unreachable!(),
        }
    }

    #[test]
    fn a_command_keeps_its_words() {
        let task = submit("--priority HIGH -- echo 'two words' \"it's\"").unwrap();
        assert_eq!(task.command_line().unwrap(), ["echo", "two words", "it's"]);
        assert_eq!(task.priority.to_string(), "HIGH");
        assert_eq!(task.account_id.as_deref(), Some("default"));
    }

    #[test]
    fn parameters_keep_their_types() {
        let task = submit("-e demo -p items=10 -p seconds=0.5 -p name=x -p on=true -p e=a=b").unwrap();
        assert_eq!(
            Value::Object(task.params.unwrap()),
            json!({"items": 10, "seconds": 0.5, "name": "x", "on": true, "e": "a=b"})
        );
    }

    #[test]
    fn what_is_typed_overrides_the_file_and_the_file_overrides_defaults() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let record = json!({"id": "from-file", "engine": "demo", "priority": "LOW", "target": "a/b"});
        std::fs::write(file.path(), record.to_string()).unwrap();
        let task = submit(&format!("--json {} --priority HIGH", file.path().display())).unwrap();
        assert_eq!((task.id.as_str(), task.target.to_string().as_str()), ("from-file", "a/b"));
        assert_eq!(task.priority.to_string(), "HIGH");
        // Also when what is typed is the default.
        let task = submit(&format!("--json {} --priority MEDIUM", file.path().display())).unwrap();
        assert_eq!(task.priority.to_string(), "MEDIUM");
    }

    #[test]
    fn an_invalid_task_is_refused_before_anything_is_written() {
        for (line, code) in [
            ("-e lammps -s ../in.melt", "PATH_UNSAFE"),
            ("-e lammps -s /etc/passwd", "PATH_UNSAFE"),
            ("-e lamps", "ENGINE_UNKNOWN"),
            ("-e lammps", "ENGINE_INPUT_INVALID"),
            ("", "COMMAND_INVALID"),
            ("-e demo -p items", "INVALID_ARGUMENT"),
        ] {
            let failure = submit(line).unwrap_err();
            assert!(failure.to_string().starts_with(code), "{line}: {failure}");
            assert_eq!(failure.exit(), Exit::Invalid);
        }
    }
}
