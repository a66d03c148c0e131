//! The pools as one call sees them: for the metrics, and in its answer.

use futures::{StreamExt, stream};
use serde::Serialize;
use stageline::task::Lane;
use tracing::error;

use crate::fleet::Fleet;
use crate::pass::{CALLS_AT_ONCE, Pass};

/// A pool as one call sees it; what could not be read is left out, since it is not 0.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PoolView {
    /// Its workers.
    #[serde(flatten)]
    pub workers: Option<WorkersView>,
    /// Its queues.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queues: Option<QueuesView>,
}

/// The living workers of a pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkersView {
    /// How many there are.
    pub workers_alive: u64,
    /// Slots of those that do not drain.
    pub slots_total: u64,
    /// Tasks that they had in hand at their last heartbeats.
    pub slots_busy: u64,
    /// Engines that do not work on them.
    pub breakers_open: u64,
}

/// The messages of a pool's lanes together, as SQS counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct QueuesView {
    /// That wait for a worker.
    pub visible: u64,
    /// That were received and not deleted yet.
    pub in_flight: u64,
    /// That wait for their time.
    pub delayed: u64,
}

impl Pass<'_> {
    /// Takes note of what the living workers say of themselves, for the pools of the deployment alone: anybody
    /// may write a name into a heartbeat.
    pub fn note_pools(&mut self, fleet: &Fleet) {
        for pool in self.deployment.pools.iter() {
            let mut view = WorkersView::default();
            for beat in fleet.alive().filter(|beat| beat.pool == pool.name) {
                view.workers_alive += 1;
                view.slots_total += if beat.draining { 0 } else { u64::from(beat.slots) };
                view.slots_busy += u64::from(beat.running);
                view.breakers_open += beat.broken.len() as u64;
            }
            self.report.pools.entry(pool.name.clone()).or_default().workers = Some(view);
        }
    }

    /// Looks at the queues of every pool: a call a lane.
    pub async fn look_at_queues(&mut self) {
        let (aws, deployment) = (self.aws, self.deployment);
        let views: Vec<_> = stream::iter(deployment.pools.iter())
            .map(|pool| async move {
                let mut view = QueuesView::default();
                for lane in Lane::ALL {
                    let depth = aws.queues.depth(pool.queues.url(lane)).await?;
                    view.visible += depth.visible;
                    view.in_flight += depth.in_flight;
                    view.delayed += depth.delayed;
                }
                Ok::<_, stageline::aws::AwsError>((pool.name.clone(), view))
            })
            .buffer_unordered(CALLS_AT_ONCE)
            .collect()
            .await;
        for view in views {
            match view {
                Ok((name, view)) => self.report.pools.entry(name).or_default().queues = Some(view),
                Err(error) => {
                    self.report.errors += 1;
                    error!(%error, "the depth of a pool's queues cannot be read");
                }
            }
        }
    }
}
