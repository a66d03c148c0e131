//! Containers under a `docker` that only pretends: its container is a process that outlives it, as a real one
//! does.
#![allow(clippy::unwrap_used, reason = "a test's helpers fail as the test does")]

mod support;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use stageline::Clock;
use stageline::aws::Request;
use stageline::protocol::lease::Lease;
use stageline::task::{Status, Task, TaskId};
use stageline_local::{LocalOptions, System, SystemOptions};
use stageline_worker::child::Custody;
use stageline_worker::{Config, Worker};
use tokio_util::sync::CancellationToken;

const DEADLINE: Duration = Duration::from_secs(90);

/// `run` makes the file `up/NAME`, does what `run.sh` says, and leaves the file; `rm` takes it away, by its name or
/// by the id that `ps` has said. `pause` makes the file `paused`, unless there is one that `refuses`.
const DOCKER: &str = r#"#!/bin/sh
here=$(dirname "$0")
id() { echo "${1##*/}" | sha256sum | cut -c 1-64; }
printf '[%s]' "$@" >> "$here/argv"; echo >> "$here/argv"
case $1 in
run) echo "$*" > "$here/up/$4"; . "$here/run.sh" ;;
rm) test "$HOME" != "$PWD" || exit 9
    for name; do :; done
    for file in "$here"/up/*; do
        case $name in "$(id "$file")"|"${file##*/}") rm "$file" ;; esac
    done
    . "$here/rm.sh" ;;
