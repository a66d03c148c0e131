//! The worker: takes commands from a pool's queues, claims their tasks, runs their engines and writes
//! progress and outcome.
//!
//! Who calls what: [`Worker::run`] starts the poller, which spawns one `attempt` a message, each with a
//! slot. An attempt claims, runs its engine ([`engines`], [`child`]), and ends. Beside them the heartbeat
//! keeps the worker's lease and lists what it runs, and the acknowledger deletes messages in batches.

mod acknowledge;
mod attempt;
pub mod child;
pub mod config;
mod context;
pub mod engines;
mod heartbeat;
mod poller;
pub mod progress;
mod running;
mod service;
mod worker;

pub use config::{Config, ConfigError};
pub use service::serve;
pub use worker::{Worker, WorkerError};
