//! What a restart brings back. The table survives, the queues do not, and neither do the workers of the
//! former process: tasks that wait are sent again, tasks that ran under nobody start over.

use stageline::task::WorkerId;
use stageline_sweeper::Sweeper;
use tracing::warn;

use crate::process::is_running;

/// What was brought back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Tasks whose command was sent again.
    pub sent_again: usize,
    /// Tasks that ran under a worker that is gone.
    pub rescued: usize,
}

/// Goes through the workers and the whole table once. What fails is logged, and left to the next round of
/// the sweeper.
pub(crate) async fn recover(sweeper: &Sweeper) -> Recovered {
    let dead = sweeper.declare_dead(|item| !has_process(&item.worker)).await;
    let pass = sweeper.sweep_all(true).await;
    if dead.errors + pass.errors > 0 {
        warn!(errors = dead.errors + pass.errors, "not everything was brought back; the sweeper goes on");
    }
    Recovered { sent_again: pass.sent_again, rescued: dead.rescued + pass.rescued }
}

/// On one machine the process tells sooner than the heartbeat. The id is `host:process:incarnation`.
fn has_process(worker: &WorkerId) -> bool {
    let process = worker.as_str().split(':').nth(1);
    process.is_none_or(|pid| pid != std::process::id().to_string() && is_running(pid))
}
