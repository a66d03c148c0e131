use serde_json::json;

use super::*;
use crate::Config;

fn bench() -> (tempfile::TempDir, Config) {
    let inputs = tempfile::tempdir().unwrap();
    std::fs::create_dir(inputs.path().join("heat")).unwrap();
    std::fs::write(inputs.path().join("heat/run.py"), "print()").unwrap();
    std::fs::write(inputs.path().join("params.json"), "{}").unwrap();
    let inputs_dir = inputs.path().canonicalize().unwrap();
    (inputs, Config { inputs_dir, python_program: "/bin/sh".into(), ..Config::default() })
}

fn planned(config: &Config, record: serde_json::Value) -> Result<ChildPlan, Failure> {
    let task = Task::from_json(record).unwrap();
    let site = Site { config, job_dir: Path::new("/job"), resume: None };
    match Python.plan(&task, &site)? {
        Execution::Child(plan) => Ok(plan),
        Execution::Inline(_) => panic!("a process"),
    }
}

#[test]
fn parameters_lie_beside_the_script_and_are_its_argument() {
    let (inputs, config) = bench();
    let record = json!({"id": "t", "engine": "python", "script": "heat/run.py", "params": {"n": 5}, "resources": {"cpus": 3}});
    let plan = planned(&config, record).unwrap();
    assert_eq!(plan.steps[0].args, ["-u", "/job/run.py", "params.json"]);
    assert_eq!(plan.env, [("OMP_NUM_THREADS".to_owned(), "3".to_owned())]);
    let script = inputs.path().canonicalize().unwrap().join("heat/run.py");
    let params = Placed { to: "params.json".into(), content: Content::Text(r#"{"n":5}"#.into()) };
    assert_eq!(plan.files, [Placed::copy(script, "run.py".into()), params]);
}

#[test]
fn without_parameters_there_is_no_argument() {
    let (_inputs, config) = bench();
    let record = json!({"id": "t", "engine": "python", "script": "heat/run.py", "params": {}});
    let plan = planned(&config, record).unwrap();
    assert_eq!((plan.steps[0].args.len(), plan.files.len()), (2, 1));
}

#[test]
fn parameters_do_not_overwrite_an_input() {
    let (_inputs, config) = bench();
    let record = |params| json!({"id": "t", "engine": "python", "script": "heat/run.py", "inputs": ["params.json"], "params": params});
    assert_eq!(planned(&config, record(json!({"n": 1}))).err().unwrap().code, Code::EngineInputInvalid);
    assert!(planned(&config, record(json!({}))).is_ok());
}

#[test]
fn a_python_that_is_not_there_is_named() {
    let (_inputs, config) = bench();
    let config = Config { python_program: "no-such-python".into(), ..config };
    let failure =
        planned(&config, json!({"id": "t", "engine": "python", "script": "heat/run.py"})).err().unwrap();
    assert!(failure.code == Code::EngineMissing && failure.message.contains("no-such-python"));
}

/// What is said of a script whose standard error is this.
fn verdict(code: Option<i32>, signal: Option<i32>, stderr: &str) -> Outcome {
    let mut told = Told::by(Path::new("/job/run.py"), 1);
    stderr.lines().for_each(|line| drop(told.line(Stream::Stderr, line)));
    Box::new(told).verdict(Exit { code, signal }, stderr)
}

fn failure(code: i32, stderr: &str) -> (Code, ErrorKind, String) {
    match verdict(Some(code), None, stderr) {
        Outcome::Failed(failure) => (failure.code, failure.kind, failure.message),
        other => panic!("{other:?}"),
    }
}

const RAISED: &str = "Traceback (most recent call last):
  File \"/job/run.py\", line 9, in <module>
    main()
  File \"/job/run.py\", line 4, in main
    json.loads('{')
  File \"/usr/lib/python3.11/json/decoder.py\", line 355, in raw_decode
    raise JSONDecodeError(\"Expecting value\", s, err.value) from None
json.decoder.JSONDecodeError: Expecting value: line 1 column 1 (char 0)
";

#[test]
fn an_exception_is_told_with_the_line_of_the_script() {
    let message = "json.decoder.JSONDecodeError: Expecting value: line 1 column 1 (char 0) (run.py:4)";
    assert_eq!(failure(1, RAISED), (Code::ScriptError, ErrorKind::Retryable, message.into()));
    let chained = format!(
        "{RAISED}\nDuring handling of the above exception, another exception occurred:\n\n\
        Traceback (most recent call last):\n  File \"/job/run.py\", line 12, in <module>\n    1 / 0\n    ~~^~~\nZeroDivisionError: division by zero\nand more\n"
    );
    assert_eq!(failure(1, &chained).2, "ZeroDivisionError: division by zero (run.py:12)");
    let bare =
        "Traceback (most recent call last):\n  File \"/job/run.py\", line 2, in <module>\nAssertionError\n";
    assert_eq!(failure(1, bare).2, "AssertionError (run.py:2)");
}

#[test]
fn an_error_in_the_text_is_not_worth_a_retry() {
    let syntax = "  File \"/job/run.py\", line 3\n    x = = 1\n        ^\nSyntaxError: invalid syntax\n";
    assert_eq!(
        failure(1, syntax),
        (Code::ScriptError, ErrorKind::Fatal, "SyntaxError: invalid syntax (run.py:3)".into())
    );
    let module = "Traceback (most recent call last):\n  File \"/job/run.py\", line 1, in <module>\n    import nope\nModuleNotFoundError: No module named 'nope'\n";
    assert_eq!(failure(1, module).1, ErrorKind::Fatal);
}

#[test]
fn want_of_memory_is_a_class_of_its_own() {
    let numpy = "Traceback (most recent call last):\n  File \"/job/run.py\", line 2, in <module>\nnumpy.core._exceptions._ArrayMemoryError: Unable to allocate 7.28 TiB\n";
    assert_eq!((failure(1, numpy).0, failure(1, numpy).1), (Code::OutOfMemory, ErrorKind::OutOfMemory));
    assert_eq!(failure(137, "").0, Code::OutOfMemory);
    let killed = verdict(None, Some(9), "");
    assert!(
        matches!(killed, Outcome::Failed(Failure { code: Code::OutOfMemory, signal: Some(9), .. })),
        "{killed:?}"
    );
}

#[test]
fn an_exit_code_of_the_scripts_own_is_told_with_its_last_words() {
    let caught = format!("{RAISED}giving up: no data\nINFO:root:bye\n");
    assert_eq!(
        failure(3, &caught),
        (Code::ExitNonZero, ErrorKind::Retryable, "run.py ended with exit code 3: giving up: no data".into())
    );
}

#[test]
fn words_on_standard_error_are_no_failure() {
    assert_eq!(verdict(Some(0), None, RAISED), Outcome::Succeeded { result: json!({"exitCode": 0}) });
}

proptest::proptest! {
    #[test]
    fn no_output_makes_it_panic(lines in proptest::collection::vec("( {0,4}File \")?.{0,60}(\", line [0-9]{0,30})?", 0..20)) {
        let _outcome = verdict(Some(1), None, &format!("Traceback (most recent call last):\n{}", lines.join("\n")));
    }
}
