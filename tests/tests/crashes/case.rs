//! One gap, one heir: a worker is killed, and somebody else does what it left.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use stageline::task::{Status, Task, TaskId, WorkerId};
use stageline_tests::faults::Proxy;
use stageline_tests::process::{Log, WorkerProcess};
use stageline_tests::system::eventually;
use tokio::sync::oneshot;

use crate::evidence::{Evidence, recovered_by};
use crate::gaps::{Aim, By, Gap, Left, Work};
use crate::scene::{Gate, Scene};
use crate::witness::{completions, owners};

/// Longer than anything here takes on a busy machine: a test that reaches it has failed.
const DEADLINE: Duration = Duration::from_secs(120);

/// Who is there to do what the killed worker left.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Heir {
    /// A worker with a folder of its own, as on another machine, that lived all the time.
    Another,
    /// A worker that starts in the killed one's folder after its end.
    Successor,
}

/// A line of the table.
pub struct Row {
    pub recovered_by: String,
    pub attempts: u32,
    pub took: Duration,
}

pub enum Verdict {
    Recovered(Row),
    /// The machine was too slow for the case to be what it is about.
    Missed(String),
}

/// The worker that is killed, as it was.
struct Killed {
    id: WorkerId,
    log: Log,
    at: Instant,
}

pub async fn run(gap: &Gap, heir: Heir) -> Result<Verdict> {
    let scene = Scene::start().await?;
    let other = match heir {
        Heir::Another => Some(scene.busy_worker().await?),
        Heir::Successor => None,
    };
    let id = scene.submit(gap.work).await?;
    let killed = kill_one(&scene, gap, &id).await?;
    let task = scene.task(&id).await?;
    let left = Left {
        status: task.status,
        listed: scene.is_listed(&killed.id, &task).await?,
        message: scene.message().await?,
    };
    if left != gap.left {
        return Ok(Verdict::Missed(format!("the kill left {left:?}")));
    }
    // Else that none of them is left later would say nothing.
    assert!(!gap.leaves_processes() || !processes_of(&killed.id).is_empty(), "what the attempt had started");
    scene.open(Gate::Killed)?;
    let heir_process = match other {
        Some(process) => process,
        None => successor(&scene, &killed).await?,
    };
    let task = scene.until(&id, "the task is done", |task| task.status.is_terminal()).await?;
    let done = killed.at.elapsed();
    until_forgotten(&scene, &killed.id).await?;
    scene.until_no_message().await?;
    let settled = killed.at.elapsed();
    let _its_successor = match heir {
        Heir::Another => Some(successor(&scene, &killed).await?),
        Heir::Successor => None,
    };
    // These hold whatever the machine did.
    completed_once_with_one_owner_an_attempt(&scene, &id).await?;
    if was_fenced(&killed.log) || was_fenced(&heir_process.log()) {
        return Ok(Verdict::Missed("a worker that lived could not beat in time".to_owned()));
    }
    let evidence =
        Evidence { task: &task, killed: &killed.id, left, heir: &heir_process.log(), swept: scene.swept() };
    let recovered_by = recovered_by(&evidence)?;
    check(&scene, gap, &task, &killed.id, heir_process.started().await?).await?;
    // What the task itself did not need is done when nothing of the worker is left.
    let took = if gap.completed_by == By::TheKilled { settled } else { done };
    Ok(Verdict::Recovered(Row { recovered_by, attempts: task.attempt.0, took }))
}

