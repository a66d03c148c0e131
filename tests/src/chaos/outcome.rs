//! What came of a run: the numbers, and the verdict over them.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::Options;

/// How many histories of offending tasks are shown.
pub const EXAMPLES: usize = 5;

/// What came of a run.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// Tasks that were written.
    pub tasks: usize,
    /// Of these, COMPLETED at the end.
    pub completed: usize,
    /// In another state that is an end; all of them can complete.
    pub other_ends: usize,
    /// Without a record, or with one in a state that is no end.
    pub lost: usize,
    /// How many tasks became COMPLETED how often.
    pub effective_completions: BTreeMap<u32, usize>,
    /// Attempts of all tasks.
    pub attempts: u64,
    /// The most attempts of one.
    pub most_attempts: u64,
    /// What the tasks' processes left.
    pub executions: Executions,
    /// What was done to workers.
    pub workers: Workers,
    /// What was done to the stream and the dispatcher.
    pub stream: Stream,
    /// What was done to the queues.
    pub queues: Queues,
    /// Tasks that were taken from a worker that had them.
    pub rescues: Rescues,
    /// Writes that were refused.
    pub fenced: Fenced,
    /// What the sweeper did beside rescues.
    pub sweeper: Sweeps,
    /// Requests of workers, dispatcher and sweeper to AWS, for each task.
    pub requests_per_task: f64,
    /// How long things went wrong.
    pub fault_seconds: f64,
    /// Until the last task had ended.
    pub seconds: f64,
    /// Why the run is not what it should be.
    pub problems: Vec<String>,
    /// What happened to the first tasks among those.
    pub histories: BTreeMap<String, Vec<String>>,
}

/// What the processes of tasks left in files.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Executions {
    /// Tasks that are processes.
    pub tasks: usize,
    /// Processes that began.
    pub started: usize,
    /// Processes that did all they were to do.
    pub finished: usize,
    /// The most that began for one task.
    pub most: usize,
}

/// What was done to workers.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Workers {
    /// Killed, with a successor in the same folder.
    pub kills_same_folder: usize,
    /// Killed, with a successor in another folder.
    pub kills_new_folder: usize,
    /// Stopped for longer than two leases.
    pub stops: usize,
    /// Cut off from AWS for longer than a lease.
    pub cut_offs: usize,
    /// Ended since their first heartbeat did not come through.
    pub failed_starts: usize,
    /// Their requests to AWS.
    pub requests: u64,
    /// Of these, refused, answered to nobody, or late.
    pub faults: u64,
    /// Stopped what they ran, as they could not beat.
    pub self_fences: usize,
    /// Found themselves taken for dead.
    pub taken_for_dead: usize,
    /// Attempts that were stopped since their task was somebody else's.
    pub abandoned: usize,
}

/// What was done to the stream and the dispatcher, counted while things went wrong.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Stream {
    /// Calls of the dispatcher.
    pub calls: u64,
    /// Of these, failed or panicked.
    pub failed: u64,
    /// Records that it never saw.
    pub dropped: u64,
    /// Records that it saw twice.
    pub duplicated: u64,
    /// Calls with shuffled records.
    pub reordered: u64,
    /// Batches that the mapping gave up.
    pub given_up: u64,
    /// Requests of the dispatcher to AWS.
    pub requests: u64,
    /// Of these, refused, answered to nobody, sent twice, or late.
    pub faults: u64,
}

/// What was done to the queues.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Queues {
    /// How often all were emptied.
    pub purges: usize,
    /// The messages that were on them.
    pub messages: u64,
}

/// Tasks that were taken from a worker that had them.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rescues {
    /// As the records tell.
    pub total: usize,
    /// By the sweeper, as the records tell.
    pub by_sweeper: usize,
    /// By a worker that received the task's message, as the logs tell: two that take the same task at once
    /// both say so.
    pub at_claims: usize,
    /// By the successor in a dead worker's folder, as the logs tell.
    pub at_starts: usize,
}

/// Writes that were refused, as the logs tell.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Fenced {
    /// Ends of attempts.
    pub outcomes: usize,
    /// Stages.
    pub stages: usize,
}

/// What the sweeper did beside rescues.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Sweeps {
    /// Its rounds.
    pub rounds: usize,
    /// Tasks that it sent once more.
    pub sent_again: usize,
    /// Tasks that were due and sent.
    pub due: usize,
    /// Signals that it left.
    pub signals: usize,
    /// What failed in its rounds.
    pub errors: usize,
}

impl Fenced {
    /// All of them.
    pub fn total(&self) -> usize {
        self.outcomes + self.stages
    }
}

