//! Cancel, pause and resume, asked by writing the record as any client does.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use anyhow::{Context, Result, ensure};
use serde_json::json;
use stageline::Clock;
use stageline::aws::{Request, Write};
use stageline::task::{Status, TaskId};
use stageline_tests::system::{Stack, eventually, has_lammps, id};

async fn ask(stack: &Stack, id: &TaskId, request: Request) -> Result<Write> {
    Ok(stack.aws.tasks.ask(id, request, Clock::system().now()).await?)
}

/// The processes whose command line holds `text`, with their states (`T` is stopped).
fn processes(text: &str) -> Vec<char> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let matching = entries.filter_map(|entry| {
        let line = std::fs::read(entry.path().join("cmdline")).ok()?;
        if !String::from_utf8_lossy(&line).contains(text) {
            return None;
        }
        let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
        stat.rsplit_once(") ")?.1.chars().next()
    });
    matching.collect()
}

/// Lengths of sleep that no other process of the machine has.
fn odd_length(n: u32) -> String {
    format!("{}.{n}75", 1_000_000 + std::process::id())
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelling_a_running_task_leaves_no_process_of_it() -> Result<()> {
    let stack = Stack::embedded_with_lease(3).await?;
    let worker = stack.worker(stack.worker_config(1))?;
    let (a, b) = (odd_length(1), odd_length(2));
    // A wrapper that will not hear of TERM, with a child in the background.
    let command = format!("sh -c 'trap \"\" TERM; sleep {a} & sleep {b}'");
    let task = stack.put(&json!({"id": id("cancel"), "command": command})).await?;
    eventually("both sleep", || async {
        Ok((!processes(&format!("sleep\0{a}")).is_empty() && !processes(&format!("sleep\0{b}")).is_empty())
            .then_some(()))
    })
    .await?;
    assert_eq!(ask(&stack, &task, Request::Cancel).await?, Write::Applied);
    let ended = stack.ended(&task).await?;
    assert_eq!((ended.status, ended.attempt.0), (Status::Cancelled, 1));
    assert_eq!(ended.status_reason.context("reason")?.code, "CANCELLED");
    assert!(processes(&a).is_empty() && processes(&b).is_empty());
    worker.drained().await?;
    stack.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelling_lammps_under_a_wrapper_leaves_neither() -> Result<()> {
    if !has_lammps("cancelling_lammps_under_a_wrapper_leaves_neither") {
        return Ok(());
    }
    let stack = Stack::embedded_with_lease(3).await?;
    let config = stack.worker_config(1);
    let (lammps, grace) = (config.lammps_program.clone(), config.term_grace_seconds);
    let (jobs, input) =
        (config.work_dir.clone(), config.inputs_dir.join("lammps/melt/in.melt").canonicalize()?);
    let worker = stack.worker(config)?;
    // As a child of the wrapper's, and in a session of its own, as MPI launchers start their ranks.
    for (n, launcher) in [(0, ""), (1, "setsid ")] {
        // Days of it; a number that no other process of the machine has.
        let steps = 1_000_000_000 + std::process::id() * 2 + n;
        let run = format!("{launcher}{lammps} -in {} -v cells 4 -v nsteps {steps}", input.display());
        let task =
            stack.put(&json!({"id": id("lammps"), "command": format!("sh -c '{run} & wait'")})).await?;
        let log = jobs.join(task.as_str()).join("1/log.lammps");
        eventually("LAMMPS takes steps", || async {
            let task = stack.aws.tasks.get(&task).await?.context("task")?;
            ensure!(!task.status.is_terminal(), "LAMMPS does not run: {task:#?}");
            // The melt's first rows, one each hundred steps.
            let log = std::fs::read_to_string(&log).unwrap_or_default();
            Ok(log.lines().any(|line| line.trim_start().starts_with("300 ")).then_some(()))
        })
        .await?;
        let both =
            || (processes(&format!("nsteps {steps}")).len(), processes(&format!("nsteps\0{steps}")).len());
        assert_eq!(both(), (1, 1), "the wrapper, and LAMMPS");
        let asked = std::time::Instant::now();
        assert_eq!(ask(&stack, &task, Request::Cancel).await?, Write::Applied);
        let ended = stack.ended(&task).await?;
        let (left, took) = (both(), asked.elapsed());
        let beat = stack.deployment.lease.busy();
        eprintln!("{launcher}lmp: cancelled {took:?} after the request; beat {beat:?}, grace {grace} s");
        assert_eq!((ended.status, ended.attempt.0), (Status::Cancelled, 1));
        assert_eq!(left, (0, 0), "the wrapper, and LAMMPS");
    }
    worker.drained().await?;
    stack.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_task_that_waits_never_starts() -> Result<()> {
    let stack = Stack::embedded().await?;
    let task = stack.put(&json!({"id": id("waits"), "command": "true"})).await?;
    stack.until(&task, |task| task.status == Status::Queued).await?;
    assert_eq!(ask(&stack, &task, Request::Cancel).await?, Write::Applied);
    // With no worker up.
    stack.until(&task, |task| task.status == Status::Cancelled).await?;
    let worker = stack.worker(stack.worker_config(1))?;
    stack.completed(&stack.put(&json!({"id": id("other"), "command": "true"})).await?).await?;
    worker.drained().await?;
    let task = stack.aws.tasks.get(&task).await?.context("task")?;
    assert_eq!((task.status, task.attempt.0, task.started_at), (Status::Cancelled, 0, None));
    stack.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_task_is_held_and_goes_on_when_it_is_resumed() -> Result<()> {
    let stack = Stack::embedded().await?;
    let task = stack.put(&json!({"id": id("held"), "command": "true"})).await?;
    stack.until(&task, |task| task.status == Status::Queued).await?;
    ask(&stack, &task, Request::Pause).await?.applied()?;
    stack.until(&task, |task| task.status == Status::Paused).await?;
    let worker = stack.worker(stack.worker_config(1))?;
    stack.completed(&stack.put(&json!({"id": id("other"), "command": "true"})).await?).await?;
    assert_eq!(stack.aws.tasks.get(&task).await?.context("task")?.attempt.0, 0);
    ask(&stack, &task, Request::Resume).await?.applied()?;
    let task = stack.completed(&task).await?;
    assert_eq!((task.attempt.0, task.pause_requested), (1, None));
    worker.drained().await?;
    stack.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_task_is_stopped_where_it_is_and_goes_on() -> Result<()> {
    let stack = Stack::embedded_with_lease(3).await?;
    let worker = stack.worker(stack.worker_config(1))?;
    let marks = tempfile::tempdir()?;
    let go_on = marks.path().join("go-on").display().to_string();
    // Nor does it outlive a test that fails.
    let folder = marks.path().display();
    let command = format!("sh -c 'while test -d {folder} && ! test -e {go_on}; do sleep 0.05; done'");
    let task = stack.put(&json!({"id": id("pause"), "command": command})).await?;
    stack.until(&task, |task| task.status == Status::Running).await?;
    ask(&stack, &task, Request::Pause).await?.applied()?;
    let paused = stack.until(&task, |task| task.status == Status::Paused).await?;
    assert_eq!(paused.worker_node_id.as_ref(), Some(&worker.id), "its worker keeps it");
    eventually("it is stopped", || async {
        let states = processes(&go_on);
        Ok((!states.is_empty() && states.iter().all(|state| *state == 'T')).then_some(()))
    })
    .await?;
    ask(&stack, &task, Request::Resume).await?.applied()?;
    stack.until(&task, |task| task.status == Status::Running).await?;
    std::fs::write(&go_on, "")?;
    let done = stack.completed(&task).await?;
    assert_eq!((done.attempt.0, done.interruptions), (1, None));
    let states: Vec<_> = done.history.context("history")?.iter().map(|e| e.status).collect();
    assert!(states.ends_with(&[Status::Paused, Status::Running, Status::Completed]), "{states:?}");
    worker.drained().await?;
    stack.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_about_a_finished_or_unknown_task_says_so() -> Result<()> {
    let stack = Stack::embedded().await?;
    let worker = stack.worker(stack.worker_config(1))?;
    let task = stack.put(&json!({"id": id("done"), "command": "true"})).await?;
    stack.completed(&task).await?;
    for request in [Request::Cancel, Request::Pause, Request::Resume] {
        assert_eq!(ask(&stack, &task, request).await?, Write::Fenced);
        assert_eq!(ask(&stack, &id("unknown").parse()?, request).await?, Write::NotFound);
    }
    worker.drained().await?;
    stack.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_is_deleted_while_it_runs_is_stopped() -> Result<()> {
    let stack = Stack::embedded_with_lease(2).await?;
    let worker = stack.worker(stack.worker_config(1))?;
    let length = odd_length(3);
    let task = stack.put(&json!({"id": id("deleted"), "command": format!("sleep {length}")})).await?;
    eventually("it runs", || async { Ok((!processes(&length).is_empty()).then_some(())) }).await?;
    let key = aws_sdk_dynamodb::types::AttributeValue::S(task.to_string());
    stack.dynamodb().delete_item().table_name(&stack.deployment.tasks_table).key("id", key).send().await?;
    eventually("it is gone", || async { Ok(processes(&length).is_empty().then_some(())) }).await?;
    // The worker goes on, and the record stays deleted.
    stack.completed(&stack.put(&json!({"id": id("other"), "command": "true"})).await?).await?;
    assert!(stack.aws.tasks.get(&task).await?.is_none());
    worker.drained().await?;
    stack.shutdown().await;
    Ok(())
}

/// A request that must be applied.
trait Applied {
    fn applied(self) -> Result<()>;
}

impl Applied for Write {
    fn applied(self) -> Result<()> {
        anyhow::ensure!(self == Write::Applied, "{self:?}");
        Ok(())
    }
}
