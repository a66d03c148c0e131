//! One case's system: AWS of its own, the dispatcher on the stream, the sweeper on its schedule.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use stageline::Clock;
use stageline::aws::Aws;
use stageline::protocol::lease::Lease;
use stageline::task::{Status, Task, TaskId, WorkerId};
use stageline_local::pump::{MappingRules, StreamPump};
use stageline_local::system::mapping_rules;
use stageline_sweeper::{Limits, Sweeper};
use stageline_tests::parts::{DispatcherFunction, Parts};
use stageline_tests::process::WorkerProcess;
use stageline_tests::system::eventually;
use tokio::task::JoinHandle;

use crate::gaps::{Message, Work};
use crate::witness::Witness;

/// Everything else is a part of it: a message is away from the queue for as long, a dead worker is known for
/// it after as long.
const LEASE: Duration = Duration::from_secs(3);

/// Between two sweeps. As in a deployment, where a sweep comes every minute and a lease is 30 s.
const SWEEPS: Duration = Duration::from_secs(6);

pub struct Scene {
    pub parts: Parts,
    pub aws: Aws,
    pub witness: Arc<Witness>,
    pub swept: Arc<Mutex<Swept>>,
    _pumps: [StreamPump; 2],
    sweeping: JoinHandle<()>,
}

/// What all sweeps so far have done together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    pub rescued: usize,
    pub sent_again: usize,
    pub errors: usize,
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.sweeping.abort();
    }
}

impl Scene {
    pub async fn start() -> Result<Self> {
        let parts = Parts::start(Lease::of(LEASE)).await?;
        let config = parts.local.sdk_config();
        let witness = Arc::new(Witness::default());
        // Nothing is given up: neither function fails.
        let (seeing, _) = parts.pump(MappingRules::default(), witness.clone()).await?;
        let dispatcher = DispatcherFunction(parts.dispatcher(&config, Clock::system()));
        let (dispatching, _) = parts.pump(mapping_rules()?, Arc::new(dispatcher)).await?;
        let swept = Arc::<Mutex<Swept>>::default();
        let sweeper = parts.sweeper(&config, Clock::system());
        let sweeping = tokio::spawn(sweep(sweeper, Arc::clone(&swept)));
        let aws = parts.aws();
        Ok(Self { parts, aws, witness, swept, _pumps: [seeing, dispatching], sweeping })
    }

    /// The file that tasks wait for: it is there when the gate is open.
    fn gate(&self, gate: Gate) -> PathBuf {
        self.parts.folder.path().join(gate.file())
    }

    /// Lets go what waits for this.
    pub fn open(&self, gate: Gate) -> Result<()> {
        Ok(std::fs::write(self.gate(gate), "")?)
    }

    /// A command that goes on until the gate is open, or the case is over.
    fn wait_for(&self, gate: Gate) -> String {
        let (folder, file) = (self.parts.folder.path().display(), self.gate(gate));
        format!("while [ -d {folder} ] && [ ! -e {} ]; do sleep 0.05; done", file.display())
    }

    fn command(&self, work: Work) -> String {
        let script = match work {
            Work::Short => "true".to_owned(),
            // What runs when the worker is killed does not end by itself; what comes later does at once.
            Work::Stuck => {
                let (after, never) = (self.gate(Gate::Killed), self.wait_for(Gate::Never));
                format!("[ -e {} ] || {never}", after.display())
            }
            Work::Long => self.wait_for(Gate::Finish),
        };
        format!("sh -c '{script}'")
    }

    /// Puts a task and waits until its message is on the queue.
    pub async fn submit(&self, work: Work) -> Result<TaskId> {
        let id = self.put(self.command(work)).await?;
        self.until(&id, "it is queued", |task| task.status == Status::Queued).await?;
        Ok(id)
    }

