//! The workers' part of the `control` table: the heartbeat item with the signals for its worker, and beside
//! it the registry of what the worker runs.

use std::collections::BTreeMap;
use std::hash::Hasher;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue};
use serde::{Deserialize, Serialize};

use super::AwsError;
use super::expressions::{self, Signal, Update};
use super::tasks::Write;
use crate::At;
use crate::task::{AttemptRef, Item, Lane, WorkerId};

/// A worker's sign of life.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Heartbeat {
    /// The worker.
    pub worker_id: WorkerId,
    /// When it was alive, by its own clock.
    pub heartbeat_at: At,
    /// The pool it serves.
    #[serde(default)]
    pub pool: String,
    /// Tasks it can run at once.
    #[serde(default)]
    pub slots: u32,
    /// Tasks it runs.
    #[serde(default)]
    pub running: u32,
    /// Engines it carries.
    #[serde(default)]
    pub engines: Vec<String>,
    /// The version of its program.
    #[serde(default)]
    pub version: String,
    /// Whether it takes no more tasks.
    #[serde(default)]
    pub draining: bool,
    /// The EC2 instance id or ECS task ARN it runs in, by which events about that find it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// Engines that do not work on it, and until when it runs none of their tasks; that moment is over while it
    /// tries one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub broken: BTreeMap<String, At>,
    /// What its machine was told of its own end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notice: Option<Notice>,
    /// For each lane when the latest message was sent that it received: what is still missing of older ones
    /// is gone.
    #[serde(default)]
    pub received_until: BTreeMap<Lane, At>,
}

/// What a machine was told of its own end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Notice {
    /// `spot-terminate`, `spot-stop`, `spot-hibernate`, `autoscaling-terminated` or `rebalance`; a later version
    /// may know more.
    pub what: String,
    /// When it ends; of `rebalance`, when that was recommended. None where nobody said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<At>,
}

/// A worker's item as it lies in the table. An older or a newer version may have written it.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkerItem {
    /// The worker.
    pub worker: WorkerId,
    /// Its beat as text, only to be compared; empty when there is none.
    pub beat: String,
    /// What it says of itself, where that can be read.
    pub heartbeat: Option<Heartbeat>,
}

/// How a beat went.
#[derive(Debug)]
pub enum Beaten {
    /// It is written; these signals are waiting.
    Alive(Vec<Signal>),
    /// The worker's item is gone: others took it for dead, and have taken its tasks.
    Gone,
}

/// One page of the list of attempts that a worker runs: from the moment it is written, the queue's message
/// is not needed any more to remember them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryPage {
    /// The page's number, from 0.
    pub page: u32,
    /// The attempts on it, at most [`RegistryPage::ITEMS`].
    pub attempts: Vec<AttemptRef>,
}

impl RegistryPage {
    /// Attempts a page. 200 ids of 36 bytes are 8 write units.
    pub const ITEMS: usize = 200;
}

/// Partitions that the workers' items are spread over: a partition takes about 1,000 writes a second,
/// and a worker writes one every 3 s.
const SHARDS: u64 = 8;

