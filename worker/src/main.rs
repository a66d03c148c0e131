//! The binary of the worker: configuration from the environment, until SIGTERM.

use std::process::ExitCode;

/// Threads that wait for disks: folders made and files hashed for attempts that begin or end at the same moment.
/// Each keeps some memory for seconds, and no disk serves more at a time.
const MOST_WAITING_THREADS: usize = 64;

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(MOST_WAITING_THREADS)
        .build();
    let ended = match runtime {
        Ok(runtime) => runtime.block_on(stageline_worker::serve()).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the worker cannot run");
            ExitCode::FAILURE
        }
    }
}
