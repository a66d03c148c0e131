//! `python`: heat in a rod.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::Test;
use crate::bench::{Bench, block_on, counted};

pub fn trials() -> Vec<Test> {
    vec![
        ("a_script_tells_its_stages_and_its_result", || block_on(completes())),
        ("cancelling_leaves_no_process", || block_on(cancelled())),
        ("an_exception_is_on_the_record_with_its_line", || block_on(wrong_input())),
    ]
}

fn heat(params: Value) -> Value {
    json!({"engine": "python", "script": "python/heat.py", "inputs": ["stageline.py"], "params": params})
}

async fn completes() -> Result<()> {
    let bench = Bench::start().await?;
    let (task, stages) = bench.completed(heat(json!({"points": 51}))).await?;
    let names: Vec<_> = counted(&stages).into_iter().map(|(name, _, _)| name).collect();
    assert_eq!(names, ["Setup", "Heat", "Compare"]);
    let result = task.result.context("a result")?;
    let steps = result["steps"].as_u64().context("steps")?;
    assert_eq!((stages[1].processed_items, stages[1].total_items), (Some(steps), Some(steps)));
    let error = result["error"].as_f64().context("an error")?;
    assert!(error > 0.0 && error < 1e-2 && stages[2].metrics["error"] == error, "{error}");
    bench.end().await
}

async fn cancelled() -> Result<()> {
    let bench = Bench::start().await?;
    bench.cancelled_in("Heat", heat(json!({"points": 2001}))).await?;
    bench.end().await
}

async fn wrong_input() -> Result<()> {
    let bench = Bench::start().await?;
    let words = ["ValueError: points must be 3 or more", "not 1 and 0.05", "heat.py:"];
    bench.fails(heat(json!({"points": 1})), "SCRIPT_ERROR", &words).await?;
    bench.end().await
}
