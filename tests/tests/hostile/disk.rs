//! A worker whose work folder is a disk of 4 MB.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use stageline_tests::process::WorkerProcess;
use stageline_tests::system::{Stack, id};

use crate::bench::says;
use crate::case::{Case, Ended};

/// Why it cannot be tried here.
pub struct Missing(pub String);

/// Runs the cases, where a disk can be made.
pub async fn run() -> Result<Result<Vec<(Case, Ended)>, Missing>> {
    // In a namespace of its own, which goes with its last process: nothing stays mounted.
    let tried = Command::new("unshare").args(["-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]).output();
    match tried {
        Ok(tried) if tried.status.success() => Ok(Ok(Box::pin(on_a_small_disk()).await?)),
        Ok(tried) => {
            let why = String::from_utf8_lossy(&tried.stderr).trim().to_owned();
            Ok(Err(Missing(format!("nothing can be mounted: {why}"))))
        }
        Err(error) => Ok(Err(Missing(format!("unshare: {error}")))),
    }
}

async fn on_a_small_disk() -> Result<Vec<(Case, Ended)>> {
    let stack = Stack::embedded().await?;
    let folder = tempfile::tempdir()?;
    std::fs::create_dir(folder.path().join("jobs"))?;
    std::fs::write(folder.path().join("large"), vec![0; 8_000_000])?;
    let wrapper = folder.path().join("worker");
    let worker = env!("CARGO_BIN_EXE_test-worker");
    let text = format!(
        "#!/bin/sh\nexec unshare -rm sh -c 'mount -t tmpfs -o size=4m tmpfs jobs && exec {worker}'\n"
    );
    std::fs::write(&wrapper, text)?;
    std::fs::set_permissions(&wrapper, PermissionsExt::from_mode(0o755))?;
    let endpoint = stack.embedded.as_ref().context("it is embedded")?.local().endpoint();
    let mut worker = WorkerProcess::start(
        &wrapper.to_string_lossy(),
        &endpoint,
        &stack.deployment,
        folder.path(),
        &[("STAGELINE_WORKER_SLOTS", "1")],
    )?;
    worker.started().await?;
    let mut ended = Vec::new();
    for case in cases() {
        let mut record = case.record.clone();
        record["id"] = json!(id("disk"));
        let task = stack.put(&record).await?;
        stack.ended(&task).await?;
        let record: Value = stack.record(&task).await?.context("the record")?;
        let stages = stack.aws.stages.of(&task).await?;
        let says = says(&record, &folder.path().canonicalize()?);
        ended.push((case, Ended { record, stages, says }));
    }
    worker.kill().await?;
    stack.shutdown().await;
    Ok(ended)
}

fn cases() -> Vec<Case> {
    let never = json!({"maxRetries": 0, "maxInterruptions": 0});
    vec![
        Case::new(
            "an input larger than what is left",
            json!({"command": "true", "inputs": ["large"], "retry": never}),
            "WORKER_FAULT",
            "No space left",
        ),
        Case::new(
            "a program that fills it",
            json!({"command": "sh -c 'head -c 8000000 /dev/zero > big'"}),
            "EXIT_NON_ZERO",
            "No space left",
        ),
        Case::new(
            "a program that prints more than fits, which is kept as far as it goes",
            json!({"command": "sh -c 'head -c 8000000 /dev/zero'"}),
            "COMPLETED",
            "exitCode",
        ),
        Case::new(
            "a task on what is left",
            json!({"command": "true", "retry": never}),
            "COMPLETED",
            "exitCode",
        ),
    ]
}
