//! Deletes messages in batches of ten: an acknowledgement that is lost or late costs one duplicate, which
//! its claim drops.

use std::collections::HashMap;
use std::time::Duration;

use stageline::aws::{BATCH_ITEMS, WorkQueues};
use stageline::metrics::Number;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};
use tracing::warn;

/// How long the first handle of a batch waits for others. Far below the visibility timeout.
const LONGEST_WAIT: Duration = Duration::from_millis(500);

/// A message on its queue.
#[derive(Clone, Debug)]
pub(crate) struct Handle {
    pub queue_url: String,
    pub receipt_handle: String,
}

/// Where handles go to be deleted. There are no more of them than messages in hand.
#[derive(Clone)]
pub(crate) struct Acknowledger(mpsc::UnboundedSender<Handle>);

impl Acknowledger {
    /// The sender, and the task that deletes until the last sender is gone.
    /// `deleted` counts.
    pub fn start(queues: WorkQueues, deleted: Number) -> (Self, tokio::task::JoinHandle<()>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self(sender), tokio::spawn(delete_all(queues, deleted, receiver)))
    }

    /// Hands a message over to be deleted. Waits for nobody: who calls has a lease to keep.
    pub fn delete(&self, handle: Handle) {
        // The receiver lives as long as any sender.
        let _gone = self.0.send(handle);
    }
}

async fn delete_all(queues: WorkQueues, deleted: Number, mut receiver: mpsc::UnboundedReceiver<Handle>) {
    let mut waiting: HashMap<String, Vec<String>> = HashMap::new();
    while let Some(first) = receiver.recv().await {
        let deadline = Instant::now() + LONGEST_WAIT;
        let mut next = Some(first);
        while let Some(handle) = next.take() {
            let batch = waiting.entry(handle.queue_url.clone()).or_default();
            batch.push(handle.receipt_handle);
            if batch.len() == BATCH_ITEMS {
                let full = std::mem::take(batch);
                flush(&queues, &deleted, &handle.queue_url, &full).await;
            }
            // Also when there is always another one: those of a quiet queue wait for this batch's end.
            if Instant::now() < deadline {
                next = timeout_at(deadline, receiver.recv()).await.ok().flatten();
            }
        }
        for (queue_url, batch) in waiting.drain() {
            if !batch.is_empty() {
                flush(&queues, &deleted, &queue_url, &batch).await;
            }
        }
    }
}

async fn flush(queues: &WorkQueues, deleted: &Number, queue_url: &str, handles: &[String]) {
    match queues.delete(queue_url, handles).await {
        Ok(()) => deleted.add(handles.len() as f64),
        Err(error) => {
            warn!(%error, messages = handles.len(), "messages not deleted; their claims will drop them");
        }
    }
}
