//! What is typed or handed in wrong is refused with its exit code, a stable code and what to do, and
//! harms nothing.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::net::TcpListener;

use serde_json::{Value, json};
use support::{Place, finish, finish_with_input};

fn large_params() -> Value {
    json!({"engine": "demo", "params": {"text": "x".repeat(300 * 1024)}})
}

impl Place {
    /// Submits a record from a file.
    fn submit_record(&self, record: &Value) -> support::Run {
        self.write("record.json", record.to_string());
        self.run(["submit", "--json", "record.json"])
    }
}

// ---- Records ----------------------------------------------------------------------------------------

#[test]
fn an_id_that_cannot_be_a_folder_is_invalid() {
    let place = Place::new();
    for (id, why) in [("", "is empty"), ("../up", "starts with a dot"), ("a/b", "has characters other than")]
    {
        let run = place.submit_record(&json!({"id": id, "command": "true"}));
        run.refused(2, "ID_INVALID", &["attribute `id`", why]);
    }
}

#[test]
fn a_target_that_is_none_is_invalid_and_an_example_is_given() {
    let run = Place::new().submit_record(&json!({"target": "a b", "command": "true"}));
    run.refused(2, "TARGET_INVALID", &["attribute `target`", "such as \"training/gpu-required\""]);
}

#[test]
fn a_number_as_command_is_malformed_and_its_attribute_is_named() {
    let run = Place::new().submit_record(&json!({"command": 17}));
    run.refused(2, "RECORD_MALFORMED", &["attribute `command`", "integer `17`", "expected a string"]);
}

#[test]
fn wrong_types_are_malformed_and_their_attributes_are_named() {
    let place = Place::new();
    for (record, attribute) in [
        (json!({"engine": 5}), "engine"),
        (json!({"script": 5}), "script"),
        (json!({"accountId": 5}), "accountId"),
        (json!({"id": 5}), "id"),
        (json!({"timeoutSeconds": "soon"}), "timeoutSeconds"),
        (json!({"timeoutSeconds": -1}), "timeoutSeconds"),
        (json!({"timeoutSeconds": 0, "command": "true"}), "timeoutSeconds"),
        (json!({"params": 5}), "params"),
        (json!({"params": "{"}), "params"),
        (json!({"status": "DONE"}), "status"),
        (json!({"priority": "SOON"}), "priority"),
        (json!({"createdAt": "yesterday"}), "createdAt"),
        (json!({"dependsOn": [1]}), "dependsOn[0]"),
    ] {
        let run = place.submit_record(&record);
        run.refused(2, "RECORD_MALFORMED", &[&format!("attribute `{attribute}`")]);
    }
}

#[test]
fn text_that_is_no_json_is_malformed_and_its_place_is_named() {
    let place = Place::new();
    for (text, words) in [("{\"id\": ", "line 1"), ("[]", "expected a map"), ("", "EOF"), ("\u{0}", "line 1")]
    {
        place.write("record.json", text);
        let run = place.run(["submit", "--json", "record.json"]);
        run.refused(2, "RECORD_MALFORMED", &["record.json is not the JSON of a Task record", words]);
    }
    let run = finish_with_input(place.stageline().args(["submit", "--json", "-"]), "{");
    run.refused(2, "RECORD_MALFORMED", &["not the JSON of a Task record"]);
}

#[test]
fn a_record_file_that_is_not_there_is_named() {
    let run = Place::new().run(["submit", "--json", "absent.json"]);
    run.refused(1, "IO_ERROR", &["absent.json", "No such file"]);
}

#[test]
fn large_params_are_too_large_and_the_limit_is_named() {
    let run = Place::new().submit_record(&large_params());
    run.refused(2, "RECORD_TOO_LARGE", &["`params`", "more than 102400", "put large data into a file"]);
    assert!(run.stderr.len() < 1_000, "the error does not repeat what is too large");
}

#[test]
fn an_unknown_engine_is_refused_with_the_known_ones() {
    let run = Place::new().run(["submit", "--engine", "lamps"]);
    run.refused(2, "ENGINE_UNKNOWN", &["\"lamps\"", "use one of agent, command, "]);
}

#[test]
fn a_script_that_climbs_is_unsafe() {
    for script in ["../in.melt", "a/../../in.melt", ".."] {
        let run = Place::new().run(["submit", "--engine", "lammps", "--script", script]);
        run.refused(2, "PATH_UNSAFE", &["`script`", "without `..`"]);
    }
}

#[test]
fn a_script_with_an_absolute_path_is_unsafe() {
    let run = Place::new().run(["submit", "--engine", "lammps", "--script", "/etc/passwd"]);
    run.refused(2, "PATH_UNSAFE", &["`script` \"/etc/passwd\"", "not absolute"]);
}

#[test]
fn an_input_that_leaves_the_folder_is_unsafe() {
    let place = Place::new();
    let run = place.run(["submit", "--input", "../secret", "--", "true"]);
    run.refused(2, "PATH_UNSAFE", &["`inputs` \"../secret\""]);
    let described = json!({"command": "true", "inputs": [{"source": "data", "path": "../../out"}]});
    place.submit_record(&described).refused(2, "PATH_UNSAFE", &["`inputs` \"../../out\""]);
}

