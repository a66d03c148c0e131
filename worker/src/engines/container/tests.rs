use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use proptest::prelude::*;
use serde_json::{Value, json};
use stageline::task::{Attempt, Resources};

use super::*;
use crate::Config;
use crate::config::Pull;

fn allowing(images: &[&str]) -> Config {
    Config { allowed_images: images.iter().map(ToString::to_string).collect(), ..Config::default() }
}

fn task(params: Value) -> Task {
    let mut task = Task::new("melt:7".parse().unwrap());
    (task.attempt, task.params) = (Attempt(2), params.as_object().cloned());
    task
}

fn frame<'a>() -> Frame<'a> {
    Frame {
        name: arguments::name("melt:7", Attempt(2), "0123abcd"),
        task: "melt:7",
        attempt: Attempt(2),
        worker: Some("host:1:abc"),
        job_dir: Path::new("/srv/jobs/melt~7/2"),
        user: (1000, 1001),
        pull: Pull::Missing,
        is_podman: false,
        names_gpus: false,
    }
}

/// The options a line each; what has blanks in it in quotes.
fn lines(args: &[std::ffi::OsString]) -> String {
    let mut text = String::new();
    for arg in args {
        let arg = arg.to_str().unwrap();
        text.push_str(if arg.starts_with("--") { "\n" } else { " " });
        text.push_str(&if arg.contains(char::is_whitespace) { format!("{arg:?}") } else { arg.to_owned() });
    }
    text.trim_start().to_owned()
}

