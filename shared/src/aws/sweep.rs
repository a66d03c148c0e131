//! The sweeper's part of the `control` table: what it remembers from one call to the next.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;

use super::AwsError;
use crate::protocol::lease::Observations;
use crate::task::Item;

/// What the sweeper remembers.
#[derive(Clone, Debug, Default)]
pub struct SweepMemory {
    /// The workers' beats and since when they have been the same.
    pub observations: Observations,
    /// Where the repair scan goes on; none at the beginning of the table.
    pub cursor: Option<Item>,
}

const PARTITION: &str = "sweeper";
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
    /// When the call fails.
    pub async fn load(&self) -> Result<SweepMemory, AwsError> {
        let output = self
            .client
            .get_item()
            .table_name(&self.table)
            .key("pk", AttributeValue::S(PARTITION.to_owned()))
            .key("sk", AttributeValue::S(SORT.to_owned()))
            .consistent_read(true)
            .send()
            .await
            .map_err(|e| AwsError::from_sdk("GetItem control (sweeper)", e))?;
        let mut item = output.item.unwrap_or_default();
        let observations =
            item.remove("observations").and_then(|v| serde_dynamo::from_attribute_value(v).ok());
        let cursor = item.remove("cursor").and_then(|v| v.as_m().ok().cloned());
        Ok(SweepMemory {
            observations: observations.unwrap_or_default(),
            cursor: cursor.filter(|c| !c.is_empty()),
        })
    }

    /// Writes it. Of two sweepers at the same moment the later one's memory stays, which delays at worst.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn save(&self, memory: &SweepMemory) -> Result<(), AwsError> {
        const CALL: &str = "PutItem control (sweeper)";
        let observations = serde_dynamo::to_attribute_value(&memory.observations)
            .map_err(|e: serde_dynamo::Error| AwsError::Unreadable { call: CALL, reason: e.to_string() })?;
        let mut item = Item::from([
            ("pk".to_owned(), AttributeValue::S(PARTITION.to_owned())),
            ("sk".to_owned(), AttributeValue::S(SORT.to_owned())),
            ("observations".to_owned(), observations),
        ]);
        if let Some(cursor) = &memory.cursor {
            item.insert("cursor".to_owned(), AttributeValue::M(cursor.clone()));
        }
        let put = self.client.put_item().table_name(&self.table).set_item(Some(item));
        put.send().await.map(drop).map_err(|e| AwsError::from_sdk(CALL, e))
    }
}
