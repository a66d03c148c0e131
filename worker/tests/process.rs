//! The worker as its own process, configured by its environment alone, against the embedded system.
#![allow(clippy::unwrap_used, reason = "a test's helpers fail as the test does")]

use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use stageline::Clock;
use stageline::aws::Request;
use stageline::protocol::lease::Lease;
use stageline::task::{Status, Task, TaskId};
use stageline_local::{LocalOptions, System, SystemOptions};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

const DEADLINE: Duration = Duration::from_secs(90);

struct Bench {
    system: System,
    folder: tempfile::TempDir,
}

impl Bench {
    async fn start() -> Self {
        Self::with_lease(Lease::default()).await
    }

    async fn with_lease(lease: Lease) -> Self {
        let local = LocalOptions { data_dir: None, port: 0, prefix: "process".to_owned() };
        let targets = vec!["default/*".parse().unwrap()];
        let system = System::start(SystemOptions { local, targets, lease }).await.unwrap();
        Self { system, folder: tempfile::tempdir().unwrap() }
    }

    /// A worker process, killed when dropped. It has AWS secrets in its environment, as on any host.
    async fn worker(&self, settings: &[(&str, &str)]) -> Child {
        let mut child = Command::new(env!("CARGO_BIN_EXE_stageline-worker"))
            .current_dir(self.folder.path())
            .envs(self.system.deployment().to_env())
            .env("AWS_ENDPOINT_URL", self.system.local().endpoint())
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "local")
            .env("AWS_SECRET_ACCESS_KEY", "top-secret")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("STAGELINE_WORKER_WORK_DIR", self.folder.path().join("jobs"))
            .env("STAGELINE_WORKER_INPUTS_DIR", concat!(env!("CARGO_MANIFEST_DIR"), "/tests"))
            .envs(settings.iter().copied())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let started = async {
            while let Some(line) = lines.next_line().await.unwrap() {
                if line.contains("worker started") {
                    return;
                }
            }
            panic!("the worker ended before it started");
        };
        tokio::time::timeout(DEADLINE, started).await.unwrap();
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        child
    }

    /// A command that ends when this test does, though nobody may be left to end it.
    fn until_cleaned_up(&self) -> String {
        format!("sh -c 'while test -d {}; do sleep 0.2; done'", self.folder.path().display())
    }

    async fn submit(&self, command: &str) -> TaskId {
        let record = json!({"id": TaskId::fresh(), "command": command, "status": "PENDING"});
        let task = Task::from_json(record).unwrap();
        assert!(self.system.aws().tasks.put_new(&task).await.unwrap());
        task.id
    }

    async fn until(&self, id: &TaskId, condition: impl Fn(&Task) -> bool) -> Task {
        let aws = self.system.aws();
        let wait = async {
            loop {
                let task = aws.tasks.get(id).await.unwrap().unwrap();
                if condition(&task) {
                    return task;
                }
                tokio::time::sleep(Duration::from_millis(25)).await;
            }
        };
        tokio::time::timeout(DEADLINE, wait).await.unwrap()
    }
}

