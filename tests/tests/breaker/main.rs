//! What a worker does about itself: engines that do not work on it, and its operator's hooks.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod engines;
mod hooks;
mod receiver;
