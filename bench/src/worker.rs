//! The worker: CPU and memory of its process, and how much goes through it.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::load::Load;
use crate::ministack::Ministack;
use crate::peers::Peers;
use crate::process::{WorkerProcess, own_worker};
use crate::procfs::{children, resident_mb};
use crate::report::{Figure, Section};
use crate::rig::Rig;
use crate::scope::Scope;
use crate::spawn;

const REPETITIONS: usize = 3;
const SLOTS: u32 = 16;
const AT_ONCE: usize = 1_000;
/// Attempts that have run for a second are listed in the registry; then a busy worker is at rest.
const AT_REST: Duration = Duration::from_secs(5);

/// Measures it.
pub async fn measure(scope: &Scope, peers: Option<&Peers>) -> Section {
    let mut section = Section::new("Worker").how(
        "The release binary as a process of its own with its default settings, 16 slots and its log at \
              `info` into a file; CPU is user and system time of that process alone, children excluded, from \
              waiting to the last deleted message. In-process is the engine `noop`, with a child the engine \
              `command` with `/bin/true`.",
    );
    let noop = json!({"engine": "noop"});
    let child = json!({"command": "/bin/true"});
    let count = scope.of(2_000, 5_000);
    section.take("in-process", embedded("in-process", &noop, count, 0.40, peers).await);
    section.take("with a child", embedded("with a child", &child, count / 2, 1.0, peers).await);
    section.take("ministack", on_ministack(scope, &noop).await);
    section.take("memory", memory(scope.of(3, REPETITIONS)).await);
    section.take("spawn rate", spawn::measure(scope).await);
    section
}

async fn embedded(
    how: &str,
    attributes: &Value,
    count: usize,
    target: f64,
    peers: Option<&Peers>,
) -> Result<Vec<Figure>> {
    let (mut cpu, mut rate) = (Vec::new(), Vec::new());
    for _ in 0..REPETITIONS {
        let rig = Rig::embedded(false).await?;
        let mut worker = WorkerProcess::start(&rig, SLOTS, &[]).await?;
        let load = Load::run(&rig, &mut worker, "load", count, attributes).await?;
        cpu.push(load.cpu_of_thousand());
        rate.push(load.rate());
        drop(worker);
        rig.shutdown().await;
    }
    let celery = peers.and_then(|peers| peers.sqs.as_ref()?.cpu());
    let mut figures = vec![
        Figure::new(format!("CPU, 1,000 no-op tasks {how}"), "s", cpu.clone())
            .at_most(target)
            .beside("Celery on SQS", celery),
        Figure::new(format!("tasks/s {how}, embedded stack"), "", rate),
    ];
    if how == "in-process" {
        let redis = peers.and_then(|peers| peers.redis.as_ref()?.cpu());
        figures.push(
            Figure::new("the same CPU beside Celery on Redis", "s", cpu.clone())
                .beside("Celery on Redis", redis),
        );
        if let Some(celery) = celery {
            let ratios: Vec<_> = cpu.iter().map(|own| celery / own).collect();
            let name = "tasks a worker CPU second, times Celery's on SQS";
            figures.push(Figure::new(name, "×", ratios).at_least(9.0));
        }
    }
    Ok(figures)
}

async fn on_ministack(scope: &Scope, attributes: &Value) -> Result<Vec<Figure>> {
    let ministack = Ministack::start(&scope.root).await?;
    let rig = Rig::emulator(&ministack.endpoint()).await?;
    let mut worker = WorkerProcess::start(&rig, SLOTS, &[]).await?;
    let mut rate = Vec::new();
    for turn in 0..REPETITIONS {
        let prefix = format!("mini{turn}");
        let load = Load::run(&rig, &mut worker, &prefix, scope.of(300, 1_000), attributes).await?;
        rate.push(load.rate());
    }
    drop(worker);
    rig.shutdown().await;
    Ok(vec![Figure::new("tasks/s in-process, ministack", "", rate)])
}

async fn memory(repetitions: usize) -> Result<Vec<Figure>> {
    let (mut idle, mut busy) = (Vec::new(), Vec::new());
    for _ in 0..repetitions {
        let resident = resident(&own_worker()?).await?;
        idle.push(resident.idle);
        busy.push(resident.busy);
    }
    Ok(vec![
        Figure::new("resident memory, idle", "MB", idle).at_most(15.0),
        Figure::new("resident memory, 1,000 tasks running", "MB", busy).at_most(40.0),
    ])
}

/// Resident memory of a worker, MB.
#[derive(Clone, Copy, Debug)]
pub struct Resident {
    /// Without tasks.
    pub idle: f64,
    /// With a thousand that sleep.
    pub busy: f64,
}

/// Measures it.
///
/// # Errors
/// The tasks do not run at once.
pub async fn resident(program: &Path) -> Result<Resident> {
    let rig = Rig::embedded(false).await?;
    let worker = WorkerProcess::start_program(program, &rig, u32::try_from(AT_ONCE)?, &[]).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let idle = resident_mb(worker.pid(), false)?;
    rig.put(crate::records::tasks("sleep", AT_ONCE, &json!({"command": "sleep 600"}))?).await?;
    let all = async {
        while children(worker.pid()).len() < AT_ONCE {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), all).await.context("1,000 tasks do not run at once")?;
    tokio::time::sleep(AT_REST).await;
    let busy = resident_mb(worker.pid(), false)?;
    drop(worker);
    rig.shutdown().await;
    Ok(Resident { idle, busy })
}
