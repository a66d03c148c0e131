//! A task of 30 hours, with a clock of the test's making: duplicates of its command, and a worker that is cut
//! off for half a day and comes back, change nothing about one owner at a time and one completion.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

// Each test uses a part of what they share.
#[allow(dead_code)]
#[path = "crashes/witness.rs"]
mod witness;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use stageline::aws::{Aws, Outgoing};
use stageline::protocol::command::Command;
use stageline::protocol::lease::Lease;
use stageline::task::{Attempt, Status, Task, TaskId, WorkerId};
use stageline::{At, Clock};
use stageline_local::pump::MappingRules;
use stageline_local::system::mapping_rules;
use stageline_sweeper::{Limits, Report, Sweeper};
use stageline_tests::faults::{FaultyHttp, Plan};
use stageline_tests::parts::{DispatcherFunction, Parts};
use stageline_tests::system::{RunningWorker, eventually, worker_config};
use witness::{Witness, completions, owners};

/// In real time, which the naps of a worker are in.
const LEASE: Duration = Duration::from_secs(4);
const HOUR: Duration = Duration::from_secs(3_600);

/// When what happens.
const DUPLICATES: [u32; 3] = [1, 12, 24];
const PAUSED: u32 = 8;
const GOES_ON: u32 = 20;
const END: u32 = 30;

/// Hours that pass by a leap each, and between the leaps real time: a beat of a living worker is never the
/// same as its last one.
#[derive(Clone)]
struct Hours {
    begun: Instant,
    start: At,
    leapt: Arc<AtomicI64>,
}

impl Hours {
    fn begin() -> Self {
        Self { begun: Instant::now(), start: Clock::system().now(), leapt: Arc::default() }
    }

    fn clock(&self) -> Clock {
        let hours = self.clone();
        Clock::of(move || {
            let leapt = HOUR * u32::try_from(hours.leapt.load(Ordering::SeqCst)).unwrap_or_default();
            hours.start.plus(leapt + hours.begun.elapsed())
        })
    }

    fn at(&self, hour: u32) -> At {
        self.start.plus(HOUR * hour)
    }

    fn leap(&self) {
        self.leapt.fetch_add(1, Ordering::SeqCst);
    }
}

/// What the hours pass for.
struct Day {
    parts: Parts,
    aws: Aws,
    hours: Hours,
    sweeper: Sweeper,
    id: TaskId,
    /// Every worker's beat as the last sweep has seen it.
    beats: BTreeMap<WorkerId, String>,
}

impl Day {
    /// An hour passes, and the sweeper comes; what it did. `silent` is a worker that is paused.
    ///
    /// A sweep takes a beat that is the same as an hour ago for a dead worker's. So a leap comes only when
    /// every worker that lives has beaten since the last sweep, and when the task is on its holder's list: what
    /// has run for an hour and is on no list is nobody's.
    async fn next_hour(&mut self, silent: Option<&WorkerId>) -> Result<Report> {
        let holder = self.task().await?.worker_node_id;
        if holder.is_some() && holder.as_ref() != silent {
            self.until_listed().await?;
        }
        let beats = &self.beats;
        let beaten = || async {
            let mut workers = self.aws.workers.all().await?.into_values();
            let all = workers
                .all(|item| Some(&item.worker) == silent || beats.get(&item.worker) != Some(&item.beat));
            Ok(all.then_some(()))
        };
        eventually("every worker has beaten", beaten).await?;
        self.hours.leap();
        self.sweep().await
    }

    async fn sweep(&mut self) -> Result<Report> {
        let report = self.sweeper.sweep(Limits::default()).await;
        let workers = self.aws.workers.all().await?;
        self.beats = workers.into_iter().map(|(worker, item)| (worker, item.beat)).collect();
        assert_eq!((report.errors, report.sent_again, report.impossible_count), (0, 0, 0), "{report:?}");
        Ok(report)
    }

    async fn task(&self) -> Result<Task> {
        self.aws.tasks.get(&self.id).await?.context("the task is there")
    }

    /// Waits until an attempt runs; who has it.
    async fn until_runs(&self, attempt: u32) -> Result<WorkerId> {
        let runs = || async {
            let task = self.task().await?;
            let runs = task.status == Status::Running && task.attempt == Attempt(attempt);
            Ok(task.worker_node_id.filter(|_| runs))
        };
        eventually("it runs", runs).await
    }

