//! Every metric there is.

use super::{Kind, Metric, Shown, Source, Unit};

/// Times that tasks wait and run: from a tenth of a second to a week.
const TIMES: &[f64] =
    &[0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3_600.0, 14_400.0, 86_400.0, 604_800.0];

const WORKER: &[Source] = &[Source::Worker];
const DISPATCHER: &[Source] = &[Source::Dispatcher];
const SWEEPER: &[Source] = &[Source::Sweeper];
const BOTH: &[Source] = &[Source::Dispatcher, Source::Sweeper];

const fn metric(from: &'static [Source], kind: Kind, name: &'static str, unit: Unit) -> Metric {
    Metric { name, kind, unit, labels: &[], from, shown: Shown::Always, meaning: "" }
}

const fn counter(from: &'static [Source], name: &'static str, unit: Unit) -> Metric {
    metric(from, Kind::Counter, name, unit)
}

const fn gauge(from: &'static [Source], name: &'static str, unit: Unit) -> Metric {
    metric(from, Kind::Gauge, name, unit)
}

impl Metric {
    /// With these labels it is there once one of them has a value.
    const fn by(self, labels: &'static [&'static str]) -> Self {
        Self { labels, shown: Shown::WhenItHappens, ..self }
    }

    /// Of all pools together, and of each pool.
    const fn by_pool(self) -> Self {
        Self { labels: &["Pool"], ..self }
    }

    const fn shown(self, shown: Shown) -> Self {
        Self { shown, ..self }
    }
}

macro_rules! table {
    ($($name:ident = $metric:expr, $meaning:literal;)+) => {
        $(
            #[doc = $meaning]
            pub const $name: Metric = Metric { meaning: $meaning, ..$metric };
        )+

        /// All of them, in the order of the document.
        pub const ALL: &[Metric] = &[$($name),+];
    };
}

