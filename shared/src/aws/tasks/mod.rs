//! The `tasks` table: each method is one transition with its condition, and every write says how it went.
//! What reads is in [`read`], what the dispatcher and the sweeper write in [`moves`], what a worker writes in
//! [`attempt`].

mod attempt;
mod moves;
mod read;
mod together;

use std::sync::Arc;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure};

use super::AwsError;
use super::expressions::Update;
pub use super::expressions::{Leavings, Request};
use crate::Rejection;
use crate::protocol::claim::Current;
use crate::task::{Attempt, Item, Status, Task};
pub use read::{READ_ITEMS, ScanPage};
use together::{Sent, Together};

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
    account_index: String,
    /// Updates that may share a request, if any may.
    together: Option<Arc<Together>>,
}

enum Answer {
    Applied(Item),
    /// The item is as it was; it is here if it is there.
    Refused(Option<Item>),
    /// Refused, and the item was not shown.
    Unseen,
}

/// What an update is to show.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Show {
    /// The new item; the old one when it is refused.
    New,
    /// The old item when it is refused.
    Old,
    /// The old one when it is refused, where that costs no further request.
    Least,
}

impl TasksTable {
    pub(super) fn new(client: Client, table: String, account_index: String) -> Self {
        Self { client, table, account_index, together: None }
    }

    /// The table as one that many updates at a time are sent to: those that come while others are on their
    /// way share a request (`BatchExecuteStatement`). What each does and answers is the same.
    #[must_use]
    pub fn sharing_requests(self) -> Self {
        Self { together: Some(Together::new()), ..self }
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
        show: Show,
    ) -> Result<Answer, AwsError> {
        let returned = if show == Show::New { ReturnValue::AllNew } else { ReturnValue::None };
        let Some(together) = &self.together else {
            return self.update_alone(call, id, update, returned).await;
        };
        match together.apply(&self.client, &self.table, id, &update, show == Show::New).await {
            Sent::Applied(item) => Ok(Answer::Applied(item)),
            Sent::Refused(Some(item)) => Ok(Answer::Refused(Some(item))),
            Sent::Refused(None) if show == Show::Least => Ok(Answer::Unseen),
            Sent::Refused(None) => self.update_alone(call, id, update, returned).await,
            Sent::ByItself(_turn) => self.update_alone(call, id, update, returned).await,
            Sent::Unanswered(why) => {
                let answer = self.update_alone(call, id, update, returned).await;
                if let Ok(Answer::Applied(_)) = answer {
                    together.was_right(why);
                }
                answer
            }
        }
    }

    async fn update_alone(
        &self,
        call: &'static str,
        id: &str,
        update: Update,
        returned: ReturnValue,
    ) -> Result<Answer, AwsError> {
        let anew = update.clone().with_new_history();
        match (self.send(call, id, update, returned.clone()).await, anew) {
            // The one operand that a record can spoil is `history`: a null, or what somebody wrote into it.
            (Err(AwsError::Refused { code, .. }), Some(anew)) if code == "ValidationException" => {
                self.send(call, id, anew, returned).await
            }
            (answer, _) => answer,
        }
    }

    async fn send(
        &self,
        call: &'static str,
        id: &str,
        update: Update,
        returned: ReturnValue,
    ) -> Result<Answer, AwsError> {
        let update = update.expression();
        let sending = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("id", AttributeValue::S(id.to_owned()))
            .update_expression(update.update)
            .condition_expression(update.condition)
            .set_expression_attribute_names(Some(update.names))
            .set_expression_attribute_values(Some(update.values))
            .return_values(returned)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send();
        // Boxed, as others here: a call is kilobytes, which every future around it would hold all the time.
        match Box::pin(sending).await {
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
        show: Show,
        ours: impl Fn(&Item) -> bool,
    ) -> Result<Write, AwsError> {
        Ok(match self.update(call, id, update, show).await? {
            Answer::Applied(_) => Write::Applied,
            Answer::Refused(None) => Write::NotFound,
            Answer::Refused(Some(item)) if ours(&item) => Write::AlreadyApplied,
            Answer::Refused(Some(_)) | Answer::Unseen => Write::Fenced,
        })
    }

    async fn moved(
        &self,
        call: &'static str,
        task: &Task,
        update: Update,
        to: Status,
    ) -> Result<Write, AwsError> {
        self.moved_showing(Show::Old, call, task, update, to).await
    }

    async fn moved_showing(
        &self,
        show: Show,
        call: &'static str,
        task: &Task,
        update: Update,
        to: Status,
    ) -> Result<Write, AwsError> {
        let attempt = task.attempt;
        self.write(call, task.id.as_str(), update, show, move |item| {
            has_status(item, to) && attempt_of(item) == attempt
        })
        .await
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
}

fn has_status(item: &Item, status: Status) -> bool {
    item.get("status").and_then(|value| value.as_s().ok()).is_some_and(|s| s == status.as_str())
}

fn attempt_of(item: &Item) -> Attempt {
    let text = item.get("attempt").and_then(|value| value.as_n().ok());
    Attempt(text.and_then(|n| n.parse().ok()).unwrap_or_default())
}
