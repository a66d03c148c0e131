//! Reading the `tasks` table: by id, by account, by due time, and all of it.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes, ReturnConsumedCapacity};

use super::TasksTable;
use crate::At;
use crate::aws::AwsError;
use crate::task::{Item, Task, TaskId};

/// Items of one `BatchGetItem`, DynamoDB's limit.
pub const READ_ITEMS: usize = 100;
const BATCH_GET: &str = "BatchGetItem tasks";
/// The index of waiting tasks.
const BY_DUE: &str = "byDue";
/// Before what a throttled table left undone is asked for again.
const UNPROCESSED_PAUSE: Duration = Duration::from_millis(100);

/// One page of all records.
#[derive(Debug)]
pub struct ScanPage {
    /// Its records.
    pub items: Vec<Item>,
    /// Where the next page starts; none after the last.
    pub next: Option<Item>,
    /// What it cost, in read capacity units.
    pub read_units: f64,
}

impl TasksTable {
    /// Reads one record to show it, strongly consistent; `None` when there is none. Of a malformed record the
    /// attributes that can be read.
    ///
    /// # Errors
    /// When the call fails, or not even the id can be read.
    pub async fn get(&self, id: &TaskId) -> Result<Option<Task>, AwsError> {
        const CALL: &str = "GetItem tasks";
        let output = self
            .client
            .get_item()
            .table_name(&self.table)
            .key("id", AttributeValue::S(id.to_string()))
            .consistent_read(true)
            .send()
            .await
            .map_err(|e| AwsError::from_sdk(CALL, e))?;
        let read = |item| {
            Task::salvaged(item).map_err(|r| AwsError::Unreadable { call: CALL, reason: r.to_string() })
        };
        output.item.map(read).transpose()
    }

    /// An account's tasks to show, newest first, at most `limit`. Of malformed records the attributes that
    /// can be read.
    ///
    /// # Errors
    /// When a call fails.
    pub async fn newest(&self, account: &str, limit: u16) -> Result<Vec<Task>, AwsError> {
        let found = self
            .client
            .query()
            .table_name(&self.table)
            .index_name(&self.account_index)
            .key_condition_expression("accountId = :account")
            .expression_attribute_values(":account", AttributeValue::S(account.to_owned()))
            .scan_index_forward(false)
            .limit(i32::from(limit))
            .send()
            .await
            .map_err(|e| AwsError::from_sdk("Query tasks by account", e))?;
        let ids: Vec<_> = found.items().iter().filter_map(|item| item.get("id").cloned()).collect();
        let mut tasks = Vec::with_capacity(ids.len());
        for chunk in ids.chunks(READ_ITEMS) {
            tasks.extend(self.batch_get(chunk.to_vec(), false).await?);
        }
        tasks.sort_by_key(|task| std::cmp::Reverse(task.created_at));
        Ok(tasks)
    }

    async fn batch_get(&self, ids: Vec<AttributeValue>, consistent: bool) -> Result<Vec<Task>, AwsError> {
        let mut wanted: Vec<_> = ids.into_iter().map(|id| Item::from([("id".to_owned(), id)])).collect();
        let mut tasks = Vec::with_capacity(wanted.len());
        while !wanted.is_empty() {
            let keys =
                KeysAndAttributes::builder().set_keys(Some(wanted)).consistent_read(consistent).build();
            let keys = keys.map_err(|e| AwsError::Unreadable { call: BATCH_GET, reason: e.to_string() })?;
            let mut output = self
                .client
                .batch_get_item()
                .request_items(&self.table, keys)
                .send()
                .await
                .map_err(|e| AwsError::from_sdk(BATCH_GET, e))?;
            let items = output.responses.as_mut().and_then(|r| r.remove(&self.table)).unwrap_or_default();
            tasks.extend(items.into_iter().filter_map(|item| Task::salvaged(item).ok()));
            let left = output.unprocessed_keys.as_mut().and_then(|k| k.remove(&self.table));
            wanted = left.map(|keys| keys.keys).unwrap_or_default();
            if !wanted.is_empty() {
                tokio::time::sleep(UNPROCESSED_PAUSE).await;
            }
        }
        Ok(tasks)
    }

    /// Records by id, strongly consistent; what does not exist or has no readable id is not among them.
    ///
    /// # Errors
    /// When a call fails.
    pub async fn read(&self, ids: &[TaskId]) -> Result<HashMap<TaskId, Task>, AwsError> {
        let mut found = HashMap::with_capacity(ids.len());
        for chunk in ids.chunks(READ_ITEMS) {
            let keys = chunk.iter().map(|id| AttributeValue::S(id.to_string())).collect();
            found.extend(self.batch_get(keys, true).await?.into_iter().map(|task| (task.id.clone(), task)));
        }
        Ok(found)
    }

    /// One page of all records, for a repair pass.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn scan_page(&self, start: Option<Item>, consistent: bool) -> Result<ScanPage, AwsError> {
        let output = self
            .client
            .scan()
            .table_name(&self.table)
            .set_exclusive_start_key(start)
            .consistent_read(consistent)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await
            .map_err(|e| AwsError::from_sdk("Scan tasks", e))?;
        let read_units = output.consumed_capacity.and_then(|c| c.capacity_units).unwrap_or_default();
        Ok(ScanPage { items: output.items.unwrap_or_default(), next: output.last_evaluated_key, read_units })
    }

    /// The tasks of one partition of the index of waiting tasks that are due before `until`, soonest first,
    /// at most `limit`; `None` where the table has no such index, as a table that somebody else owns may.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn due(&self, partition: &str, until: At, limit: u32) -> Result<Option<Vec<TaskId>>, AwsError> {
        let sent = self
            .client
            .query()
            .table_name(&self.table)
            .index_name(BY_DUE)
            .key_condition_expression("dueKey = :partition AND notBefore < :until")
            .expression_attribute_values(":partition", AttributeValue::S(partition.to_owned()))
            .expression_attribute_values(":until", AttributeValue::S(until.to_string()))
            .limit(i32::try_from(limit).unwrap_or(i32::MAX))
            .send()
            .await;
        let output = match sent.map_err(|e| AwsError::from_sdk("Query tasks byDue", e)) {
            Ok(output) => output,
            // "The table does not have the specified index: byDue", or one that is still being filled.
            Err(AwsError::Refused { code, message, .. })
                if code == "ValidationException" && message.contains(BY_DUE) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let ids = output.items().iter().filter_map(|item| item.get("id")?.as_s().ok()?.parse().ok());
        Ok(Some(ids.collect()))
    }
}
