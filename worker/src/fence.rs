//! A worker that cannot renew its lease stops by itself, before others take its tasks.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use crate::running::Running;

/// Fences the worker whenever `alive` (when the last beat that was written was begun) is older than
/// `silence`, until it beats again. Ends with the sender.
///
/// On its own beside the heartbeat: that one may be waiting for an answer that does not come.
pub(crate) async fn keep_fence(
    running: Arc<Running>,
    mut alive: watch::Receiver<Instant>,
    silence: Duration,
) {
    loop {
        let deadline = *alive.borrow_and_update() + silence;
        tokio::select! {
            changed = alive.changed() => if changed.is_err() { return },
            () = sleep_until(deadline) => {
                warn!(?silence, "no heartbeat could be written; everything that runs is stopped");
                running.fence();
                if alive.changed().await.is_err() {
                    return;
                }
                info!("the heartbeat is written again");
                running.lift_fence();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn settle() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    #[tokio::test]
    async fn silence_fences_and_a_beat_lifts_the_fence() {
        let running = Arc::new(Running::default());
        let fenced = running.fenced();
        let (alive, seen) = watch::channel(Instant::now());
        let fence = tokio::spawn(keep_fence(Arc::clone(&running), seen, Duration::from_millis(300)));
        settle().await;
        assert!(!*fenced.borrow());
        // A beat that was begun too long ago is no sign of life, though its answer came only now.
        alive.send_replace(Instant::now() - Duration::from_millis(300));
        settle().await;
        assert!(*fenced.borrow());
        alive.send_replace(Instant::now());
        settle().await;
        assert!(!*fenced.borrow());
        drop(alive);
        fence.await.unwrap();
    }
}
