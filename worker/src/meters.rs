//! The worker's counts: what is looked up once here costs an atomic addition from then on.

use std::sync::Arc;

use stageline::metrics::table::{
    ALL, ARTIFACT_BYTES, BREAKER_OPEN, CHECKPOINT_BYTES, CHECKPOINTS, CLAIMS, DRAINING, FENCED,
    HEARTBEAT_LAG, LOG_BYTES, MESSAGES_DELETED, MESSAGES_HANDED_BACK, MESSAGES_RECEIVED, POLL_FAILURES,
    PROGRESS_REPORTS, PROGRESS_WRITES, REGISTRY_TASKS, SLOTS, SLOTS_BUSY, SPANS_DROPPED, SPAWN_FAILURES,
    STAGES, TASK_RUN, TASK_WAIT, TASKS_ENDED, UNHEALTHY, WRITES_FENCED,
};
use stageline::metrics::{Histogram, Kind, Number, Registry, Shown, Source};
use stageline::task::{ENGINES, Lane, Task};
use stageline::{At, Code};

/// What progress costs.
#[derive(Clone)]
pub struct ProgressMeter {
    /// Reports that were made.
    pub reports: Number,
    /// Stages that were written.
    pub writes: Number,
    /// Stages that began.
    pub stages: Number,
    /// Writes that were refused.
    pub fenced: Number,
}

/// The worker's counts.
pub(crate) struct Meters {
    registry: Arc<Registry>,
    pub progress: ProgressMeter,
    pub registry_tasks: Number,
    pub deleted: Number,
    pub handed_back: Number,
    pub poll_failures: Number,
    pub checkpoints: Number,
    pub checkpoint_bytes: Number,
    artifact_bytes: Number,
    log_bytes: Number,
    spawn_failures: Number,
    waits: Histogram,
}

/// What only a look at the worker's parts tells.
pub(crate) struct Gauges {
    pub lag_seconds: f64,
    pub slots: u32,
    pub busy: usize,
    pub draining: bool,
    pub fenced: bool,
    pub unhealthy: bool,
    pub broken: Vec<String>,
    pub spans_dropped: f64,
}

impl Meters {
    /// Counts beside the calls of AWS. What the table says is always there, is there at once.
    pub fn new(registry: Arc<Registry>) -> Self {
        let of_workers = |from: &[Source]| from.contains(&Source::Worker);
        for metric in ALL.iter().filter(|m| of_workers(m.from) && m.shown == Shown::Always) {
            match metric.kind {
                Kind::Histogram(_) => drop(registry.histogram(metric, &[])),
                Kind::Counter | Kind::Gauge => drop(registry.number(metric, &[])),
            }
        }
        let number = |metric| registry.number(metric, &[]);
        Self {
            progress: ProgressMeter {
                reports: number(&PROGRESS_REPORTS),
                writes: number(&PROGRESS_WRITES),
                stages: number(&STAGES),
                fenced: registry.number(&WRITES_FENCED, &["progress"]),
            },
            registry_tasks: number(&REGISTRY_TASKS),
            deleted: number(&MESSAGES_DELETED),
            handed_back: number(&MESSAGES_HANDED_BACK),
            poll_failures: number(&POLL_FAILURES),
            checkpoints: number(&CHECKPOINTS),
            checkpoint_bytes: number(&CHECKPOINT_BYTES),
            artifact_bytes: number(&ARTIFACT_BYTES),
            log_bytes: number(&LOG_BYTES),
            spawn_failures: number(&SPAWN_FAILURES),
            waits: registry.histogram(&TASK_WAIT, &[]),
            registry,
        }
    }

    /// A claim that was answered, or not.
    pub fn claimed(&self, result: &str) {
        self.registry.number(&CLAIMS, &[result]).one();
    }

    /// A task that this worker has claimed.
    pub fn won(&self, task: &Task) {
        if let (Some(queued), Some(started)) = (task.queued_at, task.started_at) {
            self.waits.observe(started.since(queued).as_secs_f64());
        }
    }

    /// An attempt that is over.
    pub fn ended(&self, task: &Task, outcome: &str, code: Option<&str>, now: At) {
        let engine = engine(task.engine());
        self.registry.number(&TASKS_ENDED, &[engine, outcome]).one();
        if let Some(started) = task.started_at {
            self.registry.histogram(&TASK_RUN, &[engine]).observe(now.since(started).as_secs_f64());
        }
        let not_started = [Code::SpawnFailed, Code::EngineMissing].map(Code::as_str);
        if code.is_some_and(|code| not_started.contains(&code)) {
            self.spawn_failures.one();
        }
    }

    /// What an attempt left.
    pub fn left(&self, left: &stageline::aws::Leavings) {
        for artifact in &left.artifacts {
            let is_log = matches!(artifact.name.as_str(), "stdout.log" | "stderr.log");
            let bytes = if is_log { &self.log_bytes } else { &self.artifact_bytes };
            bytes.add(artifact.size_bytes.unwrap_or_default() as f64);
        }
    }

    /// An outcome that was refused.
    pub fn fenced_outcome(&self) {
        self.registry.number(&WRITES_FENCED, &["outcome"]).one();
    }

    /// Messages of a lane.
    pub fn received(&self, lane: Lane, messages: usize) {
        self.registry.number(&MESSAGES_RECEIVED, &[&lane.to_string()]).add(messages as f64);
    }

    /// Everything in the text format of Prometheus.
    pub fn to_prometheus(&self, gauges: &Gauges) -> String {
        let set = |metric, value| self.registry.number(metric, &[]).set(value);
        set(&HEARTBEAT_LAG, gauges.lag_seconds);
        set(&SLOTS, f64::from(gauges.slots));
        set(&SLOTS_BUSY, gauges.busy as f64);
        set(&SPANS_DROPPED, gauges.spans_dropped);
        for (metric, yes) in
            [(&DRAINING, gauges.draining), (&FENCED, gauges.fenced), (&UNHEALTHY, gauges.unhealthy)]
        {
            set(metric, f64::from(u8::from(yes)));
        }
        self.registry.clear(&BREAKER_OPEN);
        for name in &gauges.broken {
            self.registry.number(&BREAKER_OPEN, &[engine(name)]).set(1.0);
        }
        self.registry.to_prometheus()
    }
}

/// A label: anybody can write names of engines into records.
fn engine(name: &str) -> &str {
    if ENGINES.contains(&name) { name } else { "other" }
}