impl Outcome {
    /// Whether the run is what it should be.
    pub fn is_good(&self) -> bool {
        self.problems.is_empty()
    }

    /// A run of faults in which nobody was rescued and nobody was fenced shows nothing.
    pub(super) fn must_show_something(&mut self, options: &Options) {
        if options.faults.is_zero() {
            return;
        }
        if self.rescues.total == 0 {
            self.problems.push("nothing was rescued: the run shows nothing".to_owned());
        }
        if self.fenced.outcomes == 0 {
            self.problems.push("no zombie's outcome was fenced: the run shows nothing".to_owned());
        }
    }

    /// The last line.
    pub fn summary(&self) -> String {
        let least = self.effective_completions.keys().next().copied().unwrap_or(0);
        let most = self.effective_completions.keys().next_back().copied().unwrap_or(0);
        let each = if least == most { format!("{least} each") } else { format!("{least} to {most}") };
        let Self { seed, tasks, completed, lost, .. } = self;
        let (fenced, rescues) = (self.fenced.total(), self.rescues.total);
        format!(
            "seed {seed}: tasks {tasks} completed {completed} lost {lost} effective completions {each}, \
             fenced {fenced}, rescues {rescues}"
        )
    }

    fn rows(&self) -> Vec<(&'static str, String)> {
        let Self { workers, stream, queues, rescues, fenced, sweeper, executions, .. } = self;
        let completions = self.effective_completions.iter();
        let completions: Vec<_> = completions.map(|(times, tasks)| format!("{times} of {tasks}")).collect();
        vec![
            ("tasks", self.tasks.to_string()),
            ("completed", self.completed.to_string()),
            ("other ends", self.other_ends.to_string()),
            ("lost", self.lost.to_string()),
            ("effective completions", completions.join(", ")),
            ("attempts", format!("{}, at most {} of a task", self.attempts, self.most_attempts)),
            (
                "executions",
                format!(
                    "{} processes of {} tasks, {:.2} each, at most {}; {} finished",
                    executions.started,
                    executions.tasks,
                    ratio(executions.started as u64, executions.tasks as u64),
                    executions.most,
                    executions.finished
                ),
            ),
            (
                "workers killed",
                format!(
                    "{}: {} with a successor in the same folder, {} in a new one",
                    workers.kills_same_folder + workers.kills_new_folder,
                    workers.kills_same_folder,
                    workers.kills_new_folder
                ),
            ),
            ("workers stopped", format!("{} for longer than two leases", workers.stops)),
            ("workers cut off", format!("{} for longer than a lease", workers.cut_offs)),
            ("workers' requests", share(workers.requests, workers.faults, "with a fault")),
            (
                "workers noticed",
                format!(
                    "{} self-fences, {} taken for dead, {} attempts abandoned, {} failed starts",
                    workers.self_fences, workers.taken_for_dead, workers.abandoned, workers.failed_starts
                ),
            ),
            ("queues purged", format!("{} times, {} messages", queues.purges, queues.messages)),
            (
                "stream records",
                format!(
                    "{} dropped, {} duplicated, {} calls reordered, {} batches given up",
                    stream.dropped, stream.duplicated, stream.reordered, stream.given_up
                ),
            ),
            ("dispatcher's calls", share(stream.calls, stream.failed, "failed")),
            ("dispatcher's requests", share(stream.requests, stream.faults, "with a fault")),
            (
                "rescues",
                format!(
                    "{}: {} by the sweeper, {} at a claim, {} by a successor",
                    rescues.total, rescues.by_sweeper, rescues.at_claims, rescues.at_starts
                ),
            ),
            (
                "fenced writes",
                format!("{}: {} outcomes, {} stages", fenced.total(), fenced.outcomes, fenced.stages),
            ),
            (
                "sweeper",
                format!(
                    "{} rounds, {} tasks sent again, {} due, {} signals, {} errors",
                    sweeper.rounds, sweeper.sent_again, sweeper.due, sweeper.signals, sweeper.errors
                ),
            ),
            ("AWS requests per task", format!("{:.1}", self.requests_per_task)),
            ("seconds", format!("{:.0}, of which {:.0} with faults", self.seconds, self.fault_seconds)),
        ]
    }
}

impl fmt::Display for Outcome {
    /// The table; the last line is [`Outcome::summary`].
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in self.rows() {
            writeln!(f, "{name:<24}{value}")?;
        }
        write!(f, "{}", self.summary())
    }
}

fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}

fn share(whole: u64, part: u64, what: &str) -> String {
    format!("{whole}, {:.0}% {what}", 100.0 * ratio(part, whole))
}
