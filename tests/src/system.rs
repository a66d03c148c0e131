//! A whole system to test: the embedded one, or the deployed one that `STAGELINE_TEST_ENDPOINT` and the
//! deployment's variables name, with workers of this process.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use aws_config::SdkConfig;
use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::Value;
use stageline::Clock;
use stageline::aws::{Aws, Deployment};
use stageline::protocol::lease::Lease;
use stageline::task::{Status, Task, TaskId};
use stageline_local::{LocalOptions, System, SystemOptions, sdk_config};
use stageline_worker::child::Custody;
use stageline_worker::{Config, Worker, WorkerError};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::backend::ENDPOINT;

/// Longer than anything here takes on a busy machine: a test that reaches it has failed.
const DEADLINE: Duration = Duration::from_secs(120);
const PERIOD: Duration = Duration::from_millis(25);

/// A system without workers.
pub struct Stack {
    /// The embedded one, when it is.
    pub embedded: Option<System>,
    /// Its tables and queues.
    pub aws: Aws,
    /// Its names and pools.
    pub deployment: Deployment,
    /// How any client reaches it.
    pub config: SdkConfig,
    folder: tempfile::TempDir,
}

/// A worker of this process.
pub struct RunningWorker {
    /// Its id.
    pub id: stageline::task::WorkerId,
    /// Where it serves its metrics, if it does.
    pub metrics: Option<SocketAddr>,
    /// Cancelled: no more tasks.
    pub drain: CancellationToken,
    /// Cancelled: running tasks are stopped.
    pub stop: CancellationToken,
    done: JoinHandle<Result<(), WorkerError>>,
}

impl Stack {
    /// Starts the embedded system, or enters the deployed one.
    pub async fn start() -> Result<Self> {
        match std::env::var(ENDPOINT) {
            Ok(endpoint) => {
                let deployment = Deployment::from_env(|name| std::env::var(name).ok())?;
                Self::of(None, deployment, sdk_config(&endpoint))
            }
            Err(_) => Self::embedded().await,
        }
    }

    /// Starts the embedded system, whatever the environment says.
    pub async fn embedded() -> Result<Self> {
        Self::embedded_with(Lease::default()).await
    }

    /// The same with a shorter lease, for tests that wait for it.
    pub async fn embedded_with_lease(seconds: u64) -> Result<Self> {
        Self::embedded_with(Lease::of(Duration::from_secs(seconds))).await
    }

    async fn embedded_with(lease: Lease) -> Result<Self> {
        let local = LocalOptions { data_dir: None, port: 0, prefix: "test".to_owned() };
        let options = SystemOptions { local, targets: vec!["default/*".parse()?], lease };
        let system = System::start(options).await?;
        let (deployment, config) = (system.deployment().clone(), system.sdk_config());
        Self::of(Some(system), deployment, config)
    }

    fn of(embedded: Option<System>, deployment: Deployment, config: SdkConfig) -> Result<Self> {
        let aws = Aws::new(&config, &deployment);
        Ok(Self { embedded, aws, deployment, config, folder: tempfile::tempdir()? })
    }

    /// A configuration for workers here: any program, the repository's examples as inputs.
    pub fn worker_config(&self, slots: u32) -> Config {
        let config = worker_config(self.folder.path(), slots);
        // An emulator may hand a message to a poll that was cut: let polls end by themselves.
        Config { poll_wait_seconds: if self.embedded.is_some() { 20 } else { 1 }, ..config }
    }

    /// Starts a worker.
    pub fn worker(&self, config: Config) -> Result<RunningWorker> {
        self.worker_through(config, &self.config, Clock::system())
    }

    /// The same with a way to AWS of its own, such as a faulty one, and a clock of its own.
    pub fn worker_through(&self, config: Config, sdk: &SdkConfig, clock: Clock) -> Result<RunningWorker> {
        RunningWorker::start(config, sdk, &self.deployment, clock)
    }

    /// A DynamoDB client, for what a foreign client would do.
    pub fn dynamodb(&self) -> aws_sdk_dynamodb::Client {
        aws_sdk_dynamodb::Client::new(&self.config)
    }

    /// Puts a record as a foreign client does: the JSON as it is, without any check.
    pub async fn put(&self, record: &Value) -> Result<TaskId> {
        let item: stageline::task::Item = serde_dynamo_item(record)?;
        self.dynamodb()
            .put_item()
            .table_name(&self.deployment.tasks_table)
            .set_item(Some(item))
            .send()
            .await?;
        record["id"].as_str().context("a record has an id")?.parse().map_err(Into::into)
    }

    /// The record as it lies in the table, every attribute of it.
    pub async fn record(&self, id: &TaskId) -> Result<Option<Value>> {
        let key = AttributeValue::S(id.to_string());
        let get = self.dynamodb().get_item().table_name(&self.deployment.tasks_table).key("id", key);
        let item = get.consistent_read(true).send().await?.item;
        Ok(item.map(serde_dynamo::from_item).transpose()?)
    }

