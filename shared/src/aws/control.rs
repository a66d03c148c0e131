//! The workers' part of the `control` table: the heartbeat item, and beside it the registry of what a
//! worker runs.

use std::hash::Hasher;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use serde::{Deserialize, Serialize};

use super::AwsError;
use crate::At;
use crate::task::{Item, TaskId, WorkerId};

/// A worker's sign of life.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Heartbeat {
    /// The worker.
    pub worker_id: WorkerId,
    /// When it was alive, by its own clock.
    pub heartbeat_at: At,
    /// The pool it serves.
    pub pool: String,
    /// Tasks it can run at once.
    pub slots: u32,
    /// Tasks it runs.
    pub running: u32,
    /// Engines it carries.
    pub engines: Vec<String>,
    /// The version of its program.
    pub version: String,
    /// Whether it takes no more tasks.
    #[serde(default)]
    pub draining: bool,
}

/// One page of the list of tasks that a worker runs: from the moment it is written, the queue's message
/// is not needed any more to remember them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryPage {
    /// The page's number, from 0.
    pub page: u32,
    /// The tasks on it, at most [`RegistryPage::ITEMS`].
    pub tasks: Vec<TaskId>,
}

impl RegistryPage {
    /// Tasks a page. 200 ids of 36 bytes are 8 write units.
    pub const ITEMS: usize = 200;
}

/// Partitions that the workers' items are spread over: a partition takes about 1,000 writes a second,
/// and a worker writes one every 3 s.
const SHARDS: u64 = 8;

/// The workers' part of the `control` table.
#[derive(Clone, Debug)]
pub struct WorkersTable {
    client: Client,
    table: String,
}

impl WorkersTable {
    pub(super) fn new(client: Client, table: String) -> Self {
        Self { client, table }
    }

    /// Writes the heartbeat. It does not expire: a dead worker's item is what leads to its registry.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn beat(&self, beat: &Heartbeat) -> Result<(), AwsError> {
        const CALL: &str = "PutItem control (heartbeat)";
        let item: Item = serde_dynamo::to_item(beat)
            .map_err(|e| AwsError::Unreadable { call: CALL, reason: e.to_string() })?;
        self.put(CALL, &beat.worker_id, "", item).await
    }

    /// Writes one page of the registry.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn register(&self, worker: &WorkerId, page: &RegistryPage) -> Result<(), AwsError> {
        let tasks = page.tasks.iter().map(|id| AttributeValue::S(id.to_string())).collect();
        let item = Item::from([("tasks".to_owned(), AttributeValue::L(tasks))]);
        self.put("PutItem control (registry)", worker, &format!("#tasks#{:04}", page.page), item).await
    }

    /// Every worker's latest heartbeat. Items that cannot be read are left out.
    ///
    /// # Errors
    /// When a call fails.
    pub async fn heartbeats(&self) -> Result<Vec<Heartbeat>, AwsError> {
        let mut beats = Vec::new();
        for shard in 0..SHARDS {
            let items = self.query(&partition_key(shard), "").await?;
            beats.extend(items.into_iter().filter_map(|item| serde_dynamo::from_item(item).ok()));
        }
        Ok(beats)
    }

    /// The tasks a worker says it runs.
    ///
    /// # Errors
    /// When a call fails.
    pub async fn registered(&self, worker: &WorkerId) -> Result<Vec<TaskId>, AwsError> {
        let items = self.query(&partition_key(shard_of(worker)), &format!("{worker}#tasks#")).await?;
        let texts = items.iter().filter_map(|item| item.get("tasks")?.as_l().ok()).flatten();
        Ok(texts.filter_map(|text| text.as_s().ok()?.parse().ok()).collect())
    }

    /// Removes the worker's heartbeat and registry.
    ///
    /// # Errors
    /// When a call fails.
    pub async fn remove(&self, worker: &WorkerId) -> Result<(), AwsError> {
        let partition = partition_key(shard_of(worker));
        for item in self.query(&partition, worker.as_str()).await? {
            let key = |name: &str| item.get(name).cloned().unwrap_or(AttributeValue::Null(true));
            self.client
                .delete_item()
                .table_name(&self.table)
                .key("pk", key("pk"))
                .key("sk", key("sk"))
                .send()
                .await
                .map_err(|e| AwsError::from_sdk("DeleteItem control", e))?;
        }
        Ok(())
    }

    async fn put(
        &self,
        call: &'static str,
        worker: &WorkerId,
        suffix: &str,
        mut item: Item,
    ) -> Result<(), AwsError> {
        item.insert("pk".into(), AttributeValue::S(partition_key(shard_of(worker))));
        item.insert("sk".into(), AttributeValue::S(format!("{worker}{suffix}")));
        self.client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item))
            .send()
            .await
            .map(drop)
            .map_err(|e| AwsError::from_sdk(call, e))
    }

    async fn query(&self, partition: &str, prefix: &str) -> Result<Vec<Item>, AwsError> {
        let mut items = Vec::new();
        let mut start = None;
        loop {
            let mut query = self
                .client
                .query()
                .table_name(&self.table)
                .expression_attribute_values(":pk", AttributeValue::S(partition.to_owned()))
                .set_exclusive_start_key(start)
                .consistent_read(true);
            query = if prefix.is_empty() {
                query.key_condition_expression("pk = :pk")
            } else {
                query
                    .key_condition_expression("pk = :pk AND begins_with(sk, :prefix)")
                    .expression_attribute_values(":prefix", AttributeValue::S(prefix.to_owned()))
            };
            let output = query.send().await.map_err(|e| AwsError::from_sdk("Query control", e))?;
            items.extend(output.items.unwrap_or_default());
            start = output.last_evaluated_key;
            if start.is_none() {
                return Ok(items);
            }
        }
    }
}

fn partition_key(shard: u64) -> String {
    format!("workers#{shard}")
}

/// FNV-1a, since keys outlive compilers.
fn shard_of(worker: &WorkerId) -> u64 {
    let mut hash = crate::hash::Fnv::default();
    hash.write(worker.as_str().as_bytes());
    hash.finish() % SHARDS
}
