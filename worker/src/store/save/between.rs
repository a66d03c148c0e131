//! Saves checkpoints of a process that is not running: nobody writes then.

use std::time::Duration;

use tracing::{info, warn};

use super::{AT_THE_END, Checkpoint, Context, Look, Named, PathBuf, Saving, Task};

/// While a process waits to go on. What is not stored by then is left out: the machine has the files still.
const WHILE_IT_WAITS: Duration = Duration::from_secs(300);

/// Saves when it is told to.
pub(crate) struct Between(Saving);

impl Between {
    /// Begins; `None` where checkpoints are not stored.
    pub fn begin(
        checkpoint: Checkpoint,
        named: Named,
        task: &Task,
        job_dir: PathBuf,
        context: &Context,
    ) -> Option<Self> {
        Saving::begin(checkpoint, named, task, job_dir, context).map(Self)
    }

    /// Saves what is there; whether that went well.
    pub async fn save(&mut self) -> bool {
        self.save_within(WHILE_IT_WAITS).await
    }

    /// Saves once more, if something has changed: the attempt ends.
    pub async fn end(mut self) {
        self.save_within(AT_THE_END).await;
    }

    async fn save_within(&mut self, limit: Duration) -> bool {
        match tokio::time::timeout(limit, self.0.look(Duration::ZERO)).await {
            Ok(Ok(Look::Saved)) => return true,
            Ok(Ok(Look::Nothing)) => info!("no new checkpoint to store"),
            Ok(Ok(look @ (Look::Busy | Look::InVain))) => warn!(?look, "checkpoint not stored"),
            Ok(Err(error)) => warn!(%error, "checkpoint not stored"),
            Err(_elapsed) => warn!(?limit, "checkpoint not stored in time"),
        }
        false
    }
}
