//! An engine that has to be stopped for a checkpoint: a program that talks like `pw.x`, and counts.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use stageline::Clock;
use stageline::aws::{Request, Write};
use stageline::task::{Status, Task, TaskId};
use stageline_tests::system::{RunningWorker, Stack, eventually, id};
use stageline_worker::Config;

/// Takes twenty iterations a second, to as many as `pw.in` says. Like `pw.x` it stops at once where its file is
/// there already; unlike it, it leaves the file. `deaf` does not look for it, and `forgetful` cannot go on. In the
/// first attempt `mortal` has no end and dies in its second stop, and `messy` puts a folder in its input's place.
const PROGRAM: &str = r#"#!/bin/sh
say() { echo "     $1"; }
ends() { say "PWSCF        :      0.10s CPU      0.10s WALL"; echo "   JOB DONE."; exit "$1"; }
echo started >> out/starts
done=0
going_on=""
last=$(sed -n 's/! iterations //p' pw.in)
[ "$STAGELINE_ATTEMPT" = 1 ] && grep -q mortal pw.in && last=100000
if grep -q "restart_mode = 'restart'" pw.in; then
    if grep -q forgetful pw.in; then
        echo " %%%%%%%%%%%%"; say "Error in routine davcio (15):"; say "error reading file"; echo " %%%%%%%%%%%%"
        exit 1
    fi
    done=$(cat out/si.wfc1)
    going_on=yes
fi
[ -e out/si.EXIT ] && { say "Program stopped by user request"; ends 255; }
say "Self-consistent Calculation"
while [ "$done" -lt "$last" ]; do
    say "iteration # $((done + 1))     ecut=    24.00 Ry     beta= 0.60"
    sleep 0.05
    if [ -e out/si.EXIT ] && ! grep -q deaf pw.in; then
        echo "$done" > out/si.wfc1
        say "Program stopped by user request"
        if [ "$STAGELINE_ATTEMPT" = 1 ]; then
            [ -n "$going_on" ] && grep -q mortal pw.in && kill -9 $$
            grep -q messy pw.in && rm pw.in && mkdir -p pw.in/folder
        fi
        say "Calculation stopped in scf loop at iteration # $done"
        ends 2
    fi
    done=$((done + 1))
    say "estimated scf accuracy    <       0.00100000 Ry"
done
say "convergence has been achieved in $done iterations"
ends 0
"#;

struct Place {
    stack: Stack,
    worker: RunningWorker,
    folder: tempfile::TempDir,
}

impl Place {
    /// With a worker that asks for a checkpoint each second.
    async fn new(kind: &str, iterations: u32) -> Result<Self> {
        let (stack, folder) = (Stack::embedded().await?, tempfile::tempdir()?);
        let path = |name: &str| folder.path().join(name);
        std::fs::create_dir(path("in"))?;
        let text = format!("! iterations {iterations}\n! {kind}\n&control prefix='si' outdir='./out' /\n");
        std::fs::write(path("in/pw.in"), text)?;
        std::fs::write(path("in/seed"), "")?;
        std::fs::write(path("pw"), PROGRAM)?;
        std::fs::set_permissions(path("pw"), PermissionsExt::from_mode(0o755))?;
        let worker = stack.worker(Config {
            inputs_dir: path("in"),
            artifacts_url: Some(format!("file://{}", path("store").display())),
            work_dir: path("jobs"),
            pw_program: path("pw").display().to_string(),
            checkpoint_seconds: 1,
            ..stack.worker_config(1)
        })?;
        Ok(Self { stack, worker, folder })
    }

    async fn put(&self, more: Value) -> Result<TaskId> {
        let mut record = json!({
            "id": id("segments"), "status": "PENDING", "engine": "quantum-espresso", "script": "pw.in",
            "inputs": [{"source": "seed", "path": "out/seed"}],
        });
        if let (Some(record), Value::Object(more)) = (record.as_object_mut(), more) {
            record.extend(more);
        }
        self.stack.put(&record).await
    }

    /// A file of an attempt's folder.
    fn left(&self, task: &TaskId, attempt: u32, name: &str) -> PathBuf {
        self.folder.path().join("jobs").join(task.as_str()).join(attempt.to_string()).join(name)
    }

    fn out(&self, task: &TaskId, name: &str) -> PathBuf {
        self.left(task, 1, "out").join(name)
    }

    /// How many processes there were.
    fn starts(&self, task: &TaskId) -> usize {
        std::fs::read_to_string(self.out(task, "starts")).unwrap_or_default().lines().count()
    }

    /// The checkpoints that were stored and are there still.
    fn stored(&self, task: &TaskId) -> usize {
        let sets = self.folder.path().join("store").join(task.as_str()).join("checkpoint/1");
        std::fs::read_dir(sets).map_or(0, Iterator::count)
    }

    async fn end(self) -> Result<()> {
        self.worker.drained().await?;
        self.stack.shutdown().await;
        Ok(())
    }
}

/// The number of the iteration that an attempt began with.
fn first_iteration(place: &Place, task: &TaskId, attempt: u32) -> Result<u32> {
    let printed = std::fs::read_to_string(place.left(task, attempt, "stdout.log"))?;
    let first = printed.lines().find_map(|line| line.trim().strip_prefix("iteration # ")).context("none")?;
    Ok(first.split(' ').next().context("no number")?.parse()?)
}