    /// Waits until the holder's registry has the task and no message is needed to remember it.
    async fn until_listed(&self) -> Result<()> {
        let listed = || async {
            let task = self.task().await?;
            let holder = task.worker_node_id.clone().context("somebody holds it")?;
            let listed = self.aws.workers.registered(&holder).await?.contains(&task.attempt_ref());
            Ok(listed.then_some(()))
        };
        eventually("it is listed", listed).await?;
        self.until_no_message().await
    }

    async fn until_no_message(&self) -> Result<()> {
        let queue = &self.parts.local.queues().normal;
        let gone = || async { Ok(self.aws.queues.depth(queue).await?.is_empty().then_some(())) };
        eventually("no message is left", gone).await
    }

    /// The task's first command comes once more, and nobody takes the task for it.
    async fn duplicate(&self) -> Result<()> {
        let before = self.task().await?;
        let command = Command::new(self.id.clone(), Attempt(0));
        let sent = [Outgoing { command, delay: Duration::ZERO }];
        let failures = self.aws.queues.send(&self.parts.local.queues().normal, &sent).await.failures;
        assert_eq!(failures, [None]);
        self.until_no_message().await?;
        assert_eq!(self.task().await?, before, "a duplicate changes nothing");
        Ok(())
    }
}

/// A worker of this process with the injected clock.
fn worker(
    parts: &Parts,
    hours: &Hours,
    name: &str,
    slots: u32,
    sdk: &aws_config::SdkConfig,
) -> Result<RunningWorker> {
    let config = worker_config(&parts.folder.path().join(name), slots);
    RunningWorker::start(config, sdk, &parts.deployment, hours.clock())
}

/// The processes that said that they began: their attempts and ids.
fn begun(log: &Path) -> Vec<(u32, String)> {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let words = text.lines().filter_map(|line| line.split_once(' '));
    words.map(|(attempt, pid)| (attempt.parse().unwrap(), pid.to_owned())).collect()
}

