//! Brings `params` that are too large for a record: before anything else is made of the task, so that no engine
//! notices where they were.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::fcntl::OFlag;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use stageline::Code;
use stageline::protocol::outcome::{Failure, Outcome};
use stageline::task::{ErrorKind, LARGEST_REFERENCED_BYTES, Reference, Task, TaskId};
use tracing::{info, warn};

use super::inputs::{PAUSE, TRIES, passes, unless_ended};
use super::upload::hexadecimal;
use super::{Address, Store, StoreError, task_part};
use crate::Config;
use crate::attempt::Abandoned;
use crate::context::Context;
use crate::control::Orders;
use crate::engines::{Source, programs};

/// Each value takes 32 bytes of memory or more, however short its text is.
const MOST_VALUES: usize = 2_000_000;

/// The task with the `params` that its record only refers to; `None` when it has them itself.
///
/// # Errors
/// When it was abandoned.
pub(crate) async fn with_params(
    task: &Task,
    context: &Context,
    orders: &mut Orders,
) -> Result<Result<Option<Box<Task>>, Outcome>, Abandoned> {
    let rejected = |rejection: stageline::Rejection| Failure::fatal(rejection.code, rejection.message);
    let reference = match task.validate().and_then(|()| task.params_reference()).map_err(rejected) {
        Ok(None) => return Ok(Ok(None)),
        Ok(Some(reference)) => reference,
        Err(failure) => return Ok(Err(Outcome::Failed(failure))),
    };
    let bringing = bring(&reference, &task.id, context);
    Ok(match unless_ended(bringing, context, orders).await? {
        Ok(Ok(params)) => {
            info!(bytes = reference.size_bytes, "params brought");
            let mut task = Box::new(task.clone());
            task.params = Some(params);
            Ok(Some(task))
        }
        Ok(Err(failure)) => Err(Outcome::Failed(failure)),
        Err(instead) => Err(instead),
    })
}

async fn bring(reference: &Reference, id: &TaskId, context: &Context) -> Result<Map<String, Value>, Failure> {
    if reference.size_bytes > LARGEST_REFERENCED_BYTES {
        return Err(failure(reference, &StoreError::TooLarge(LARGEST_REFERENCED_BYTES)));
    }
    let source = source(reference, id, &context.config)?;
    let mut tries = 0;
    let bytes = loop {
        tries += 1;
        match bytes(&source, context).await {
            Ok(bytes) => break bytes,
            Err(error) if !passes(&error) || tries == TRIES => return Err(failure(reference, &error)),
            Err(error) => {
                warn!(%error, "params not brought, trying again");
                tokio::time::sleep(PAUSE).await;
            }
        }
    };
    let reference = reference.clone();
    let understood = tokio::task::spawn_blocking(move || understood(&bytes, &reference));
    understood.await.map_err(|error| Failure::of_the_worker(format!("`params` cannot be read: {error}")))?
}

/// Where they are, if the worker may read that: what inputs may name, and this task's own part of its store.
fn source(reference: &Reference, id: &TaskId, config: &Config) -> Result<Source, Failure> {
    if let (Ok(Address::File(path)), Ok(Some(Address::File(named)))) =
        (Address::parse(&reference.uri), config.artifacts_address())
        && let Ok(store) = named.canonicalize()
    {
        let own =
            |path: &Path| [&store, &named].iter().any(|base| path.starts_with(base.join(task_part(id))));
        match path.canonicalize() {
            Ok(path) if own(&path) => return Ok(Source::File(path)),
            Err(error) if own(&path) => return Err(failure(reference, &error.into())),
            _ => {}
        }
    }
    programs::address("params", &reference.uri, config)
}

async fn bytes(source: &Source, context: &Context) -> Result<Vec<u8>, StoreError> {
    match source {
        Source::File(path) => read_file(path.clone()).await,
        Source::Object { bucket, key } => {
            let whole = Address::S3 { bucket: bucket.clone(), key: String::new() };
            let store = Store::open(&whole, &context.aws.sdk)?;
            store.read(&store.key(key)?, LARGEST_REFERENCED_BYTES).await
        }
    }
}

/// A regular file of this machine, and no pipe or device that stands in its place.
pub(super) async fn read_file(path: std::path::PathBuf) -> Result<Vec<u8>, StoreError> {
    let read = tokio::task::spawn_blocking(move || {
        let file = open_file(&path)?;
        let mut bytes = Vec::new();
        file.take(LARGEST_REFERENCED_BYTES + 1).read_to_end(&mut bytes)?;
        match bytes.len() as u64 > LARGEST_REFERENCED_BYTES {
            true => Err(StoreError::TooLarge(LARGEST_REFERENCED_BYTES)),
            false => Ok(bytes),
        }
    });
    read.await.map_err(std::io::Error::other)?
}

/// Opens a regular file without waiting for the other end of a pipe.
pub(super) fn open_file(path: &Path) -> std::io::Result<File> {
    let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits();
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, "it is no regular file")),
    }
}

