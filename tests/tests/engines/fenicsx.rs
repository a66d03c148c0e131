//! `fenicsx`: Poisson's equation, and heat that cools.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use stageline_tests::system::id;

use crate::Test;
use crate::bench::{Bench, block_on, counted};
use crate::place::{Place, dies, is_stored};

pub fn trials() -> Vec<Test> {
    vec![
        ("poisson_converges_by_order_two", || block_on(poisson())),
        ("heat_cools_on_two_processes", || block_on(heat())),
        ("cancelling_leaves_no_process", || block_on(cancelled())),
        ("an_exception_is_on_the_record_with_its_line", || block_on(wrong_input())),
        ("a_solver_that_dies_with_its_machine_goes_on_from_its_checkpoint", || block_on(killed())),
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

/// Some ten seconds alone, saved every 25 steps.
async fn killed() -> Result<()> {
    let place = Place::with_lease(4).await?;
    let examples = place.stack.worker_config(1).inputs_dir;
    let mut first = place.first(examples.clone(), 2)?;
    first.started().await?;
    let mut record = script("heat", json!({"steps": 10_000, "squares": 64, "save": 25}), 1);
    (record["id"], record["status"]) = (json!(id("dies")), json!("PENDING"));
    let task = place.stack.put(&record).await?;
    let taken = || place.output("first", &task, 1).matches("\"t = ").count();
    let nth = |number: u64| move |line: &Value| is_stored(line) && line["number"] == number;
    first.log().until(nth(1)).await?;
    let first_stored = taken();
    first.log().until(nth(2)).await?;
    let between = taken() - first_stored;
    // A part of what lies between two checkpoints.
    tokio::time::sleep(Duration::from_millis(300)).await;
    dies(&mut first, &task).await?;
    let last = taken();
    ensure!(
        last < 10_000,
        "it was done before it could die: more steps are needed on a machine as fast as this"
    );

    let second = place.second(examples)?;
    let ended = place.stack.completed(&task).await?;
    let result = ended.result.as_ref().context("a result")?;
    let resumed_at = result["resumedAt"].as_u64().context("where it went on")? as usize;
    let again = last.saturating_sub(resumed_at);
    eprintln!(
        "killed after step {last}, went on after {resumed_at}: {again} again, {between} between checkpoints"
    );
    ensure!(resumed_at > 0 && again < between, "{again} steps again, {between} between two checkpoints");
    // As it comes out of one attempt.
    let heat = result["heat"].as_f64().context("heat")?;
    ensure!((heat - 0.012_799_61).abs() < 1e-7, "{heat}");
    assert_eq!((ended.attempt.0, ended.interruptions, ended.failures), (2, Some(1), None), "{ended:#?}");
    second.drained().await?;
    place.stack.shutdown().await;
    Ok(())
}