pause) test ! -e "$here/refuses" && touch "$here/paused" ;;
unpause) rm "$here/paused" ;;
ps) for file in "$here"/up/*; do grep -q -- "--label ${6#label=} " "$file" && id "$file"; done; true ;;
esac
"#;

/// Puts it into `folder`.
fn docker(folder: &Path, run: &str, rm: &str) -> PathBuf {
    let docker = folder.join("docker");
    std::fs::write(&docker, DOCKER).unwrap();
    std::fs::set_permissions(&docker, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::write(folder.join("run.sh"), run).unwrap();
    std::fs::write(folder.join("rm.sh"), rm).unwrap();
    std::fs::create_dir(folder.join("up")).unwrap();
    docker
}

struct Bench {
    system: System,
    folder: tempfile::TempDir,
    drain: CancellationToken,
    stop: CancellationToken,
}

impl Bench {
    /// A worker whose docker does `run` and afterwards `rm`, in the words of a shell.
    async fn start(run: &str, rm: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let docker = docker(folder.path(), run, rm);
        let local = LocalOptions { data_dir: None, port: 0, prefix: "containers".to_owned() };
        let targets = vec!["default/*".parse().unwrap()];
        let lease = Lease::of(Duration::from_secs(2));
        let system = System::start(SystemOptions { local, targets, lease }).await.unwrap();
        let config = Config {
            slots: 2,
            work_dir: folder.path().join("jobs"),
            inputs_dir: folder.path().join("up"),
            allowed_images: vec!["solver".to_owned()],
            container_program: Some(docker.to_string_lossy().into_owned()),
            term_grace_seconds: 5,
            drain_grace_seconds: 1,
            ..Config::default()
        };
        let (aws, custody) = (system.aws(), Custody::shared().unwrap());
        let worker = Worker::new(config, aws, system.deployment(), Clock::system(), custody).unwrap();
        let (drain, stop) = (CancellationToken::new(), CancellationToken::new());
        tokio::spawn(worker.run(drain.clone(), stop.clone()));
        Self { system, folder, drain, stop }
    }

    async fn submit(&self, more: Value) -> TaskId {
        let mut record = json!({
            "id": TaskId::fresh(), "engine": "container", "params": {"image": "solver:1"}, "status": "PENDING",
        });
        record.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let task = Task::from_json(record).unwrap();
        assert!(self.system.aws().tasks.put_new(&task).await.unwrap());
        task.id
    }

    async fn until(&self, id: &TaskId, condition: impl Fn(&Task) -> bool) -> Task {
        let wait = async {
            loop {
                let task = self.system.aws().tasks.get(id).await.unwrap().unwrap();
                if condition(&task) {
                    return task;
                }
                tokio::time::sleep(Duration::from_millis(25)).await;
            }
        };
        tokio::time::timeout(DEADLINE, wait).await.unwrap()
    }

    async fn ended(&self, id: &TaskId) -> Task {
        self.until(id, |task| task.status.is_terminal()).await
    }

    /// The containers that are there.
    fn up(&self) -> Vec<PathBuf> {
        std::fs::read_dir(self.folder.path().join("up")).unwrap().map(|entry| entry.unwrap().path()).collect()
    }

    fn argv(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("argv")).unwrap()
    }

    async fn is_up(&self) {
        let wait = async {
            while self.up().is_empty() {
                tokio::time::sleep(Duration::from_millis(25)).await;
            }
        };
        tokio::time::timeout(DEADLINE, wait).await.unwrap();
    }
}

const FOR_EVER: &str = "while test -d \"$here\"; do sleep 0.1; done";

#[tokio::test(flavor = "multi_thread")]
async fn a_container_tells_its_progress_and_its_result_and_is_gone_afterwards() {
    let run = r#"echo '::stageline {"stage": "Solve", "done": 1, "total": 2, "result": {"drag": 0.3}}'"#;
    let bench = Bench::start(run, "").await;
    let task = bench.ended(&bench.submit(json!({"command": "solve 'a b'"})).await).await;
    assert_eq!((task.status, task.result), (Status::Completed, Some(json!({"drag": 0.3}))));
    assert!(bench.argv().contains("[solver:1][solve][a b]\n"), "{}", bench.argv());
    assert!(bench.up().is_empty());
    bench.system.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_is_gone_when_its_task_is_cancelled_or_its_time_is_up() {
    let bench = Bench::start(FOR_EVER, "").await;
    let cancelled = bench.submit(json!({})).await;
    bench.is_up().await;
    let _applied =
        bench.system.aws().tasks.ask(&cancelled, Request::Cancel, Clock::system().now()).await.unwrap();
    assert_eq!(bench.ended(&cancelled).await.status, Status::Cancelled);
    assert!(bench.up().is_empty());
    let late = bench.submit(json!({"timeoutSeconds": 1})).await;
    assert_eq!(bench.ended(&late).await.status, Status::TimedOut);
    assert!(bench.up().is_empty());
    bench.system.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_is_gone_when_its_record_is_deleted_or_its_worker_stops() {
    let bench = Bench::start(FOR_EVER, "").await;
    let deleted = bench.submit(json!({})).await;
    bench.is_up().await;
    let dynamodb = aws_sdk_dynamodb::Client::new(&bench.system.sdk_config());
    let id = aws_sdk_dynamodb::types::AttributeValue::S(deleted.to_string());
    dynamodb
        .delete_item()
        .table_name(&bench.system.deployment().tasks_table)
        .key("id", id)
        .send()
        .await
        .unwrap();
    let gone = async {
        while !bench.up().is_empty() {
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    };
    tokio::time::timeout(DEADLINE, gone).await.unwrap();

    let interrupted = bench.submit(json!({})).await;
    bench.is_up().await;
    bench.drain.cancel();
    bench.stop.cancel();
    let task = bench.until(&interrupted, |task| task.status != Status::Running).await;
    assert!(task.interruptions >= Some(1), "{task:?}");
    assert!(bench.up().is_empty());
    bench.system.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runtime_that_hangs_while_it_removes_a_container_does_not_hold_the_task() {
    let bench = Bench::start("exit 3", FOR_EVER).await;
    let begun = std::time::Instant::now();
    let task = bench.ended(&bench.submit(json!({})).await).await;
    assert_eq!(task.status_reason.unwrap().code, "EXIT_NON_ZERO", "its own end counts");
    assert!(begun.elapsed() > Duration::from_secs(9));
    bench.system.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_container_leaves_in_the_job_folder_does_not_lead_the_worker_out_of_it() {
    let run = "ln -s \"$here/secret\" stdout.log; mkfifo stderr.log; echo out; echo err >&2; exit 3";
    let bench = Bench::start(run, "").await;
    let task = bench.ended(&bench.submit(json!({})).await).await;
    assert_eq!(task.status_reason.unwrap().message, "the container ended with exit code 3: err");
    assert_eq!(task.stdout.as_deref(), Some("out\n"));
    assert!(!bench.folder.path().join("secret").exists());
    bench.system.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_is_paused_by_docker_and_the_record_says_so_only_then() {
    let ends_well =
        "trap 'while test -e \"$here/paused\"; do sleep 0.05; done; touch \"$here/well\"; exit' TERM";
    let bench = Bench::start(&format!("{ends_well}; {FOR_EVER}"), "").await;
    let id = bench.submit(json!({})).await;
    bench.is_up().await;
    let tasks = &bench.system.aws().tasks;
    let ask = async |request| tasks.ask(&id, request, Clock::system().now()).await.unwrap();
    let (paused, refuses) = (bench.folder.path().join("paused"), bench.folder.path().join("refuses"));
    std::fs::write(&refuses, "").unwrap();
    let _applied = ask(Request::Pause).await;
    let tried = async {
        while !bench.argv().contains("[pause]") {
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    };
    tokio::time::timeout(DEADLINE, tried).await.unwrap();
    assert_eq!(tasks.get(&id).await.unwrap().unwrap().status, Status::Running, "docker has refused");
    std::fs::remove_file(&refuses).unwrap();
    bench.until(&id, |task| task.status == Status::Paused).await;
    assert!(paused.exists());
    let _applied = ask(Request::Resume).await;
    bench.until(&id, |task| task.status == Status::Running).await;
    assert!(!paused.exists());

    // One that is paused goes on to end by itself.
    let _applied = ask(Request::Pause).await;
    bench.until(&id, |task| task.status == Status::Paused).await;
    let _applied = ask(Request::Cancel).await;
    assert_eq!(bench.ended(&id).await.status, Status::Cancelled);
    assert!(bench.up().is_empty() && !paused.exists() && bench.folder.path().join("well").exists());
    bench.system.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_is_held_to_the_quota_of_its_job_folder() {
    let bench = Bench::start(&format!("head -c 9000000 /dev/zero > big; {FOR_EVER}"), "").await;
    let task = bench.ended(&bench.submit(json!({"resources": {"diskMb": 4}})).await).await;
    assert_eq!(task.status_reason.unwrap().code, "DISK_QUOTA_EXCEEDED");
    assert!(bench.up().is_empty());
    bench.system.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_of_a_killed_worker_are_removed_by_the_next_one_and_nobody_elses() {
    let folder = tempfile::tempdir().unwrap();
    let docker = docker(folder.path(), FOR_EVER, "");
    let program = docker.to_str().unwrap();
    let settings = [("CONTAINER_PROGRAM", program), ("SLOTS", "1")];
    let mut bench = support::Bench::start(&settings).await;
    let id = bench.submit(json!({"engine": "container", "params": {"image": "solver:1"}})).await;
    let up = || std::fs::read_dir(folder.path().join("up")).unwrap().map(|file| file.unwrap().path());
    let another = folder.path().join("up/another");
    std::fs::write(&another, "run --label stageline.worker=somebody:1:else --pull").unwrap();
    let task = bench.until(&id, |_| up().count() == 2).await;
    let left = up().find(|file| *file != another).unwrap();
    assert_eq!(task.attempt.0, 1);
    bench.kill_and_start_anew(&settings).await;
    // Its first heartbeat comes after that.
    assert!(!left.exists() && another.exists());
    bench.until(&id, |task| task.attempt.0 == 2 && task.status == Status::Running).await;
    bench.system.shutdown().await;
}
