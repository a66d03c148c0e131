//! How the types and decisions reach AWS. The only place with DynamoDB expressions and SDK calls.

mod client;
mod control;
mod deployment;
mod error;
mod expressions;
mod meter;
mod queue;
mod stages;
mod sweep;
mod tasks;

pub use client::{Aws, sdk_config, sdk_config_of_function};
pub use control::{Beaten, Heartbeat, Notice, RegistryPage, WorkerItem, WorkersTable};
pub use deployment::{Deployment, DeploymentError};
pub use error::{AwsError, Retry};
pub use expressions::Signal;
pub use queue::{BATCH_ITEMS, Depth, Outgoing, ReceivedCommand, SentBatch, WorkQueues};
pub use stages::StagesTable;
pub use sweep::{SweepMemory, SweepTable};
pub use tasks::{Claimed, Leavings, READ_ITEMS, Request, ScanPage, TasksTable, Write};
