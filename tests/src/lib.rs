//! What the end-to-end and conformance tests share: a backend, a whole system with workers, and waiting
//! on conditions.

pub mod backend;
pub mod chaos;
pub mod faults;
pub mod parts;
pub mod process;
pub mod recorder;
pub mod s3;
pub mod sweeping;
pub mod system;