    async fn put(&self, command: String) -> Result<TaskId> {
        let mut task = Task::new(TaskId::fresh());
        // Without the time a sweep takes it for one that has waited for long, and sends it too: a message that
        // nobody asks for while both workers are busy.
        (task.command, task.created_at) = (Some(command), Some(Clock::system().now()));
        if !self.aws.tasks.put_new(&task).await? {
            bail!("there is a task {} already", task.id);
        }
        Ok(task.id)
    }

    /// A worker with one slot, by way of `endpoint`.
    pub fn worker(&self, endpoint: &str, folder: &str) -> Result<WorkerProcess> {
        let folder = &self.parts.folder.path().join(folder);
        std::fs::create_dir_all(folder)?;
        let program = env!("CARGO_BIN_EXE_test-worker");
        let settings = [("STAGELINE_WORKER_SLOTS", "1"), ("STAGELINE_WORKER_DRAIN_GRACE_SECONDS", "0")];
        WorkerProcess::start(program, endpoint, &self.parts.deployment, folder, &settings)
    }

    /// A worker that takes nothing from the lane of the case's task until the other one is dead: its only
    /// slot is taken.
    pub async fn busy_worker(&self) -> Result<WorkerProcess> {
        let worker = self.worker(&self.parts.local.endpoint(), "other")?;
        worker.started().await?;
        let id = self.put(format!("sh -c '{}'", self.wait_for(Gate::Killed))).await?;
        self.until(&id, "the other worker is busy", |task| task.status == Status::Running).await?;
        self.until_no_message().await?;
        Ok(worker)
    }

    /// Waits until the record is as wanted.
    pub async fn until(&self, id: &TaskId, what: &str, wanted: impl Fn(&Task) -> bool) -> Result<Task> {
        let found = eventually(what, || async {
            let task = self.task(id).await?;
            Ok(wanted(&task).then_some(task))
        });
        match found.await {
            Ok(task) => Ok(task),
            Err(error) => bail!("{error}: {:#?}, {:?}", self.task(id).await?, self.swept()),
        }
    }

    pub async fn task(&self, id: &TaskId) -> Result<Task> {
        self.aws.tasks.get(id).await?.context("the task is there")
    }

    /// Where the only message of the tasks' lane is.
    pub async fn message(&self) -> Result<Message> {
        let depth = self.aws.queues.depth(&self.parts.local.queues().normal).await?;
        match (depth.visible, depth.in_flight, depth.delayed) {
            (0, 0, 0) => Ok(Message::Deleted),
            (1, 0, 0) => Ok(Message::Unseen),
            (0, 1, 0) => Ok(Message::InFlight),
            _ => bail!("more than one message: {depth:?}"),
        }
    }

    pub async fn until_no_message(&self) -> Result<()> {
        let queue = &self.parts.local.queues().normal;
        let gone = || async { Ok(self.aws.queues.depth(queue).await?.is_empty().then_some(())) };
        eventually("the messages are gone", gone).await
    }

    /// Whether the worker's registry lists the task's latest attempt.
    pub async fn is_listed(&self, worker: &WorkerId, task: &Task) -> Result<bool> {
        Ok(self.aws.workers.registered(worker).await?.contains(&task.attempt_ref()))
    }

    pub fn swept(&self) -> Swept {
        *self.swept.lock().unwrap()
    }
}

/// What a task waits for.
#[derive(Clone, Copy)]
pub enum Gate {
    /// The worker is dead.
    Killed,
    /// The case lets its task succeed.
    Finish,
    /// Nothing: it ends with the case, unless somebody ends it.
    Never,
}

impl Gate {
    fn file(self) -> &'static str {
        match self {
            Gate::Killed => "killed-gate",
            Gate::Finish => "finish-gate",
            Gate::Never => "never-gate",
        }
    }
}

async fn sweep(sweeper: Sweeper, swept: Arc<Mutex<Swept>>) {
    let mut schedule = tokio::time::interval(SWEEPS);
    loop {
        schedule.tick().await;
        let report = sweeper.sweep(Limits::default()).await;
        let mut all = swept.lock().unwrap();
        all.rescued += report.rescued;
        all.sent_again += report.sent_again;
        all.errors += report.errors;
    }
}
