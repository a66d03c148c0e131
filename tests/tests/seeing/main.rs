//! What there is to see of a running system: metrics, health and traces.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod collector;
mod health;
mod http;
mod lambdas;
mod outcomes;
mod traces;
mod worker;
