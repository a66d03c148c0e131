//! Keeps what an attempt leaves: the logs, the files that its task declares, and a result that is too large for
//! the record. Whoever reads COMPLETED finds them in the store, since the outcome is written after them.

use std::path::Path;
use std::time::Duration;

use stageline::Code;
use stageline::aws::Leavings;
use stageline::protocol::outcome::{Failure, Outcome};
use stageline::task::{Artifact, ErrorKind, Task};
use tokio::time::Instant;
use tracing::{info, warn};

use super::deadline::Deadline;
use super::large::Large;
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
/// A store that is slower than that gets no large log.
const SLOWEST_BYTES_A_SECOND: u64 = 8 << 20;
pub(super) const FIRST_PAUSE: Duration = Duration::from_millis(500);
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Stores what the attempt left in `job_dir`, where it had one, and gives what it came to with that: a success whose
/// outputs are missing or cannot be stored is none, and neither is one without its result.
///
/// # Errors
/// When it was abandoned meanwhile.
pub(crate) async fn keep(
    (mut outcome, mut left): (Outcome, Leavings),
    task: &Task,
    job_dir: Option<&Path>,
    context: &Context,
    orders: &mut Orders,
) -> Result<(Outcome, Leavings), Abandoned> {
    let succeeded = matches!(outcome, Outcome::Succeeded { .. });
    let mut result = match &mut outcome {
        Outcome::Succeeded { result } => Large::of(std::mem::take(result)),
        _ => Large::default(),
    };
    // Who is losing his lease has no time for it, and none of it would be written. Work inside of the worker leaves
    // nothing else.
    if orders.latest() == Order::Interrupt || (job_dir.is_none() && !result.is_too_large()) {
        return Ok((if succeeded { result.outcome() } else { outcome }, left));
    }
    let patience = match succeeded {
        true => Duration::from_secs(context.config.store_patience_seconds),
        false => AT_MOST_IN_FAILURE.min(context.config.term_grace()),
    };
    let kept = {
        let until = Instant::now() + patience;
        let keeping = async {
            if let Some(job_dir) = job_dir {
                keep_all(&mut left.artifacts, task, job_dir, context, succeeded, until).await?;
            }
            result.store(task, context, until).await
        };
        tokio::pin!(keeping);
        // Once stopped, the worker has a little time left.
        let last_moment = async {
            context.stop.cancelled().await;
            tokio::time::sleep(context.config.term_grace()).await;
        };
        tokio::pin!(last_moment);
        loop {
            if let Some(instead) = ended_by(orders.latest(), &outcome)? {
                break Err(instead);
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
        _ if succeeded => (result.outcome(), left),
        _ => (outcome, left),
    })
}

/// What ends the keeping. Of an attempt that was stopped because somebody asked for its end, what is there is kept
/// as of any other.
fn ended_by(order: Order, outcome: &Outcome) -> Result<Option<Outcome>, Abandoned> {
    match order {
        Order::Cancel if *outcome != Outcome::Cancelled => Ok(Some(Outcome::Cancelled)),
        Order::Interrupt => Ok(Some(Outcome::Interrupted)),
        Order::Abandon(why) => Err(Abandoned(why)),
        Order::Go | Order::Pause | Order::Cancel => Ok(None),
    }
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
            let bytes = log.size_bytes.unwrap_or_default();
            match stored(store, task, job_dir, name, until.min(Instant::now() + for_a_log(bytes))).await {
                Ok(artifact) => *log = artifact,
                Err(error) => warn!(%error, name, "log not stored; it stays on this worker"),
            }
        }
    }
    for name in &declared(task, job_dir, succeeded, artifacts, until).await? {
        let kept = match store {
            Some(store) => stored(store, task, job_dir, name, until).await,
            None => in_place(job_dir, name, until).await,
        };
        artifacts.push(kept.map_err(|error| not_kept(name, &error))?);
    }
    if let Some(store) = store
        && !artifacts.is_empty()
    {
        info!(files = artifacts.len(), store = store.base, "stored");
    }
    Ok(())
}

