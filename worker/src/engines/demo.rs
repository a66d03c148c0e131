//! `demo`: the classic three stages without any work, to see progress from end to end.
//!
//! Parameters: `items` (default 2,000) and `seconds` (default 20) of the middle stage; the first and the
//! last take a tenth of it each.

use std::time::Duration;

use futures::FutureExt;
use serde_json::{Map, Value, json};
use stageline::Code;
use stageline::protocol::outcome::{Failure, Outcome};
use stageline::task::Task;

use super::{Engine, Execution, Site};
use crate::progress::{Report, Sink};

const MOST_ITEMS: u64 = 1_000_000_000;
const MOST_SECONDS: f64 = 86_400.0;
const TICK: Duration = Duration::from_millis(100);

pub(super) struct Demo;

impl Engine for Demo {
    fn name(&self) -> &'static str {
        "demo"
    }

    fn plan(&self, task: &Task, _site: &Site<'_>) -> Result<Execution, Failure> {
        let empty = Map::new();
        let params = task.params.as_ref().unwrap_or(&empty);
        let items = number(params, "items", 2_000.0, MOST_ITEMS as f64)? as u64;
        let seconds = number(params, "seconds", 20.0, MOST_SECONDS)?;
        Ok(Execution::Inline(Box::new(move |sink| run(items, seconds, sink).boxed())))
    }
}

fn number(params: &Map<String, Value>, name: &str, default: f64, most: f64) -> Result<f64, Failure> {
    let value = match params.get(name) {
        None | Some(Value::Null) => Some(default),
        Some(value) => value.as_f64(),
    };
    value.filter(|n| (0.0..=most).contains(n)).ok_or_else(|| {
        let message = format!("`params.{name}` must be a number from 0 to {most}");
        Failure::fatal(Code::EngineInputInvalid, message)
    })
}

async fn run(items: u64, seconds: f64, sink: Sink) -> Outcome {
    let part = Duration::from_secs_f64(seconds / 10.0);
    let whole = Duration::from_secs_f64(seconds);

    sink.report(Report::enter("Setup", None, "Setting up..."));
    tokio::time::sleep(part).await;

    sink.report(Report::enter("Processing", Some(items), format!("Processing {items} items...")));
    let begun = tokio::time::Instant::now();
    loop {
        let share = (begun.elapsed().as_secs_f64() / whole.as_secs_f64().max(f64::MIN_POSITIVE)).min(1.0);
        let done = (items as f64 * share) as u64;
        sink.report(Report::progress(done).saying(format!("Processed {done} of {items} items")));
        if share >= 1.0 {
            break;
        }
        tokio::time::sleep(TICK.min(whole.saturating_sub(begun.elapsed()))).await;
    }

    sink.report(Report::enter("Finalizing", None, "Finalizing..."));
    tokio::time::sleep(part).await;
    Outcome::Succeeded { result: json!({ "items": items, "seconds": seconds }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn senseless_parameters_are_refused() {
        for bad in [json!({"items": -1}), json!({"seconds": "long"}), json!({"seconds": 1e9})] {
            let mut task = Task::new("t".parse().unwrap());
            task.params = bad.as_object().cloned();
            let config = crate::Config::default();
            let site = Site { config: &config, job_dir: std::path::Path::new("/"), resume: None };
            let failure = Demo.plan(&task, &site).err().unwrap();
            assert_eq!(failure.code, Code::EngineInputInvalid, "{bad}");
        }
    }
}
