//! The processes of a task: what they are given, and that none of them is left when the task has ended,
//! whatever they do.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::collections::BTreeMap;

use serde_json::json;
use support::{Dev, Mark, Place, eventually, has};

/// A shell's words that start a daemon in a session of its own, and wait until it runs; its number is in
/// the file `daemon`.
fn daemon(start: &str, mark: &Mark) -> String {
    let daemon = format!("echo $$ > daemon; exec sleep {}", mark.as_str());
    format!("({start} sh -c '{daemon}' &); until test -s daemon; do sleep 0.02; done")
}

const WITH_ITS_ENVIRONMENT: &str = "setsid";
const WITHOUT_ITS_ENVIRONMENT: &str = "env -i PATH=$PATH setsid";
const WITHOUT_PIPES: &str = "exec </dev/null >/dev/null 2>&1; env -i PATH=$PATH setsid";

/// That neither a process with the mark is left, nor one that nobody has waited for.
#[track_caller]
fn nothing_is_left(dev: &Dev, mark: &Mark) {
    assert!(mark.processes().is_empty(), "{:?}", mark.processes());
    assert!(dev.children().is_empty(), "{:?}", dev.children());
}

// ---- Nothing is left ------------------------------------------------------------------------------------

#[test]
fn daemons_do_not_survive_their_task() {
    let place = Place::new();
    let dev = place.dev(&["--slots", "1"]);
    for start in [WITH_ITS_ENVIRONMENT, WITHOUT_ITS_ENVIRONMENT, WITHOUT_PIPES] {
        let mark = Mark::new();
        let script = format!("{}; kill -0 $(cat daemon)", daemon(start, &mark));
        let id = place.submit(["--", "sh", "-c", &script]);
        let task = place.ended(&id);
        assert_eq!(task["status"], "COMPLETED", "{start}: {task}");
        nothing_is_left(&dev, &mark);
    }
}

#[test]
fn a_daemon_that_forks_twice_does_not_survive_its_task() {
    if !has("python3", "a_daemon_that_forks_twice_does_not_survive_its_task") {
        return;
    }
    let (place, mark) = (Place::new(), Mark::new());
    let dev = place.dev(&["--slots", "1"]);
    let script = r#"
import os, sys, time
mark = sys.argv[1]
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.chdir("/")
        devnull = os.open("/dev/null", os.O_RDWR)
        for fd in range(3):
            os.dup2(devnull, fd)
        open(sys.argv[2], "w").close()
        os.execve("/bin/sleep", ["sleep", mark], {})
    os._exit(0)
os.wait()
while not os.path.exists(sys.argv[2]):
    time.sleep(0.02)
"#;
    let runs = place.path().join("runs");
    let id = place.submit(["--", "python3", "-c", script, mark.as_str(), runs.to_str().unwrap()]);
    let task = place.ended(&id);
    assert_eq!(task["status"], "COMPLETED", "{task}");
    nothing_is_left(&dev, &mark);
}

#[test]
fn background_jobs_of_a_failing_task_do_not_survive_it() {
    let (place, mark) = (Place::new(), Mark::new());
    let dev = place.dev(&["--slots", "1"]);
    let script = format!("sleep {0} & {1}; exit 7", mark.as_str(), daemon(WITH_ITS_ENVIRONMENT, &mark));
    let id = place.submit(["--", "sh", "-c", &script]);
    let task = place.ended(&id);
    assert_eq!(task["errorDetails"]["exitCode"], 7, "{task}");
    nothing_is_left(&dev, &mark);
}

#[test]
fn a_process_that_ignores_term_does_not_survive_its_time() {
    let (place, mark) = (Place::new(), Mark::new());
    let dev = place.dev(&["--slots", "1"]);
    let script = format!(
        "trap '' TERM; {}; echo ready; sleep {}",
        daemon(WITHOUT_ITS_ENVIRONMENT, &mark),
        mark.as_str()
    );
    let id = place.submit(["--timeout", "4", "--", "sh", "-c", &script]);
    let task = place.ended(&id);
    assert_eq!((&task["status"], &task["stdout"]), (&json!("TIMED_OUT"), &json!("ready\n")), "{task}");
    nothing_is_left(&dev, &mark);
}

