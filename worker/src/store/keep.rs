//! Keeps what an attempt leaves: the logs, and the files that its task declares. Whoever reads COMPLETED finds
//! them in the store, since the outcome is written after them.

use std::path::Path;
use std::time::Duration;

use stageline::Code;
use stageline::aws::Leavings;
use stageline::protocol::outcome::{Failure, Outcome};
use stageline::task::{Artifact, ErrorKind, Task};
use tokio::time::Instant;
use tracing::{info, warn};

use super::upload::{Stored, measured};
use super::{Store, StoreError, beneath, task_part};
use crate::attempt::Abandoned;
use crate::context::Context;
use crate::control::{Order, Orders};

/// Files on a record; they share its 400 KB with all else.
const MOST_FILES: usize = 200;
/// What all names and addresses of them may have.
const MOST_TEXT_BYTES: usize = 64 * 1024;
/// For an attempt that did not succeed: its logs help, and nobody waits for them.
const AT_MOST_IN_FAILURE: Duration = Duration::from_secs(20);
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Stores what the attempt left in `job_dir`, and gives what it came to with that: a success whose outputs are
/// missing or cannot be stored is none.
///
/// # Errors
/// When it was abandoned meanwhile.
pub(crate) async fn keep(
    (outcome, mut left): (Outcome, Leavings),
    task: &Task,
    job_dir: &Path,
    context: &Context,
    orders: &mut Orders,
) -> Result<(Outcome, Leavings), Abandoned> {
    // Who is losing his lease has no time for it, and none of it would be written.
    if orders.latest() == Order::Interrupt {
        return Ok((outcome, left));
    }
    let succeeded = matches!(outcome, Outcome::Succeeded { .. });
    let patience = match succeeded {
        true => Duration::from_secs(context.config.store_patience_seconds),
        false => AT_MOST_IN_FAILURE.min(context.config.term_grace()),
    };
    let kept = {
        let until = Instant::now() + patience;
        let keeping = keep_all(&mut left.artifacts, task, job_dir, context, succeeded, until);
        tokio::pin!(keeping);
        // Once stopped, the worker has a little time left.
        let last_moment = async {
            context.stop.cancelled().await;
            tokio::time::sleep(context.config.term_grace()).await;
        };
        tokio::pin!(last_moment);
        loop {
            match orders.latest() {
                Order::Cancel if succeeded => break Err(Outcome::Cancelled),
                Order::Interrupt => break Err(Outcome::Interrupted),
                Order::Abandon(why) => return Err(Abandoned(why)),
                Order::Go | Order::Pause | Order::Cancel => {}
            }
            tokio::select! {
                kept = &mut keeping => break kept.map_err(Outcome::Failed),
                () = &mut last_moment => break Err(Outcome::Interrupted),
                () = orders.changed() => {}
            }
        }
    };
    Ok(match kept {
        Err(instead) if succeeded => (instead, left),
        _ => (outcome, left),
    })
}

async fn keep_all(
    artifacts: &mut Vec<Artifact>,
    task: &Task,
    job_dir: &Path,
    context: &Context,
    succeeded: bool,
    until: Instant,
) -> Result<(), Failure> {
    let store = context.artifacts.as_ref();
    // The logs are kept as well as can be; their tails are on the record.
    let logs: Vec<_> = artifacts.iter().map(|log| log.name.clone()).collect();
    for (name, log) in logs.iter().zip(artifacts.iter_mut()) {
        if let Some(store) = store {
            match stored(store, task, job_dir, name, until.min(Instant::now() + AT_MOST_IN_FAILURE)).await {
                Ok(artifact) => *log = artifact,
                Err(error) => warn!(%error, name, "log not stored; it stays on this worker"),
            }
        }
    }
    for name in &declared(task, job_dir, succeeded, artifacts).await? {
        let kept = match store {
            Some(store) => stored(store, task, job_dir, name, until).await,
            None => in_place(job_dir, name).await,
        };
        match kept {
            Ok(artifact) => artifacts.push(artifact),
            Err(error @ StoreError::Local(_)) => {
                let message = format!("`outputs`: {name:?} cannot be read in the job folder: {error}");
                return Err(Failure::fatal(Code::OutputMissing, message));
            }
            Err(error) => {
                let message = format!("`outputs`: {name:?} could not be stored: {error}");
                let failure = Failure::fatal(Code::ArtifactNotStored, message);
                return Err(Failure { kind: ErrorKind::Retryable, ..failure });
            }
        }
    }
    if let Some(store) = store
        && !artifacts.is_empty()
    {
        info!(files = artifacts.len(), store = store.base, "stored");
    }
    Ok(())
}