const REGISTRY: &str = "#tasks#";

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

    /// Writes the heartbeat, takes back the signals that were `handled`, and brings those that wait. With
    /// `anew` the item is made if there is none. It does not expire: a dead worker's item is what leads to
    /// its registry.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn beat(&self, beat: &Heartbeat, handled: &[Signal], anew: bool) -> Result<Beaten, AwsError> {
        const CALL: &str = "UpdateItem control (heartbeat)";
        let update = expressions::beat(beat, handled, anew)
            .map_err(|e| AwsError::Unreadable { call: CALL, reason: e.to_string() })?;
        let item = self.update(CALL, &beat.worker_id, update, ReturnValue::AllNew).await?;
        Ok(item.map_or(Beaten::Gone, |item| Beaten::Alive(signals(&item, handled))))
    }

    /// Leaves a signal on the worker's item; it finds it with its next beat.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn signal(&self, worker: &WorkerId, signal: &Signal) -> Result<Write, AwsError> {
        const CALL: &str = "UpdateItem control (signal)";
        let written = self.update(CALL, worker, expressions::signal(signal), ReturnValue::None).await?;
        Ok(if written.is_some() { Write::Applied } else { Write::NotFound })
    }

    /// Writes one page of the registry.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn register(&self, worker: &WorkerId, page: &RegistryPage) -> Result<(), AwsError> {
        let attempts = page.attempts.iter().map(|listed| AttributeValue::S(listed.to_string())).collect();
        let item = Item::from([
            ("pk".to_owned(), AttributeValue::S(partition_key(shard_of(worker)))),
            ("sk".to_owned(), AttributeValue::S(format!("{worker}{REGISTRY}{:04}", page.page))),
            ("attempts".to_owned(), AttributeValue::L(attempts)),
        ]);
        let put = self.client.put_item().table_name(&self.table).set_item(Some(item));
        put.send().await.map(drop).map_err(|e| AwsError::from_sdk("PutItem control (registry)", e))
    }

    /// Every worker that has an item: a heartbeat, or a registry that outlived it.
    ///
    /// # Errors
    /// When a call fails.
    pub async fn all(&self) -> Result<BTreeMap<WorkerId, WorkerItem>, AwsError> {
        let mut workers = BTreeMap::new();
        for shard in 0..SHARDS {
            for item in self.query(&partition_key(shard), "").await? {
                let Some(found) = worker_item(item) else { continue };
                let known = workers.entry(found.worker.clone()).or_insert_with(|| found.clone());
                if !found.beat.is_empty() {
                    *known = found;
                }
            }
        }
        Ok(workers)
    }

    /// One worker's item.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn get(&self, worker: &WorkerId) -> Result<Option<WorkerItem>, AwsError> {
        let output = self
            .client
            .get_item()
            .table_name(&self.table)
            .key("pk", AttributeValue::S(partition_key(shard_of(worker))))
            .key("sk", AttributeValue::S(worker.to_string()))
            .consistent_read(true)
            .send()
            .await
            .map_err(|e| AwsError::from_sdk("GetItem control", e))?;
        Ok(output.item.and_then(worker_item))
    }

    /// The attempts a worker says it runs.
    ///
    /// # Errors
    /// When a call fails.
    pub async fn registered(&self, worker: &WorkerId) -> Result<Vec<AttemptRef>, AwsError> {
        let items = self.query(&partition_key(shard_of(worker)), &format!("{worker}{REGISTRY}")).await?;
        let texts = items.iter().filter_map(|item| item.get("attempts")?.as_l().ok()).flatten();
        Ok(texts.filter_map(|text| text.as_s().ok()?.parse().ok()).collect())
    }

    /// Removes the worker's heartbeat and registry.
    ///
    /// # Errors
    /// When a call fails.
    pub async fn remove(&self, worker: &WorkerId) -> Result<(), AwsError> {
        let partition = partition_key(shard_of(worker));
        let registry = format!("{worker}{REGISTRY}");
        // The heartbeat last: a worker that finds it gone may write its pages anew at once.
        for item in self.query(&partition, worker.as_str()).await?.into_iter().rev() {
            let key = |name: &str| item.get(name).cloned().unwrap_or(AttributeValue::Null(true));
            // Another worker's name may begin with this one's.
            let sort = item.get("sk").and_then(|sk| sk.as_s().ok());
            if !sort.is_some_and(|sk| sk == worker.as_str() || sk.starts_with(&registry)) {
                continue;
            }
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

    /// `None` when the condition failed: the item is not there.
    async fn update(
        &self,
        call: &'static str,
        worker: &WorkerId,
        update: Update,
        returned: ReturnValue,
    ) -> Result<Option<Item>, AwsError> {
        let update = update.expression();
        let sent = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("pk", AttributeValue::S(partition_key(shard_of(worker))))
            .key("sk", AttributeValue::S(worker.to_string()))
            .update_expression(update.update)
            .set_condition_expression(Some(update.condition).filter(|condition| !condition.is_empty()))
            .set_expression_attribute_names(Some(update.names))
            .set_expression_attribute_values(Some(update.values))
            .return_values(returned)
            .send()
            .await;
        match sent {
            Ok(output) => Ok(Some(output.attributes.unwrap_or_default())),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(_)) => Ok(None),
                _ => Err(AwsError::from_sdk(call, error)),
            },
        }
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

fn worker_item(item: Item) -> Option<WorkerItem> {
    let sort = item.get("sk")?.as_s().ok()?;
    let worker = sort.split_once(REGISTRY).map_or(sort.as_str(), |(worker, _)| worker).parse().ok()?;
    let beat = item.get("heartbeatAt").and_then(|at| at.as_s().ok()).cloned().unwrap_or_default();
    Some(WorkerItem { worker, beat, heartbeat: serde_dynamo::from_item(item).ok() })
}

fn signals(item: &Item, handled: &[Signal]) -> Vec<Signal> {
    let texts = item.get("signals").and_then(|set| set.as_ss().ok()).into_iter().flatten();
    texts.filter_map(|text| Signal::parse(text)).filter(|signal| !handled.contains(signal)).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    fn item(attributes: &[(&str, &str)]) -> Item {
        attributes.iter().map(|(n, v)| ((*n).to_owned(), AttributeValue::S((*v).to_owned()))).collect()
    }

    #[test]
    fn an_item_of_an_older_version_still_counts_as_its_worker() {
        let old = item(&[
            ("sk", "host:1:abc"),
            ("workerId", "host:1:abc"),
            ("heartbeatAt", "2026-11-21T09:25:00.000Z"),
        ]);
        let read = worker_item(old).unwrap();
        assert_eq!((read.worker.as_str(), read.beat.as_str()), ("host:1:abc", "2026-11-21T09:25:00.000Z"));
        assert_eq!(read.heartbeat.unwrap().slots, 0);
        // One that says nothing readable of itself is a worker all the same, not nobody.
        let broken = worker_item(item(&[("sk", "host:1:abc"), ("heartbeatAt", "yesterday")])).unwrap();
        assert_eq!((broken.beat.as_str(), broken.heartbeat), ("yesterday", None));
        let registry = worker_item(item(&[("sk", "host:1:abc#tasks#0000")])).unwrap();
        assert_eq!((registry.worker.as_str(), registry.beat.as_str()), ("host:1:abc", ""));
    }
}
