//! A small SQS: the calls that Stageline uses, over AWS's JSON protocol, in memory.
//!
//! In memory is sound because SQS is only a hint here: with every queue lost, each task still runs. The
//! rules are those of AWS's standard queues; FIFO queues, permissions and encryption are not there.
//!
//! Pure inside ([`queue`], [`broker`]: each decision from the `now` it is given), effects at the edge
//! ([`endpoint`]).

pub mod broker;
pub mod clock;
pub mod digest;
pub mod endpoint;
pub mod error;
pub mod message;
pub mod queue;
pub mod settings;

mod batch;
mod calls;
mod receive;
mod wire;

pub use clock::{Clock, Millis, SystemClock};
pub use endpoint::{Sqs, TARGET_PREFIX};
pub use error::SqsError;
pub use settings::REGION;
