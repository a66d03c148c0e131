//! `fenicsx`: Poisson's equation, and heat that cools.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::Test;
use crate::bench::{Bench, block_on, counted};

pub fn trials() -> Vec<Test> {
    vec![
        ("poisson_converges_by_order_two", || block_on(poisson())),
        ("heat_cools_on_two_processes", || block_on(heat())),
        ("cancelling_leaves_no_process", || block_on(cancelled())),
        ("an_exception_is_on_the_record_with_its_line", || block_on(wrong_input())),
    ]
}

fn script(name: &str, params: Value, cpus: u32) -> Value {
    json!({
        "engine": "fenicsx", "script": format!("fenicsx/{name}.py"), "inputs": ["stageline.py"],
        "params": params, "resources": {"cpus": cpus},
    })
}

async fn poisson() -> Result<()> {
    let bench = Bench::start().await?;
    let (task, stages) = bench.completed(script("poisson", json!({"levels": 4}), 1)).await?;
    assert_eq!(counted(&stages), [("Refine", Some(4), Some(4))]);
    let result = task.result.context("a result")?;
    let orders: Vec<_> = result["orders"].as_array().context("orders")?.iter().map(Value::as_f64).collect();
    assert_eq!(orders.len(), 3);
    assert!(orders.iter().flatten().all(|order| (order - 2.0).abs() < 0.2), "{orders:?}");
    bench.end().await
}

async fn heat() -> Result<()> {
    let bench = Bench::start().await?;
    let (task, stages) = bench.completed(script("heat", json!({"steps": 20, "squares": 32}), 2)).await?;
    assert_eq!(counted(&stages), [("Setup", None, None), ("Cool", Some(20), Some(20))]);
    let result = task.result.context("a result")?;
    assert_eq!((&result["processes"], &result["unknowns"]), (&json!(2), &json!(33 * 33)));
    bench.end().await
}

async fn cancelled() -> Result<()> {
    let bench = Bench::start().await?;
    bench.cancelled_in("Cool", script("heat", json!({"steps": 1_000_000, "squares": 32}), 2)).await?;
    bench.end().await
}

async fn wrong_input() -> Result<()> {
    let bench = Bench::start().await?;
    let task = script("heat", json!({"steps": 0}), 1);
    bench.fails(task, "SCRIPT_ERROR", &["ZeroDivisionError", "heat.py:"]).await?;
    bench.end().await
}
