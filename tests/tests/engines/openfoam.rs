//! `openfoam`: the lid-driven cavity.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use stageline::task::Status;

use crate::Test;
use crate::bench::{Bench, block_on, counted};

const CONTROL: &str = "openfoam/cavity/system/controlDict";

pub fn trials() -> Vec<Test> {
    vec![
        ("a_case_is_meshed_and_solved_to_its_end_time", || block_on(completes())),
        ("a_case_on_two_processes_is_put_together_again", || block_on(in_parallel())),
        ("cancelling_two_processes_leaves_none", || block_on(cancelled())),
        ("at_its_soft_limit_the_solver_writes_its_state", || block_on(soft_limit())),
        ("a_wrong_case_fails_with_the_solvers_own_words", || block_on(wrong_input())),
        ("a_solution_that_blows_up_is_stopped", || block_on(diverges())),
    ]
}

fn cavity(more: Value) -> Value {
    let mut record = json!({"engine": "openfoam", "script": "openfoam/cavity"});
    if let (Some(record), Value::Object(more)) = (record.as_object_mut(), more) {
        record.extend(more);
    }
    record
}

async fn completes() -> Result<()> {
    let bench = Bench::start().await?;
    let (task, stages) = bench.completed(cavity(json!({}))).await?;
    assert_eq!(counted(&stages), [("Mesh", None, None), ("Solve", Some(1000), Some(1000))]);
    assert!(stages[1].metrics.contains_key("residual.p"), "{:?}", stages[1].metrics);
    let result = task.result.clone().context("a result")?;
    assert_eq!(result["programs"], json!(["blockMesh", "icoFoam"]));
    assert_eq!((&result["steps"], &result["lastTime"]), (&json!(1000), &json!(0.5)));
    let left = bench.left(&task)?;
    ensure!(left.iter().any(|name| name == "0.5"), "the last time was written: {left:?}");
    bench.end().await
}

async fn in_parallel() -> Result<()> {
    let bench = Bench::start().await?;
    bench.edit(CONTROL, "endTime           0.5;", "endTime           0.02;")?;
    bench.edit(CONTROL, "writeInterval     200;", "writeInterval     40;")?;
    let (task, stages) = bench.completed(cavity(json!({"resources": {"cpus": 2}}))).await?;
    let names: Vec<_> = stages.iter().map(|stage| stage.name.as_str()).collect();
    assert_eq!(names, ["Mesh", "Decompose", "Solve", "Reconstruct"]);
    assert_eq!(task.result.clone().context("a result")?["steps"], 40);
    let left = bench.left(&task)?;
    for name in ["processor0", "processor1", "0.02"] {
        ensure!(left.iter().any(|one| one == name), "{name} is not in {left:?}");
    }
    bench.end().await
}

async fn cancelled() -> Result<()> {
    let bench = Bench::start().await?;
    bench.edit(CONTROL, "endTime           0.5;", "endTime           500;")?;
    bench.cancelled_in("Solve", cavity(json!({"resources": {"cpus": 2}}))).await?;
    bench.end().await
}

async fn soft_limit() -> Result<()> {
    let bench = Bench::start().await?;
    bench.edit(CONTROL, "endTime           0.5;", "endTime           500;")?;
    bench.edit(CONTROL, "writeInterval     200;", "writeInterval     1000000;")?;
    let task = bench.run(cavity(json!({"softTimeoutSeconds": 5, "timeoutSeconds": 100}))).await?;
    let reason = task.status_reason.clone().context("a reason")?;
    assert_eq!((task.status, reason.code.as_str()), (Status::TimedOut, "SOFT_TIMED_OUT"), "{task:#?}");
    let left = bench.left(&task)?;
    let time = |name: &String| name.parse::<f64>().is_ok_and(|time| time > 0.0);
    ensure!(left.iter().any(time), "no time was written: {left:?}");
    bench.end().await
}

async fn wrong_input() -> Result<()> {
    let bench = Bench::start().await?;
    bench.edit("openfoam/cavity/0/U", "type fixedValue;", "type fixedSpeed;")?;
    let words = ["icoFoam", "Unknown patchField type fixedSpeed", "0/U"];
    bench.fails(cavity(json!({})), "OPENFOAM_ERROR", &words).await?;
    bench.end().await
}

async fn diverges() -> Result<()> {
    let bench = Bench::start().await?;
    bench.edit(CONTROL, "deltaT            0.0005;", "deltaT            0.02;")?;
    bench.edit(CONTROL, "endTime           0.5;", "endTime           500;")?;
    bench.fails(cavity(json!({"stopOnDivergence": true})), "DIVERGED", &[]).await?;
    bench.end().await
}