#[test]
fn a_container_gets_no_privilege_and_one_folder() {
    let request = Request::of(&task(json!({"image": "python:3.12"})), &allowing(&["python"])).unwrap();
    insta::assert_snapshot!(lines(&run(&request, &frame()).unwrap()), @r#"
    run
    --rm
    --name stageline-melt_7-2-0123abcd
    --init
    --label stageline.task=melt:7
    --label stageline.attempt=2
    --label stageline.worker=host:1:abc
    --pull missing
    --log-driver none
    --cap-drop ALL
    --security-opt no-new-privileges
    --read-only
    --tmpfs /tmp:size=1024m
    --pids-limit 2048
    --network none
    --user 1000:1001
    --env HOME=/job
    --env PYTHONUNBUFFERED=1
    --env STAGELINE_JOB_DIR=/job
    --env STAGELINE_TASK_ID=melt:7
    --env STAGELINE_ATTEMPT=2
    --env STAGELINE_EXECUTION
    --env STAGELINE_RESUME
    --workdir /job
    --mount type=bind,source=/srv/jobs/melt~7/2,target=/job python:3.12
    "#);
    insta::assert_snapshot!(lines(&remove(&frame())), @r#"
    rm
    --force
    --volumes stageline-melt_7-2-0123abcd
    "#);
}

#[test]
fn what_a_task_asks_for_is_limits_variables_and_words() {
    let mut task = task(json!({
        "image": "ghcr.io/team/solver:1", "network": true,
        "env": {"B": "x y\n--privileged", "A": 1, "C": true},
    }));
    task.command = Some("sh -c 'echo $A; --privileged' --network=host".to_owned());
    task.resources =
        Some(Resources { cpus: Some(4), memory_mb: Some(512), gpus: Some(1), ..Resources::default() });
    let config = Config { container_network: true, ..allowing(&["ghcr.io/team/"]) };
    let request = Request::of(&task, &config).unwrap();
    let frame = Frame { is_podman: true, pull: Pull::Never, ..frame() };
    insta::assert_snapshot!(lines(&run(&request, &frame).unwrap()), @r#"
    run
    --rm
    --name stageline-melt_7-2-0123abcd
    --init
    --label stageline.task=melt:7
    --label stageline.attempt=2
    --label stageline.worker=host:1:abc
    --pull never
    --log-driver none
    --cap-drop ALL
    --security-opt no-new-privileges
    --read-only
    --tmpfs /tmp:size=512m
    --pids-limit 2048
    --user 1000:1001
    --userns keep-id
    --cpus 4
    --memory 512m
    --memory-swap 512m
    --gpus 1
    --env HOME=/job
    --env PYTHONUNBUFFERED=1
    --env STAGELINE_JOB_DIR=/job
    --env STAGELINE_TASK_ID=melt:7
    --env STAGELINE_ATTEMPT=2
    --env STAGELINE_EXECUTION
    --env STAGELINE_RESUME
    --env A=1
    --env "B=x y\n--privileged"
    --env C=true
    --workdir /job
    --mount type=bind,source=/srv/jobs/melt~7/2,target=/job ghcr.io/team/solver:1 sh -c "echo $A; --privileged"
    --network=host
    "#);
    insta::assert_snapshot!(lines(&remove(&frame)), @r#"
    rm
    --force
    --volumes
    --time 0 stageline-melt_7-2-0123abcd
    "#);
}

#[test]
fn nothing_is_allowed_unless_it_is_listed() {
    let code =
        |config: &Config| Request::of(&task(json!({"image": "python:3.12"})), config).map_err(|f| f.code);
    assert_eq!(code(&Config::default()).unwrap_err(), Code::ImageNotAllowed);
    assert_eq!(code(&allowing(&["python:3.13", "pyth"])).unwrap_err(), Code::ImageNotAllowed);
    assert!(code(&allowing(&["python"])).is_ok());
    assert!(code(&Config { allow_any_program: true, ..Config::default() }).is_ok());
}

#[test]
fn a_network_needs_the_task_and_the_worker() {
    let has = |asked: Value, allowed| {
        let config = Config { container_network: allowed, ..allowing(&["a"]) };
        Request::of(&task(json!({"image": "a", "network": asked})), &config)
            .map(|request| request.network)
            .ok()
    };
    assert_eq!(has(json!(true), true), Some(true));
    assert_eq!(has(json!(true), false), None);
    for asked in [json!(false), Value::Null] {
        assert_eq!((has(asked.clone(), true), has(asked, false)), (Some(false), Some(false)));
    }
    assert_eq!(has(json!("host"), true), None);
}

#[test]
fn hostile_parameters_are_refused() {
    for bad in [
        json!({}),
        json!({"image": 1}),
        json!({"image": "--privileged"}),
        json!({"image": "a b"}),
        json!({"image": "a\n"}),
        json!({"image": "A"}),
        json!({"image": "../a"}),
        json!({"image": "a", "privileged": true}),
        json!({"image": "a", "volumes": ["/:/host"]}),
        json!({"image": "a", "env": ["A=1"]}),
        json!({"image": "a", "env": {"": "x"}}),
        json!({"image": "a", "env": {"a": "x"}}),
        json!({"image": "a", "env": {"A=B": "x"}}),
        json!({"image": "a", "env": {"A\n": "x"}}),
        json!({"image": "a", "env": {"--env": "x"}}),
        json!({"image": "a", "env": {"AWS_SECRET_ACCESS_KEY": "x"}}),
        json!({"image": "a", "env": {"STAGELINE_TASK_ID": "x"}}),
        json!({"image": "a", "env": {"A": "x\u{0}"}}),
        json!({"image": "a", "env": {"A": null}}),
    ] {
        let config = Config { allow_any_program: true, ..Config::default() };
        assert_eq!(
            Request::of(&task(bad.clone()), &config).unwrap_err().code,
            Code::EngineInputInvalid,
            "{bad}"
        );
    }
}

#[test]
fn a_limit_of_zero_is_not_taken_for_none() {
    let config = allowing(&["a"]);
    let with = |resources| {
        let mut task = task(json!({"image": "a"}));
        task.resources = Some(resources);
        Request::of(&task, &config)
    };
    let none = Resources::default();
    assert!(with(Resources { memory_mb: Some(0), ..none.clone() }).is_err());
    assert!(with(Resources { memory_mb: Some(u64::MAX), ..none.clone() }).is_err());
    assert!(with(Resources { cpus: Some(0), ..none.clone() }).is_err());
    assert!(with(Resources { processes: Some(0), ..none.clone() }).is_err());
    assert!(with(Resources { gpus: Some(65), ..none.clone() }).is_err());
    assert_eq!(with(Resources { gpus: Some(0), memory_mb: Some(6), ..none }).unwrap().memory_mb, Some(6));
}

#[test]
fn the_workers_limits_hold_for_containers_too() {
    let line = |resources: Resources, config: &Config| {
        let mut task = task(json!({"image": "a"}));
        task.resources = Some(resources);
        let args = run(&Request::of(&task, config).unwrap(), &frame()).unwrap();
        args.iter().map(|arg| arg.to_str().unwrap().to_owned()).collect::<Vec<_>>().join(" ")
    };
    let limited = Config {
        max_memory_mb: Some(100),
        max_file_size_mb: Some(2),
        max_open_files: Some(64),
        max_processes: Some(50),
        ..allowing(&["a"])
    };
    let of_the_worker = line(Resources::default(), &limited);
    for set in [
        "--memory 100m --memory-swap 100m ",
        "--ulimit nofile=64:64 ",
        "--ulimit fsize=2097152:2097152 ",
        "--pids-limit 50 ",
    ] {
        assert!(of_the_worker.contains(set), "{set}: {of_the_worker}");
    }
    let more = Resources {
        memory_mb: Some(9_999),
        file_size_mb: Some(9_999),
        open_files: Some(9_999),
        processes: Some(9_999),
        ..Resources::default()
    };
    assert_eq!(line(more.clone(), &limited), of_the_worker);
    assert!(line(more, &allowing(&["a"])).contains("--pids-limit 2048 "));
    let less = Resources { memory_mb: Some(7), open_files: Some(16), ..Resources::default() };
    let less = line(less, &limited);
    assert!(less.contains("--memory 7m ") && less.contains("nofile=16:16 "), "{less}");
    let huge = Resources { file_size_mb: Some(u64::MAX), ..Resources::default() };
    assert!(line(huge, &allowing(&["a"])).contains("fsize=9223372036854775807:"));
}

#[test]
fn names_of_containers_do_not_clash_and_are_valid() {
    let long = "x".repeat(128);
    for id in ["melt:7", "a.b_c-d", "-", &long] {
        let mut task = Task::new(id.parse().unwrap());
        task.attempt = Attempt(u32::MAX);
        let (one, other) = (name(&task), name(&task));
        assert_ne!(one, other);
        assert!(one.len() <= 128 && one.starts_with("stageline-"));
        assert!(one.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-')), "{one}");
    }
}

#[test]
fn a_folder_that_cannot_be_mounted_is_the_workers_fault() {
    let request = Request::of(&task(json!({"image": "a"})), &allowing(&["a"])).unwrap();
    let frame = Frame { job_dir: Path::new("/srv/a,readonly/1"), ..frame() };
    assert_eq!(run(&request, &frame).unwrap_err().code, Code::WorkerFault);
}

#[test]
fn the_runtime_has_the_workers_settings_and_not_the_tasks() {
    let found = settings(|name| (name == "DOCKER_HOST").then(|| "unix:///run/docker.sock".to_owned()));
    assert_eq!(
        found,
        [("HOME", "/nonexistent"), ("DOCKER_HOST", "unix:///run/docker.sock")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
    );
}

/// A folder with a program of this name, which writes its arguments to the file `argv`, one in brackets each.
fn fake(name: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    let script = format!("#!/bin/sh\nprintf '[%s]\\n' \"$@\" > {}/argv\n", dir.path().display());
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    dir
}

fn planned(task: &Task, config: &Config) -> ChildPlan {
    let site = Site { config, job_dir: Path::new("/srv/jobs/t/1"), resume: None };
    match Container::default().plan(task, &site).unwrap() {
        Execution::Child(plan) => plan,
        Execution::Inline(_) => panic!("it is a process"),
    }
}

#[test]
fn a_hostile_command_stays_behind_the_image_word_by_word() {
    let dir = fake("docker");
    let config = Config { path: dir.path().to_str().unwrap().to_owned(), ..allowing(&["python"]) };
    let mut task = task(json!({"image": "python"}));
    task.command = Some("'a; touch /tmp/x' $(id) --privileged '-v /:/host' \"two\nlines\"".to_owned());
    let plan = planned(&task, &config);
    assert_eq!(plan.steps[0].program, dir.path().join("docker"));
    let ended = Command::new(&plan.steps[0].program).args(&plan.steps[0].args).status().unwrap();
    assert!(ended.success());
    let argv = std::fs::read_to_string(dir.path().join("argv")).unwrap();
    let (_, behind) = argv.split_once("[python]\n").unwrap();
    assert_eq!(behind, "[a; touch /tmp/x]\n[$(id)]\n[--privileged]\n[-v /:/host]\n[two\nlines]\n");
}

#[test]
fn the_container_that_is_removed_afterwards_is_the_one_that_was_started() {
    let dir = fake("podman");
    let config = Config { path: dir.path().to_str().unwrap().to_owned(), ..allowing(&["python"]) };
    let plan = planned(&task(json!({"image": "python"})), &config);
    let args = &plan.steps[0].args;
    let name = &args[args.iter().position(|arg| arg == "--name").unwrap() + 1];
    let afterwards = plan.afterwards.unwrap();
    assert_eq!(plan.pausing, None, "signals reach its processes");
    assert_eq!(afterwards.program, dir.path().join("podman"), "podman where there is no docker");
    assert_eq!(afterwards.args.last(), Some(name));
    let missing = Config { path: "/nowhere".to_owned(), ..config };
    let site = Site { config: &missing, job_dir: Path::new("/"), resume: None };
    let failure = Container::default().plan(&task(json!({"image": "python"})), &site).err().unwrap();
    assert_eq!(failure.code, Code::EngineMissing);
}

#[test]
fn a_container_of_docker_is_paused_by_its_name() {
    let dir = fake("docker");
    let config = Config { path: dir.path().to_str().unwrap().to_owned(), ..allowing(&["python"]) };
    let plan = planned(&task(json!({"image": "python"})), &config);
    let pausing = plan.pausing.unwrap();
    let name = plan.afterwards.unwrap().args.last().unwrap().clone();
    assert_eq!(pausing.pause.args, ["pause".into(), name.clone()]);
    assert_eq!(pausing.go_on.args, ["unpause".into(), name]);
}

proptest! {
    #[test]
    fn whatever_the_parameters_the_image_stays_the_only_word_before_the_command(
        image in "[-a-z0-9:./@ ]{0,12}", name in "[-A-Za-z0-9_= ]{0,6}", value in ".{0,12}", command in ".{0,20}",
    ) {
        let mut task = task(json!({"image": image, "env": {name: value}}));
        task.command = Some(command);
        let config = Config { allow_any_program: true, ..Config::default() };
        if let Ok(request) = Request::of(&task, &config) {
            let args = run(&request, &frame()).unwrap();
            let at = args.len() - request.words.len() - 1;
            prop_assert_eq!(args[at].to_str(), Some(image.as_str()));
            prop_assert_eq!(args[at - 1].to_str(), Some("type=bind,source=/srv/jobs/melt~7/2,target=/job"));
            let privileged = args[..at].iter().filter(|arg| arg.to_str() == Some("--privileged")).count();
            prop_assert_eq!(privileged, 0);
        }
    }
}

#[test]
fn a_worker_that_gives_devices_names_those_of_a_container() {
    let mut task = task(json!({"image": "solver"}));
    task.resources = Some(Resources { gpus: Some(2), ..Resources::default() });
    let request = Request::of(&task, &allowing(&["solver"])).unwrap();
    let line = |names_gpus| {
        let args = run(&request, &Frame { names_gpus, ..frame() }).unwrap();
        args.iter().map(|arg| arg.to_str().unwrap().to_owned()).collect::<Vec<_>>().join(" ")
    };
    assert!(line(false).contains("--gpus 2 ") && !line(false).contains("CUDA_VISIBLE_DEVICES"));
    assert!(line(true).contains("--gpus all --env CUDA_VISIBLE_DEVICES --env"));
}
