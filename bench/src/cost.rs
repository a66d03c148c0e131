//! What a task costs: requests, units, dollars.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use stageline::Clock;
use stageline::aws::Aws;
use stageline_sweeper::{Limits, SweepEvent, Sweeper};

use crate::load::Load;
use crate::meter::{Meter, Tally};
use crate::peers::Peers;
use crate::prices::Used;
use crate::process::{WorkerProcess, binary, own_worker};
use crate::report::{Figure, Section, Table, number};
use crate::rig::{Rig, Role};
use crate::scope::Scope;

const UPDATES: usize = 10;
const UPDATE_SECONDS: f64 = 2.0;
/// As many at once as there are slots, so that messages travel in batches of ten as they do under load.
const SLOTS: u32 = 50;
/// Tasks with updates, as many as Celery has of them: heartbeats and polls are shared by those that run together.
const AT_ONCE: u32 = 16;
const SWEEPS: u32 = 3;
const HEARTBEAT: &str = "dynamodb UpdateItem control";

/// Measures it.
pub async fn measure(scope: &Scope, peers: Option<&Peers>) -> Section {
    let mut section = Section::new("Cost")
        .how("Client, dispatcher and worker each reach the embedded stack through an address that counts: each \
              try of a call is a request; units are those that DynamoDB reports (`ReturnConsumedCapacity`, \
              indexes included), plus, for a refused condition, the size of the item that refused it. Dollars \
              are these counts times `bench/prices.toml`, calls of the dispatcher included. Tasks come as a \
              backlog, so that messages travel in batches of ten. Their records have `accountId` and `createdAt`, \
              as `stageline submit` and dashboards write them; one without costs the same, and a unit more where \
              a claim comes before the dispatcher's mark.");
    // How many come together depends on what else runs.
    let plain = Box::pin(async { noop(&own_worker()?).await }).await;
    let retry = retry().await;
    // These mostly wait.
    let (progress, worker, nobody) =
        tokio::join!(ten_updates(&[]), idle_worker(scope.of(40, 60)), idle_without_workers(),);
    let dollars = |per_task: &PerTask| per_task.dollars(scope) * 1e6;
    let celery = peers.and_then(|peers| peers.sqs.as_ref());
    let (mut rows, mut breakdown) = (Vec::new(), Vec::new());
    for (name, measured) in
        [("no-op command", plain), ("ten updates in 20 s", progress), ("one retry", retry)]
    {
        section.take(
            name,
            measured.map(|one| {
                breakdown.push((name, one.tally.clone()));
                let peer = celery
                    .map(|celery| if name == "no-op command" { &celery.noop } else { &celery.progress });
                let peer = peer.filter(|_| name != "one retry").and_then(Option::as_ref);
                let peer_dollars = peer.map(|tally| {
                    scope.prices.dollars(&Used { tally: tally.clone(), ..Used::default() }) * 1e6
                });
                figures(name, &one, dollars(&one), peer_dollars)
            }),
        );
    }
    for (name, tally) in &breakdown {
        rows.extend(tally.0.iter().map(|(kind, count)| {
            vec![
                (*name).to_owned(),
                kind.clone(),
                number(count.requests),
                number(count.write_units),
                number(count.read_units),
            ]
        }));
    }
    section.tables.push(Table {
        caption: "A task's requests and units by kind".to_owned(),
        columns: ["task", "call", "requests", "write units", "read units"].map(str::to_owned).to_vec(),
        rows,
    });
    for (name, measured) in [("idle worker, an hour", worker), ("no workers, an hour", nobody)] {
        section.take(
            name,
            measured.map(|hour| {
                let total = hour.tally.total();
                vec![
                    Figure::one(format!("{name}: SQS requests"), "", hour.tally.of("sqs").requests),
                    Figure::one(format!("{name}: write units"), "", total.write_units),
                    Figure::one(format!("{name}: read units"), "", total.read_units),
                    Figure::one(format!("{name}: cost"), "$", scope.prices.dollars(&hour)),
                ]
            }),
        );
    }
    section.how.push(format!(
        "The idle worker was counted for {} s and scaled to an hour; the hour without workers is the mean of \
         {SWEEPS} calls of the sweeper times the calls in an hour.",
        scope.of(40, 60)
    ));
    section
}

/// What one task came to.
pub struct PerTask {
    /// Requests and units.
    pub tally: Tally,
    calls: f64,
}

impl PerTask {
    /// What it came to in dollars.
    pub fn dollars(&self, scope: &Scope) -> f64 {
        scope.prices.dollars(&self.used(scope))
    }

    /// Its write units. A heartbeat is the worker's and not a task's: it is in the idle worker's hour, and in the
    /// dollars of both.
    pub fn write_units(&self) -> f64 {
        self.tally.total().write_units - self.tally.of(HEARTBEAT).write_units
    }

