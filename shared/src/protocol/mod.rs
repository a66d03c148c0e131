//! What the protocol decides, without I/O: every function takes what is known and the present moment,
//! and says what to do.

pub mod claim;
pub mod command;
pub mod dead_letter;
pub mod dispatch;
pub mod due;
pub mod lease;
pub mod outcome;
pub mod pace;
pub mod pools;
pub mod repair;
pub mod retry;
pub mod review;