fn terminate(child: &Child) {
    kill(Pid::from_raw(child.id().unwrap().try_into().unwrap()), Signal::SIGTERM).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployed_worker_starts_only_what_its_configuration_lists() {
    let bench = Bench::start().await;
    let _worker = bench.worker(&[("STAGELINE_WORKER_ALLOWED_PROGRAMS", r#"["env"]"#)]).await;
    let refused = bench.submit("sh -c 'env'").await;
    let allowed = bench.submit("env").await;
    let refused = bench.until(&refused, |task| task.status.is_terminal()).await;
    assert_eq!(refused.status_reason.unwrap().code, "COMMAND_NOT_ALLOWED");
    let allowed = bench.until(&allowed, |task| task.status.is_terminal()).await;
    assert_eq!(allowed.status, Status::Completed);
    let environment = allowed.stdout.unwrap();
    assert!(!environment.contains("AWS_") && !environment.contains("top-secret"), "{environment}");
    assert!(environment.contains(&format!("STAGELINE_TASK_ID={}", allowed.id)), "{environment}");
    bench.system.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_lets_a_short_task_finish_and_hands_a_long_one_back() {
    let bench = Bench::start().await;
    let any = [
        ("STAGELINE_WORKER_ALLOW_ANY_PROGRAM", "true"),
        ("STAGELINE_WORKER_SLOTS", "2"),
        ("STAGELINE_WORKER_DRAIN_GRACE_SECONDS", "3"),
        ("STAGELINE_WORKER_TERM_GRACE_SECONDS", "1"),
    ];
    let mut worker = bench.worker(&any).await;
    let go = bench.folder.path().join("go");
    let short = bench.submit(&format!("sh -c 'while ! test -e {}; do sleep 0.05; done'", go.display())).await;
    let long = bench.submit(&bench.until_cleaned_up()).await;
    for id in [&short, &long] {
        bench.until(id, |task| task.status == Status::Running).await;
    }
    terminate(&worker);
    std::fs::write(&go, "").unwrap();
    // Written while it drains: not its business any more.
    let later = bench.submit("true").await;
    let exit = tokio::time::timeout(DEADLINE, worker.wait()).await.unwrap().unwrap();
    assert!(exit.success(), "{exit}");
    let short = bench.until(&short, |task| task.status.is_terminal()).await;
    assert_eq!((short.status, short.attempt.0), (Status::Completed, 1));
    let long = bench.until(&long, |task| task.status != Status::Running).await;
    assert_eq!((long.interruptions, long.failures, long.worker_node_id), (Some(1), None, None));
    assert!(bench.system.aws().workers.all().await.unwrap().is_empty(), "it gave its lease up");

    let _next = bench.worker(&any).await;
    let later = bench.until(&later, |task| task.status.is_terminal()).await;
    assert_eq!((later.status, later.attempt.0), (Status::Completed, 1));
    bench.until(&long.id, |task| task.status == Status::Running && task.attempt.0 == 2).await;
    bench.system.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_short_tasks_side_by_side_leave_each_others_children_alone() {
    let bench = Bench::start().await;
    let _worker = bench
        .worker(&[("STAGELINE_WORKER_ALLOWED_PROGRAMS", r#"["true"]"#), ("STAGELINE_WORKER_SLOTS", "4")])
        .await;
    let mut ids = Vec::new();
    for _ in 0..300 {
        ids.push(bench.submit("true").await);
    }
    for id in &ids {
        let task = bench.until(id, |task| task.status.is_terminal()).await;
        assert_eq!((task.status, task.attempt.0), (Status::Completed, 1), "{:?}", task.status_reason);
    }
    bench.system.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_that_makes_no_sense_ends_the_worker_with_its_reason() {
    let bench = Bench::start().await;
    for (name, value, said) in [
        ("STAGELINE_WORKER_SLOTS", "0", "`slots`"),
        ("STAGELINE_WORKER_SLOTTS", "3", "slotts"),
        ("STAGELINE_WORKER_CONFIG", "absent.toml", "absent.toml"),
        ("STAGELINE_WORKER_POOL", "gpu", "there is no pool"),
        ("STAGELINE_POOLS", "[{", "STAGELINE_POOLS"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_stageline-worker"))
            .current_dir(bench.folder.path())
            .envs(bench.system.deployment().to_env())
            .env("AWS_ENDPOINT_URL", bench.system.local().endpoint())
            .env("STAGELINE_WORKER_WORK_DIR", bench.folder.path().join("jobs"))
            .env("STAGELINE_WORKER_INPUTS_DIR", concat!(env!("CARGO_MANIFEST_DIR"), "/tests"))
            .env(name, value)
            .output()
            .await
            .unwrap();
        let log = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{name}: {log}");
        assert!(log.contains(said), "{name}: {log}");
    }
    bench.system.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_task_is_paused_continued_and_cancelled_though_no_signal_comes() {
    let bench = Bench::with_lease(Lease::of(Duration::from_secs(2))).await;
    let _worker = bench
        .worker(&[
            ("STAGELINE_WORKER_ALLOWED_PROGRAMS", r#"["sh"]"#),
            ("STAGELINE_WORKER_TERM_GRACE_SECONDS", "1"),
        ])
        .await;
    let id = bench.submit(&bench.until_cleaned_up()).await;
    bench.until(&id, |task| task.status == Status::Running).await;
    let tasks = &bench.system.aws().tasks;
    for (request, status) in [
        (Request::Pause, Status::Paused),
        (Request::Resume, Status::Running),
        (Request::Pause, Status::Paused),
        (Request::Cancel, Status::Cancelled),
    ] {
        let _applied = tasks.ask(&id, request, Clock::system().now()).await.unwrap();
        let task = bench.until(&id, |task| task.status == status).await;
        assert_eq!(task.attempt.0, 1);
    }
    bench.system.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_rescues_the_tasks_of_its_killed_former_self_without_waiting_for_its_lease() {
    let bench = Bench::start().await;
    let settings = [("STAGELINE_WORKER_ALLOWED_PROGRAMS", r#"["sh"]"#)];
    let mut first = bench.worker(&settings).await;
    let id = bench.submit(&bench.until_cleaned_up()).await;
    let lost = bench.until(&id, |task| task.status == Status::Running).await.worker_node_id.unwrap();
    let listed = async {
        while bench.system.aws().workers.registered(&lost).await.unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(DEADLINE, listed).await.unwrap();
    first.kill().await.unwrap();
    let killed = std::time::Instant::now();
    let _second = bench.worker(&settings).await;
    let task = bench.until(&id, |task| task.status == Status::Running && task.attempt.0 == 2).await;
    assert!(killed.elapsed() < Duration::from_secs(20), "it waited for no lease");
    assert_eq!((task.interruptions, task.failures), (Some(1), None));
    assert!(bench.system.aws().workers.get(&lost).await.unwrap().is_none());
    bench.system.shutdown().await;
}
