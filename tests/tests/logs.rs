//! The log of an attempt is in the store while it runs, and stays there when its worker is killed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use stageline::task::{Attempt, Status, TaskId};
use stageline_tests::process::WorkerProcess;
use stageline_tests::system::{Stack, eventually, id};
use stageline_worker::{Artifacts, Config};

const LOG: &str = "stdout.log";

fn url(folder: &Path) -> String {
    format!("file://{}", folder.join("store").display())
}

fn parts(folder: &Path, id: &TaskId, attempt: u32) -> PathBuf {
    folder.join("store").join(id.as_str()).join(format!("log/{attempt}/{LOG}"))
}

/// How many parts there are, of either log.
fn count(folder: &Path, id: &TaskId) -> usize {
    fn files(folder: &Path) -> usize {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| if entry.path().is_dir() { files(&entry.path()) } else { 1 }).sum()
    }
    files(&folder.join("store").join(id.as_str()).join("log"))
}

/// What a reader without the worker's disk finds of an attempt, and whether it is the whole log.
async fn read(stack: &Stack, folder: &Path, id: &TaskId, attempt: u32) -> Result<Option<(String, bool)>> {
    let store = Artifacts::open(&url(folder), &stack.config)?;
    let Some(log) = store.log(id, Attempt(attempt), LOG).await? else { return Ok(None) };
    let mut text = Vec::new();
    while (text.len() as u64) < log.bytes {
        text.extend(log.read(text.len() as u64, 7).await?);
    }
    Ok(Some((String::from_utf8(text)?, log.is_whole)))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_of_a_killed_workers_attempt_is_there_as_far_as_it_was_stored() -> Result<()> {
    let stack = Stack::embedded_with_lease(3).await?;
    let folder = tempfile::tempdir()?;
    let endpoint = stack.embedded.as_ref().context("embedded")?.local().endpoint().to_owned();
    let store = url(folder.path());
    let settings =
        [("STAGELINE_WORKER_ARTIFACTS_URL", store.as_str()), ("STAGELINE_WORKER_LOG_PART_SECONDS", "1")];
    // In the same folder, so that the second one knows at once that the first one is dead.
    let program = env!("CARGO_BIN_EXE_test-worker");
    let start = || WorkerProcess::start(program, &endpoint, &stack.deployment, folder.path(), &settings);
    let mut first = start()?;
    first.started().await?;
    let (go, pid) = (folder.path().join("go"), folder.path().join("pid"));
    let script = format!(
        "echo $$ > {}; echo attempt $STAGELINE_ATTEMPT; while ! test -e {}; do sleep 0.05; done",
        pid.display(),
        go.display()
    );
    let record = json!({"id": id("killed"), "status": "PENDING", "command": format!("sh -c '{script}'")});
    let task = stack.put(&record).await?;
    let found = || async {
        let found = read(&stack, folder.path(), &task, 1).await?;
        Ok(found.filter(|(text, _)| text == "attempt 1\n"))
    };
    let (_, is_whole) = eventually("its log is in the store while it runs", found).await?;
    assert!(!is_whole);
    // The whole machine.
    first.kill().await?;
    kill(Pid::from_raw(std::fs::read_to_string(&pid)?.trim().parse()?), Signal::SIGKILL)?;
    std::fs::remove_dir_all(folder.path().join("jobs").join(task.as_str()))?;
    std::fs::write(&go, "")?;
    let second = start()?;
    let ended = stack.completed(&task).await?;
    assert_eq!(ended.attempt, Attempt(2));
    assert_eq!(read(&stack, folder.path(), &task, 1).await?, Some(("attempt 1\n".to_owned(), false)));
    assert_eq!(read(&stack, folder.path(), &task, 2).await?, Some(("attempt 2\n".to_owned(), true)));
    drop(second);
    stack.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_are_gone_when_the_whole_log_is_stored_and_a_short_task_has_none() -> Result<()> {
    let stack = Stack::embedded().await?;
    let folder = tempfile::tempdir()?;
    let config = |seconds| Config {
        artifacts_url: Some(url(folder.path())),
        log_part_seconds: seconds,
        ..stack.worker_config(2)
    };
    let worker = stack.worker(config(1))?;
    let go = folder.path().join("go");
    // An output of the same name as a part would have, and one that is called as results are.
    let script = format!(
        "mkdir -p log/1/{LOG} result; echo mine > log/1/{LOG}/000001; echo mine > result/1.json; echo one; echo bad >&2; \
         while ! test -e {}; do sleep 0.05; done; echo two",
        go.display()
    );
    let record = json!({"id": id("parts"), "status": "PENDING", "command": format!("sh -c '{script}'"),
        "outputs": ["log/**", "result/*"]});
    let task = stack.put(&record).await?;
    let both = || async { Ok((count(folder.path(), &task) == 2).then_some(())) };
    eventually("parts of both logs are stored", both).await?;
    std::fs::write(&go, "")?;
    let ended = stack.completed(&task).await?;
    assert_eq!(count(folder.path(), &task), 0);
    assert_eq!(read(&stack, folder.path(), &task, 1).await?, Some(("one\ntwo\n".to_owned(), true)));
    for artifact in ended.artifacts.context("artifacts")? {
        assert!(Path::new(artifact.uri.trim_start_matches("file://")).is_file(), "{artifact:?}");
    }
    let short = stack.put(&json!({"id": id("short"), "status": "PENDING", "command": "echo done"})).await?;
    assert_eq!(stack.completed(&short).await?.status, Status::Completed);
    assert!(!parts(folder.path(), &short, 1).exists());
    worker.drained().await?;
    stack.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_takes_nothing_holds_up_neither_the_task_nor_its_end() -> Result<()> {
    let stack = Stack::embedded().await?;
    let folder = tempfile::tempdir()?;
    let worker = stack.worker(Config {
        artifacts_url: Some(url(folder.path())),
        log_part_seconds: 1,
        store_patience_seconds: 1,
        ..stack.worker_config(1)
    })?;
    let id = id("refused");
    // A file where the task's folder would be.
    std::fs::write(folder.path().join("store").join(&id), "")?;
    let begun = std::time::Instant::now();
    let task = stack
        .put(&json!({"id": id, "status": "PENDING", "command": "sh -c 'echo one; sleep 1.5; echo two'"}))
        .await?;
    let ended = stack.completed(&task).await?;
    assert_eq!(ended.stdout.as_deref(), Some("one\ntwo\n"));
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    // Its result has to be somewhere.
    let record = json!({"id": format!("{id}-large"), "status": "PENDING",
        "command": "python3 -c 'print(chr(58) * 2 + \"stageline\", \"{\\\"result\\\":\\\"\" + \"x\" * 200000 + \"\\\"}\")'"});
    std::fs::write(folder.path().join("store").join(format!("{id}-large")), "")?;
    let large = stack.put(&record).await?;
    let ended = stack.ended(&large).await?;
    let code = ended.status_reason.as_ref().map(|reason| reason.code.as_str());
    assert_eq!((ended.status, code), (Status::Failed, Some("ARTIFACT_NOT_STORED")), "{ended:?}");
    worker.drained().await?;
    stack.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_store_a_result_that_is_too_large_is_said_to_be() -> Result<()> {
    let stack = Stack::embedded().await?;
    let worker = stack.worker(stack.worker_config(1))?;
    let record = json!({"id": id("large"), "status": "PENDING",
        "command": "python3 -c 'print(chr(58) * 2 + \"stageline\", \"{\\\"result\\\":\\\"\" + \"x\" * 200000 + \"\\\"}\")'"});
    let task = stack.put(&record).await?;
    let result = stack.completed(&task).await?.result.context("a result")?;
    assert!(result["note"].as_str().is_some_and(|note| note.contains("artifact store")), "{result}");
    worker.drained().await?;
    stack.shutdown().await;
    Ok(())
}