#[test]
fn a_process_that_obeys_term_has_time_to_say_so() {
    let (place, mark) = (Place::new(), Mark::new());
    let dev = place.dev(&["--slots", "1"]);
    let script = format!("trap 'echo saved; exit 0' TERM; sleep {} & wait", mark.as_str());
    let id = place.submit(["--timeout", "3", "--", "sh", "-c", &script]);
    let task = place.ended(&id);
    assert_eq!((&task["status"], &task["stdout"]), (&json!("TIMED_OUT"), &json!("saved\n")), "{task}");
    nothing_is_left(&dev, &mark);
}

#[test]
fn a_task_killed_from_outside_fails_and_leaves_nothing() {
    let (place, mark) = (Place::new(), Mark::new());
    let dev = place.dev(&["--slots", "1"]);
    let script = format!("{}; kill -KILL $$", daemon(WITH_ITS_ENVIRONMENT, &mark));
    let id = place.submit(["--", "sh", "-c", &script]);
    let task = place.ended(&id);
    assert_eq!((&task["status"], &task["errorDetails"]["signal"]), (&json!("FAILED"), &json!(9)), "{task}");
    nothing_is_left(&dev, &mark);
}

#[test]
fn many_tasks_at_once_leave_no_daemon_of_any() {
    let place = Place::new();
    let dev = place.dev(&["--slots", "8"]);
    let marks: Vec<_> = (0..24).map(|_| Mark::new()).collect();
    // Nothing here waits for a daemon without its environment: it cannot be told whose it is, so it is
    // ended with whatever task ends first.
    let submit = |(n, mark): (usize, &Mark)| {
        let sleep = mark.as_str();
        let script = match n % 3 {
            0 => format!("({WITHOUT_ITS_ENVIRONMENT} sleep {sleep} &)"),
            1 => format!("{WITHOUT_PIPES} sleep {sleep} &"),
            _ => format!("{}; (setsid sleep {sleep} &)", daemon(WITH_ITS_ENVIRONMENT, mark)),
        };
        place.submit(["--", "sh", "-c", &script])
    };
    let ids: Vec<_> = marks.iter().enumerate().map(submit).collect();
    for id in &ids {
        assert_eq!(place.ended(id)["status"], "COMPLETED");
    }
    for mark in &marks {
        assert!(mark.processes().is_empty(), "{:?}", mark.processes());
    }
    eventually("no child is left", || dev.children().is_empty().then_some(()));
}

#[test]
fn the_end_of_one_task_leaves_the_processes_of_others_alone() {
    let (place, mark) = (Place::new(), Mark::new());
    let dev = place.dev(&["--slots", "2"]);
    let go = place.path().join("go");
    let script = format!(
        "{}; while ! test -e {}; do sleep 0.05; done; kill -0 $(cat daemon) && echo alive",
        daemon(WITH_ITS_ENVIRONMENT, &mark),
        go.display(),
    );
    let id = place.submit(["--", "sh", "-c", &script]);
    eventually("the daemon runs", || mark.processes().iter().any(|p| p.is_called("sleep")).then_some(()));
    for command in ["true", "false"] {
        let other = place.submit(["--", command]);
        place.ended(&other);
    }
    std::fs::write(go, "").unwrap();
    let task = place.ended(&id);
    assert_eq!((&task["status"], &task["stdout"]), (&json!("COMPLETED"), &json!("alive\n")), "{task}");
    nothing_is_left(&dev, &mark);
}

// ---- What they are given ------------------------------------------------------------------------------

