//! One stage of a task's progress: an item of the `stages` table.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Attempt, TaskId};
use crate::At;

/// Where a stage is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum StageStatus {
    /// Not begun.
    Pending,
    /// Under way.
    Running,
    /// Done.
    Completed,
    /// Ended with its task.
    Failed,
}

impl StageStatus {
    /// Whether nothing more happens to the stage in this attempt.
    pub fn is_over(self) -> bool {
        matches!(self, StageStatus::Completed | StageStatus::Failed)
    }
}

impl std::fmt::Display for StageStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            StageStatus::Pending => "pending",
            StageStatus::Running => "running",
            StageStatus::Completed => "done",
            StageStatus::Failed => "failed",
        })
    }
}

/// One stage. Only a stage with `totalItems` has a bar.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stage {
    /// The task it belongs to.
    pub task_id: TaskId,
    /// Its place among the task's stages, from 1.
    pub order: u32,
    /// What it is called.
    pub name: String,
    /// Where it is.
    pub status: StageStatus,
    /// The attempt that wrote it.
    #[serde(default)]
    pub attempt: Attempt,
    /// A sentence about what goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_message: Option<String>,
    /// Items done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processed_items: Option<u64>,
    /// Items there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_items: Option<u64>,
    /// The smoothed rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub items_per_second: Option<f64>,
    /// When it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<At>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<At>,
    /// When it will end at this rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimated_completion_at: Option<At>,
    /// The engine's latest numbers, such as a residual or a temperature.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metrics: BTreeMap<String, f64>,
    /// When it was last written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<At>,
    /// When DynamoDB may delete it, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<i64>,
}