    /// Waits until the record fulfils `condition`.
    pub async fn until(&self, id: &TaskId, condition: impl Fn(&Task) -> bool) -> Result<Task> {
        let deadline = tokio::time::Instant::now() + DEADLINE;
        loop {
            let task = self.aws.tasks.get(id).await?.with_context(|| format!("no task {id}"))?;
            if condition(&task) {
                return Ok(task);
            }
            if tokio::time::Instant::now() > deadline {
                bail!("task {id} is still {task:#?}");
            }
            tokio::time::sleep(PERIOD).await;
        }
    }

    /// Waits until the task has ended.
    pub async fn ended(&self, id: &TaskId) -> Result<Task> {
        self.until(id, |task| task.status.is_terminal()).await
    }

    /// Waits until the task has ended, and fails unless it completed.
    pub async fn completed(&self, id: &TaskId) -> Result<Task> {
        let task = self.ended(id).await?;
        if task.status != Status::Completed {
            bail!("not completed: {task:#?}");
        }
        Ok(task)
    }

    /// Stops the system.
    pub async fn shutdown(self) {
        if let Some(system) = self.embedded {
            system.shutdown().await;
        }
    }
}

impl RunningWorker {
    /// Starts a worker of `deployment`, of a whole system or of parts, that calls AWS through `sdk`.
    pub fn start(config: Config, sdk: &SdkConfig, deployment: &Deployment, clock: Clock) -> Result<Self> {
        let aws = Aws::new(sdk, deployment);
        Ok(Self::of(Worker::new(config, aws, deployment, clock, Custody::shared()?)?))
    }

    /// Starts this one.
    pub fn of(worker: Worker) -> Self {
        let (id, metrics) = (worker.id().clone(), worker.metrics_address());
        let (drain, stop) = (CancellationToken::new(), CancellationToken::new());
        let done = tokio::spawn(worker.run(drain.clone(), stop.clone()));
        Self { id, metrics, drain, stop, done }
    }

    /// Waits for an end that somebody else asked it for.
    pub async fn ended(self) -> Result<()> {
        match tokio::time::timeout(DEADLINE, self.done).await {
            Ok(ended) => Ok(ended??),
            Err(_) => bail!("the worker {} does not end", self.id),
        }
    }

    /// Drains the worker and waits for its end.
    pub async fn drained(self) -> Result<()> {
        self.drain.cancel();
        Ok(self.done.await??)
    }
}

/// A configuration for workers here: any program, the repository's examples as inputs, and a work folder
/// below `folder`.
pub fn worker_config(folder: &Path, slots: u32) -> Config {
    Config {
        slots,
        work_dir: folder.join("jobs"),
        inputs_dir: PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../examples"),
        allow_any_program: true,
        lammps_program: lammps_program(),
        poll_wait_seconds: 20,
        term_grace_seconds: 2,
        drain_grace_seconds: 1,
        ..Config::default()
    }
}

/// Whether the workers' LAMMPS is there. Without it a test is skipped, loudly; where `CI` is set, it fails.
///
/// # Panics
/// It is not there, and `CI` is set.
pub fn has_lammps(test: &str) -> bool {
    let program = lammps_program();
    let path = std::env::var_os("PATH").unwrap_or_default();
    // An absolute path is itself in every folder.
    let found = std::env::split_paths(&path).any(|folder| folder.join(&program).is_file());
    if !found {
        assert!(std::env::var_os("CI").is_none(), "{test} needs {program}, which is not installed");
        // Not with a macro, whose output the test harness keeps to itself; in one piece, as others write too.
        let line = format!("\n!! SKIPPED: {test}: {program} is not installed\n");
        let _nobody_reads = std::io::stderr().write_all(line.as_bytes());
    }
    found
}

/// The LAMMPS of the tests: `lmp`, or what `STAGELINE_LMP` names.
pub fn lammps_program() -> String {
    std::env::var("STAGELINE_LMP").unwrap_or_else(|_| "lmp".to_owned())
}

/// Waits until `condition` gives something.
pub async fn eventually<T, F>(what: &str, mut condition: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<Option<T>>>,
{
    let deadline = tokio::time::Instant::now() + DEADLINE;
    loop {
        if let Some(found) = condition().await? {
            return Ok(found);
        }
        if tokio::time::Instant::now() > deadline {
            bail!("it never came to be: {what}");
        }
        tokio::time::sleep(PERIOD).await;
    }
}

fn serde_dynamo_item(record: &Value) -> Result<stageline::task::Item> {
    Ok(serde_dynamo::to_item(record)?)
}

/// An id that no other test has, also on a shared endpoint.
pub fn id(name: &str) -> String {
    format!("{name}-{}", TaskId::fresh())
}