#[test]
fn a_task_is_given_no_secret_of_the_worker_and_its_own_identity() {
    let place = Place::new();
    let secrets = [
        ("AWS_ACCESS_KEY_ID", "AKIATOPSECRET"),
        ("AWS_SECRET_ACCESS_KEY", "topsecret"),
        ("AWS_SESSION_TOKEN", "topsecret"),
        ("AWS_PROFILE", "topsecret"),
        ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/topsecret"),
        ("DATABASE_PASSWORD", "topsecret"),
        ("STAGELINE_ACCOUNT", "topsecret"),
        ("LD_PRELOAD_OF_NOBODY", "topsecret"),
    ];
    let dev = place.dev_with(&[], &secrets);
    let id = place.submit(["--", "env", "-0"]);
    let task = place.ended(&id);
    let text = task["stdout"].as_str().unwrap();
    assert!(!text.to_ascii_lowercase().contains("topsecret"), "{text}");
    let variables: BTreeMap<_, _> = text.split_terminator('\0').map(|v| v.split_once('=').unwrap()).collect();
    assert!(variables.keys().all(|name| !name.starts_with("AWS_")), "{variables:?}");
    let job = dev.job(&id, 1);
    let job = job.to_str().unwrap();
    for (name, value) in [
        ("STAGELINE_TASK_ID", id.as_str()),
        ("STAGELINE_ATTEMPT", "1"),
        ("STAGELINE_JOB_DIR", job),
        ("HOME", job),
        ("TMPDIR", job),
    ] {
        assert_eq!(variables.get(name), Some(&value), "{name}");
    }
    let known = [
        "HOME",
        "LANG",
        "OMP_NUM_THREADS",
        "PATH",
        "PYTHONUNBUFFERED",
        "STAGELINE_ATTEMPT",
        "STAGELINE_EXECUTION",
        "STAGELINE_JOB_DIR",
        "STAGELINE_TASK_ID",
        "STAGELINE_WORKER_ID",
        "TMPDIR",
    ];
    assert_eq!(variables.keys().copied().collect::<Vec<_>>(), known);
}

#[test]
fn a_task_works_in_its_job_folder_with_its_inputs_and_nothing_to_read() {
    let place = Place::new();
    let dev = place.dev(&[]);
    std::fs::create_dir(place.path().join("data")).unwrap();
    place.write("data/in.txt", "input");
    let script = "pwd; cat data/in.txt; cat; echo made > out.txt; ls -A | sort | tr '\\n' ' '";
    let id = place.submit(["--input", "data/in.txt", "--", "sh", "-c", script]);
    let task = place.ended(&id);
    let job = dev.job(&id, 1);
    let expected = format!("{}\ninputdata out.txt stdout.log ", job.display());
    assert_eq!(task["stdout"], expected, "{task}");
    assert_eq!(std::fs::read_to_string(job.join("out.txt")).unwrap(), "made\n");
    assert_eq!(std::fs::read_to_string(place.path().join("data/in.txt")).unwrap(), "input");
}

#[test]
fn a_task_that_leaves_nothing_leaves_no_folder() {
    let place = Place::new();
    let dev = place.dev(&[]);
    let id = place.submit(["--", "true"]);
    assert_eq!(place.ended(&id)["status"], "COMPLETED");
    let folder = dev.job(&id, 1);
    assert!(!folder.exists() && !folder.parent().unwrap().exists());
}

#[test]
fn words_of_a_command_reach_the_program_as_they_were_typed() {
    let place = Place::new();
    let _dev = place.dev(&[]);
    let words = ["a b", "", "it's", "\"", "$HOME", "`id`", "; echo no", "*", "é\n", "--flag"];
    let id = place.submit(["--", "printf", "[%s]"].iter().chain(&words));
    let expected: String = words.iter().map(|word| format!("[{word}]")).collect();
    assert_eq!(place.ended(&id)["stdout"], expected);
}
