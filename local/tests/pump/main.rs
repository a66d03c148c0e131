//! The stream pump with a real stream behind it, and with one that fails.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod function;
mod mapping;
mod recovery;