/// How long storing a log of so many bytes is tried.
fn for_a_log(bytes: u64) -> Duration {
    AT_MOST_IN_FAILURE + Duration::from_secs(bytes / SLOWEST_BYTES_A_SECOND)
}

/// What it says about a task that one of its outputs is not kept.
fn not_kept(name: &str, error: &StoreError) -> Failure {
    match error {
        StoreError::Local(error) if error.kind() == std::io::ErrorKind::TimedOut => {
            let message = format!(
                "`outputs`: {name:?} cannot be read within `store_patience_seconds` of its worker: {error}"
            );
            Failure::fatal(Code::OutputMissing, message)
        }
        StoreError::Local(error) => {
            let message = format!("`outputs`: {name:?} cannot be read in the job folder: {error}");
            Failure::fatal(Code::OutputMissing, message)
        }
        // It would be as large the next time.
        StoreError::TooLarge(most) => {
            let message = format!(
                "`outputs`: {name:?} is larger than the {most} bytes that a worker keeps of one file; split it, or \
                 let the run write less"
            );
            Failure::fatal(Code::ArtifactNotStored, message)
        }
        error => {
            let message = format!("`outputs`: {name:?} could not be stored: {error}");
            Failure { kind: ErrorKind::Retryable, ..Failure::fatal(Code::ArtifactNotStored, message) }
        }
    }
}

/// The files in the job folder that the task's `outputs` name, without the logs.
async fn declared(
    task: &Task,
    job_dir: &Path,
    succeeded: bool,
    logs: &[Artifact],
    until: Instant,
) -> Result<Vec<String>, Failure> {
    let patterns: Vec<String> = task.outputs.clone().unwrap_or_default();
    if patterns.is_empty() {
        return Ok(Vec::new());
    }
    let (folder, sought) = (job_dir.to_path_buf(), patterns.clone());
    let (deadline, _ends_the_search) = Deadline::until(until);
    let search = move || beneath::find(&folder, &sought, MOST_FILES, &deadline);
    let found = tokio::task::spawn_blocking(search).await.map_err(std::io::Error::other).flatten();
    let found = match found {
        // A folder in which nothing was left is not there any more.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            beneath::Found { paths: Vec::new(), matched: vec![false; patterns.len()] }
        }
        other => other.map_err(|error| {
            Failure::fatal(Code::OutputMissing, format!("`outputs`: the job folder cannot be read: {error}"))
        })?,
    };
    let text: usize = found.paths.iter().map(|path| 2 * path.len() + 100).sum();
    if found.paths.len() > MOST_FILES || text > MOST_TEXT_BYTES {
        let message = format!(
            "`outputs` name more than {MOST_FILES} files, or longer names than a record can hold; pack them into \
             one file"
        );
        return Err(Failure::fatal(Code::RecordTooLarge, message));
    }
    if let Some((nothing, _)) = patterns.iter().zip(&found.matched).find(|(_, matched)| !**matched)
        && succeeded
    {
        let message = format!(
            "the run succeeded and left no file {nothing:?} that its `outputs` name; links do not count. Correct \
             `outputs`, or let it write the file"
        );
        return Err(Failure::fatal(Code::OutputMissing, message));
    }
    let found = found.paths;
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
        if Instant::now() + pause >= until || matches!(error, StoreError::Name(_) | StoreError::TooLarge(_)) {
            return Err(error);
        }
        warn!(%error, name, "not stored, trying again");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Without a store a file stays where it is.
async fn in_place(job_dir: &Path, name: &str, until: Instant) -> Result<Artifact, StoreError> {
    let file = beneath::open(job_dir, name)?;
    let (deadline, _ends_the_measuring) = Deadline::until(until);
    let measured = tokio::task::spawn_blocking(move || measured(file, &deadline));
    let stored = measured.await.map_err(std::io::Error::other)??;
    Ok(artifact(name, format!("file://{}", job_dir.join(name).display()), stored))
}

