//! Counts what is asked of AWS: a loopback address in front of the endpoint, one for each role, so that
//! workers, functions and peers in any language are counted the same way. Each try of the SDK is a request, as
//! AWS bills it.

mod capacity;
mod proxy;
mod tally;

pub use proxy::Meter;
pub use tally::{Count, Tally};
