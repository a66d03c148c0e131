//! The scheduled Lambda: the guarantee behind the stream and the queues. Once a minute, and when an
//! instance stops, it brings back what nobody else will: tasks of dead workers, tasks that are due, tasks
//! that another path missed, and messages that no worker could settle.
//!
//! One call does a bounded amount of work, and where it stopped is in the `control` table. Every write
//! carries the condition of its transition, so that two sweepers at once do no harm. The parts of a call
//! fail alone: what failed is in the log and in the report's `errors`, and the next call tries again.

mod dead_letters;
mod due;
mod event;
mod facts;
mod fleet;
mod limits;
mod measured;
mod pass;
mod pools;
mod report;
mod rescue;
mod scan;
mod sweeper;

pub use event::{InstanceEvent, SweepEvent};
pub use limits::{InvalidLimit, Limits, Pages};
pub use pass::OnPage;
pub use pools::{PoolView, QueuesView, WorkersView};
pub use report::{Impossible, Report};
pub use sweeper::Sweeper;

use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::Value;
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
    let limits = Limits::from_env(lookup)?;
    let output = emf::Output::from_env(lookup);
    let tracer = Tracer::from_env("stageline-sweeper", lookup);
    let aws = Aws::new(&sdk_config_of_function().await, &deployment);
    let sweeper = Sweeper::new(aws, deployment, Clock::system()).traced(tracer);
    lambda_runtime::run(service_fn(|event: LambdaEvent<Value>| {
        let sweeper = &sweeper;
        async move {
            let event = SweepEvent::parse(&event.payload);
            let (report, lines) = Box::pin(sweeper.handle_measured(event, limits)).await;
            output.print(&lines);
            Ok::<_, Error>(report)
        }
    }))
    .await
}