    fn used(&self, scope: &Scope) -> Used {
        let call_seconds = self.calls * scope.prices.assumed.dispatcher_call_seconds;
        Used { tally: self.tally.clone(), calls: self.calls, call_seconds }
    }
}

fn figures(name: &str, one: &PerTask, dollars: f64, celery: Option<f64>) -> Vec<Figure> {
    let total = one.tally.total();
    let write = Figure::one(format!("{name}: write units without the heartbeat's"), "", one.write_units());
    let read = Figure::one(format!("{name}: read units"), "", total.read_units);
    let sqs = Figure::one(format!("{name}: SQS requests"), "", one.tally.of("sqs").requests);
    let cost = Figure::one(format!("{name}: a million tasks"), "$", dollars).beside("Celery on SQS", celery);
    match name {
        "no-op command" => vec![write.at_most(5.0), read.at_most(0.0), sqs.at_most(0.4), cost.at_most(3.4)],
        "ten updates in 20 s" => {
            let stages = one.tally.table("stages");
            let each = stages.write_units / stages.requests.max(f64::MIN_POSITIVE);
            let written = Figure::one("updates written of ten offered", "", stages.requests);
            let unit = Figure::one("write units of an update that is written", "", each).at_most(1.0);
            let cost = celery.map_or(cost.clone(), |celery| cost.at_most(celery));
            vec![write, read, sqs, cost, written, unit]
        }
        _ => vec![write, read, sqs, cost],
    }
}

/// A command that does nothing, on this worker.
///
/// # Errors
/// A task does not complete.
pub async fn noop(program: &Path) -> Result<PerTask> {
    of_tasks(program, "no-op command", 500, SLOTS, json!({"command": "/bin/true"}), &[]).await
}

async fn of_tasks(
    program: &Path,
    prefix: &str,
    count: usize,
    slots: u32,
    attributes: Value,
    settings: &[(&str, &str)],
) -> Result<PerTask> {
    let rig = Rig::embedded(true).await?;
    let mut worker = WorkerProcess::start_program(program, &rig, slots, settings).await?;
    let load = Load::run(&rig, &mut worker, &prefix.replace(' ', "-"), count, &attributes).await?;
    drop(worker);
    rig.shutdown().await;
    Ok(PerTask { tally: load.tally_of_one(), calls: load.calls as f64 / count as f64 })
}

/// Tasks of 20 s that offer ten updates, on a worker with these settings.
///
/// # Errors
/// A task does not complete.
pub async fn ten_updates(settings: &[(&str, &str)]) -> Result<PerTask> {
    let command = format!("{} progress {UPDATES} {UPDATE_SECONDS}", binary("bench-child")?.display());
    of_tasks(&own_worker()?, "progress", AT_ONCE as usize, AT_ONCE, json!({"command": command}), settings)
        .await
}

async fn retry() -> Result<PerTask> {
    let command = format!("{} second", binary("bench-child")?.display());
    let retry = json!({"strategy": "IMMEDIATE", "maxRetries": 1, "delaySeconds": 0});
    of_tasks(&own_worker()?, "retry", 200, SLOTS, json!({"command": command, "retry": retry}), &[]).await
}

async fn idle_worker(seconds: u64) -> Result<Used> {
    let rig = Rig::embedded(true).await?;
    let mut worker = WorkerProcess::start(&rig, 4, &[]).await?;
    tokio::time::sleep(crate::load::SETTLED).await;
    let before = rig.tally(Role::Worker);
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    worker.lives()?;
    let tally = rig.tally(Role::Worker).since(&before).times(3_600.0 / seconds as f64);
    ensure!(tally.total().requests > 0.0, "the worker asks for nothing");
    drop(worker);
    rig.shutdown().await;
    Ok(Used { tally, ..Used::default() })
}

async fn idle_without_workers() -> Result<Used> {
    let assumed = crate::prices::Prices::load()?.assumed;
    let rig = Rig::embedded(false).await?;
    let mut worker = WorkerProcess::start(&rig, 16, &[]).await?;
    Load::run(&rig, &mut worker, "ended", 100, &json!({"engine": "noop"})).await?;
    drop(worker);
    let meter = Meter::start(&rig.endpoint(Role::Worker)).await?;
    let aws = Aws::new(&stageline_local::sdk_config(&meter.endpoint()), &rig.deployment);
    let sweeper = Sweeper::new(aws, rig.deployment.clone(), Clock::system());
    for _ in 0..SWEEPS {
        // As the schedule does, which looks at the queues too.
        Box::pin(sweeper.handle(SweepEvent::Scheduled, Limits::default())).await;
    }
    let calls = assumed.sweeper_calls_an_hour;
    let tally = meter.tally().times(calls / f64::from(SWEEPS));
    rig.shutdown().await;
    Ok(Used { tally, calls, call_seconds: calls * assumed.sweeper_call_seconds })
}
