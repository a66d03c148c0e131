//! The worker as a process of its own: configuration, signals, logs.

use nix::sys::resource::{Resource, setrlimit};
use stageline::aws::{Aws, Deployment, sdk_config};
use stageline::trace::Tracer;
use stageline::{Clock, logging};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::child::Custody;
use crate::{Config, Worker, WorkerError};

/// Runs a worker until SIGTERM or SIGINT; the second one stops running tasks at once.
///
/// # Errors
/// When the configuration or the environment cannot be used, or the first heartbeat cannot be written; when it took
/// nothing for long although tasks wait.
pub async fn serve() -> Result<(), WorkerError> {
    logging::init(logging::LogFormat::Json, "info");
    let config = Config::load()?;
    let deployment = Deployment::from_env(|name| std::env::var(name).ok())?;
    let aws = Aws::new(&sdk_config().await, &deployment);
    leave_no_core_files();
    let tracer = Tracer::from_env("stageline-worker", |name| std::env::var(name).ok());
    let worker = Worker::new(config, aws, &deployment, Clock::system(), Custody::of_whole_process()?)?;
    let worker = worker.traced(tracer);
    let (drain, stop) = (CancellationToken::new(), CancellationToken::new());
    tokio::spawn(obey_signals(drain.clone(), stop.clone()));
    worker.run(drain, stop).await
}

/// A core file of a simulation is as large as its memory, and its job folder is kept. Children inherit this.
fn leave_no_core_files() {
    if let Err(error) = setrlimit(Resource::RLIMIT_CORE, 0, 0) {
        warn!(%error, "programs that crash may leave core files");
    }
}

async fn obey_signals(drain: CancellationToken, stop: CancellationToken) {
    let (Ok(mut term), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        warn!("signals cannot be caught; the worker ends without draining");
        return;
    };
    for token in [drain, stop] {
        tokio::select! {
            _ = term.recv() => {}
            _ = interrupt.recv() => {}
        }
        info!("asked to stop");
        token.cancel();
    }
}
