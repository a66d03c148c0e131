//! `lammps` on several processes: the melt of the examples. On one it is in `end_to_end`.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::Test;
use crate::bench::{Bench, block_on, counted};

pub fn trials() -> Vec<Test> {
    vec![
        ("a_melt_on_two_processes_is_one_simulation", || block_on(melt())),
        ("cancelling_leaves_no_process", || block_on(cancelled())),
        ("a_wrong_input_is_told_in_its_own_words", || block_on(wrong_input())),
    ]
}

fn script(path: &str, params: Value) -> Value {
    json!({"engine": "lammps", "script": path, "params": params, "resources": {"cpus": 2}})
}

async fn melt() -> Result<()> {
    let bench = Bench::start().await?;
    let (task, stages) =
        bench.completed(script("lammps/melt/in.melt", json!({"nsteps": 400, "cells": 4}))).await?;
    assert_eq!(counted(&stages), [("Setup", None, None), ("Run", Some(400), Some(400))]);
    let result = task.result.context("a result")?;
    assert_eq!((&result["procs"], &result["steps"]), (&json!(2), &json!(400)));
    bench.end().await
}

async fn cancelled() -> Result<()> {
    let bench = Bench::start().await?;
    bench
        .cancelled_in("Run", script("lammps/melt/in.melt", json!({"nsteps": 5_000_000, "cells": 4})))
        .await?;
    bench.end().await
}

async fn wrong_input() -> Result<()> {
    let bench = Bench::start().await?;
    let task = script("lammps/broken/in.broken", json!({}));
    bench.fails(task, "LAMMPS_ERROR", &["Unrecognized pair style", "line 12"]).await?;
    bench.end().await
}
