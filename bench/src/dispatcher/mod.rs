//! The stream Lambda: its start, its size, and what a record costs in its handler.

mod handler;
mod replay;
mod size;
mod start;

pub use size::zip_mb;
pub use start::{Start, starts};

use crate::report::Section;
use crate::scope::Scope;

/// Measures it.
pub async fn measure(scope: &Scope) -> Section {
    let mut section = Section::new("Dispatcher")
        .how("The start is the time from `exec` of the release binary to its first `/next` at a Runtime API on \
              127.0.0.1; the bare harness is a `lambda_runtime` that echoes, the Python peer imports boto3 and \
              makes the same two clients; the three take turns.")
        .how("The handler works on a batch of 100 that the stream pump recorded, with an HTTP client that \
              answers at once; what the SDK takes for the very same calls, built beforehand, is measured the \
              same way and subtracted.")
        .how("The zip is that of this machine's architecture.");
    section.take("start", start::measure(scope).await);
    section.take("handler", handler::measure(scope).await);
    section.take("zip", size::measure().await);
    section
}