fn lives(pid: &str) -> bool {
    // One that has ended, also if nobody has asked for its end yet, has no command line.
    std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn thirty_hours_with_duplicates_and_a_paused_worker_end_with_one_owner_and_one_completion() -> Result<()>
{
    let parts = Parts::start(Lease::of(LEASE)).await?;
    let sdk = parts.local.sdk_config();
    let hours = Hours::begin();
    let witness = Arc::new(Witness::default());
    let (_seeing, _) = parts.pump(MappingRules::default(), witness.clone()).await?;
    let dispatcher = DispatcherFunction(parts.dispatcher(&sdk, hours.clock()));
    let (_dispatching, _) = parts.pump(mapping_rules()?, Arc::new(dispatcher)).await?;

    // Only the first worker is there when the task comes.
    // What it asks of the tasks table is written down, and nothing else.
    let writes = Plan::none().only("UpdateItem").containing(&parts.deployment.tasks_table);
    let (faulty, control) = FaultyHttp::wrap(&sdk, writes)?;
    let first = worker(&parts, &hours, "first", 1, &faulty)?;
    let (log, end) = (parts.folder.path().join("begun"), parts.folder.path().join("end"));
    let mut task = Task::new(TaskId::fresh());
    task.created_at = Some(hours.clock().now());
    task.command = Some(format!(
        "sh -c 'echo $STAGELINE_ATTEMPT $$ >> {}; while [ -d {} ] && [ ! -e {} ]; do sleep 0.05; done'",
        log.display(),
        parts.folder.path().display(),
        end.display()
    ));
    let aws = parts.aws();
    assert!(aws.tasks.put_new(&task).await?);
    let sweeper = parts.sweeper(&sdk, hours.clock());
    let (id, beats) = (task.id.clone(), BTreeMap::new());
    let mut day = Day { parts, aws, hours, sweeper, id, beats };
    assert_eq!(day.until_runs(1).await?, first.id);
    let second = worker(&day.parts, &day.hours, "second", 2, &sdk)?;
    let mut duplicates_seen = 0;

    for hour in 1..=END {
        let silent = (hour > PAUSED && hour <= GOES_ON).then_some(&first.id);
        let report = day.next_hour(silent).await?;
        // What was silent since before the last sweep has been so for an hour at this one.
        let dead = usize::from(hour == PAUSED + 1);
        assert_eq!((report.workers_dead, report.rescued), (dead, dead), "hour {hour}: {report:?}");
        if hour == PAUSED + 1 {
            assert_eq!(day.until_runs(2).await?, second.id);
        }
        if DUPLICATES.contains(&hour) {
            day.duplicate().await?;
            duplicates_seen += 1;
        }
        if hour == PAUSED {
            control.hold();
            // It stops its process by itself, before anybody takes the task from it.
            let [(1, process)] = &begun(&log)[..] else { panic!("one process: {:?}", begun(&log)) };
            let stopped = || async { Ok((!lives(process)).then_some(())) };
            eventually("the paused worker stops what it runs", stopped).await?;
            assert_eq!(day.task().await?.worker_node_id.as_ref(), Some(&first.id), "still its own");
            day.sweep().await?;
        }
        if hour == GOES_ON {
            let before = day.task().await?;
            let writes = control.log().len();
            control.release();
            let back = || async {
                let item = day.aws.workers.get(&first.id).await?;
                Ok(item.and_then(|item| item.heartbeat).filter(|beat| beat.running == 0).map(drop))
            };
            eventually("the paused worker begins anew, with nothing", back).await?;
            assert!(control.log().len() > writes, "it has tried to write about its attempt");
            assert_eq!(day.task().await?, before, "and changed nothing");
        }
    }
    assert_eq!(duplicates_seen, DUPLICATES.len());
    assert_eq!(begun(&log).iter().map(|(attempt, _)| *attempt).collect::<Vec<_>>(), [1, 2]);
    std::fs::write(&end, "")?;
    let done = || async {
        let task = day.task().await?;
        Ok(task.status.is_terminal().then_some(task))
    };
    let task = eventually("it is done", done).await?;

    assert_eq!((task.status, task.attempt), (Status::Completed, Attempt(2)), "{task:#?}");
    assert_eq!((task.interruptions, task.failures), (Some(1), None), "{task:#?}");
    assert_eq!(task.worker_node_id.as_ref(), Some(&second.id));
    let changes = witness.all_of(&day.aws, &day.id).await?;
    assert_eq!(completions(&changes), 1, "{changes:#?}");
    assert_eq!(owners(&changes), [first.id.clone(), second.id.clone()]);
    tells_of_thirty_hours(&task, &day.hours)?;

    first.drained().await?;
    second.drained().await?;
    assert_eq!(day.task().await?, task, "its end is final");
    Ok(())
}

/// The record's times are the injected clock's: each within the hour in which it happened.
fn tells_of_thirty_hours(task: &Task, hours: &Hours) -> Result<()> {
    let (started, completed) = (task.started_at.context("started")?, task.completed_at.context("completed")?);
    let within = |at: At, hour: u32| at >= hours.at(hour) && at < hours.at(hour + 1);
    assert!(within(started, PAUSED + 1), "attempt 2 began at {started}");
    assert!(within(completed, END), "it ended at {completed}");
    let ran = completed.since(started);
    assert!(ran >= HOUR * (END - PAUSED - 2) && ran <= HOUR * (END - PAUSED), "it ran for {ran:?}");

    let history = task.history.as_deref().context("history")?;
    assert!(history.is_sorted_by_key(|entry| entry.at), "{history:#?}");
    // A claim may come before the dispatcher's mark: QUEUED is not always written.
    let moves = history.iter().filter(|entry| entry.status != Status::Queued);
    let moves: Vec<_> = moves.map(|entry| (entry.status, entry.reason.as_deref())).collect();
    let lost = (Status::Pending, Some("WORKER_LOST"));
    let (runs, done) = ((Status::Running, None), (Status::Completed, None));
    assert_eq!(moves, [runs, lost, runs, done], "{history:#?}");
    let rescue = history.iter().find(|entry| entry.status == Status::Pending).context("a rescue")?;
    assert!(rescue.by == "sweeper" && within(rescue.at, PAUSED + 1), "{rescue:?}");
    Ok(())
}
