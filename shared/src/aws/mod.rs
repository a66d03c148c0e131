//! How the types and decisions reach AWS. The only place with DynamoDB expressions and SDK calls.

mod client;
mod control;
mod deployment;
mod error;
mod expressions;
mod queue;
mod stages;
mod tasks;

pub use client::{Aws, sdk_config};
pub use control::{Heartbeat, RegistryPage, WorkersTable};
pub use deployment::{Deployment, DeploymentError};
pub use error::{AwsError, Retry};
pub use queue::{BATCH_ITEMS, ReceivedCommand, SentBatch, WorkQueues};
pub use stages::StagesTable;
pub use tasks::{Claimed, Leavings, TasksTable, Write};
