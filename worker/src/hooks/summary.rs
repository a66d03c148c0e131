//! What hooks are told of an attempt: little, and nothing that is secret.

use serde::Serialize;
use stageline::At;
use stageline::task::{Status, Task};

use crate::context::Context;

/// The longest name of an engine that is told: anybody can write one into the table.
const LONGEST_ENGINE_BYTES: usize = 100;

/// An attempt that is over.
pub(crate) struct Ended {
    pub task: Box<Task>,
    /// What this worker wrote; none when the task was not its own any more.
    pub status: Option<Status>,
    /// The reason's code and words.
    pub reason: Option<(String, String)>,
}

/// The JSON on a command's standard input and in a webhook's body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Summary {
    /// Raised when a field changes its meaning.
    pub v: u32,
    pub event: &'static str,
    pub at: At,
    pub task_id: String,
    pub attempt: u32,
    pub engine: String,
    pub worker_id: String,
    pub pool: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

impl Summary {
    pub fn before(context: &Context, task: &Task) -> Self {
        let engine = task.engine().replace('\0', "");
        Self {
            v: 1,
            event: "before",
            at: context.clock.now(),
            task_id: task.id.to_string(),
            attempt: task.attempt.0,
            engine: engine[..engine.floor_char_boundary(LONGEST_ENGINE_BYTES)].to_owned(),
            worker_id: context.id.to_string(),
            pool: context.config.pool.clone(),
            status: None,
            code: None,
            message: None,
        }
    }

    pub fn after(context: &Context, ended: &Ended) -> Self {
        let (code, message) = ended.reason.clone().unzip();
        Self {
            event: "after",
            // The attempt is over for this worker, and what became of the task it does not know.
            status: Some(ended.status.map_or("ABANDONED", Status::as_str)),
            code,
            message,
            ..Self::before(context, &ended.task)
        }
    }
}
