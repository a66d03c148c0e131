//! The `tasks` table: each method is one transition with its condition, and every write says how it went.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure};

use super::AwsError;
pub use super::expressions::Leavings;
use super::expressions::{self, Update};
use crate::protocol::claim::Current;
use crate::protocol::outcome::Decision;
use crate::task::{Attempt, Item, Status, Task, TaskId, WorkerId};
use crate::{At, Rejection};

/// How a conditional write went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Write {
    /// It is written.
    Applied,
    /// An earlier try of this same write is what the record holds.
    AlreadyApplied,
    /// The record has moved on; the writer has no say any more.
    Fenced,
    /// There is no such record.
    NotFound,
}

/// How a claim went.
#[derive(Debug)]
pub enum Claimed {
    /// The task is this worker's, as returned.
    Won(Box<Task>),
    /// The task is this worker's, but its record cannot be read; it still has to be ended.
    WonUnreadable(Rejection),
    /// It is not; this is the record.
    Refused(Current),
}

/// The `tasks` table.
#[derive(Clone, Debug)]
pub struct TasksTable {
    client: Client,
    table: String,
}

enum Answer {
    Applied(Item),
    Refused(Option<Item>),
}

impl TasksTable {
    pub(super) fn new(client: Client, table: String) -> Self {
        Self { client, table }
    }

    /// The table's name.
    pub fn name(&self) -> &str {
        &self.table
    }

