//! Programs that behave badly, all of them scripts of the shell.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use stageline::task::Stage;

use crate::bench::Bench;
use crate::case::{Case, Ended};

pub fn cases(bench: &Bench) -> Vec<Case> {
    let script = |name: &str, text: &str| bench.script(name, text);
    let with = |mut record: Value, more: Value| {
        record.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        record
    };
    let limited = |record| with(record, json!({"timeoutSeconds": 1}));
    let completes = |what, record| Case::new(what, record, "COMPLETED", "");
    let fails = |what, record, words| Case::new(what, record, "EXIT_NON_ZERO", words);
    vec![
        completes("forks a child that lives on, and exits", script("forks", "sleep 600 & exit 0\n"))
            .and(leaves_nothing),
        completes(
            "a daemon: a session of its own, twice forked",
            script("daemon", "setsid sh -c 'sleep 600 & sleep 600' >/dev/null 2>&1 </dev/null & sleep 0.2\n"),
        )
        .and(leaves_nothing),
        Case::new(
            "ignores TERM beyond its time",
            limited(script("ignores", "trap '' TERM INT HUP\nwhile :; do sleep 600; done\n")),
            "TIMED_OUT",
            "1 s",
        )
        .and(leaves_nothing),
        Case::new("stops itself", limited(script("stops", "kill -STOP $$\n")), "TIMED_OUT", "1 s")
            .and(leaves_nothing),
        Case::new("kills itself", script("kills", "kill -KILL $$\n"), "EXIT_SIGNAL", "9"),
        Case::new("dumps core", script("aborts", "kill -ABRT $$\n"), "EXIT_SIGNAL", "6"),
        fails(
            "closes its output and error, and goes on",
            script("closes", "exec >&- 2>&-\nsleep 0.2\nexit 3\n"),
            "exit code 3",
        ),
        completes("prints binary", script("binary", "head -c 300000 /dev/urandom\n")).and(|ended| {
            ensure!(ended.record["stdout"].is_string());
            Ok(())
        }),
        completes(
            "prints a line of 10 MB",
            script("line", "head -c 10000000 /dev/zero | tr '\\0' x; echo; echo last\n"),
        )
        .and(prints("last")),
        completes("prints two hundred thousand lines", script("lines", "seq 200000\n")).and(prints("200000")),
        completes(
            "prints control characters and colours",
            script("escapes", "printf '\\033[2J\\033]0;owned\\007\\000\\r\\n'\n"),
        ),
        fails("fails without a word", script("silent", "exit 1\n"), "exit code 1"),
        fails(
            "exits with 255 after a megabyte of error",
            script("error", "head -c 1000000 /dev/zero | tr '\\0' e >&2; exit 255\n"),
            "exit code 255",
        ),
        Case::new(
            "writes more than it may",
            with(
                script("large", "head -c 3000000 /dev/zero > big\n"),
                json!({"resources": {"fileSizeMb": 1}}),
            ),
            "EXIT_NON_ZERO",
            "fileSizeMb",
        ),
        completes(
            "may open 64 files",
            with(script("files", "test \"$(ulimit -n)\" = 64\n"), json!({"resources": {"openFiles": 64}})),
        ),
        completes(
            "removes its own job folder",
            script("removes", "cd / && rm -rf \"$STAGELINE_JOB_DIR\"; echo hello\n"),
        )
        .and(prints("hello")),
        Case::new(
            "leaves a folder in place of an output",
            with(script("output-folder", "mkdir kept\n"), json!({"outputs": ["kept"]})),
            "OUTPUT_MISSING",
            "kept",
        ),
        Case::new(
            "leaves a pipe in place of an output",
            with(script("output-pipe", "mkfifo kept\n"), json!({"outputs": ["kept"]})),
            "OUTPUT_MISSING",
            "kept",
        ),
        Case::new(
            "leaves more outputs than can be kept",
            with(script("outputs", "seq 300 | xargs touch\n"), json!({"outputs": ["*"]})),
            "RECORD_TOO_LARGE",
            "200",
        ),
        Case::new(
            "says that it has diverged, and exits with 0",
            script("diverged", &said(&[r#"{"diverged": "the residual is inf", "result": 5}"#])),
            "DIVERGED",
            "the residual is inf",
        ),
        Case::new(
            "says so under `stopOnDivergence`, and goes on for ten minutes",
            with(
                script("diverges", "echo '::stageline {\"diverged\": true}'\nsleep 600\n"),
                json!({"stopOnDivergence": true}),
            ),
            "DIVERGED",
            "has diverged",
        )
        .and(leaves_nothing),
        completes(
            "progress backwards",
            script("backwards", &said(&[r#"{"stage": "A", "done": 5, "total": 10}"#, r#"{"done": 2}"#])),
        )
        .and(counts(Some(5), Some(10))),
        completes(
            "progress beyond its total",
            script("beyond", &said(&[r#"{"stage": "A", "done": 12, "total": 10}"#])),
        )
        .and(counts(Some(12), Some(12))),
        completes(
            "progress that is no number",
            script(
                "nan",
                &said(&[r#"{"stage": "A", "done": NaN, "total": 10, "metrics": {"x": NaN, "y": Infinity}}"#]),
            ),
        )
        .and(counts(Some(0), Some(10))),
        completes(
            "progress below nothing",
            script("negative", &said(&[r#"{"stage": "A", "done": -3, "total": 10}"#])),
        )
        .and(counts(Some(0), Some(10))),
        completes(
            "huge numbers of items",
            script("huge", &said(&[r#"{"stage": "A", "done": 1e300, "total": 99999999999999999999999}"#])),
        )
        .and(counts(None, None)),
        completes(
            "metrics that the table cannot hold",
            script("metrics", &said(&[r#"{"stage": "A", "metrics": {"x": 1e200, "": 1, "ok": 2}}"#])),
        )
        .and(|ended| {
            ensure!(ended.stages[0].metrics.keys().eq(["ok"]), "{:?}", ended.stages);
            Ok(())
        }),
        completes(
            "progress that is no JSON",
            script("broken", "echo '::stageline {\"stage\": '; echo '::stageline [1]'; echo '::stageline'\n"),
        )
        .and(|ended| {
            ensure!(ended.stages.is_empty(), "{:?}", ended.stages);
            Ok(())
        }),
        completes(
            "ten thousand stages",
            script("stages", "seq 10000 | sed 's/.*/::stageline {\"stage\": \"s&\"}/'\n"),
        )
        .and(|ended| {
            ensure!(ended.stages.len() == 50, "{}", ended.stages.len());
            Ok(())
        }),
        completes(
            "a stage named by control characters",
            script("names", &said(&[r#"{"stage": "a\u001b[2J\u0000\nb"}"#])),
        )
        .and(|ended| {
            ensure!(ended.stages[0].name == "a [2J  b", "{:?}", ended.stages[0].name);
            Ok(())
        }),
        completes(
            "a stage with a name of 100 KB",
            script("long-name", "printf '::stageline {\"stage\": \"%0100000d\"}\\n' 1\n"),
        )
        .and(|ended| {
            ensure!(ended.stages[0].name.len() <= 100, "{}", ended.stages[0].name.len());
            Ok(())
        }),
        Case::new(
            "a result of 110 KB",
            script("result", "printf '::stageline {\"result\": \"%0110000d\"}\\n' 1\n"),
            "COMPLETED",
            "more than the 102400 of a record",
        ),
        Case::new(
            "a result of 5 MB",
            script(
                "large-result",
                "printf '::stageline {\"result\": \"'; head -c 5000000 /dev/zero | tr '\\0' x; echo '\"}'\n",
            ),
            "COMPLETED",
            "the result was not taken",
        ),
        Case::new(
            "a result nested 100 deep",
            script(
                "deep-result",
                &said(&[&format!(r#"{{"result": {}1{}}}"#, "[".repeat(100), "]".repeat(100))]),
            ),
            "COMPLETED",
            "nested",
        ),
        Case::new(
            "a result with numbers and names that the table cannot hold",
            script("odd-result", &said(&[r#"{"result": {"": 1e200, "x": 1e-200}}"#])),
            "COMPLETED",
            "1e+200",
        ),
    ]
}

/// A script that prints these lines of the progress contract.
fn said(lines: &[&str]) -> String {
    lines
        .iter()
        .map(|line| format!("echo '::stageline {line}'\n"))
        .collect::<String>()
        .replace("\\u", "\\\\u")
        .replace("\\n", "\\\\n")
        .replace("'\\\\n", "'\n")
}

fn counts(done: Option<u64>, total: Option<u64>) -> impl Fn(&Ended) -> Result<()> + 'static {
    move |ended| {
        let found: Vec<_> =
            ended.stages.iter().map(|one: &Stage| (one.processed_items, one.total_items)).collect();
        ensure!(found == [(done, total)], "{found:?}");
        Ok(())
    }
}

/// The last line of its output is on the record.
fn prints(line: &'static str) -> impl Fn(&Ended) -> Result<()> + 'static {
    move |ended| {
        let stdout = ended.record["stdout"].as_str().unwrap_or_default();
        ensure!(
            stdout.len() <= 5_000 && stdout.trim_end().ends_with(line),
            "{} bytes, not {line:?}",
            stdout.len()
        );
        Ok(())
    }
}

/// No process has the task's variable any more.
fn leaves_nothing(ended: &Ended) -> Result<()> {
    let variable = format!("STAGELINE_TASK_ID={}", ended.record["id"].as_str().unwrap_or_default());
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        let of_it = environment.split(|byte| *byte == 0).any(|one| one == variable.as_bytes());
        ensure!(!of_it, "{} is left", entry.path().display());
    }
    Ok(())
}
