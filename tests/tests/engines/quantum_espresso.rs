//! `quantum-espresso`: the total energy of silicon.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::Test;
use crate::bench::{Bench, block_on, counted};

const INPUT: &str = "quantum-espresso/silicon/si.scf.in";

pub fn trials() -> Vec<Test> {
    vec![
        ("silicon_converges_to_its_known_energy", || block_on(completes())),
        ("cancelling_leaves_no_process", || block_on(cancelled())),
        ("a_wrong_input_fails_with_the_routines_own_words", || block_on(wrong_input())),
        ("a_cycle_that_does_not_converge_fails_though_it_is_done", || block_on(not_converged())),
    ]
}

fn silicon() -> Value {
    json!({"engine": "quantum-espresso", "script": INPUT})
}

async fn completes() -> Result<()> {
    let bench = Bench::start().await?;
    let (task, stages) = bench.completed(silicon()).await?;
    assert_eq!(counted(&stages), [("Setup", None, None), ("Scf", Some(1000), Some(1000))]);
    let result = task.result.context("a result")?;
    assert_eq!((&result["converged"], &result["calculation"]), (&json!(true), &json!("scf")));
    let energy = result["totalEnergyRy"].as_f64().context("an energy")?;
    assert!((energy + 15.8508).abs() < 1e-3, "{energy}");
    bench.end().await
}

async fn cancelled() -> Result<()> {
    let bench = Bench::start().await?;
    // A minute of work: more points, to an accuracy that is not reached.
    bench.edit(INPUT, "4 4 4  1 1 1", "10 10 10  1 1 1")?;
    bench.edit(INPUT, "conv_thr    = 1.0d-9", "conv_thr    = 1.0d-30")?;
    bench.cancelled_in("Scf", silicon()).await?;
    bench.end().await
}

async fn wrong_input() -> Result<()> {
    let bench = Bench::start().await?;
    bench.edit(INPUT, "Si.pz-vbc.UPF", "Nowhere.UPF")?;
    bench.fails(silicon(), "QE_ERROR", &["error in routine readpp", "Nowhere.UPF not found"]).await?;
    bench.end().await
}

async fn not_converged() -> Result<()> {
    let bench = Bench::start().await?;
    bench.edit(INPUT, "&ELECTRONS", "&ELECTRONS\n  electron_maxstep = 3")?;
    let words = ["convergence NOT achieved after 3 iterations"];
    bench.fails(silicon(), "QE_NOT_CONVERGED", &words).await?;
    bench.end().await
}
