//! The library every Stageline binary links: what a Task record is, what the protocol decides about it,
//! and how both reach AWS.
//!
//! Dependencies point one way: [`task`] (types) ← [`protocol`] (pure decisions, the clock is an argument)
//! ← [`aws`] (tables, queues, the only DynamoDB expressions). Nothing here starts a process or a server.

pub mod aws;
pub mod clock;
pub mod code;
mod hash;
pub mod logging;
pub mod metrics;
pub mod protocol;
pub mod task;
pub mod trace;

pub use clock::{At, Clock};
pub use code::{Code, Rejection};
