//! The breakers of a worker's engines: who is admitted, what a failure of the machine means for its task, and
//! what the heartbeat says.
//!
//! A command does not say which engine its task needs, so that is known only after the claim. A task that the
//! worker cannot run is handed back by the ordinary event for tasks whose worker stops: it starts over without
//! being charged a failure.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::sys::statvfs::statvfs;
use stageline::protocol::due::LONGEST_SQS_DELAY;
use stageline::protocol::outcome::{Failure, Outcome};
use stageline::task::{ErrorKind, Task};
use stageline::{At, Clock, Code};
use tracing::{info, warn};

use crate::Config;
use crate::breaker::{Admission, Breaker, Change, Finding, Rules};
use crate::context::Context;
use crate::fleet::another_may_run;
use crate::trouble::{Trouble, disproved, finding};

/// How long a task that was handed back after a failure waits at first, and at most. It doubles each time.
const FIRST_WAIT: Duration = Duration::from_secs(2);
const LONGEST_WAIT: Duration = Duration::from_secs(120);
/// The longest that a task waits whose engine does not work here, while another worker may run it.
const HAND_OVER: Duration = Duration::from_secs(5);
/// How much longer than that the slot takes nothing that handed it back.
const HEAD_START: Duration = Duration::from_secs(1);
/// A disk with less room is full.
const LEAST_ROOM_BYTES: u64 = 64 * 1024 * 1024;

struct Known {
    breaker: Breaker,
    /// The last failure, for people.
    why: String,
}

/// The breakers of all engines that have failed here.
pub(crate) struct Breakers {
    rules: Rules,
    clock: Clock,
    known: Mutex<BTreeMap<String, Known>>,
}

/// The right to run one task, until it is settled or dropped.
pub(crate) struct Permit<'a> {
    breakers: &'a Breakers,
    engine: &'a str,
    probe: bool,
    settled: bool,
}

/// No task of the engine is run now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    wait: Duration,
    why: String,
}

impl Breakers {
    pub fn new(config: &Config, clock: Clock) -> Self {
        let rules = Rules {
            failures: config.breaker_failures,
            first_pause: Duration::from_secs(config.breaker_pause_seconds),
            // Also the longest that a message waits on its queue.
            longest_pause: LONGEST_SQS_DELAY,
        };
        Self { rules, clock, known: Mutex::default() }
    }

    // Each change under the lock is one call, which a panic cannot leave half-done.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for the right to run a task of `engine`.
    pub fn admit<'a>(&'a self, engine: &'a str) -> Result<Permit<'a>, Refusal> {
        let mut known = self.lock();
        // Only engines that have failed have a breaker: anybody can write names into the table.
        let Some(Known { breaker, why }) = known.get_mut(engine) else {
            return Ok(self.permit(engine, false));
        };
        match breaker.admit(self.clock.now()) {
            Admission::Go => Ok(self.permit(engine, false)),
            Admission::Probe => {
                info!(engine, "one task is tried, to see whether the engine works again");
                Ok(self.permit(engine, true))
            }
            Admission::Wait(wait) => Err(Refusal { wait, why: why.clone() }),
        }
    }

    fn permit<'a>(&'a self, engine: &'a str, probe: bool) -> Permit<'a> {
        Permit { breakers: self, engine, probe, settled: false }
    }

    fn settle(&self, engine: &str, probe: bool, found: Finding, why: &str) {
        let mut known = self.lock();
        if found == Finding::Broken {
            let breaker = Breaker::new(self.rules);
            let entry =
                known.entry(engine.to_owned()).or_insert_with(|| Known { breaker, why: String::new() });
            why.clone_into(&mut entry.why);
        }
        let Some(Known { breaker, .. }) = known.get_mut(engine) else { return };
        match breaker.settle(probe, found, self.clock.now()) {
            Some(Change::Opened(pause)) => {
                warn!(
                    engine,
                    ?pause,
                    why,
                    "the engine does not work here; none of its tasks is run for a while"
                );
            }
            Some(Change::Closed) => info!(engine, "the engine works again; its tasks are run"),
            None => {}
        }
    }