/// Starts a worker and kills it in the gap.
async fn kill_one(scene: &Scene, gap: &Gap, id: &TaskId) -> Result<Killed> {
    let before = scene.aws.workers.all().await?;
    let proxy = Proxy::start(&scene.parts.local.endpoint()).await?;
    let (tell, pid) = oneshot::channel();
    let shot = async {
        if let Ok(pid) = pid.await {
            kill(pid, Signal::SIGKILL).expect("it is there");
            until_dead(pid).await;
        }
    };
    let (mut worker, fired) = match &gap.aim {
        Aim::First(trigger) => {
            let fired = proxy.arm(trigger.clone(), shot);
            let worker = scene.worker(&proxy.endpoint(), "killed")?;
            let _shot_waits = tell.send(worker.pid());
            (worker, fired)
        }
        Aim::Running(trigger) | Aim::Stopping(trigger) => {
            let worker = scene.worker(&proxy.endpoint(), "killed")?;
            let me = worker.started().await?;
            let task = scene.until(id, "it runs", |task| task.status == Status::Running).await?;
            let listed = || async { Ok(scene.is_listed(&me, &task).await?.then_some(())) };
            eventually("it is listed", listed).await?;
            scene.until_no_message().await?;
            let fired = proxy.arm(trigger.clone(), shot);
            let _shot_waits = tell.send(worker.pid());
            if matches!(gap.aim, Aim::Stopping(_)) {
                worker.signal(Signal::SIGTERM)?;
            }
            if gap.work == Work::Long {
                scene.open(Gate::Finish)?;
            }
            (worker, fired)
        }
    };
    match tokio::time::timeout(DEADLINE, fired).await {
        Ok(fired) => fired?,
        Err(_) => bail!("the request never came: {:#?}", worker.log().lines()),
    }
    worker.ended().await?;
    let at = Instant::now();
    let after = scene.aws.workers.all().await?;
    let id = after.into_keys().find(|worker| !before.contains_key(worker));
    Ok(Killed { id: id.context("the killed worker had a heartbeat")?, log: worker.log(), at })
}

/// Starts a worker in the killed one's folder. When it has started, no process of the killed one is left.
async fn successor(scene: &Scene, killed: &Killed) -> Result<WorkerProcess> {
    let worker = scene.worker(&scene.parts.local.endpoint(), "killed")?;
    worker.started().await?;
    let left = processes_of(&killed.id);
    if !left.is_empty() {
        bail!("processes of the killed worker's attempt live: {left:?}");
    }
    Ok(worker)
}

/// Waits until nobody remembers the dead worker: what it had is dealt with.
async fn until_forgotten(scene: &Scene, worker: &WorkerId) -> Result<()> {
    let forgotten = || async {
        let all = scene.aws.workers.all().await?;
        Ok((!all.contains_key(worker)).then_some(()))
    };
    eventually("the dead worker is forgotten", forgotten).await
}

/// Gives the owner of each attempt.
async fn completed_once_with_one_owner_an_attempt(scene: &Scene, id: &TaskId) -> Result<Vec<WorkerId>> {
    let changes = scene.witness.all_of(&scene.aws, id).await?;
    assert_eq!(completions(&changes), 1, "{changes:#?}");
    Ok(owners(&changes))
}

/// What holds whatever recovered it.
async fn check(scene: &Scene, gap: &Gap, task: &Task, killed: &WorkerId, heir: WorkerId) -> Result<()> {
    let owners = completed_once_with_one_owner_an_attempt(scene, &task.id).await?;
    assert_eq!(task.status, Status::Completed, "{task:#?}");
    assert_eq!(scene.task(&task.id).await?, *task, "its end is final");
    let (holders, interruptions) = match gap.completed_by {
        By::TheKilled => (vec![killed.clone()], None),
        By::FirstAttempt => (vec![heir], None),
        By::SecondAttempt => (vec![killed.clone(), heir], Some(1)),
    };
    assert_eq!(owners, holders, "{task:#?}");
    assert_eq!(task.worker_node_id.as_ref(), holders.last());
    assert_eq!(task.attempt.0 as usize, holders.len(), "{task:#?}");
    assert_eq!((task.interruptions, task.failures), (interruptions, None), "{task:#?}");
    assert_eq!(scene.swept().errors, 0);
    Ok(())
}

fn was_fenced(log: &Log) -> bool {
    let fenced = "no heartbeat could be written; everything that runs is stopped";
    log.count(|line| line["message"] == fenced) > 0
}

/// The living processes that were started for a task of this worker.
fn processes_of(worker: &WorkerId) -> Vec<String> {
    let wanted = format!("STAGELINE_WORKER_ID={worker}");
    let processes = fs::read_dir("/proc").expect("a /proc").flatten();
    let ours = processes.filter(|process| {
        // One that has ended has no environment, and one that is none is no folder.
        let environment = fs::read(process.path().join("environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes())
    });
    ours.map(|process| fs::read_to_string(process.path().join("cmdline")).unwrap_or_default()).collect()
}

/// Waits until the process runs no more, also if nobody has asked for its end yet.
async fn until_dead(pid: Pid) {
    let environment = format!("/proc/{pid}/environ");
    let dead = || async { Ok(fs::read(&environment).unwrap_or_default().is_empty().then_some(())) };
    eventually("a killed process is dead", dead).await.expect("SIGKILL cannot be caught");
}
