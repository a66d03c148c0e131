//! What every attempt of a worker needs.

use std::sync::Arc;

use stageline::Clock;
use stageline::aws::Aws;
use stageline::task::WorkerId;
use tokio_util::sync::CancellationToken;

use crate::Config;
use crate::child::Custody;
use crate::engines::Engines;
use crate::running::Running;

/// One worker's parts, as an attempt sees them.
pub(crate) struct Context {
    pub id: WorkerId,
    pub config: Config,
    pub aws: Aws,
    pub clock: Clock,
    pub engines: Engines,
    pub custody: Arc<Custody>,
    pub running: Arc<Running>,
    /// Running tasks have had their time: stop them.
    pub stop: CancellationToken,
}