    async fn update(
        &self,
        call: &'static str,
        id: &str,
        update: Update,
        returned: ReturnValue,
    ) -> Result<Answer, AwsError> {
        let sent = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("id", AttributeValue::S(id.to_owned()))
            .update_expression(update.update())
            .condition_expression(update.condition())
            .set_expression_attribute_names(Some(update.names))
            .set_expression_attribute_values(Some(update.values))
            .return_values(returned)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match sent {
            Ok(output) => Ok(Answer::Applied(output.attributes.unwrap_or_default())),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(refused)) => {
                    Ok(Answer::Refused(refused.item().cloned()))
                }
                _ => Err(AwsError::from_sdk(call, error)),
            },
        }
    }

    async fn write(
        &self,
        call: &'static str,
        id: &str,
        update: Update,
        ours: impl Fn(&Item) -> bool,
    ) -> Result<Write, AwsError> {
        Ok(match self.update(call, id, update, ReturnValue::None).await? {
            Answer::Applied(_) => Write::Applied,
            Answer::Refused(None) => Write::NotFound,
            Answer::Refused(Some(item)) if ours(&item) => Write::AlreadyApplied,
            Answer::Refused(Some(_)) => Write::Fenced,
        })
    }

    /// Puts a new record. `false` when a record with this id exists; it is left as it is.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn put_new(&self, task: &Task) -> Result<bool, AwsError> {
        const CALL: &str = "PutItem tasks";
        let item = task.to_item().map_err(|e| AwsError::Unreadable { call: CALL, reason: e.to_string() })?;
        let sent = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item.clone()))
            .condition_expression("attribute_not_exists(id)")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match sent {
            Ok(_) => Ok(true),
            Err(error) => match error.as_service_error() {
                // The SDK repeats a put whose answer was lost: then the record is this very one.
                Some(PutItemError::ConditionalCheckFailedException(refused)) => {
                    Ok(refused.item() == Some(&item))
                }
                _ => Err(AwsError::from_sdk(CALL, error)),
            },
        }
    }

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
            .index_name("byAccount")
            .key_condition_expression("accountId = :account")
            .expression_attribute_values(":account", AttributeValue::S(account.to_owned()))
            .scan_index_forward(false)
            .limit(i32::from(limit))
            .send()
            .await
            .map_err(|e| AwsError::from_sdk("Query tasks byAccount", e))?;
        let ids: Vec<_> = found.items().iter().filter_map(|item| item.get("id").cloned()).collect();
        let mut tasks = Vec::with_capacity(ids.len());
        for chunk in ids.chunks(100) {
            tasks.extend(self.batch_get(chunk.to_vec()).await?);
        }
        tasks.sort_by_key(|task| std::cmp::Reverse(task.created_at));
        Ok(tasks)
    }

    async fn batch_get(&self, ids: Vec<AttributeValue>) -> Result<Vec<Task>, AwsError> {
        use aws_sdk_dynamodb::types::KeysAndAttributes;
        let mut wanted: Vec<_> = ids.into_iter().map(|id| Item::from([("id".to_owned(), id)])).collect();
        let mut tasks = Vec::with_capacity(wanted.len());
        while !wanted.is_empty() {
            let keys = KeysAndAttributes::builder().set_keys(Some(wanted)).build();
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
        }
        Ok(tasks)
    }

    /// One page of all records, as JSON, for a repair pass; and where the next page starts.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn scan_page(&self, start: Option<Item>) -> Result<(Vec<Item>, Option<Item>), AwsError> {
        let output = self
            .client
            .scan()
            .table_name(&self.table)
            .set_exclusive_start_key(start)
            .consistent_read(true)
            .send()
            .await
            .map_err(|e| AwsError::from_sdk("Scan tasks", e))?;
        Ok((output.items.unwrap_or_default(), output.last_evaluated_key))
    }

    /// The command of the task's current attempt is on a queue.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn mark_queued(&self, task: &Task, now: At) -> Result<Write, AwsError> {
        let update = expressions::mark_queued(task, now);
        let attempt = task.attempt;
        self.write("UpdateItem tasks (queued)", task.id.as_str(), update, move |item| {
            has_status(item, Status::Queued) && attempt_of(item) == attempt
        })
        .await
    }

    /// The record `id` (any key, also one that is no valid id) cannot be run.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn reject(&self, id: &str, rejection: &Rejection, now: At) -> Result<Write, AwsError> {
        let update = expressions::reject(rejection, now);
        self.write("UpdateItem tasks (rejected)", id, update, |item| has_status(item, Status::Failed)).await
    }

    /// An ended task whose `dispatchStatus` was set to PENDING is to run again.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn run_again(&self, id: &TaskId, attempt: Attempt, now: At) -> Result<Write, AwsError> {
        let update = expressions::run_again(attempt, now);
        self.write("UpdateItem tasks (run again)", id.as_str(), update, |item| {
            has_status(item, Status::Pending)
        })
        .await
    }

    /// Takes the task for `worker`, if it is still at `attempt`.
    ///
    /// # Errors
    /// When the call fails. The SDK repeats a call whose answer was lost, so a refusal that shows this
    /// worker at the next attempt is this very claim, and is won.
    pub async fn claim(
        &self,
        id: &TaskId,
        attempt: Attempt,
        worker: &WorkerId,
        now: At,
    ) -> Result<Claimed, AwsError> {
        const CALL: &str = "UpdateItem tasks (claim)";
        let update = expressions::claim(attempt, worker, now);
        let answer = match self.update(CALL, id.as_str(), update, ReturnValue::AllNew).await {
            // The one operand that a record can spoil is `history`: a null, or what somebody wrote into it.
            Err(AwsError::Refused { code, .. }) if code == "ValidationException" => {
                let anew = expressions::claim_with_new_history(attempt, worker, now);
                self.update(CALL, id.as_str(), anew, ReturnValue::AllNew).await?
            }
            answer => answer?,
        };
        Ok(match answer {
            Answer::Applied(item) => match Task::from_item(item) {
                Ok(task) => Claimed::Won(Box::new(task)),
                Err(rejection) => Claimed::WonUnreadable(rejection),
            },
            Answer::Refused(None) => Claimed::Refused(Current::Missing),
            Answer::Refused(Some(item)) => match Task::from_item(item) {
                Ok(task)
                    if task.status == Status::Running
                        && task.worker_node_id.as_ref() == Some(worker)
                        && task.attempt == attempt.next()
                        && task.started_at == Some(now) =>
                {
                    Claimed::Won(Box::new(task))
                }
                Ok(task) => Claimed::Refused(Current::Task(Box::new(task))),
                Err(_) => Claimed::Refused(Current::Unreadable),
            },
        })
    }

    /// Writes the end of an attempt. `task` is the record as the claim returned it.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn end_attempt(
        &self,
        task: &Task,
        worker: &WorkerId,
        decision: &Decision,
        left: &Leavings,
        now: At,
    ) -> Result<Write, AwsError> {
        let update = expressions::end_attempt(task, worker, decision, left, now);
        let (attempt, next) = (task.attempt, task.status.next(decision.event));
        self.write("UpdateItem tasks (end)", task.id.as_str(), update, move |item| {
            attempt_of(item) == attempt && next.is_ok_and(|status| has_status(item, status))
        })
        .await
    }
}

const BATCH_GET: &str = "BatchGetItem tasks";

fn has_status(item: &Item, status: Status) -> bool {
    item.get("status").and_then(|value| value.as_s().ok()).is_some_and(|s| s == status.as_str())
}

fn attempt_of(item: &Item) -> Attempt {
    let text = item.get("attempt").and_then(|value| value.as_n().ok());
    Attempt(text.and_then(|n| n.parse().ok()).unwrap_or_default())
}
