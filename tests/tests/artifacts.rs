//! What attempts leave goes into the store, and what they need comes from addresses.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use stageline::Clock;
use stageline::aws::{Request, Write};
use stageline::task::{Status, Task};
use stageline_tests::system::{RunningWorker, Stack, eventually, id};
use stageline_worker::Config;

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

struct Bench {
    stack: Stack,
    folder: tempfile::TempDir,
    worker: RunningWorker,
}

impl Bench {
    /// Its job folders.
    fn jobs(&self) -> std::path::PathBuf {
        self.stack.worker_config(1).work_dir
    }

    /// A worker that stores in `store` and reads from `in`, both in a folder of their own.
    async fn start(change: impl FnOnce(&mut Config)) -> Result<Self> {
        // A lease that passes within a test.
        let stack = Stack::embedded_with_lease(6).await?;
        let folder = tempfile::tempdir()?;
        std::fs::create_dir(folder.path().join("in"))?;
        let mut config = Config {
            inputs_dir: folder.path().join("in"),
            artifacts_url: Some(format!("file://{}", folder.path().join("store").display())),
            ..stack.worker_config(2)
        };
        change(&mut config);
        let worker = stack.worker(config)?;
        Ok(Self { stack, folder, worker })
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    async fn ended(&self, name: &str, script: &str, more: Value) -> Result<Task> {
        let command = format!("sh -c {}", shell_quoted(script));
        let mut record = json!({"id": id(name), "status": "PENDING", "command": command});
        let fields = record.as_object_mut().context("a map")?;
        fields.extend(more.as_object().context("a map")?.clone());
        let id = self.stack.put(&record).await?;
        self.stack.ended(&id).await
    }

    async fn end(self) -> Result<()> {
        self.worker.drained().await?;
        self.stack.shutdown().await;
        Ok(())
    }
}

fn shell_quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

fn code(task: &Task) -> &str {
    task.status_reason.as_ref().map_or("", |reason| reason.code.as_str())
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_and_declared_outputs_are_in_the_store_with_size_and_hash_when_the_task_is_completed()
-> Result<()> {
    let bench = Bench::start(|_| {}).await?;
    let script = "mkdir -p out/deep; echo one > out/a.dat; head -c 20000000 /dev/zero > out/deep/big.dat; \
                  echo no > other; ln -s /etc/passwd out/link.dat; echo said; echo complained >&2";
    let task = bench.ended("kept", script, json!({"outputs": ["out/**", "./stdout.log"]})).await?;
    assert_eq!(task.status, Status::Completed, "{task:#?}");
    let artifacts = task.artifacts.as_deref().context("artifacts")?;
    let names: Vec<_> = artifacts.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["stdout.log", "stderr.log", "out/a.dat", "out/deep/big.dat"]);
    let store = format!("file://{}/{}/1/", bench.path("store").canonicalize()?.display(), task.id);
    for artifact in artifacts {
        assert_eq!(artifact.uri, format!("{store}{}", artifact.name));
        let content = std::fs::read(artifact.uri.strip_prefix("file://").context("a file")?)?;
        assert_eq!(artifact.size_bytes, Some(content.len() as u64));
        assert_eq!(artifact.sha256.as_deref(), Some(sha256(&content).as_str()));
    }
    assert_eq!(artifacts[3].size_bytes, Some(20_000_000));
    bench.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_success_without_what_it_should_leave_is_none() -> Result<()> {
    let bench = Bench::start(|config| config.store_patience_seconds = 1).await?;
    for (script, outputs) in [
        ("true", json!(["result.dat"])),
        ("ln -s /etc/passwd result.dat", json!(["result.dat"])),
        ("mkdir real; echo x > real/x; ln -s real linked", json!(["linked/x"])),
        ("echo x > a.dat", json!(["a.dat", "*.txt"])),
    ] {
        let task = bench.ended("missing", script, json!({"outputs": outputs})).await?;
        assert_eq!((task.status, code(&task)), (Status::Failed, "OUTPUT_MISSING"), "{script}");
    }
    // A file where the task's folder would be.
    let blocked = id("blocked");
    std::fs::write(bench.path("store").join(&blocked), "")?;
    let more = json!({"id": blocked, "outputs": ["a.dat"],
        "retry": {"strategy": "IMMEDIATE", "maxRetries": 1}});
    let task = bench.ended("blocked", "echo x > a.dat", more).await?;
    assert_eq!((task.status, code(&task)), (Status::Failed, "ARTIFACT_NOT_STORED"));
    assert_eq!((task.failures, task.attempt.0), (Some(2), 2), "it is worth another try");
    let failed =
        bench.ended("failed", "echo x > a.dat; exit 3", json!({"outputs": ["a.dat", "b.dat"]})).await?;
    assert_eq!(code(&failed), "EXIT_NON_ZERO", "its own failure counts");
    assert!(failed.artifacts.iter().flatten().any(|one| one.name == "a.dat"), "{failed:#?}");
    bench.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_can_be_cancelled_while_its_outputs_are_stored_and_its_lease_is_kept() -> Result<()> {
    let bench = Bench::start(|config| config.store_patience_seconds = 600).await?;
    let blocked = id("blocked");
    std::fs::create_dir_all(bench.path("store"))?;
    std::fs::write(bench.path("store").join(&blocked), "")?;
    let command = "sh -c 'echo x > a.dat; echo x > done'";
    let record = json!({"id": blocked, "status": "PENDING", "command": command, "outputs": ["a.dat"]});
    let id = bench.stack.put(&record).await?;
    let done = bench.jobs().join(&blocked).join("1/done");
    eventually("the process is done", || async { Ok(done.exists().then_some(())) }).await?;
    // Longer than a lease.
    tokio::time::sleep(Duration::from_secs(8)).await;
    let task = bench.stack.aws.tasks.get(&id).await?.context("a task")?;
    assert_eq!((task.status, task.attempt.0), (Status::Running, 1));
    let asked = bench.stack.aws.tasks.ask(&id, Request::Cancel, Clock::system().now()).await?;
    assert_eq!(asked, Write::Applied);
    let ended = bench.stack.ended(&id).await?;
    assert_eq!(ended.status, Status::Cancelled);
    bench.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_store_outputs_stay_in_the_job_folder_and_are_named() -> Result<()> {
    let bench = Bench::start(|config| config.artifacts_url = None).await?;
    let task = bench.ended("stays", "printf abc > a.dat", json!({"outputs": ["a.dat"]})).await?;
    let artifact = &task.artifacts.as_deref().context("artifacts")?[0];
    let path = Path::new(artifact.uri.strip_prefix("file://").context("a file")?);
    assert!(path.ends_with("1/a.dat") && std::fs::read(path)? == b"abc");
    assert_eq!(artifact.sha256.as_deref(), Some(sha256(b"abc").as_str()));
    let missing = bench.ended("missing", "true", json!({"outputs": ["a.dat"]})).await?;
    assert_eq!(code(&missing), "OUTPUT_MISSING");
    bench.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn inputs_come_from_addresses_that_are_allowed_and_are_what_the_record_says() -> Result<()> {
    let bench = Bench::start(|config| config.input_limit_bytes = 1_000).await?;
    let root = bench.path("in").canonicalize()?;
    std::fs::write(root.join("data"), "content\n")?;
    std::fs::write(root.join("large"), [0; 1_001])?;
    let address = |name: &str| format!("file://{}/{name}", root.display());
    let good = sha256(b"content\n");
    let cases = [
        (json!({"source": address("data"), "path": "x/y", "sha256": good.to_uppercase()}), ""),
        (json!({"source": "data", "path": "x/y", "sha256": good}), ""),
        (json!({"source": "data", "path": "x/y", "sha256": sha256(b"other")}), "INPUT_HASH_MISMATCH"),
        (json!({"source": address("large"), "path": "x/y"}), "INPUT_TOO_LARGE"),
        (json!({"source": address("none"), "path": "x/y"}), "INPUT_MISSING"),
        (json!({"source": "file:///etc/passwd", "path": "x/y"}), "PATH_UNSAFE"),
        (json!({"source": "s3://somebody-elses/key", "path": "x/y"}), "PATH_UNSAFE"),
        (json!({"source": "https://example.com/x", "path": "x/y"}), "PATH_UNSAFE"),
    ];
    for (input, expected) in cases {
        let task = bench.ended("input", "cat x/y", json!({"inputs": [input]})).await?;
        assert_eq!(code(&task), expected, "{input}");
        if expected.is_empty() {
            assert_eq!(task.stdout.as_deref(), Some("content\n"));
        }
    }
    bench.end().await
}

/// Wants `AWS_ENDPOINT_URL_S3` of an emulator, and a bucket of it in `STAGELINE_TEST_BUCKET`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "wants an S3 emulator"]
async fn what_one_task_stores_in_s3_another_fetches_from_there() -> Result<()> {
    let bucket = std::env::var("STAGELINE_TEST_BUCKET")?;
    let bench =
        Bench::start(|config| config.artifacts_url = Some(format!("s3://{bucket}/some/prefix"))).await?;
    let script =
        "head -c 20000000 /dev/urandom > big.dat; echo small > 'a small~file+é.dat'; sha256sum big.dat";
    let task = bench.ended("stores", script, json!({"outputs": ["*.dat"]})).await?;
    assert_eq!(task.status, Status::Completed, "{task:#?}");
    let artifacts = task.artifacts.as_deref().context("artifacts")?;
    let prefix = format!("s3://{bucket}/some/prefix/{}/1/", task.id);
    assert!(artifacts.len() == 3 && artifacts.iter().all(|one| one.uri == format!("{prefix}{}", one.name)));
    let inputs: Vec<_> = artifacts
        .iter()
        .map(|one| json!({"source": one.uri, "path": one.name, "sha256": one.sha256}))
        .collect();
    let fetched = bench.ended("fetches", "cat stdout.log.1 *small*; sha256sum big.dat", {
        let mut inputs = inputs;
        inputs[0]["path"] = json!("stdout.log.1");
        json!({ "inputs": inputs })
    });
    let fetched = fetched.await?;
    let said = task.stdout.context("a hash")?;
    assert_eq!(fetched.stdout.as_deref(), Some(format!("{said}small\n{said}").as_str()), "{fetched:#?}");
    let input = json!({"source": format!("{prefix}none"), "path": "x"});
    assert_eq!(code(&bench.ended("missing", "true", json!({"inputs": [input]})).await?), "INPUT_MISSING");
    bench.end().await
}
