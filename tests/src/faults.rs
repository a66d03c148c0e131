//! Faults for tests, seeded and replayable: in the SDK's HTTP client ([`http`]), in front of the
//! dispatcher ([`stream`]), and between a worker's process and its endpoint ([`proxy`]).
//!
//! A fault is a function of the plan's seed, the operation and the number of the call, so what failed
//! with a seed fails with it again. Called by tests only.

pub mod call;
pub mod control;
pub mod http;
pub mod plan;
pub mod proxy;
pub mod stream;
pub mod trigger;

mod refusal;
mod seed;

pub use control::{Control, Counts, Decision};
pub use http::FaultyHttp;
pub use plan::{Fault, Plan};
pub use proxy::Proxy;
pub use stream::{FaultyFunction, StreamCounts, StreamPlan};
pub use trigger::{Moment, Trigger};