/// The map that the bytes are the JSON of, if they are what the reference says.
fn understood(bytes: &[u8], reference: &Reference) -> Result<Map<String, Value>, Failure> {
    let uri = &reference.uri;
    if let Err(found) = is_meant(bytes, reference) {
        let message = format!(
            "`params` {uri:?} has {} bytes and the SHA-256 {found}, and the record says {} bytes and {}; correct the \
             record, or find out who changed the file",
            bytes.len(),
            reference.size_bytes,
            reference.sha256
        );
        return Err(Failure::fatal(Code::InputHashMismatch, message));
    }
    let values = values(bytes);
    if values > MOST_VALUES {
        let message = format!(
            "`params` {uri:?} has about {values} values, more than {MOST_VALUES}; put them into a file, and name it in \
             `inputs`"
        );
        return Err(Failure::fatal(Code::InputTooLarge, message));
    }
    serde_json::from_slice(bytes).map_err(|error| {
        let message = format!("`params` {uri:?} is not the JSON of a map: {error}");
        Failure::fatal(Code::EngineInputInvalid, message)
    })
}

/// Whether these are the bytes that the reference means; otherwise their hash.
pub(super) fn is_meant(bytes: &[u8], reference: &Reference) -> Result<(), String> {
    let found = hexadecimal(&Sha256::digest(bytes));
    match bytes.len() as u64 == reference.size_bytes && found.eq_ignore_ascii_case(&reference.sha256) {
        true => Ok(()),
        false => Err(found),
    }
}

/// At least as many values as are in a JSON text, known without reading it: each but the first follows one of
/// these characters, which may stand in texts too.
fn values(json: &[u8]) -> usize {
    1 + json.iter().filter(|byte| matches!(byte, b',' | b'[' | b':')).count()
}

fn failure(reference: &Reference, error: &StoreError) -> Failure {
    let named = &reference.uri;
    match error {
        StoreError::TooLarge(most) => {
            let message =
                format!("`params` {named:?} has more than {most} bytes; put large data into a file");
            Failure::fatal(Code::InputTooLarge, message)
        }
        error if error.is_absence() => {
            Failure::fatal(Code::InputMissing, format!("`params` {named:?} is not there: {error}"))
        }
        StoreError::Name(_) => Failure::fatal(Code::InputMissing, format!("`params` {named:?}: {error}")),
        error => Failure {
            kind: ErrorKind::Retryable,
            ..Failure::fatal(Code::InputNotFetched, format!("`params` {named:?} was not brought: {error}"))
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(uri: &str, bytes: &[u8]) -> Reference {
        let sha256 = hexadecimal(&Sha256::digest(bytes));
        Reference { uri: uri.into(), size_bytes: bytes.len() as u64, sha256 }
    }

    #[test]
    fn only_the_tasks_own_part_of_a_store_on_this_machine_is_read() {
        let root = tempfile::tempdir().unwrap();
        let at = root.path().canonicalize().unwrap();
        for folder in ["in", "store/t~1/params", "store/other/params"] {
            std::fs::create_dir_all(at.join(folder)).unwrap();
            std::fs::write(at.join(folder).join("x"), "{}").unwrap();
        }
        std::os::unix::fs::symlink("/etc/passwd", at.join("store/t~1/link")).unwrap();
        let config = Config {
            inputs_dir: at.join("in"),
            artifacts_url: Some(format!("file://{}/store", at.display())),
            ..Config::default()
        };
        let asked = |path: &str| {
            let uri = format!("file://{}/{path}", at.display());
            source(&reference(&uri, b"{}"), &"t:1".parse().unwrap(), &config).map_err(|failure| failure.code)
        };
        assert_eq!(asked("store/t~1/params/x"), Ok(Source::File(at.join("store/t~1/params/x"))));
        assert_eq!(asked("in/x"), Ok(Source::File(at.join("in/x"))));
        for path in ["store/other/params/x", "store/t~1/link", "store/t~1/../other/params/x", "none"] {
            assert_eq!(asked(path), Err(Code::PathUnsafe), "{path}");
        }
        assert_eq!(asked("store/t~1/params/none"), Err(Code::InputMissing));
    }

    #[test]
    fn what_is_brought_is_what_the_record_says_and_fits_into_memory() {
        let read = |bytes: &[u8]| understood(bytes, &reference("s3://b/k", bytes)).map_err(|f| f.code);
        assert_eq!(read(br#"{"a": [1, 2]}"#).unwrap()["a"][1], 2);
        assert_eq!(read(b"[1]"), Err(Code::EngineInputInvalid));
        assert_eq!(read(b"{"), Err(Code::EngineInputInvalid));
        let many = format!("{{\"a\":[{}0]}}", "0,".repeat(MOST_VALUES));
        assert_eq!(read(many.as_bytes()), Err(Code::InputTooLarge));
        let of_another = reference("s3://b/k", b"{}");
        assert_eq!(understood(b"{ }", &of_another).unwrap_err().code, Code::InputHashMismatch);
    }
}
