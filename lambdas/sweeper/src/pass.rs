//! One call's work and what it has done so far.

use std::collections::HashSet;

use stageline::aws::{Aws, AwsError, Deployment};
use stageline::protocol::dispatch::Triage;
use stageline::{At, Clock};
use stageline_dispatcher::Dispatcher;
use tracing::{error, warn};

use crate::due::DueIndex;
use crate::{Limits, Report};

/// Who the sweeper is in the tasks' histories.
pub(crate) const BY: &str = "sweeper";

/// AWS calls at once: enough to hide their latency, few enough not to throttle a small table.
pub(crate) const CALLS_AT_ONCE: usize = 16;

/// One call's work and what it has done so far.
pub(crate) struct Pass<'a> {
    pub aws: &'a Aws,
    pub deployment: &'a Deployment,
    pub dispatcher: &'a Dispatcher,
    pub clock: &'a Clock,
    pub due_index: &'a DueIndex,
    pub limits: Limits,
    /// Whether the scan must see every write that came before it.
    pub consistent: bool,
    /// When all queues were lost, if they were: what was sent before is gone.
    pub queues_lost: Option<At>,
    pub report: Report,
    /// Tasks that this call has moved: what a page of the scan says of them is older.
    pub handled: HashSet<String>,
    /// How many more tasks may be rescued.
    pub rescues_left: usize,
    /// Is told what has been done after each page of the repair scan.
    pub on_page: &'a OnPage,
}

/// Is told what has been done so far, for somebody who waits for the end.
pub type OnPage = dyn Fn(&Report) + Send + Sync;

impl Pass<'_> {
    /// Takes note of a failed part; the others go on.
    pub fn failed(&mut self, what: &'static str, error: &AwsError) {
        self.report.errors += 1;
        error!(%error, "{what}");
    }

    /// Carries out decisions; the ones that were.
    pub async fn carry_out(&mut self, decided: Vec<Triage>) -> Vec<Kind> {
        let kinds: Vec<_> = decided.iter().map(|triage| (key_of(triage), Kind::of(triage))).collect();
        let failed: HashSet<String> = match self.dispatcher.repair(decided).await {
            Ok(()) => HashSet::new(),
            Err(ids) => {
                warn!(tasks = ?ids, "not repaired; a later sweep tries again");
                ids.into_iter().collect()
            }
        };
        self.report.errors += failed.len();
        let done: Vec<_> = kinds.into_iter().filter(|(key, _)| !failed.contains(key)).collect();
        let (keys, kinds): (Vec<_>, Vec<_>) = done.into_iter().unzip();
        self.handled.extend(keys);
        kinds
    }

    /// Carries out what the repair scan found, and counts it.
    pub async fn repair(&mut self, found: Vec<Triage>) {
        for kind in self.carry_out(found).await {
            let counter = match kind {
                Kind::Send => &mut self.report.sent_again,
                Kind::Defer => &mut self.report.deferred,
                Kind::Reject => &mut self.report.rejected,
                Kind::Cancel => &mut self.report.cancelled,
                Kind::Hold => &mut self.report.held,
                Kind::Resume => &mut self.report.resumed,
                Kind::Signal => &mut self.report.signals,
                Kind::Other => continue,
            };
            *counter += 1;
        }
    }
}

/// What kind of decision was carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Send,
    Defer,
    Reject,
    Cancel,
    Hold,
    Resume,
    Signal,
    Other,
}

impl Kind {
    fn of(triage: &Triage) -> Self {
        match triage {
            Triage::Send(_) => Self::Send,
            Triage::Defer(_) => Self::Defer,
            Triage::Reject { .. } => Self::Reject,
            Triage::Cancel(_) => Self::Cancel,
            Triage::Hold(_) => Self::Hold,
            Triage::Resume(_) => Self::Resume,
            Triage::Signal { .. } => Self::Signal,
            Triage::Leave(_) | Triage::RunAgain { .. } => Self::Other,
        }
    }
}

fn key_of(triage: &Triage) -> String {
    match triage {
        Triage::Send(dispatch) => dispatch.task.id.to_string(),
        Triage::Defer(task) | Triage::Cancel(task) | Triage::Hold(task) | Triage::Resume(task) => {
            task.id.to_string()
        }
        Triage::Reject { id, .. } => id.clone(),
        Triage::RunAgain { id, .. } | Triage::Signal { id, .. } => id.to_string(),
        Triage::Leave(_) => String::new(),
    }
}
