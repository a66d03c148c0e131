//! The worker: takes commands from a pool's queues, claims their tasks, runs their engines and writes
//! progress and outcome.
//!
//! Who calls what: [`Worker::run`] starts the poller, which spawns one `attempt` a message, each with a
//! slot. An attempt takes its task (`take`, and `rescue` when a dead worker has it), runs its engine
//! ([`engines`], [`child`]) as its `control` says, and ends. Beside them the heartbeat keeps the worker's
//! lease, lists what it runs and brings signals, upon which `review` looks at records and gives orders; the
//! fence stops everything when the lease cannot be kept; `notices` hear of the end of the machine; `protection` keeps it from being
//! scaled in; the acknowledger deletes messages in batches.

mod acknowledge;
mod attempt;
mod breaker;
pub mod child;
pub mod config;
mod context;
mod control;
mod endpoint;
pub mod engines;
mod fence;
mod fleet;
mod former;
mod gpus;
mod guard;
mod heartbeat;
mod hooks;
mod meters;
mod notices;
mod observed;
mod old_jobs;
mod poller;
pub mod progress;
mod protection;
mod received;
mod registry;
mod rescue;
mod review;
mod running;
mod service;
mod store;
mod take;
mod trouble;
mod worker;

pub use config::{Config, ConfigError};
pub use meters::ProgressMeter;
pub use service::serve;
pub use store::{ArtifactError, Artifacts, Log, read_reference};
pub use worker::{Worker, WorkerError};