#[test]
fn an_open_quote_in_a_command_is_invalid() {
    let run = Place::new().submit_record(&json!({"command": "echo 'open"}));
    run.refused(2, "COMMAND_INVALID", &["open quote"]);
}

#[test]
fn nothing_to_run_is_invalid_and_an_example_is_given() {
    Place::new().run(["submit"]).refused(2, "COMMAND_INVALID", &["echo hello", "`engine`"]);
}

#[test]
fn a_parameter_without_a_value_is_invalid() {
    let run = Place::new().run(["submit", "--engine", "demo", "--param", "items"]);
    run.refused(2, "INVALID_ARGUMENT", &["\"items\" is not NAME=VALUE"]);
}

#[test]
fn refused_submissions_write_nothing_and_the_system_goes_on() {
    let place = Place::new();
    let _dev = place.dev(&[]);
    for record in [
        json!({"id": "", "command": "true"}),
        json!({"id": "../up", "command": "true"}),
        json!({"command": 17}),
        json!({"engine": "lamps"}),
        json!({"engine": "lammps", "script": "../in"}),
        large_params(),
    ] {
        assert_eq!(place.submit_record(&record).code, Some(2), "{record}");
    }
    assert_eq!(place.json(["list"])["tasks"], json!([]));
    let id = place.submit(["--", "echo", "still here"]);
    assert_eq!(place.ended(&id)["stdout"], "still here\n");
    assert_eq!(place.json(["list"])["tasks"].as_array().unwrap().len(), 1);
}

#[test]
fn a_record_without_an_id_gets_a_fresh_one_each_time() {
    let place = Place::new();
    let _dev = place.dev(&["--no-worker"]);
    let record = json!({"command": "true", "id": null}).to_string();
    let mut submit = place.stageline();
    submit.args(["submit", "--json", "-"]);
    let ids: Vec<_> = (0..2).map(|_| finish_with_input(&mut submit, &record).stdout).collect();
    assert!(ids.iter().all(|id| id.trim().len() == 36) && ids[0] != ids[1], "{ids:?}");
    assert_eq!(place.task(ids[0].trim())["command"], "true");
}

#[test]
fn a_task_of_an_id_that_exists_is_left_as_it_is() {
    let place = Place::new();
    let _dev = place.dev(&[]);
    place.submit(["--id", "mine", "--", "echo", "first"]);
    let first = place.ended("mine");
    let run = place.run(["submit", "--id", "mine", "--", "echo", "second"]);
    run.refused(2, "TASK_EXISTS", &["left as it is", "next: look at it: stageline status mine"]);
    assert_eq!(place.task("mine"), first);
}

// ---- The system that is talked to ---------------------------------------------------------------------

#[test]
fn an_endpoint_that_does_not_answer_is_named_with_the_next_command() {
    let place = Place::new();
    let mut submit = place.stageline();
    submit.args(["submit", "--", "true"]);
    submit.env("AWS_ENDPOINT_URL", "http://127.0.0.1:1").env("AWS_EC2_METADATA_DISABLED", "true");
    submit.env("AWS_ACCESS_KEY_ID", "x").env("AWS_SECRET_ACCESS_KEY", "topsecret");
    let run = finish(&mut submit);
    run.refused(5, "AWS_ERROR", &["http://127.0.0.1:1", "next: start the local system: stageline dev"]);
    assert!(!run.stderr.contains("topsecret"));
}

#[test]
fn a_crashed_dev_is_told_from_a_running_one() {
    let place = Place::new();
    place.dev(&["--no-worker"]).killed();
    assert!(place.state().join("dev.json").exists(), "a crash cleans nothing up");
    let words = [".stageline/dev.json is gone", "next: start it again", "stageline dev"];
    place.run(["list"]).refused(5, "DEV_NOT_RUNNING", &words);
}

#[test]
fn a_broken_dev_file_is_named_with_what_to_do() {
    let place = Place::new();
    std::fs::create_dir(place.state()).unwrap();
    std::fs::write(place.state().join("dev.json"), "{").unwrap();
    let words = [".stageline/dev.json", "next: remove", "start again: stageline dev"];
    place.run(["list"]).refused(6, "DEV_FILE_UNREADABLE", &words);
}

#[test]
fn an_unknown_task_is_not_found_by_status_and_watch() {
    let place = Place::new();
    let _dev = place.dev(&["--no-worker"]);
    for command in ["status", "watch"] {
        let run = place.run([command, "nobody"]);
        run.refused(4, "TASK_NOT_FOUND", &["nobody", "next: see what there is: stageline list"]);
    }
}

// ---- dev ------------------------------------------------------------------------------------------------

#[test]
fn a_taken_port_is_named_and_the_folder_can_be_used_afterwards() {
    let place = Place::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let run = place.run(["dev", "--port", &port]);
    run.refused(6, "PORT_IN_USE", &[&port, "next: take any free port: stageline dev --port 0"]);
    assert!(!place.state().join("dev.json").exists());
    assert_eq!(place.dev(&[]).ended_after_sigterm(), Some(0));
}

