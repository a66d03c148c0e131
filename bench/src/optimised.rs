//! What each optimisation has changed: without it and with it in turns, in the same run.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::cost;
use crate::dispatcher::{starts, zip_mb};
use crate::load::Load;
use crate::process::{WorkerProcess, fast, function, own_worker};
use crate::report::{Figure, Section};
use crate::rig::{Rig, Role};
use crate::scope::Scope;
use crate::statistics::median;
use crate::worker::resident;

const TURNS: usize = 3;
const SLOTS: u32 = 16;
/// Where Debian has all the certificates that a system trusts.
const SYSTEM_ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Measures them.
pub async fn measure(scope: &Scope) -> Section {
    let mut section = Section::new("Before and after")
        .how("Each optimisation by itself: without it and with it in turns, with everything else as it is. The \
              column of the peer is the figure before; a ratio above 1 is what was gained.")
        .how("*Shared requests*: claims and ends that come at the same time go as one `BatchExecuteStatement` \
              (off: the worker's `share_requests = false`). *Rarer counters*: those of a stage that has run for \
              20 s are written every 10 s (before: every 2 s, `counter_seconds = 2`). *Amazon's roots*: a \
              function reads five certificates (before: all that the system trusts, `SSL_CERT_FILE`). *Built for \
              size*: at optimisation level s with all crates linked as one (before: level 3, `--profile fast`).");
    section.take("shared requests", shared_requests(scope).await);
    section.take("rarer counters", Box::pin(rarer_counters(scope)).await);
    section.take("built for size", built_for_size(scope).await);
    section.take("functions", functions(scope).await);
    if let Some(before) = &scope.before {
        section.take("an earlier revision", since(scope, before).await);
    }
    section
}

/// A figure as it is, beside what it was.
fn changed(name: &str, unit: &str, before: &[f64], after: Vec<f64>) -> Figure {
    Figure::new(name, unit, after).beside("before", median(before))
}

async fn shared_requests(scope: &Scope) -> Result<Vec<Figure>> {
    let worker = own_worker()?;
    let [off, on] = ["false", "true"].map(|value| [("STAGELINE_WORKER_SHARE_REQUESTS", value)]);
    let (mut before, mut after) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        before.push(cpu(scope, &worker, &off).await?);
        after.push(cpu(scope, &worker, &on).await?);
    }
    let (mut alone, mut together) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        alone.push(requests(&worker, &off).await?);
        together.push(requests(&worker, &on).await?);
    }
    Ok(vec![
        changed("shared requests: CPU, 1,000 no-op tasks in-process", "s", &before, after),
        changed("shared requests: the worker's DynamoDB requests a task", "", &alone, together),
    ])
}

async fn built_for_size(scope: &Scope) -> Result<Vec<Figure>> {
    let (small, fast) = (own_worker()?, fast("stageline-worker")?);
    let (mut before, mut after) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        before.push(cpu(scope, &fast, &[]).await?);
        after.push(cpu(scope, &small, &[]).await?);
    }
    let size = |path: &Path| anyhow::Ok(path.metadata()?.len() as f64 / 1e6);
    Ok(vec![
        changed("built for size: CPU, 1,000 no-op tasks in-process", "s", &before, after),
        changed("built for size: the worker's program", "MB", &[size(&fast)?], vec![size(&small)?]),
    ])
}

/// The worker beside that of an earlier revision: what all changes since have come to, also those that cannot be
/// switched off.
async fn since(scope: &Scope, before: &Path) -> Result<Vec<Figure>> {
    let now = own_worker()?;
    let child = json!({"command": "/bin/true"});
    let (mut cpus, mut memories) = ((Vec::new(), Vec::new()), (Vec::new(), Vec::new()));
    for _ in 0..TURNS {
        cpus.0.push(cpu_of(scope, before, &[], &child).await?);
        cpus.1.push(cpu_of(scope, &now, &[], &child).await?);
    }
    for _ in 0..scope.of(1, TURNS) {
        memories.0.push(resident(before).await?.busy);
        memories.1.push(resident(&now).await?.busy);
    }
    let units = (cost::noop(before).await?.write_units(), cost::noop(&now).await?.write_units());
    let name = before.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy().into_owned();
    Ok(vec![
        changed(&format!("since {name}: CPU, 1,000 no-op tasks with a child"), "s", &cpus.0, cpus.1),
        changed(
            &format!("since {name}: resident memory, 1,000 tasks running"),
            "MB",
            &memories.0,
            memories.1,
        ),
        changed(&format!("since {name}: write units of a no-op command"), "", &[units.0], vec![units.1]),
    ])
}

