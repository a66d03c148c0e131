//! The stream Lambda: a batch of changed Task records in, commands on SQS out.
//!
//! Order of operations, which decides what a crash costs: send first, then mark QUEUED. A crash between
//! the two sends twice, and the claim drops the second; the other order would lose a task. A record that
//! cannot be run is marked FAILED with the reason and never fails the batch. What could not be sent is
//! reported by its lowest sequence number, from which the mapping sends again.

mod batch;
mod handler;
mod measured;
mod record;
mod tally;

pub use handler::Dispatcher;
pub use tally::Tally;

use lambda_runtime::{Error, LambdaEvent, service_fn};
use stageline::aws::{Aws, Deployment, sdk_config_of_function};
use stageline::metrics::emf;
use stageline::trace::Tracer;
use stageline::{Clock, logging};

/// Serves the Lambda runtime until it stops this process.
///
/// # Errors
/// When the environment does not name a deployment, or the runtime cannot be reached.
pub async fn serve() -> Result<(), Error> {
    logging::init(logging::LogFormat::Json, "info");
    let lookup = |name: &str| std::env::var(name).ok();
    let deployment = Deployment::from_env(lookup)?;
    let tracer = Tracer::from_env("stageline-dispatcher", lookup);
    let output = emf::Output::from_env(lookup);
    let aws = Aws::new(&sdk_config_of_function().await, &deployment);
    let dispatcher = Dispatcher::new(aws, deployment, Clock::system()).traced(tracer);
    lambda_runtime::run(service_fn(|event: LambdaEvent<_>| {
        let dispatcher = &dispatcher;
        async move {
            let (response, lines) = dispatcher.handle_measured(event.payload).await;
            output.print(&lines);
            Ok::<_, Error>(response)
        }
    }))
    .await
}
