//! The sweeper's part of the `control` table: what it remembers from one call to the next.
//!
//! The times in it are by the clocks of the machines that swept. In Lambda those are AWS's and agree to
//! milliseconds; a sweeper whose clock is off by seconds must not share them, or it takes workers for dead that
//! much too soon or too late. What a worker's clock says is not in it but as a text to be compared.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;

use super::AwsError;
use crate::protocol::lease::Observations;
use crate::protocol::pace::Pace;
use crate::task::Item;

/// What the sweeper remembers.
#[derive(Clone, Debug, Default)]
pub struct SweepMemory {
    /// The workers' beats and since when they have been the same.
    pub observations: Observations,
    /// Where the repair scan goes on; none at the beginning of the table.
    pub cursor: Option<Item>,
    /// How large the table is, as far as the repair scan knows.
    pub pace: Pace,
    /// The items it was read from, by their sort keys: what did not change is not written.
    stored: BTreeMap<String, Item>,
}

const PARTITION: &str = "sweeper";
/// Of the item with the cursor and the first part of the workers, which are all but in large fleets. The items of
/// further parts have a number behind it.
const SORT: &str = "memory";

/// Where the sweeper's memory lies.
#[derive(Clone, Debug)]
pub struct SweepTable {
    client: Client,
    table: String,
}

impl SweepTable {
    pub(super) fn new(client: Client, table: String) -> Self {
        Self { client, table }
    }

    /// Reads it. What cannot be read is forgotten: the next beats are observed anew, and the scan begins at
    /// the beginning.
    ///
    /// # Errors
    /// When a call fails.
    pub async fn load(&self) -> Result<SweepMemory, AwsError> {
        let mut memory = SweepMemory::default();
        let mut start = None;
        loop {
            let output = self
                .client
                .query()
                .table_name(&self.table)
                .key_condition_expression("pk = :pk AND begins_with(sk, :sk)")
                .expression_attribute_values(":pk", AttributeValue::S(PARTITION.to_owned()))
                .expression_attribute_values(":sk", AttributeValue::S(SORT.to_owned()))
                .set_exclusive_start_key(start)
                .consistent_read(true)
                .send()
                .await
                .map_err(|e| AwsError::from_sdk("Query control (sweeper)", e))?;
            output.items.unwrap_or_default().into_iter().for_each(|item| memory.add(item));
            start = output.last_evaluated_key;
            if start.is_none() {
                return Ok(memory);
            }
        }
    }

    /// Writes what has changed of it since it was read. Of two sweepers at the same moment the later one's memory
    /// stays, which delays at worst. So does a death in the middle: nothing is gone from one item before it is in
    /// another.
    ///
    /// # Errors
    /// When a call fails; later items are not written then.
    pub async fn save(&self, memory: &SweepMemory) -> Result<(), AwsError> {
        const CALL: &str = "PutItem control (sweeper)";
        let items = memory.items().map_err(|e| AwsError::Unreadable { call: CALL, reason: e.to_string() })?;
        for (sort, item) in items.iter().rev().filter(|(sort, item)| memory.stored.get(*sort) != Some(item)) {
            let item = item.clone().into_iter().chain(key(sort)).collect();
            let put = self.client.put_item().table_name(&self.table).set_item(Some(item));
            put.send().await.map_err(|e| AwsError::from_sdk(CALL, e))?;
        }
        for sort in memory.stored.keys().filter(|sort| !items.contains_key(*sort)) {
            let delete = self.client.delete_item().table_name(&self.table);
            let sent = delete.set_key(Some(Item::from(key(sort)))).send().await;
            sent.map_err(|e| AwsError::from_sdk("DeleteItem control (sweeper)", e))?;
        }
        Ok(())
    }
}

impl SweepMemory {
    /// A memory of workers alone, from nowhere.
    pub fn of(observations: Observations) -> Self {
        Self { observations, ..Self::default() }
    }

    /// Adds what an item of the table says.
    fn add(&mut self, mut item: Item) {
        let sort = item.remove("sk").and_then(|sort| sort.as_s().ok().cloned());
        // Keys are never missing in an answer.
        let (Some(sort), Some(_)) = (sort, item.remove("pk")) else { return };
        if let Some(seen) = item.get("observations").cloned() {
            self.observations.merge(serde_dynamo::from_attribute_value(seen).unwrap_or_default());
        }
        if let Some(cursor) = item.get("cursor").and_then(|cursor| cursor.as_m().ok()) {
            self.cursor = Some(cursor.clone()).filter(|cursor| !cursor.is_empty());
        }
        if let Some(pace) = item.get("pace").cloned() {
            self.pace = serde_dynamo::from_attribute_value(pace).unwrap_or_default();
        }
        self.stored.insert(sort, item);
    }

    /// The items it is laid out in, without their keys.
    fn items(&self) -> Result<BTreeMap<String, Item>, serde_dynamo::Error> {
        let mut items = BTreeMap::new();
        for (number, shard) in self.observations.shards().into_iter().enumerate() {
            let mut item =
                Item::from([("observations".to_owned(), serde_dynamo::to_attribute_value(shard)?)]);
            if number > 0 {
                items.insert(format!("{SORT}#{number:02}"), item);
                continue;
            }
            if let Some(cursor) = &self.cursor {
                item.insert("cursor".to_owned(), AttributeValue::M(cursor.clone()));
            }
            if self.pace != Pace::default() {
                item.insert("pace".to_owned(), serde_dynamo::to_attribute_value(self.pace)?);
            }
            items.insert(SORT.to_owned(), item);
        }
        Ok(items)
    }
}

fn key(sort: &str) -> [(String, AttributeValue); 2] {
    let text = |text: &str| AttributeValue::S(text.to_owned());
    [("pk".to_owned(), text(PARTITION)), ("sk".to_owned(), text(sort))]
}
