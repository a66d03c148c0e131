//! A worker as its own process, configured by its environment alone, against the embedded system.
#![allow(dead_code, reason = "each test uses its part of it")]
#![allow(clippy::unwrap_used, reason = "a test's helpers fail as the test does")]

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use stageline::Clock;
use stageline::aws::Request;
use stageline::protocol::lease::Lease;
use stageline::task::{Status, Task, TaskId};
use stageline_local::{LocalOptions, System, SystemOptions};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

pub const DEADLINE: Duration = Duration::from_secs(60);

pub struct Bench {
    pub system: System,
    pub folder: tempfile::TempDir,
    pub worker: Child,
}

impl Bench {
    /// A worker that may start anything, with further settings by the names that follow `STAGELINE_WORKER_`. It
    /// has a secret in its environment, as on any host.
    pub async fn start(settings: &[(&str, &str)]) -> Self {
        let local = LocalOptions { data_dir: None, port: 0, prefix: "bounds".to_owned() };
        let targets = vec!["default/*".parse().unwrap()];
        let lease = Lease::of(Duration::from_secs(2));
        let system = System::start(SystemOptions { local, targets, lease }).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let worker = start_worker(&system, folder.path(), settings).await;
        Self { system, folder, worker }
    }

    /// Kills the worker with SIGKILL, and starts another one in its place.
    pub async fn kill_and_start_anew(&mut self, settings: &[(&str, &str)]) {
        self.worker.kill().await.unwrap();
        self.worker = start_worker(&self.system, self.folder.path(), settings).await;
    }

    /// The job folder of a task's first attempt.
    pub fn job(&self, id: &TaskId) -> PathBuf {
        self.folder.path().canonicalize().unwrap().join("jobs").join(id.as_str()).join("1")
    }

    pub async fn submit(&self, more: Value) -> TaskId {
        let mut record = json!({"id": TaskId::fresh(), "status": "PENDING"});
        record.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let task = Task::from_json(record).unwrap();
        assert!(self.system.aws().tasks.put_new(&task).await.unwrap());
        task.id
    }

    /// Submits a script of the shell, which is written to a file, so that nothing needs quotes.
    pub async fn script(&self, text: &str, resources: Value) -> TaskId {
        let id = TaskId::fresh();
        let name = format!("{id}.sh");
        std::fs::write(self.folder.path().join(&name), text).unwrap();
        self.submit(
            json!({"id": id, "command": format!("sh {name}"), "inputs": [name], "resources": resources}),
        )
        .await
    }

    pub async fn until(&self, id: &TaskId, condition: impl Fn(&Task) -> bool) -> Task {
        let tasks = &self.system.aws().tasks;
        let wait = async {
            loop {
                let task = tasks.get(id).await.unwrap().unwrap();
                if condition(&task) {
                    return task;
                }
                tokio::time::sleep(Duration::from_millis(25)).await;
            }
        };
        match tokio::time::timeout(DEADLINE, wait).await {
            Ok(task) => task,
            Err(_elapsed) => panic!("not in time: {:?}", tasks.get(id).await.unwrap()),
        }
    }

    pub async fn ended(&self, id: &TaskId) -> Task {
        self.until(id, |task| task.status.is_terminal()).await
    }

    /// The end of a script.
    pub async fn run(&self, text: &str, resources: Value) -> Task {
        let id = self.script(text, resources).await;
        self.ended(&id).await
    }

    /// What a script that has to succeed prints.
    pub async fn printed(&self, text: &str, resources: Value) -> String {
        let task = self.run(text, resources).await;
        assert_eq!(task.status, Status::Completed, "{:?} {:?}", task.status_reason, task.stderr);
        task.stdout.unwrap_or_default()
    }

    pub async fn ask(&self, id: &TaskId, request: Request) {
        let _applied = self.system.aws().tasks.ask(id, request, Clock::system().now()).await.unwrap();
    }

    /// Waits for a file.
    pub async fn until_there(&self, path: &std::path::Path) {
        let wait = async {
            while !path.exists() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(DEADLINE, wait).await.unwrap();
    }
}

/// A worker's process, which takes tasks.
async fn start_worker(system: &System, folder: &Path, settings: &[(&str, &str)]) -> Child {
    let mut worker = Command::new(env!("CARGO_BIN_EXE_stageline-worker"))
        .current_dir(folder)
        .envs(system.deployment().to_env())
        .env("AWS_ENDPOINT_URL", system.local().endpoint())
        .env("AWS_REGION", "us-east-1")
        .env("AWS_ACCESS_KEY_ID", "local")
        .env("AWS_SECRET_ACCESS_KEY", "top-secret")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("STAGELINE_WORKER_WORK_DIR", folder.join("jobs"))
        .env("STAGELINE_WORKER_ALLOW_ANY_PROGRAM", "true")
        .env("STAGELINE_WORKER_SLOTS", "4")
        .env("STAGELINE_WORKER_TERM_GRACE_SECONDS", "1")
        .envs(settings.iter().map(|(name, value)| (format!("STAGELINE_WORKER_{name}"), *value)))
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(worker.stderr.take().unwrap()).lines();
    let started = async {
        let mut seen = String::new();
        while let Some(line) = lines.next_line().await.unwrap() {
            if line.contains("worker started") {
                return;
            }
            seen.push_str(&line);
        }
        panic!("the worker ended before it started: {seen}");
    };
    tokio::time::timeout(DEADLINE, started).await.unwrap();
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    worker
}

pub fn reason(task: &Task) -> (String, String) {
    let reason = task.status_reason.clone().unwrap_or_else(|| panic!("no reason: {task:?}"));
    (reason.code, reason.message)
}

/// Whether any process has this text among its arguments.
pub fn runs(text: &str) -> bool {
    let has = |entry: std::fs::DirEntry| {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        entry.file_name().to_str().is_some_and(|name| name.parse::<u32>().is_ok())
            && String::from_utf8_lossy(&line).contains(text)
    };
    std::fs::read_dir("/proc").unwrap().flatten().any(has)
}

/// Waits until no process has this text among its arguments.
pub async fn until_gone(text: &str) {
    let wait = async {
        while runs(text) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(DEADLINE, wait).await.unwrap();
}
