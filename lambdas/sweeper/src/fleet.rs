//! The workers as one call sees them.

use std::collections::{BTreeMap, BTreeSet};

use stageline::At;
use stageline::aws::{Heartbeat, SweepMemory, WorkerItem};
use stageline::task::{Lane, WorkerId};
use tracing::warn;

use crate::pass::Pass;

/// The workers as one call sees them.
#[derive(Debug, Default)]
pub(crate) struct Fleet {
    /// Every worker that has an item.
    items: BTreeMap<WorkerId, WorkerItem>,
    /// The dead among them, from which not everything could be taken yet.
    dead: BTreeSet<WorkerId>,
}

impl Fleet {
    pub fn item(&self, worker: &WorkerId) -> Option<&WorkerItem> {
        self.items.get(worker)
    }

    pub fn is_dead(&self, worker: &WorkerId) -> bool {
        self.dead.contains(worker)
    }

    /// What the living say of themselves, where that can be read.
    pub fn alive(&self) -> impl Iterator<Item = &Heartbeat> {
        let alive = self.items.values().filter(|item| !self.is_dead(&item.worker));
        alive.filter_map(|item| item.heartbeat.as_ref())
    }

    /// Every worker with its latest beat, where that can be read.
    pub fn beats(&self) -> BTreeMap<WorkerId, Option<At>> {
        let beat = |item: &WorkerItem| item.heartbeat.as_ref().map(|heartbeat| heartbeat.heartbeat_at);
        self.items.iter().map(|(worker, item)| (worker.clone(), beat(item))).collect()
    }

    /// When the latest message was sent that living workers received from this lane of this pool.
    pub fn received_until(&self, pool: &str, lane: Lane) -> Option<At> {
        let beats = self.alive().filter(|beat| beat.pool == pool);
        beats.filter_map(|beat| beat.received_until.get(&lane).copied()).max()
    }
}

impl Pass<'_> {
    /// Looks at every worker, and takes from the dead ones what they had. `None` when the workers cannot be
    /// read: then nothing may be concluded from a worker's absence.
    pub async fn look_at_workers(&mut self, memory: &mut SweepMemory) -> Option<Fleet> {
        let now = self.clock.now();
        let items = match self.aws.workers.all().await {
            Ok(items) => items,
            Err(error) => {
                self.failed("the workers cannot be read", &error);
                return None;
            }
        };
        let mut fleet = Fleet { items, dead: BTreeSet::new() };
        for (worker, item) in &fleet.items {
            if memory.observations.observe(worker, &item.beat, now, self.deployment.lease) {
                fleet.dead.insert(worker.clone());
            } else if !item.beat.is_empty() {
                self.report.workers_alive += 1;
            }
        }
        self.note_pools(&fleet);
        self.bury_dead(&mut fleet).await;
        memory.observations.retain(|worker| fleet.items.contains_key(worker));
        Some(fleet)
    }

    /// Takes from these workers what they had, whatever their heartbeats say.
    pub async fn declare_dead(&mut self, is_dead: impl Fn(&WorkerItem) -> bool) {
        match self.aws.workers.all().await {
            Ok(items) => {
                let (dead, alive): (Vec<_>, Vec<_>) = items.values().partition(|item| is_dead(item));
                self.report.workers_alive = alive.len();
                let dead = dead.into_iter().map(|item| item.worker.clone()).collect();
                self.bury_dead(&mut Fleet { items, dead }).await;
            }
            Err(error) => self.failed("the workers cannot be read", &error),
        }
    }

    async fn bury_dead(&mut self, fleet: &mut Fleet) {
        self.report.workers_dead += fleet.dead.len();
        for worker in fleet.dead.clone() {
            warn!(worker.id = %worker, "worker is dead");
            if self.bury(&worker).await {
                fleet.items.remove(&worker);
                fleet.dead.remove(&worker);
            }
        }
    }
}
