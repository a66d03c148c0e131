//! `stageline submit`: one conditional put. Everything else happens because the record is there.

use std::io::Read;
use std::path::Path;
use std::time::Duration;

use serde_json::{Map, Value, json};
use stageline::clock::Clock;
use stageline::task::{LARGEST_INLINE_BYTES, Priority, RetryPolicy, RetryStrategy, Target, Task, TaskId};
use stageline::trace::{Kind, Span, Tracer};
use stageline::{Code, Rejection};

use crate::args::SubmitArgs;
use crate::connection::connection;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{self, Format};
use crate::stored::{put_away, store};

/// The first delay before a retry when none is typed: longer than a hiccup, shorter than a coffee.
const RETRY_DELAY_SECONDS: u32 = 5;
/// How long the command waits for a collector of traces.
const LAST_SPAN: Duration = Duration::from_secs(2);

pub(super) async fn run(
    args: SubmitArgs,
    dir: &Path,
    artifacts: Option<&str>,
    format: Format,
) -> Result<Exit, Failure> {
    let mut task = task(&args)?;
    let (tracer, span) = begin_trace(&task);
    if let Some(context) = span.context() {
        task.traceparent = Some(context.to_string());
    }
    let connection = connection(dir).await?;
    if task.params_bytes() > LARGEST_INLINE_BYTES {
        put_away(&mut task, store(artifacts, &connection)?).await?;
    }
    let aws = connection.aws;
    if !aws.tasks.put_new(&task).await? {
        return Err(Failure::Exists(task.id));
    }
    drop(span);
    tracer.flush(LAST_SPAN).await;
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

/// The span of the submission, below that of whoever calls this command (`TRACEPARENT`). Without that and
/// without a collector there is none, and the task's trace begins with its dispatch.
fn begin_trace(task: &Task) -> (Tracer, Span) {
    let lookup = |name: &str| std::env::var(name).ok();
    let tracer = Tracer::from_env("stageline", lookup);
    let parent = task.traceparent.clone().or_else(|| lookup("TRACEPARENT"));
    let span = tracer.of_task("submit", Kind::Producer, &task.id, parent.as_deref());
    (tracer, span)
}

/// The record that the arguments describe, checked as the dispatcher will check it, but for the size of `params`.
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
    let now = Clock::system().now();
    let scalars = [
        ("timeoutSeconds", args.timeout.map(|seconds| json!(seconds))),
        ("softTimeoutSeconds", args.soft_timeout.map(|seconds| json!(seconds))),
        ("notBefore", args.not_before.map(|time| json!(time.at(now)))),
        ("retry", retry(args).map(|policy| json!(policy))),
        ("target", args.target.as_ref().map(|target| json!(target))),
        ("priority", args.priority.map(|priority| json!(priority))),
        ("accountId", args.account.as_ref().map(|account| json!(account))),
    ];
    for (name, value) in scalars {
        if let Some(value) = value {
            set(name, value);
        }
    }
    if args.not_before.is_some() {
        // Its other name, which would make it two.
        record.remove("scheduledTime");
    }
    resources(args, &mut record);
    let mut set = |name: &str, value: Value| record.insert(name.to_owned(), value);
    if !args.inputs.is_empty() {
        set("inputs", json!(args.inputs));
    }
    if !args.keep.is_empty() {
        set("outputs", json!(args.keep));
    }
    if !args.params.is_empty() {
        set("params", Value::Object(args.params.iter().map(|p| param(p)).collect::<Result<_, _>>()?));
    }
    let defaults = [
        ("id", json!(TaskId::fresh())),
        ("accountId", json!("default")),
        ("target", json!(Target::default())),
        ("priority", json!(Priority::default())),
        ("createdAt", json!(now)),
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
    task.validate_beyond_params_size()?;
    Ok(task)
}

/// What it takes of its worker: each amount that is typed replaces that of the file.
fn resources(args: &SubmitArgs, record: &mut Map<String, Value>) {
    let amounts = [
        ("cpus", args.cpus.map(|n| json!(n))),
        ("memoryMb", args.memory_mb.map(|n| json!(n))),
        ("gpus", args.gpus.map(|n| json!(n))),
    ];
    for (name, amount) in amounts {
        let Some(amount) = amount else { continue };
        let resources = record.entry("resources").or_insert(Value::Null);
        if resources.is_null() {
            *resources = json!({});
        }
        // Anything else than a map is malformed, and said to be when the record is read.
        if let Some(resources) = resources.as_object_mut() {
            resources.insert(name.to_owned(), amount);
        }
    }
}

/// The policy that the arguments describe.
fn retry(args: &SubmitArgs) -> Option<RetryPolicy> {
    let max_retries = args.retries?;
    let strategy = args.retry_strategy.map_or(RetryStrategy::ExponentialBackoff, RetryStrategy::from);
    let delays = !matches!(strategy, RetryStrategy::None | RetryStrategy::Immediate);
    let delay_seconds = args.retry_delay.unwrap_or(if delays { RETRY_DELAY_SECONDS } else { 0 });
    let max_delay_seconds = args.retry_max_delay;
    Some(RetryPolicy { strategy, max_retries, delay_seconds, max_delay_seconds, ..RetryPolicy::default() })
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
    fn retries_alone_wait_longer_each_time() {
        let policy = submit("--retries 3 -- true").unwrap().retry.unwrap();
        assert_eq!((policy.strategy, policy.max_retries), (RetryStrategy::ExponentialBackoff, 3));
        assert_eq!((policy.delay_seconds, policy.max_delay_seconds, policy.jitter), (5, None, None));
        let line = "--retries 2 --retry-strategy fixed-delay --retry-delay 7 --retry-max-delay 9 -- true";
        let policy = submit(line).unwrap().retry.unwrap();
        assert_eq!((policy.strategy, policy.max_retries), (RetryStrategy::FixedDelay, 2));
        assert_eq!((policy.delay_seconds, policy.max_delay_seconds), (7, Some(9)));
        let policy = submit("--retries 1 --retry-strategy immediate -- true").unwrap().retry.unwrap();
        assert_eq!((policy.strategy, policy.delay_seconds), (RetryStrategy::Immediate, 0));
        assert_eq!(submit("-- true").unwrap().retry, None);
    }

    #[test]
    fn what_it_takes_of_its_worker_is_typed_beside_what_the_file_says() {
        let task = submit("--cpus 4 --memory-mb 2048 --gpus 1 -- true").unwrap();
        assert_eq!(json!(task.resources), json!({"slots": null, "cpus": 4, "memoryMb": 2048, "gpus": 1}));
        assert_eq!(submit("-- true").unwrap().resources, None);
        let file = tempfile::NamedTempFile::new().unwrap();
        let json = format!("--json {} --cpus 3", file.path().display());
        for (resources, memory) in [(json!({"cpus": 1, "memoryMb": 64}), Some(64)), (json!(null), None)] {
            std::fs::write(file.path(), json!({"command": "true", "resources": resources}).to_string())
                .unwrap();
            let read = submit(&json).unwrap().resources.unwrap();
            assert_eq!((read.cpus, read.memory_mb), (Some(3), memory));
        }
        std::fs::write(file.path(), json!({"command": "true", "resources": 5}).to_string()).unwrap();
        assert!(submit(&json).unwrap_err().to_string().contains("attribute `resources`"));
    }

    #[test]
    fn what_is_to_be_kept_replaces_the_files_outputs_and_stays_in_the_job_folder() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), json!({"command": "true", "outputs": ["a"]}).to_string()).unwrap();
        let json = format!("--json {}", file.path().display());
        assert_eq!(submit(&json).unwrap().outputs.unwrap(), ["a"]);
        let kept = submit(&format!("{json} --keep log.lammps --keep 'out/**/*.vtk'")).unwrap().outputs;
        assert_eq!(kept.unwrap(), ["log.lammps", "out/**/*.vtk"]);
        let failure = submit("--keep ../x -- true").unwrap_err();
        assert!(failure.to_string().starts_with("PATH_UNSAFE"), "{failure}");
    }

    #[test]
    fn a_time_that_is_typed_replaces_either_name_of_the_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for name in ["notBefore", "scheduledTime"] {
            let record = json!({"command": "true", name: "2030-01-01T00:00:00Z"});
            std::fs::write(file.path(), record.to_string()).unwrap();
            let json = format!("--json {}", file.path().display());
            let at = |line: &str| submit(line).unwrap().not_before.unwrap().to_string();
            assert_eq!(at(&json), "2030-01-01T00:00:00.000Z");
            assert_eq!(at(&format!("{json} --not-before 2031-01-01T00:00:00Z")), "2031-01-01T00:00:00.000Z");
        }
        let task = submit("--not-before +2h -- true").unwrap();
        assert_eq!(task.not_before.unwrap().since(task.created_at.unwrap()).as_secs(), 7_200);
    }

    #[test]
    fn an_invalid_task_is_refused_before_anything_is_written() {
        for (line, code) in [
            ("-e lammps -s ../in.melt", "PATH_UNSAFE"),
            ("-e lammps -s /etc/passwd", "PATH_UNSAFE"),
            ("-e lamps", "ENGINE_UNKNOWN"),
            ("-e lammps", "ENGINE_INPUT_INVALID"),
            ("", "COMMAND_INVALID"),
            ("--timeout 5 --soft-timeout 5 -- true", "RECORD_MALFORMED"),
            ("--soft-timeout 0 -- true", "RECORD_MALFORMED"),
            ("-e demo -p items", "INVALID_ARGUMENT"),
        ] {
            let failure = submit(line).unwrap_err();
            assert!(failure.to_string().starts_with(code), "{line}: {failure}");
            assert_eq!(failure.exit(), Exit::Invalid);
        }
    }
}
