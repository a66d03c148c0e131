//! Peers on the same machine in the same run: Celery on SQS with results in DynamoDB, on the same emulator, and
//! Celery on Redis.

mod celery;
mod redis;

use serde_json::Value;

use self::celery::{Broker, Celery};
use self::redis::Redis;
use crate::meter::Tally;
use crate::prices::Used;
use crate::report::{Figure, Section, Table, number};
use crate::scope::Scope;
use crate::statistics::median;

const REPETITIONS: usize = 3;
const UPDATES: &str = "10";
const UPDATE_SECONDS: &str = "2";
const PROGRESS_TASKS: usize = 16;

/// What the peers came to.
#[derive(Clone, Debug, Default)]
pub struct Peers {
    /// Celery on SQS.
    pub sqs: Option<Peer>,
    /// Celery on Redis.
    pub redis: Option<Peer>,
}

/// What one peer came to.
#[derive(Clone, Debug, Default)]
pub struct Peer {
    /// CPU seconds of its worker for 1,000 no-op tasks, each time.
    pub cpus: Vec<f64>,
    /// Tasks a second, each time.
    pub rates: Vec<f64>,
    /// What a no-op task asked of AWS.
    pub noop: Option<Tally>,
    /// What a task with ten updates asked of AWS.
    pub progress: Option<Tally>,
}

impl Peer {
    /// The median of its CPU seconds.
    pub fn cpu(&self) -> Option<f64> {
        median(&self.cpus)
    }
}

/// Measures them.
pub async fn measure(scope: &Scope) -> (Section, Peers) {
    let mut section = Section::new("Peers")
        .how("Celery 5 with the threads pool of 16, prefetch 4 a thread, late acknowledgement, no gossip, mingle, \
              heartbeat or events; polls of 20 s. CPU is that of its one process, from waiting to the last \
              result. Its requests are counted by the same addresses as Stageline's; it keeps no record of a task \
              before its result, and claims nothing.");
    let mut peers = Peers::default();
    let Some(environment) = &scope.peers else {
        section
            .failures
            .push("Celery: not measured: its environment could not be installed; see scripts/bench".into());
        return (section, peers);
    };
    let count = scope.of(500, 1_000);
    match on_sqs(environment, count).await {
        Ok(peer) => peers.sqs = Some(peer),
        Err(error) => section.take("Celery on SQS", Err(error)),
    }
    match on_redis(environment, count).await {
        Ok(peer) => peers.redis = Some(peer),
        Err(error) => section.take("Celery on Redis", Err(error)),
    }
    for (name, peer) in [("Celery on SQS", &peers.sqs), ("Celery on Redis", &peers.redis)] {
        let Some(peer) = peer else { continue };
        section.figures.push(Figure::new(format!("{name}: CPU, 1,000 no-op tasks"), "s", peer.cpus.clone()));
        section.figures.push(Figure::new(format!("{name}: tasks/s"), "", peer.rates.clone()));
        let mut rows = Vec::new();
        for (what, tally) in [("no-op", &peer.noop), ("ten updates", &peer.progress)] {
            let Some(tally) = tally else { continue };
            let used = Used { tally: tally.clone(), ..Used::default() };
            let dollars = scope.prices.dollars(&used) * 1e6;
            section.figures.push(Figure::one(format!("{name}, {what}: a million tasks"), "$", dollars));
            rows.extend(tally.0.iter().map(|(kind, count)| {
                vec![
                    what.to_owned(),
                    kind.clone(),
                    number(count.requests),
                    number(count.write_units),
                    number(count.read_units),
                ]
            }));
        }
        if !rows.is_empty() {
            section.tables.push(Table {
                caption: format!("{name}: a task's requests and units by kind"),
                columns: ["task", "call", "requests", "write units", "read units"]
                    .map(str::to_owned)
                    .to_vec(),
                rows,
            });
        }
    }
    (section, peers)
}

async fn on_sqs(environment: &crate::scope::Peers, count: usize) -> anyhow::Result<Peer> {
    let mut peer = Peer::default();
    {
        let celery = Celery::start(environment, Broker::Sqs { counted: false }).await?;
        timed(&celery, count, &mut peer).await?;
        celery.stop().await;
    }
    let celery = Celery::start(environment, Broker::Sqs { counted: true }).await?;
    let (tally, _) = celery.counted(&["noop", &count.to_string()]).await?;
    peer.noop = Some(tally.times(1.0 / count as f64));
    let tasks = PROGRESS_TASKS;
    let (tally, _) = celery.counted(&["progress", &tasks.to_string(), UPDATES, UPDATE_SECONDS]).await?;
    peer.progress = Some(tally.times(1.0 / tasks as f64));
    celery.stop().await;
    Ok(peer)
}

async fn on_redis(environment: &crate::scope::Peers, count: usize) -> anyhow::Result<Peer> {
    let redis = Redis::start(environment).await?;
    let mut peer = Peer::default();
    let celery = Celery::start(environment, Broker::Redis(redis.address())).await?;
    timed(&celery, count, &mut peer).await?;
    celery.stop().await;
    Ok(peer)
}

async fn timed(celery: &Celery, count: usize, peer: &mut Peer) -> anyhow::Result<()> {
    for _ in 0..REPETITIONS {
        let before = celery.cpu()?;
        let produced = celery.produce(&["noop", &count.to_string()]).await?;
        tokio::time::sleep(crate::load::SETTLED).await;
        peer.cpus.push((celery.cpu()? - before) / count as f64 * 1e3);
        let seconds = produced.get("seconds").and_then(Value::as_f64).unwrap_or(f64::NAN);
        peer.rates.push(count as f64 / seconds);
    }
    Ok(())
}
