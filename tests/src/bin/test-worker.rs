//! The worker's binary as this package's own, so that cargo builds it before the tests that start it.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    match stageline_worker::serve().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the worker cannot run");
            ExitCode::FAILURE
        }
    }
}
