//! What every attempt of a worker needs.

use std::sync::{Arc, Mutex};

use stageline::Clock;
use stageline::aws::Aws;
use stageline::protocol::lease::{Lease, Observations};
use stageline::task::WorkerId;
use stageline::trace::Tracer;
use tokio_util::sync::CancellationToken;

use crate::Config;
use crate::child::{Confiner, Custody};
use crate::endpoint::Polls;
use crate::engines::Engines;
use crate::fleet::Fleet;
use crate::gpus::Gpus;
use crate::guard::Breakers;
use crate::hooks::Hooks;
use crate::meters::Meters;
use crate::notices::Notices;
use crate::received::Received;
use crate::review::ReviewRequests;
use crate::running::Running;
use crate::store::Store;

/// One worker's parts, as an attempt sees them.
pub(crate) struct Context {
    pub id: WorkerId,
    pub config: Config,
    pub aws: Aws,
    /// Where what attempts leave is stored; none when it stays here.
    pub artifacts: Option<Store>,
    pub clock: Clock,
    pub engines: Engines,
    pub breakers: Arc<Breakers>,
    pub hooks: Hooks,
    pub fleet: Fleet,
    pub custody: Arc<Custody>,
    /// What processes are confined with.
    pub confiner: Confiner,
    pub gpus: Arc<Gpus>,
    pub notices: Arc<Notices>,
    pub running: Arc<Running>,
    pub received: Arc<Received>,
    pub lease: Lease,
    /// What this worker has seen of others, whose tasks' messages it met.
    pub observations: Mutex<Observations>,
    /// Where a look at a task's record is asked for.
    pub reviews: ReviewRequests,
    pub meters: Arc<Meters>,
    /// Where the spans of attempts go.
    pub tracer: Tracer,
    /// What the polls say of the way to the queues.
    pub polls: Polls,
    /// Running tasks have had their time: stop them.
    pub stop: CancellationToken,
}