/// CPU seconds of a worker for a thousand tasks in-process.
async fn cpu(scope: &Scope, program: &Path, settings: &[(&str, &str)]) -> Result<f64> {
    cpu_of(scope, program, settings, &json!({"engine": "noop"})).await
}

/// The same of tasks with these attributes.
async fn cpu_of(scope: &Scope, program: &Path, settings: &[(&str, &str)], attributes: &Value) -> Result<f64> {
    let rig = Rig::embedded(false).await?;
    let mut worker = WorkerProcess::start_program(program, &rig, SLOTS, settings).await?;
    let load = Load::run(&rig, &mut worker, "turn", scope.of(1_000, 5_000), attributes).await?;
    drop(worker);
    rig.shutdown().await;
    Ok(load.cpu_of_thousand())
}

/// What a worker asks of DynamoDB for a task of a backlog.
async fn requests(program: &Path, settings: &[(&str, &str)]) -> Result<f64> {
    const TASKS: usize = 300;
    let rig = Rig::embedded(true).await?;
    let mut worker = WorkerProcess::start_program(program, &rig, SLOTS, settings).await?;
    let before = rig.tally(Role::Worker);
    Load::run(&rig, &mut worker, "counted", TASKS, &json!({"engine": "noop"})).await?;
    let requests = rig.tally(Role::Worker).since(&before).of("dynamodb").requests;
    drop(worker);
    rig.shutdown().await;
    ensure!(requests > 0.0, "the worker asks for nothing");
    Ok(requests / TASKS as f64)
}

async fn rarer_counters(scope: &Scope) -> Result<Vec<Figure>> {
    let dollars = async |seconds: &str| -> Result<(f64, f64)> {
        let one = cost::ten_updates(&[("STAGELINE_WORKER_COUNTER_SECONDS", seconds)]).await?;
        Ok((one.tally.table("stages").requests, one.dollars(scope) * 1e6))
    };
    let (before, after) = tokio::join!(dollars("2"), dollars("10"));
    let ((often, dear), (rarely, cheap)) = (before?, after?);
    Ok(vec![
        changed("rarer counters: writes of a stage in 20 s", "", &[often], vec![rarely]),
        changed("rarer counters: a million tasks with ten updates", "$", &[dear], vec![cheap]),
    ])
}

async fn functions(scope: &Scope) -> Result<Vec<Figure>> {
    ensure!(Path::new(SYSTEM_ROOTS).is_file(), "{SYSTEM_ROOTS} is not there");
    let (small, fast) = (function("stageline-dispatcher")?, fast("stageline-dispatcher")?);
    let count = scope.of(5, 15);
    let (of_size, of_speed) = (small.clone(), fast.clone());
    let (roots, profile) = tokio::task::spawn_blocking(move || -> Result<_> {
        let plain = |program: &PathBuf| (Command::new(program), vec![]);
        let roots = starts(count, || {
            [(Command::new(&of_size), vec![("SSL_CERT_FILE", SYSTEM_ROOTS)]), plain(&of_size)]
        })?;
        let profile = starts(count, || [plain(&of_speed), plain(&of_size)])?;
        Ok((roots, profile))
    })
    .await
    .context("starts")??;
    let mut figures = Vec::new();
    for (name, [before, after]) in [("Amazon's roots", roots), ("built for size", profile)] {
        let each = |of: fn(&crate::dispatcher::Start) -> f64| {
            (before.iter().map(of).collect::<Vec<_>>(), after.iter().map(of).collect::<Vec<_>>())
        };
        for (what, unit, (before, after)) in [
            ("exec → first `/next`", "ms", each(|start| start.millis)),
            ("CPU until then", "ms", each(|start| start.cpu)),
            ("resident memory then", "MB", each(|start| start.resident)),
        ] {
            figures.push(changed(&format!("{name}: {what}"), unit, &before, after));
        }
    }
    let (large, zip) = (zip_mb(&fast).await?, zip_mb(&small).await?);
    figures.push(changed("built for size: zip", "MB", &[large], vec![zip]));
    Ok(figures)
}
