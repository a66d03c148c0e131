//! The `stages` table: one small item a stage, written whole.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;

use super::tasks::Write;
use super::{AwsError, expressions};
use crate::task::{Stage, TaskId};

/// The `stages` table.
#[derive(Clone, Debug)]
pub struct StagesTable {
    client: Client,
    table: String,
}

impl StagesTable {
    pub(super) fn new(client: Client, table: String) -> Self {
        Self { client, table }
    }

    /// Writes a stage: one write unit. Fenced when a later attempt has written it.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn put(&self, stage: &Stage) -> Result<Write, AwsError> {
        const CALL: &str = "PutItem stages";
        let item = serde_dynamo::to_item(stage)
            .map_err(|e| AwsError::Unreadable { call: CALL, reason: e.to_string() })?;
        let condition = expressions::stage_is_not_newer(stage).expression();
        let sending = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item))
            .condition_expression(condition.condition)
            .set_expression_attribute_names(Some(condition.names))
            .set_expression_attribute_values(Some(condition.values))
            .send();
        match Box::pin(sending).await {
            Ok(_) => Ok(Write::Applied),
            Err(error)
                if error.as_service_error().is_some_and(|e| e.is_conditional_check_failed_exception()) =>
            {
                Ok(Write::Fenced)
            }
            Err(error) => Err(AwsError::from_sdk(CALL, error)),
        }
    }

    /// A task's stages in order. A stage that cannot be read is left out.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn of(&self, task: &TaskId) -> Result<Vec<Stage>, AwsError> {
        let output = self
            .client
            .query()
            .table_name(&self.table)
            .key_condition_expression("taskId = :task")
            .expression_attribute_values(":task", AttributeValue::S(task.to_string()))
            .consistent_read(true)
            .send()
            .await
            .map_err(|e| AwsError::from_sdk("Query stages", e))?;
        let items = output.items.unwrap_or_default();
        Ok(items.into_iter().filter_map(|item| serde_dynamo::from_item(item).ok()).collect())
    }
}
