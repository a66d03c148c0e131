//! Tables, queues, records and heartbeats as the sweeper's tests want them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Value, json};
use stageline::aws::{Aws, Beaten, Deployment, Depth, Heartbeat, Outgoing, RegistryPage, Signal};
use stageline::protocol::command::Command;
use stageline::task::{Attempt, AttemptRef, Item, Lane, Status, Task, TaskId, WorkerId};
use stageline::{At, Clock};
use stageline_sweeper::Sweeper;
use stageline_tests::backend::Backend;

/// When every test begins. SQS keeps its own time, which nothing here depends on.
const START: &str = "2026-11-21T12:00:00.000Z";

/// Tables, queues and a clock, and nothing that works on them.
pub struct Bench {
    pub backend: Backend,
    pub deployment: Deployment,
    pub aws: Aws,
    now: Arc<AtomicI64>,
}

impl Bench {
    pub async fn start() -> Result<Self> {
        let backend = Backend::start().await?;
        let deployment = backend.deployment()?;
        let aws = Aws::new(backend.config(), &deployment);
        let now = Arc::new(AtomicI64::new(At::parse(START).context("start")?.millis()));
        Ok(Self { backend, deployment, aws, now })
    }

    pub fn sweeper(&self) -> Sweeper {
        let now = Arc::clone(&self.now);
        let clock = Clock::of(move || At::from_millis(now.load(Ordering::SeqCst)));
        Sweeper::new(self.aws.clone(), self.deployment.clone(), clock)
    }

    pub fn at(&self, seconds: i64) -> At {
        At::from_millis(self.now.load(Ordering::SeqCst) + seconds * 1_000)
    }

    pub fn pass_time(&self, seconds: i64) {
        self.now.fetch_add(seconds * 1_000, Ordering::SeqCst);
    }

    /// Puts a record that was last touched an hour ago.
    pub async fn put(&self, id: &str, status: &str, more: Value) -> Result<TaskId> {
        let old = self.at(-3_600).to_string();
        let mut record = json!({
            "id": id, "command": "true", "status": status, "createdAt": old, "updatedAt": old, "queuedAt": old,
        });
        let fields = record.as_object_mut().context("a map")?;
        fields.extend(more.as_object().context("a map")?.clone());
        let item: Item = serde_dynamo::to_item(record)?;
        let put = self.backend.dynamodb().put_item().table_name(&self.deployment.tasks_table);
        put.set_item(Some(item)).send().await?;
        Ok(id.parse()?)
    }

    pub async fn running(&self, id: &str, worker: &WorkerId, started: At) -> Result<TaskId> {
        let held = json!({"attempt": 1, "workerNodeId": worker, "startedAt": started, "history": []});
        self.put(id, "RUNNING", held).await
    }

    pub async fn item(&self, id: &str) -> Result<Item> {
        let get = self.backend.dynamodb().get_item().table_name(&self.deployment.tasks_table);
        let key = AttributeValue::S(id.to_owned());
        get.key("id", key).consistent_read(true).send().await?.item.context("a record")
    }

    pub async fn task(&self, id: &TaskId) -> Result<Task> {
        self.aws.tasks.get(id).await?.context("a task")
    }

    pub async fn status(&self, id: &TaskId) -> Result<Status> {
        Ok(self.task(id).await?.status)
    }

    pub async fn depth(&self, lane: Lane) -> Result<Depth> {
        let pool = self.deployment.pools.get("default").context("pool")?;
        Ok(self.aws.queues.depth(pool.queues.url(lane)).await?)
    }

    pub async fn send(&self, queue_url: &str, id: &TaskId, attempt: u32) -> Result<()> {
        let command = Command::new(id.clone(), Attempt(attempt));
        let sent = self.aws.queues.send(queue_url, &[Outgoing { command, delay: Duration::ZERO }]).await;
        assert_eq!(sent.failures, [None]);
        Ok(())
    }

    pub async fn beat(&self, beat: &Heartbeat) -> Result<Vec<Signal>> {
        match self.aws.workers.beat(beat, &[], true).await? {
            Beaten::Alive(signals) => Ok(signals),
            Beaten::Gone => anyhow::bail!("the worker is gone"),
        }
    }

    pub async fn register(&self, worker: &WorkerId, tasks: &[TaskId]) -> Result<()> {
        let first = |id: &TaskId| AttemptRef { id: id.clone(), attempt: Attempt(1) };
        let page = RegistryPage { page: 0, attempts: tasks.iter().map(first).collect() };
        Ok(self.aws.workers.register(worker, &page).await?)
    }
}

pub fn worker(name: &str) -> Result<WorkerId> {
    Ok(format!("{name}:1:a").parse()?)
}

pub fn heartbeat(worker: &WorkerId, at: At) -> Heartbeat {
    Heartbeat {
        worker_id: worker.clone(),
        heartbeat_at: at,
        pool: "default".to_owned(),
        slots: 4,
        running: 1,
        engines: Vec::new(),
        version: String::new(),
        draining: false,
        instance: None,
        received_until: BTreeMap::new(),
        broken: BTreeMap::new(),
        notice: None,
    }
}