table! {
    TASKS_ENDED = counter(WORKER, "stageline_tasks_ended_total", Unit::Count).by(&["engine", "outcome"]),
        "Attempts that are over, by what became of the task: `completed`, `failed`, `timed_out`, `cancelled`, `retrying` (a failure with retries left), `interrupted` (handed back: a drain, a fence, an engine that does not work here), `abandoned` (it was not this worker's any more), `unwritten` (the outcome could not be written)";
    TASK_WAIT = metric(WORKER, Kind::Histogram(TIMES), "stageline_task_wait_seconds", Unit::Seconds),
        "From the moment a task was put on its queue (`queuedAt`) to its claim by this worker";
    TASK_RUN = metric(WORKER, Kind::Histogram(TIMES), "stageline_task_run_seconds", Unit::Seconds).by(&["engine"]),
        "From the claim to the written outcome";
    CLAIMS = counter(WORKER, "stageline_claims_total", Unit::Count).by(&["result"]),
        "Claims, by result: `won`, `unreadable` (won, and the record makes no sense), `dropped` (a duplicate: the message is deleted), `left` (another worker has it, or may have it), `early` (it is not due yet), `error`";
    WRITES_FENCED = counter(WORKER, "stageline_writes_fenced_total", Unit::Count).by(&["what"]),
        "Writes that were refused since the task had moved on: `outcome` or `progress`";
    TASKS_RESCUED = counter(WORKER, "stageline_tasks_rescued_total", Unit::Count),
        "Tasks that this worker took from a dead one, since it met their messages or had the dead one's folder";
    HEARTBEAT_LAG = gauge(WORKER, "stageline_heartbeat_lag_seconds", Unit::Seconds),
        "Since the last heartbeat that was written was begun; at two thirds of a lease the worker fences itself";
    FENCED = gauge(WORKER, "stageline_fenced", Unit::YesNo),
        "Whether the worker has stopped what it runs since it cannot renew its lease";
    DRAINING = gauge(WORKER, "stageline_draining", Unit::YesNo),
        "Whether it takes no more tasks";
    UNHEALTHY = gauge(WORKER, "stageline_unhealthy", Unit::YesNo),
        "Whether `/healthz` answers 503; its body has the reason";
    SLOTS = gauge(WORKER, "stageline_slots", Unit::Count),
        "Tasks it can run at once";
    SLOTS_BUSY = gauge(WORKER, "stageline_slots_busy", Unit::Count),
        "Tasks in hand, from before their claim to after their outcome";
    REGISTRY_TASKS = gauge(WORKER, "stageline_registry_tasks", Unit::Count),
        "Attempts that its registry lists";
    PROGRESS_REPORTS = counter(WORKER, "stageline_progress_reports_total", Unit::Count),
        "Reports of progress that engines made. Those beyond the writes were saved";
    PROGRESS_WRITES = counter(WORKER, "stageline_progress_writes_total", Unit::Count),
        "Stages written to the table";
    STAGES = counter(WORKER, "stageline_stages_total", Unit::Count),
        "Stages that engines began";
    MESSAGES_RECEIVED = counter(WORKER, "stageline_messages_received_total", Unit::Count).by(&["lane"]),
        "Messages received, by lane";
    MESSAGES_DELETED = counter(WORKER, "stageline_messages_deleted_total", Unit::Count),
        "Messages deleted";
    MESSAGES_HANDED_BACK = counter(WORKER, "stageline_messages_handed_back_total", Unit::Count),
        "Messages handed back: no slot was free, the task was not due, or the worker drained";
    POLL_FAILURES = counter(WORKER, "stageline_poll_failures_total", Unit::Count),
        "Polls that failed";
    WORKER_AWS_CALLS = counter(WORKER, "stageline_aws_calls_total", Unit::Count).by(&["operation", "outcome"]),
        "Calls of AWS, by outcome: `ok`, `refused` (a condition did not hold), `throttled`, `denied` (permissions, credentials), `rejected` (another answer of 4xx), `fault` (5xx), `unanswered`";
    WORKER_AWS_RETRIES = counter(WORKER, "stageline_aws_retries_total", Unit::Count).by(&["operation"]),
        "Further tries of calls by the SDK";
    WORKER_READ_UNITS = counter(WORKER, "stageline_aws_read_units_total", Unit::CapacityUnits),
        "What its calls have read, as DynamoDB counts it";
    WORKER_WRITE_UNITS = counter(WORKER, "stageline_aws_write_units_total", Unit::CapacityUnits),
        "What its calls have written, indexes included, as DynamoDB counts it; a write that a condition refused counts as one unit";
    SPAWN_FAILURES = counter(WORKER, "stageline_spawn_failures_total", Unit::Count),
        "Attempts whose program is missing or could not be started";
    BREAKER_OPEN = gauge(WORKER, "stageline_breaker_open", Unit::YesNo).by(&["engine"]),
        "Whether the engine does not work here, so that its tasks are handed back";
    CHECKPOINTS = counter(WORKER, "stageline_checkpoints_total", Unit::Count),
        "Checkpoints stored";
    CHECKPOINT_BYTES = counter(WORKER, "stageline_checkpoint_bytes_total", Unit::Bytes),
        "Bytes of their files";
    ARTIFACT_BYTES = counter(WORKER, "stageline_artifact_bytes_total", Unit::Bytes),
        "Bytes of the files that attempts left, without logs";
    LOG_BYTES = counter(WORKER, "stageline_log_bytes_total", Unit::Bytes),
        "Bytes of standard output and error that were kept";
    SPANS_DROPPED = counter(WORKER, "stageline_spans_dropped_total", Unit::Count),
        "Spans of traces that were not exported: the collector does not answer, or there were too many";

    DISPATCHER_RUNS = counter(DISPATCHER, "DispatcherRuns", Unit::Count),
        "Invocations";
    DISPATCHER_DURATION = gauge(DISPATCHER, "DispatcherDuration", Unit::Milliseconds),
        "How long the invocation took, without the function's start";
    RECORDS_RECEIVED = counter(DISPATCHER, "RecordsReceived", Unit::Count),
        "Stream records of the batch";
    RECORD_AGE = gauge(DISPATCHER, "RecordAge", Unit::Milliseconds),
        "How long ago the oldest record of the batch was written, in steps of a second: the iterator's age as the function sees it";
    RECORDS_LEFT = counter(DISPATCHER, "RecordsLeft", Unit::Count).shown(Shown::WhenItHappens),
        "Records that ask for nothing";
    RECORDS_FAILED = counter(DISPATCHER, "RecordsFailed", Unit::Count),
        "Records that could not be dealt with; the batch comes again from the first of them";
    TASKS_SENT = counter(DISPATCHER, "TasksSent", Unit::Count).by_pool(),
        "Commands put on queues";
    TASKS_MARKED = counter(DISPATCHER, "TasksMarked", Unit::Count).shown(Shown::WhenItHappens),
        "Tasks marked QUEUED; fewer than sent when workers were faster";
    RECORDS_REJECTED = counter(BOTH, "RecordsRejected", Unit::Count),
        "Records marked FAILED since they cannot be run";
    TASKS_DEFERRED = counter(BOTH, "TasksDeferred", Unit::Count).shown(Shown::WhenItHappens),
        "Tasks put into the index of waiting tasks";
    TASKS_CANCELLED = counter(BOTH, "TasksCancelled", Unit::Count).shown(Shown::WhenItHappens),
        "Tasks that nobody held, ended as asked";
    TASKS_PAUSED = counter(BOTH, "TasksPaused", Unit::Count).shown(Shown::WhenItHappens),
        "Tasks that nobody held, paused as asked";
    TASKS_RESUMED = counter(BOTH, "TasksResumed", Unit::Count).shown(Shown::WhenItHappens),
        "Paused tasks that nobody held, going on as asked";
    TASKS_RUN_AGAIN = counter(DISPATCHER, "TasksRunAgain", Unit::Count).shown(Shown::WhenItHappens),
        "Ended tasks that run again as asked";
    SIGNALS_LEFT = counter(BOTH, "SignalsLeft", Unit::Count).shown(Shown::WhenItHappens),
        "Signals left for workers: look at a task, or drain";

    SWEEPER_RUNS = counter(SWEEPER, "SweeperRuns", Unit::Count),
        "Calls, by the schedule or by an event";
    SWEEPER_DURATION = gauge(SWEEPER, "SweeperDuration", Unit::Milliseconds),
        "How long the call took, without the function's start";
    SWEEPER_ERRORS = counter(SWEEPER, "SweeperErrors", Unit::Count),
        "Parts of the call that failed, each with its reason in the log";
    WORKERS_ALIVE = gauge(SWEEPER, "WorkersAlive", Unit::Count).by_pool().shown(Shown::OnSchedule),
        "Workers that beat";
    WORKERS_DEAD = counter(SWEEPER, "WorkersDead", Unit::Count),
        "Workers found dead, or known to be";
    SLOTS_TOTAL = gauge(SWEEPER, "SlotsTotal", Unit::Count).by_pool().shown(Shown::OnSchedule),
        "Slots of living workers that do not drain";
    SLOTS_IN_USE = gauge(SWEEPER, "SlotsBusy", Unit::Count).by_pool().shown(Shown::OnSchedule),
        "Tasks that living workers had in hand at their last heartbeats";
    BREAKERS_OPEN = gauge(SWEEPER, "BreakersOpen", Unit::Count).by_pool().shown(Shown::OnSchedule),
        "Engines that do not work, summed over living workers";
    QUEUE_VISIBLE = gauge(SWEEPER, "QueueVisible", Unit::Count).by_pool().shown(Shown::OnSchedule),
        "Messages that wait for a worker, in all lanes";
    QUEUE_IN_FLIGHT = gauge(SWEEPER, "QueueInFlight", Unit::Count).by_pool().shown(Shown::OnSchedule),
        "Messages that were received and not deleted yet; a quick task's is deleted with its end, a long one's once the registry has it";
    QUEUE_DELAYED = gauge(SWEEPER, "QueueDelayed", Unit::Count).by_pool().shown(Shown::OnSchedule),
        "Messages that wait for their time";
    RESCUED = counter(SWEEPER, "TasksRescued", Unit::Count),
        "Tasks taken from workers that cannot have them any more";
    TASKS_DUE = counter(SWEEPER, "TasksDue", Unit::Count).shown(Shown::WhenItHappens),
        "Waiting tasks whose time has come, dealt with";
    TASKS_SENT_AGAIN = counter(SWEEPER, "TasksSentAgain", Unit::Count).shown(Shown::WhenItHappens),
        "Tasks that the repair scan sent: nobody had, or their message was gone";
    RECORDS_SCANNED = counter(SWEEPER, "RecordsScanned", Unit::Count),
        "Records that the repair scan looked at";
    SCANS_COMPLETED = counter(SWEEPER, "ScansCompleted", Unit::Count).shown(Shown::WhenItHappens),
        "Repair scans that reached the end of the table";
    RECORDS_IMPOSSIBLE = counter(SWEEPER, "RecordsImpossible", Unit::Count).shown(Shown::WhenItHappens),
        "Records in a state that no path leads into; a person has to look";
    DEAD_LETTERS_FAILED = counter(SWEEPER, "DeadLettersFailed", Unit::Count).shown(Shown::WhenItHappens),
        "Tasks that failed since no worker could settle their message";
    DEAD_LETTERS_DROPPED = counter(SWEEPER, "DeadLettersDropped", Unit::Count).shown(Shown::WhenItHappens),
        "Dead letters that nobody needs";

    AWS_CALLS = counter(BOTH, "AwsCalls", Unit::Count),
        "Calls of AWS";
    AWS_RETRIES = counter(BOTH, "AwsRetries", Unit::Count).shown(Shown::WhenItHappens),
        "Further tries of calls by the SDK";
    AWS_THROTTLES = counter(BOTH, "AwsThrottles", Unit::Count).shown(Shown::WhenItHappens),
        "Calls that were throttled to their end";
    AWS_ERRORS = counter(BOTH, "AwsErrors", Unit::Count).shown(Shown::WhenItHappens),
        "Calls that failed otherwise; a condition that did not hold is no failure";
    READ_UNITS = counter(BOTH, "ReadUnits", Unit::CapacityUnits),
        "What the calls have read, as DynamoDB counts it";
    WRITE_UNITS = counter(BOTH, "WriteUnits", Unit::CapacityUnits),
        "What the calls have written, indexes included, as DynamoDB counts it; a refused write counts as one unit";
}
