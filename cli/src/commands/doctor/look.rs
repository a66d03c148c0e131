//! The calls of `stageline doctor`: some small reads, and nothing that grows with the table.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::join_all;
use futures::join;
use stageline::aws::{Aws, AwsError, Depth, WorkerItem};
use stageline::protocol::due::{DUE_PARTITIONS, due_partition};
use stageline::protocol::pools::Pool;
use stageline::task::{Lane, Status, Task, TaskId, WorkerId};
use stageline::{At, Clock};

use crate::connection::Connection;

/// How long after its time a waiting task is late: the sweeper sends it before that, and once a minute.
const LATE_MILLIS: i64 = 180_000;
/// Late tasks that are counted in each partition.
const LATE_COUNTED: u32 = 100;

/// What a look brought. Nothing in it has been judged.
#[derive(Debug)]
pub(super) struct Seen {
    /// When, by this machine's clock.
    pub now: At,
    /// Whether the table of tasks answers.
    pub tasks: Result<(), AwsError>,
    /// Whether the table of stages answers.
    pub stages: Result<(), AwsError>,
    /// The workers, which are in the control table.
    pub workers: Result<BTreeMap<WorkerId, WorkerItem>, AwsError>,
    /// The workers that were seen to beat: two looks at them found two beats.
    pub beaten: BTreeSet<WorkerId>,
    /// Waiting tasks whose time has come some while ago, as far as they were counted.
    pub late: Result<Option<usize>, AwsError>,
    /// The queues of each pool.
    pub pools: Vec<PoolSeen>,
}

/// The queues of one pool.
#[derive(Debug)]
pub(super) struct PoolSeen {
    /// The pool.
    pub name: String,
    /// What is on each lane's queue.
    pub lanes: Vec<(Lane, Result<Depth, AwsError>)>,
    /// What is on the dead-letter queue, if there is one.
    pub dead: Option<Result<Depth, AwsError>>,
}

impl PoolSeen {
    /// What is on all lanes that could be read.
    pub fn depth(&self) -> Depth {
        let read = self.lanes.iter().filter_map(|(_, depth)| depth.as_ref().ok());
        read.fold(Depth::default(), |sum, depth| Depth {
            visible: sum.visible + depth.visible,
            in_flight: sum.in_flight + depth.in_flight,
            delayed: sum.delayed + depth.delayed,
        })
    }
}

/// Looks at everything at once: an endpoint that does not answer is waited for once.
pub(super) async fn look(system: &Connection, beaten: BTreeSet<WorkerId>) -> Seen {
    let aws = &system.aws;
    let now = Clock::system().now();
    let pools = join_all(system.deployment.pools.iter().map(|pool| pool_seen(aws, pool)));
    let (tasks, stages, workers, late, pools) =
        join!(tasks(aws), stages(aws), aws.workers.all(), late(aws, now), pools);
    Seen { now, tasks, stages, workers, beaten, late, pools }
}

async fn tasks(aws: &Aws) -> Result<(), AwsError> {
    match nobody() {
        Some(id) => aws.tasks.get(&id).await.map(drop),
        None => Ok(()),
    }
}

async fn stages(aws: &Aws) -> Result<(), AwsError> {
    match nobody() {
        Some(id) => aws.stages.of(&id).await.map(drop),
        None => Ok(()),
    }
}

/// An id that no task has: only that the table answers counts.
fn nobody() -> Option<TaskId> {
    "stageline-doctor".parse().ok()
}

async fn pool_seen(aws: &Aws, pool: &Pool) -> PoolSeen {
    let depth = |lane| async move { (lane, aws.queues.depth(pool.queues.url(lane)).await) };
    let dead = async {
        match &pool.queues.dead {
            Some(url) => Some(aws.queues.depth(url).await),
            None => None,
        }
    };
    let (lanes, dead) = join!(join_all([Lane::High, Lane::Normal, Lane::Low].map(depth)), dead);
    PoolSeen { name: pool.name.clone(), lanes, dead }
}

/// `None` where the table has no index of waiting tasks.
async fn late(aws: &Aws, now: At) -> Result<Option<usize>, AwsError> {
    let until = At::from_millis(now.millis() - LATE_MILLIS);
    let mut late = 0;
    for number in 0..DUE_PARTITIONS {
        let Some(ids) = aws.tasks.due(&due_partition(number), until, LATE_COUNTED).await? else {
            return Ok(None);
        };
        // The index may be behind its table, and an entry says nothing of the state.
        late += aws.tasks.read(&ids).await?.values().filter(|task| is_late(task, until)).count();
    }
    Ok(Some(late))
}

fn is_late(task: &Task, until: At) -> bool {
    let waits = matches!(task.status, Status::Scheduled | Status::Retrying | Status::Pending);
    waits && task.due_key.is_some() && task.not_before.is_some_and(|due| due < until)
}