    /// Engines whose tasks are not run, and until when.
    pub fn broken(&self) -> BTreeMap<String, At> {
        let known = self.lock();
        known.iter().filter_map(|(engine, k)| Some((engine.clone(), k.breaker.open_until()?))).collect()
    }
}

impl Permit<'_> {
    fn settle(mut self, found: Finding, why: &str) {
        self.settled = true;
        self.breakers.settle(self.engine, self.probe, found, why);
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        // Abandoned half-way: another one may probe.
        if !self.settled {
            self.breakers.settle(self.engine, self.probe, Finding::Nothing, "");
        }
    }
}

/// What becomes of a task whose engine does not work here. While another worker may run it, it costs nothing:
/// that one may be busy for as long as it likes. When none is left, it counts as an interruption, so that the
/// task ends one day, with the reason.
pub(crate) async fn refused(context: &Context, task: &Task, refusal: Refusal) -> Outcome {
    let another = another_may_run(context, task.engine()).await;
    let elsewhere = if another { "another worker may run it" } else { "no other worker is known to run it" };
    let message = format!(
        "the engine {:?} does not work on its worker ({}); {elsewhere}, and this one tries again in {} s",
        task.engine(),
        refusal.why,
        refusal.wait.as_secs().max(1)
    );
    info!(engine = task.engine(), wait = ?refusal.wait, another, "handed back: the engine does not work here");
    let kind = ErrorKind::Retryable;
    let failure = Failure { kind, ..Failure::fatal(Code::EngineUnavailable, message) };
    let longest = if another { HAND_OVER } else { LONGEST_SQS_DELAY };
    Outcome::HandedBack { failure, wait: refusal.wait.clamp(FIRST_WAIT, longest), charged: !another }
}

/// How long the slot that handed a task back takes nothing: a worker that runs nothing is free more often than
/// the others, and would take the same task again and again.
pub(crate) fn yields(outcome: &Outcome) -> Duration {
    match outcome {
        // Nobody else is there to take it.
        Outcome::HandedBack { failure, charged: true, .. } if failure.code == Code::EngineUnavailable => {
            Duration::ZERO
        }
        Outcome::HandedBack { wait, .. } => (*wait).min(HAND_OVER) + HEAD_START,
        _ => Duration::ZERO,
    }
}

/// Settles the permit by what came of the attempt. A failure of the machine goes to another worker when there
/// is one that may do better.
pub(crate) async fn judged(
    context: &Context,
    task: &Task,
    permit: Permit<'_>,
    outcome: Outcome,
    stderr: &str,
) -> Outcome {
    let (found, trouble) = match finding(task.engine(), &outcome, stderr) {
        (_, Some(Trouble::DiskFull)) if has_room(context).await => disproved(&outcome),
        seen => seen,
    };
    let why = match &outcome {
        Outcome::Failed(failure) => format!("{}: {}", failure.code, failure.message),
        _ => String::new(),
    };
    permit.settle(found, &why);
    match (outcome, trouble) {
        (Outcome::Failed(failure), Some(trouble)) => {
            let hands_back =
                trouble.is_worth_another_worker() && another_may_run(context, task.engine()).await;
            warn!(
                ?trouble,
                engine = task.engine(),
                hands_back,
                "a failure of this machine: {}",
                failure.message
            );
            if hands_back {
                Outcome::HandedBack { failure, wait: wait_after(task), charged: true }
            } else {
                Outcome::Failed(failure)
            }
        }
        (outcome, _) => outcome,
    }
}

/// Whether there is room where jobs write.
async fn has_room(context: &Context) -> bool {
    let work_dir = context.config.work_dir.clone();
    tokio::task::spawn_blocking(move || has_room_at(&work_dir)).await.unwrap_or(false)
}

/// A disk that does not answer has none.
fn has_room_at(path: &Path) -> bool {
    statvfs(path).is_ok_and(|disk| {
        let bytes = disk.blocks_available().saturating_mul(disk.fragment_size());
        // Some file systems do not count their inodes.
        bytes >= LEAST_ROOM_BYTES && (disk.files() == 0 || disk.files_available() > 0)
    })
}

