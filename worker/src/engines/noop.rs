//! `noop`: nothing at all, inside the worker. What a task costs without its engine is measured with it.

use futures::FutureExt;
use serde_json::json;
use stageline::protocol::outcome::{Failure, Outcome};
use stageline::task::Task;

use super::{Engine, Execution, Site};

pub(super) struct Noop;

impl Engine for Noop {
    fn name(&self) -> &'static str {
        "noop"
    }

    fn plan(&self, _task: &Task, _site: &Site<'_>) -> Result<Execution, Failure> {
        // No stage is reported: a stage would be a write.
        Ok(Execution::Inline(Box::new(|_sink| {
            std::future::ready(Outcome::Succeeded { result: json!({}) }).boxed()
        })))
    }
}