#[test]
fn a_folder_that_cannot_be_made_is_not_writable() {
    let place = Place::new();
    let run = place.run(["dev", "--port", "0", "--dir", "/dev/null/x"]);
    run.refused(6, "FOLDER_NOT_WRITABLE", &["/dev/null/x", "next: use another folder: stageline dev --dir"]);
}

#[test]
fn a_file_in_place_of_the_folder_is_not_writable_and_stays_as_it_is() {
    let place = Place::new();
    let file = place.write("file", "precious");
    let run = place.run(["dev", "--port", "0", "--dir", "file"]);
    run.refused(6, "FOLDER_NOT_WRITABLE", &["file", "next: use another folder"]);
    assert_eq!(std::fs::read_to_string(file).unwrap(), "precious");
}

#[test]
fn a_second_dev_on_a_folder_is_refused_and_the_first_goes_on() {
    let place = Place::new();
    let _first = place.dev(&[]);
    let published = std::fs::read(place.state().join("dev.json")).unwrap();
    let run = place.run(["dev", "--port", "0"]);
    run.refused(6, "FOLDER_IN_USE", &[".stageline", "next: another `stageline dev` has it"]);
    assert_eq!(std::fs::read(place.state().join("dev.json")).unwrap(), published);
    let id = place.submit(["--", "true"]);
    assert_eq!(place.ended(&id)["status"], "COMPLETED");
}

#[test]
fn an_inputs_folder_that_is_not_there_is_named() {
    let place = Place::new();
    let run = place.run(["dev", "--port", "0", "--inputs", "absent"]);
    run.refused(6, "WORKER_ERROR", &["`inputs_dir` absent"]);
    assert!(!place.state().join("dev.json").exists());
}

#[test]
fn no_slots_are_refused_before_anything_is_made() {
    let place = Place::new();
    let run = place.run(["dev", "--slots", "0"]);
    assert_eq!((run.code, run.stdout.as_str()), (Some(2), ""), "{run:?}");
    assert!(run.stderr.contains("1..=10000"), "{run:?}");
    assert!(!place.state().exists());
}

// ---- Errors as JSON -----------------------------------------------------------------------------------

/// The error's fields; there is no data beside it.
fn json_error(run: &support::Run, exit: i32) -> (String, String, Value) {
    assert_eq!((run.code, run.stdout.as_str()), (Some(exit), ""), "{run:?}");
    let document = run.stderr.lines().last().unwrap();
    let document: Value = serde_json::from_str(document).unwrap_or_else(|e| panic!("{e}: {run:?}"));
    let error = document["error"].as_object().unwrap();
    let fields: Vec<_> = error.keys().map(String::as_str).collect();
    assert_eq!(fields, ["code", "message", "next"]);
    let text = |name: &str| error[name].as_str().unwrap().to_owned();
    (text("code"), text("message"), error["next"].clone())
}

#[test]
fn errors_as_json_have_code_message_and_next_and_stdout_stays_empty() {
    let place = Place::new();
    let _dev = place.dev(&["--no-worker"]);
    let run = |args: &[&str]| finish(place.stageline().args(["--output", "json"]).args(args));

    let (code, message, next) = json_error(&run(&["submit", "--engine", "lamps"]), 2);
    assert_eq!((code.as_str(), next), ("ENGINE_UNKNOWN", Value::Null));
    assert!(message.starts_with("there is no engine \"lamps\"; use one of agent, command, "), "{message}");

    for command in ["status", "watch"] {
        let (code, message, next) = json_error(&run(&[command, "nobody"]), 4);
        assert_eq!((code.as_str(), message.as_str()), ("TASK_NOT_FOUND", "there is no task nobody"));
        assert_eq!(next, "see what there is: stageline list");
    }

    let (code, _, next) = json_error(&run(&["dev", "--port", "0"]), 6);
    assert_eq!(code, "FOLDER_IN_USE");
    assert!(next.as_str().unwrap().contains("stageline dev --dir"));
}

#[test]
fn errors_of_arguments_are_json_too_when_that_is_asked_for() {
    let place = Place::new();
    for args in [&["--output", "json", "submit", "--bogus"][..], &["submit", "--bogus", "--output=json"]] {
        let (code, message, next) = json_error(&place.run(args), 2);
        assert_eq!(code, "INVALID_ARGUMENT");
        assert!(message.contains("'--bogus'") && !message.contains("Usage"), "{message}");
        assert_eq!(next, "see what there is: stageline --help");
    }
    let run = finish(place.stageline().env("STAGELINE_OUTPUT", "json").args(["watch", "../x"]));
    let (code, message, _) = json_error(&run, 2);
    assert!(code == "INVALID_ARGUMENT" && message.contains("ID_INVALID"), "{code}: {message}");
    // What comes after `--` belongs to the task.
    let run = place.run(["submit", "--bogus", "--", "--output=json"]);
    assert!(run.stderr.starts_with("error: unexpected argument"), "{run:?}");
}
