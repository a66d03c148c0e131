//! A listener's task and how it ends.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long running requests may take to finish when a server stops.
const DRAIN: Duration = Duration::from_secs(5);

/// A serving task. Dropped, it closes its listener and its idle connections without waiting.
#[derive(Debug)]
pub(crate) struct Server {
    name: &'static str,
    stop: CancellationToken,
    task: JoinHandle<Result<(), String>>,
}

impl Server {
    /// Runs what `serve` returns; it ends soon after the token that it is given is cancelled.
    pub fn spawn<F>(name: &'static str, serve: impl FnOnce(CancellationToken) -> F) -> Self
    where
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        let stop = CancellationToken::new();
        let task = tokio::spawn(serve(stop.clone()));
        Self { name, stop, task }
    }

    /// Lets running requests finish, within bounds.
    pub async fn stop(mut self) {
        self.stop.cancel();
        match tokio::time::timeout(DRAIN, &mut self.task).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(reason))) => tracing::warn!(server = self.name, reason, "ended with an error"),
            Ok(Err(error)) => tracing::warn!(server = self.name, %error, "task failed"),
            Err(_) => tracing::warn!(server = self.name, "requests were still running and are dropped"),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The token reaches the connections, which run in tasks of their own; the abort frees the port.
        self.stop.cancel();
        self.task.abort();
    }
}