fn wait_after(task: &Task) -> Duration {
    let doubled = 1u32.checked_shl(task.interruptions.unwrap_or(0)).unwrap_or(u32::MAX);
    FIRST_WAIT.saturating_mul(doubled).min(LONGEST_WAIT)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;

    fn breakers() -> (Breakers, Arc<AtomicI64>) {
        let time = Arc::new(AtomicI64::new(0));
        let clock = Clock::of({
            let time = Arc::clone(&time);
            move || At::from_millis(time.load(Ordering::Relaxed))
        });
        (Breakers::new(&Config::default(), clock), time)
    }

    fn fail(breakers: &Breakers, engine: &str) {
        breakers.admit(engine).unwrap().settle(Finding::Broken, "ENGINE_MISSING: no lmp");
    }

    #[test]
    fn one_engine_that_does_not_work_keeps_no_other_from_running() {
        let (breakers, time) = breakers();
        (0..3).for_each(|_| fail(&breakers, "lammps"));
        let refusal = breakers.admit("lammps").err().unwrap();
        assert_eq!((refusal.wait.as_secs(), refusal.why.as_str()), (30, "ENGINE_MISSING: no lmp"));
        assert!(breakers.admit("vasp").is_ok());
        assert_eq!(breakers.broken(), BTreeMap::from([("lammps".to_owned(), At::from_millis(30_000))]));
        time.store(30_000, Ordering::Relaxed);
        breakers.admit("lammps").unwrap().settle(Finding::Works, "");
        assert!(breakers.broken().is_empty() && breakers.admit("lammps").is_ok());
    }

    #[test]
    fn a_probe_that_is_abandoned_makes_way_for_another_one() {
        let (breakers, time) = breakers();
        (0..3).for_each(|_| fail(&breakers, "lammps"));
        time.store(30_000, Ordering::Relaxed);
        let probe = breakers.admit("lammps").unwrap();
        assert!(probe.probe && breakers.admit("lammps").is_err());
        drop(probe);
        assert!(breakers.admit("lammps").unwrap().probe);
    }

    #[test]
    fn names_of_engines_that_never_failed_are_not_remembered() {
        let (breakers, _time) = breakers();
        (0..100).for_each(|n| drop(breakers.admit(&format!("engine-{n}"))));
        assert!(breakers.lock().is_empty());
    }

    #[test]
    fn a_slot_lets_another_worker_have_what_it_handed_back_when_there_is_one() {
        let back = |code, seconds, charged| {
            let failure = Failure::fatal(code, "x");
            yields(&Outcome::HandedBack { failure, wait: Duration::from_secs(seconds), charged }).as_secs()
        };
        assert_eq!(back(Code::EngineMissing, 2, true), 3);
        assert_eq!(back(Code::EngineMissing, 120, true), 6);
        assert_eq!(back(Code::EngineUnavailable, 5, false), 6);
        assert_eq!(back(Code::EngineUnavailable, 900, true), 0);
        assert_eq!(yields(&Outcome::Interrupted), Duration::ZERO);
    }

    #[test]
    fn the_disk_itself_says_whether_there_is_room() {
        assert!(!has_room_at(Path::new("/absent")));
        // It has no blocks at all.
        assert!(!has_room_at(Path::new("/proc")));
        let disk = statvfs("/").unwrap();
        assert_eq!(has_room_at(Path::new("/")), disk.blocks_available() * disk.fragment_size() >= 64 << 20);
    }

    #[test]
    fn a_task_that_was_handed_back_waits_longer_each_time() {
        let waits: Vec<_> = [0, 1, 2, 5, 6, 40, u32::MAX]
            .map(|before| {
                let mut task = Task::new("t".parse().unwrap());
                task.interruptions = Some(before);
                wait_after(&task).as_secs()
            })
            .to_vec();
        assert_eq!(waits, [2, 4, 8, 64, 120, 120, 120]);
    }
}
