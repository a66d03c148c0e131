//! The inputs that are fetched once the job folder is there, with what becomes of the task when one is not what
//! it should be.

use std::path::Path;
use std::time::Duration;

use stageline::Code;
use stageline::protocol::outcome::{Failure, Outcome};
use stageline::task::ErrorKind;
use stageline::trace;
use tracing::{info, warn};

use super::upload::Stored;
use super::{Address, Store, StoreError, fetch};
use crate::attempt::Abandoned;
use crate::context::Context;
use crate::control::{Order, Orders};
use crate::engines::{Content, Fetched, Placed, Source};

/// Tries of one input; the client has some of its own in each.
pub(super) const TRIES: u32 = 3;
pub(super) const PAUSE: Duration = Duration::from_secs(2);

/// Fetches what `files` wants fetched into `job_dir`. `Some` is why the attempt is over already.
///
/// # Errors
/// When it was abandoned.
pub(crate) async fn fetch_inputs(
    files: &[Placed],
    job_dir: &Path,
    context: &Context,
    orders: &mut Orders,
) -> Result<Option<Outcome>, Abandoned> {
    let fetching = async {
        for Placed { to, content } in files {
            if let Content::Fetched(fetched) = content {
                one(fetched, &job_dir.join(to), context).await?;
            }
        }
        Ok::<(), Failure>(())
    };
    Ok(match trace::step("inputs", unless_ended(fetching, context, orders)).await? {
        Ok(fetched) => fetched.err().map(Outcome::Failed),
        Err(instead) => Some(instead),
    })
}

/// Does what comes before the processes, unless the attempt is to end meanwhile: then what that makes of it.
///
/// # Errors
/// When it was abandoned.
pub(crate) async fn unless_ended<T>(
    work: impl Future<Output = T>,
    context: &Context,
    orders: &mut Orders,
) -> Result<Result<T, Outcome>, Abandoned> {
    tokio::pin!(work);
    loop {
        match orders.latest() {
            Order::Go | Order::Pause => {}
            Order::Cancel => return Ok(Err(Outcome::Cancelled)),
            Order::Interrupt => return Ok(Err(Outcome::Interrupted)),
            Order::Abandon(why) => return Err(Abandoned(why)),
        }
        tokio::select! {
            done = &mut work => return Ok(Ok(done)),
            () = context.stop.cancelled() => return Ok(Err(Outcome::Interrupted)),
            () = orders.changed() => {}
        }
    }
}

async fn one(fetched: &Fetched, to: &Path, context: &Context) -> Result<(), Failure> {
    let most = context.config.input_limit_bytes;
    let mut tries = 0;
    let stored = loop {
        tries += 1;
        match bytes(&fetched.source, to, most, context).await {
            Ok(stored) => break stored,
            Err(error) if !passes(&error) || tries == TRIES => return Err(failure(&fetched.named, &error)),
            Err(error) => {
                warn!(%error, input = fetched.named, "not fetched, trying again");
                // What came of it is not continued.
                let _nothing_came = std::fs::remove_file(to);
                tokio::time::sleep(PAUSE).await;
            }
        }
    };
    info!(input = fetched.named, bytes = stored.bytes, "fetched");
    match &fetched.sha256 {
        Some(wanted) if !wanted.eq_ignore_ascii_case(&stored.sha256) => {
            let message = format!(
                "`inputs` {:?} has the SHA-256 {}, and the record says {wanted}; correct the record, or find out who \
                 changed the file",
                fetched.named, stored.sha256
            );
            Err(Failure::fatal(Code::InputHashMismatch, message))
        }
        _ => Ok(()),
    }
}

async fn bytes(source: &Source, to: &Path, most: u64, context: &Context) -> Result<Stored, StoreError> {
    match source {
        Source::File(from) => {
            let (from, to) = (from.clone(), to.to_path_buf());
            let copied = tokio::task::spawn_blocking(move || fetch::copy(&from, &to, most));
            copied.await.map_err(std::io::Error::other)?
        }
        Source::Object { bucket, key } => {
            let whole = Address::S3 { bucket: bucket.clone(), key: String::new() };
            let store = Store::open(&whole, &context.aws.sdk)?;
            store.fetch(&store.key(key)?, to.to_path_buf(), most).await
        }
    }
}

/// Whether the same may succeed a moment later.
pub(super) fn passes(error: &StoreError) -> bool {
    use object_store::Error;
    match error {
        StoreError::Local(_) | StoreError::TooLarge(_) | StoreError::Name(_) => false,
        StoreError::Remote(
            Error::NotFound { .. } | Error::PermissionDenied { .. } | Error::Unauthenticated { .. },
        ) => false,
        StoreError::Remote(_) | StoreError::Silent(_) => true,
    }
}

fn failure(named: &str, error: &StoreError) -> Failure {
    match error {
        StoreError::TooLarge(most) => {
            let message = format!(
                "`inputs` {named:?} is larger than the {most} bytes that this worker takes (`input_limit_bytes`)"
            );
            Failure::fatal(Code::InputTooLarge, message)
        }
        error if error.is_absence() => {
            Failure::fatal(Code::InputMissing, format!("`inputs` {named:?} is not there: {error}"))
        }
        StoreError::Name(_) => Failure::fatal(Code::InputMissing, format!("`inputs` {named:?}: {error}")),
        error => Failure {
            kind: ErrorKind::Retryable,
            ..Failure::fatal(Code::InputNotFetched, format!("`inputs` {named:?} was not fetched: {error}"))
        },
    }
}