/// The files in the job folder that the task's `outputs` name, without the logs.
async fn declared(
    task: &Task,
    job_dir: &Path,
    succeeded: bool,
    logs: &[Artifact],
) -> Result<Vec<String>, Failure> {
    let patterns: Vec<String> = task.outputs.clone().unwrap_or_default();
    if patterns.is_empty() {
        return Ok(Vec::new());
    }
    let (folder, sought) = (job_dir.to_path_buf(), patterns.clone());
    let search = move || beneath::find(&folder, &sought, MOST_FILES);
    let found = tokio::task::spawn_blocking(search).await.map_err(std::io::Error::other).flatten();
    // A folder in which nothing was left is not there any more.
    let found = match found {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        other => other.map_err(|error| {
            Failure::fatal(Code::OutputMissing, format!("`outputs`: the job folder cannot be read: {error}"))
        })?,
    };
    if let Some(nothing) =
        patterns.iter().find(|pattern| !found.iter().any(|path| super::glob::matches(pattern, path)))
        && succeeded
    {
        let message = format!(
            "the run succeeded and left no file {nothing:?} that its `outputs` name; links do not count. Correct \
             `outputs`, or let it write the file"
        );
        return Err(Failure::fatal(Code::OutputMissing, message));
    }
    let text: usize = found.iter().map(|path| 2 * path.len() + 100).sum();
    if found.len() > MOST_FILES || text > MOST_TEXT_BYTES {
        let message = format!(
            "`outputs` name more than {MOST_FILES} files, or longer names than a record can hold; pack them into \
             one file"
        );
        return Err(Failure::fatal(Code::RecordTooLarge, message));
    }
    Ok(found.into_iter().filter(|path| !logs.iter().any(|log| log.name == *path)).collect())
}

/// Stores one file; what fails is tried again until `until`.
async fn stored(
    store: &Store,
    task: &Task,
    job_dir: &Path,
    name: &str,
    until: Instant,
) -> Result<Artifact, StoreError> {
    let key = store.key(&format!("{}/{}/{name}", task_part(&task.id), task.attempt))?;
    let mut pause = FIRST_PAUSE;
    loop {
        let file = beneath::open(job_dir, name)?;
        let left = until.saturating_duration_since(Instant::now());
        let error = match tokio::time::timeout(left, store.put_file(file, &key)).await {
            Ok(Ok(stored)) => return Ok(artifact(name, store.uri(&key), stored)),
            Ok(Err(error)) => error,
            Err(_elapsed) => return Err(StoreError::Silent(left.as_secs())),
        };
        if Instant::now() + pause >= until || matches!(error, StoreError::Name(_)) {
            return Err(error);
        }
        warn!(%error, name, "not stored, trying again");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Without a store a file stays where it is.
async fn in_place(job_dir: &Path, name: &str) -> Result<Artifact, StoreError> {
    let file = beneath::open(job_dir, name)?;
    let measured = tokio::task::spawn_blocking(move || measured(file));
    let stored = measured.await.map_err(std::io::Error::other)??;
    Ok(artifact(name, format!("file://{}", job_dir.join(name).display()), stored))
}

fn artifact(name: &str, uri: String, Stored { bytes, sha256 }: Stored) -> Artifact {
    Artifact { name: name.to_owned(), uri, size_bytes: Some(bytes), sha256: Some(sha256) }
}
