//! Embedded AWS for one machine: DynamoDB with its streams (dynoxide), a small SQS, and a stream pump that
//! follows the rules of a Lambda event source mapping. No Docker, Python or Java, and nothing but loopback.
//!
//! [`LocalAws::start`] gives one endpoint for the official SDKs and the AWS CLI. Everything that runs
//! against it is the same code that runs against AWS, with another `AWS_ENDPOINT_URL`.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod error;
pub mod process;
pub mod pump;
pub mod schema;
pub mod sqs;
pub mod stack;
pub mod system;

mod data_dir;
mod front;
mod restart;
mod server;

pub use error::LocalError;
pub use restart::Recovered;
pub use schema::{Names, QueueUrls};
pub use stack::{LocalAws, LocalOptions, sdk_config};
pub use system::{System, SystemOptions};
