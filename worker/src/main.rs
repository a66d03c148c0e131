//! The binary of the worker: configuration from the environment, until SIGTERM.

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