fn artifact(name: &str, uri: String, Stored { bytes, sha256 }: Stored) -> Artifact {
    Artifact { name: name.to_owned(), uri, size_bytes: Some(bytes), sha256: Some(sha256) }
}

#[cfg(test)]
mod tests {
    use aws_config::SdkConfig;

    use super::super::Address;
    use super::super::upload::MOST_BYTES;
    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    fn task(outputs: &[&str]) -> Task {
        let mut task = Task::new("t".parse().unwrap());
        task.outputs = Some(outputs.iter().map(|output| (*output).to_owned()).collect());
        task
    }

    #[tokio::test]
    async fn an_output_that_is_too_large_fails_its_task_for_good_with_a_store_and_without() {
        let (dir, kept) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let file = std::fs::File::create(dir.path().join("x")).unwrap();
        file.set_len(MOST_BYTES + 1).unwrap();
        let store = Store::open(&Address::File(kept.path().into()), &SdkConfig::builder().build()).unwrap();
        let begun = Instant::now();
        for error in [
            in_place(dir.path(), "x", soon()).await.unwrap_err(),
            stored(&store, &task(&["x"]), dir.path(), "x", soon()).await.unwrap_err(),
        ] {
            let failure = not_kept("x", &error);
            assert_eq!((failure.code, failure.kind), (Code::ArtifactNotStored, ErrorKind::Fatal));
            assert!(failure.message.contains("larger than the 603979776000 bytes"), "{}", failure.message);
        }
        assert!(begun.elapsed() < FIRST_PAUSE, "it was not tried again");
        let silent = not_kept("x", &StoreError::Silent(1));
        assert_eq!((silent.code, silent.kind), (Code::ArtifactNotStored, ErrorKind::Retryable));
    }

    #[tokio::test]
    async fn what_takes_too_long_on_this_machine_fails_its_task() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("x"), "x").unwrap();
        let error = in_place(dir.path(), "x", Instant::now()).await.unwrap_err();
        let failure = not_kept("x", &error);
        assert_eq!((failure.code, failure.kind), (Code::OutputMissing, ErrorKind::Fatal));
        let searched = declared(&task(&["*"]), dir.path(), true, &[], Instant::now()).await;
        assert_eq!(searched.unwrap_err().code, Code::OutputMissing);
    }

    #[tokio::test]
    async fn each_of_the_outputs_of_a_success_has_to_be_there() {
        let dir = tempfile::tempdir().unwrap();
        for index in 0..=MOST_FILES {
            std::fs::write(dir.path().join(format!("{index}.dat")), "").unwrap();
        }
        let sought = async |outputs: &[&str], succeeded| {
            declared(&task(outputs), dir.path(), succeeded, &[], soon()).await.map_err(|failure| failure.code)
        };
        assert_eq!(sought(&["1.dat", "2*0.dat"], true).await.unwrap(), ["1.dat", "20.dat", "200.dat"]);
        assert_eq!(sought(&["1.dat", "none"], true).await, Err(Code::OutputMissing));
        assert_eq!(sought(&["1.dat", "none"], false).await.unwrap(), ["1.dat"]);
        assert_eq!(sought(&["*.dat", "none"], true).await, Err(Code::RecordTooLarge));
    }

    #[test]
    fn a_cancellation_ends_the_keeping_of_whatever_it_did_not_end() {
        let failed = Outcome::Failed(Failure::of_the_worker("x"));
        for outcome in [failed, Outcome::TimedOut { seconds: 1, soft: false }] {
            assert_eq!(ended_by(Order::Cancel, &outcome), Ok(Some(Outcome::Cancelled)));
            assert_eq!(ended_by(Order::Pause, &outcome), Ok(None));
        }
        assert_eq!(ended_by(Order::Cancel, &Outcome::Cancelled), Ok(None));
        assert_eq!(ended_by(Order::Interrupt, &Outcome::Cancelled), Ok(Some(Outcome::Interrupted)));
        assert_eq!(ended_by(Order::Abandon("gone"), &Outcome::Cancelled), Err(Abandoned("gone")));
    }
}