/// Runs one whose first attempt fails, and whose second one goes on from what was stored.
async fn fails_once(kind: &str, expected: &str) -> Result<()> {
    let place = Place::new(kind, 60).await?;
    let retry = json!({"strategy": "FIXED_DELAY", "delaySeconds": 3, "maxRetries": 1});
    let task = place.put(json!({"retry": retry})).await?;
    let failed = eventually("it has failed once", || async {
        let task = place.stack.aws.tasks.get(&task).await?;
        Ok(task.filter(|task| task.failures == Some(1)))
    });
    let failed = failed.await?;
    // Or on its way again already.
    ensure!(matches!(failed.status, Status::Retrying | Status::Queued), "{failed:#?}");
    assert_eq!(code(&failed), Some(expected), "{failed:#?}");
    let ended = place.stack.completed(&task).await?;
    assert_eq!((ended.attempt.0, &ended.result.context("a result")?["iterations"]), (2, &json!(60)));
    ensure!(
        first_iteration(&place, &task, 1)? == 1 && first_iteration(&place, &task, 2)? > 1,
        "it started over"
    );
    place.end().await
}

fn code(task: &Task) -> Option<&str> {
    task.status_reason.as_ref().map(|reason| reason.code.as_str())
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_stopped_each_second_and_comes_to_the_result_of_the_whole() -> Result<()> {
    let place = Place::new("plain", 40).await?;
    let task = place.put(json!({})).await?;
    eventually("a checkpoint is stored", || async { Ok((place.stored(&task) > 0).then_some(())) }).await?;
    let ended = place.stack.completed(&task).await?;
    let result = ended.result.as_ref().context("a result")?;
    assert_eq!((&result["iterations"], &result["cycles"]), (&json!(40), &json!(1)), "{result}");
    // Each of them has worked for a second, and none was stopped by the file of another.
    let starts = place.starts(&task);
    ensure!((2..=4).contains(&starts), "{starts} processes");
    let stages = place.stack.aws.stages.of(&task).await?;
    let names: Vec<_> = stages.iter().map(|stage| (stage.name.as_str(), stage.processed_items)).collect();
    assert_eq!(names, [("Setup", None), ("Scf", Some(1000))]);
    place.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn its_time_limit_counts_all_processes_and_what_it_saved_stays() -> Result<()> {
    let place = Place::new("plain", 100_000).await?;
    let task = place.put(json!({"timeoutSeconds": 3})).await?;
    let ended = place.stack.ended(&task).await?;
    assert_eq!((ended.status, code(&ended)), (Status::TimedOut, Some("TIMED_OUT")), "{ended:#?}");
    let starts = place.starts(&task);
    ensure!((2..=3).contains(&starts), "{starts} processes");
    ensure!(place.stored(&task) > 0, "its checkpoint is not there");
    place.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_does_not_hear_is_asked_once_and_cancelled_at_once() -> Result<()> {
    let place = Place::new("deaf", 100_000).await?;
    let task = place.put(json!({})).await?;
    let file = place.out(&task, "si.EXIT");
    eventually("it is asked", || async { Ok(file.exists().then_some(())) }).await?;
    std::fs::remove_file(&file)?;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    ensure!(!file.exists(), "it was asked twice");
    let asked = place.stack.aws.tasks.ask(&task, Request::Cancel, Clock::system().now()).await?;
    ensure!(asked == Write::Applied, "{asked:?}");
    let ended = place.stack.ended(&task).await?;
    assert_eq!((ended.status, place.starts(&task)), (Status::Cancelled, 1), "{ended:#?}");
    ensure!(!file.exists(), "a cancelled one is not asked for its state");
    place.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_cannot_go_on_starts_over_and_is_not_stopped_again() -> Result<()> {
    let place = Place::new("forgetful", 30).await?;
    let task = place.put(json!({})).await?;
    let ended = place.stack.completed(&task).await?;
    assert_eq!(ended.result.context("a result")?["iterations"], 30);
    assert_eq!(place.starts(&task), 3, "once, one that could not, and once more");
    place.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_does_not_hear_is_asked_and_then_ended_when_its_worker_stops() -> Result<()> {
    let place = Place::new("deaf", 100_000).await?;
    let task = place.put(json!({})).await?;
    eventually("it runs", || async { Ok((place.starts(&task) > 0).then_some(())) }).await?;
    place.worker.stop.cancel();
    let (asked, stack) = (place.out(&task, "si.EXIT"), place.stack);
    place.worker.drained().await?;
    ensure!(asked.exists(), "it was not asked");
    let left = stack.aws.tasks.get(&task).await?.context("a task")?;
    assert_eq!((left.interruptions, left.failures, left.attempt.0), (Some(1), None, 1), "{left:#?}");
    let sets = place.folder.path().join("store").join(task.as_str()).join("checkpoint");
    ensure!(!sets.exists(), "what it left is no checkpoint");
    stack.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_does_not_converge_ends_at_the_bound_that_each_process_counts_anew() -> Result<()> {
    let place = Place::new("plain", 100_000).await?;
    let task = place.put(json!({})).await?;
    let ended = place.stack.ended(&task).await?;
    assert_eq!((ended.status, code(&ended)), (Status::Failed, Some("QE_NOT_CONVERGED")), "{ended:#?}");
    let reason = ended.status_reason.as_ref().context("a reason")?;
    ensure!(reason.message.contains("iterations, counted over several processes"), "{reason:?}");
    let starts = place.starts(&task);
    ensure!(starts >= 2, "{starts} processes");
    let gone = || async { Ok((!super::has_checkpoints(place.folder.path(), task.as_str())).then_some(())) };
    eventually("its checkpoints are removed", gone).await?;
    place.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_dies_while_it_saves_goes_on_from_what_it_saved_before() -> Result<()> {
    fails_once("mortal", "EXIT_SIGNAL").await
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_cannot_be_started_again_goes_on_in_another_attempt() -> Result<()> {
    fails_once("messy", "WORKER_FAULT").await
}
