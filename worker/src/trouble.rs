//! Which failures are the machine's own, so that another machine may do better: the program is missing, the
//! disk is full, the licence server says no.

use stageline::Code;
use stageline::protocol::outcome::{Failure, Outcome};

use crate::breaker::Finding;

/// Engines whose tasks name the program by themselves: that it is missing says something of the task.
const TASK_NAMES_PROGRAM: [&str; 1] = ["command"];

/// Engines that run a program of their own, whose words about licences are about the machine's.
const OWN_PROGRAM: [&str; 4] = ["lammps", "openfoam", "quantum-espresso", "vasp"];

/// The engine whose program, docker or podman, is not told apart from what it runs by its exit code.
const CONTAINER: &str = "container";

/// What a full disk sounds like, in small letters.
const DISK_WORDS: [&str; 5] =
    ["no space left on device", "enospc", "os error 28", "errno 28", "disk quota exceeded"];

/// What goes with the word "licence" when it was not granted.
const LICENCE_WORDS: [&str; 9] = [
    "checkout",
    "check out",
    "expired",
    "denied",
    "invalid",
    "not available",
    "cannot connect",
    "no valid",
    "failed",
];

/// Bytes of the end of the standard error that are looked at.
const LOOKED_AT: usize = 16 * 1024;

/// A failure of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The engine's program is not there, or is not what it should be.
    Missing,
    /// It cannot be started.
    NotStarted,
    /// The worker's own doing.
    Fault,
    /// There is no room for what it writes.
    DiskFull,
    /// It may not run here, or not now.
    Licence,
    /// The operator's own check says no.
    Hook,
}

impl Trouble {
    /// Whether the same task may do better on another machine, so that it should not fail by it. A fault of
    /// the worker's code may be the task's output's doing: it is tried again by the task's own policy alone,
    /// or one task would go through all workers.
    pub fn is_worth_another_worker(self) -> bool {
        self != Trouble::Fault
    }
}

/// Whether a failure of a task of `engine` is the machine's. `stderr` is the end of what it said. That a disk is
/// full is only what was said: the disk itself decides ([`disproved`]).
pub(crate) fn trouble(engine: &str, failure: &Failure, stderr: &str) -> Option<Trouble> {
    let names_program = TASK_NAMES_PROGRAM.contains(&engine);
    let process_failed = has_run(failure);
    match failure.code {
        Code::EngineMissing if !names_program => return Some(Trouble::Missing),
        Code::SpawnFailed if !names_program => return Some(Trouble::NotStarted),
        Code::HookFailed => return Some(Trouble::Hook),
        // A container may print the runtime's words and exit as it does: by that a task would stop all others.
        Code::WorkerFault if engine == CONTAINER && process_failed => return None,
        Code::WorkerFault => {
            let full = says(&failure.message, &DISK_WORDS);
            return Some(if full { Trouble::DiskFull } else { Trouble::Fault });
        }
        _ => {}
    }
    // Words count where a process failed, and where the program is not the task's own. Those of the failure's
    // message do not: they may repeat the task's parameters.
    if !process_failed || names_program {
        return None;
    }
    let end = &stderr[stderr.ceil_char_boundary(stderr.len().saturating_sub(LOOKED_AT))..];
    let said = |words: fn(&str) -> bool| end.lines().any(words);
    if said(|line| says(line, &DISK_WORDS)) {
        Some(Trouble::DiskFull)
    } else if OWN_PROGRAM.contains(&engine) && said(speaks_of_licence) {
        Some(Trouble::Licence)
    } else {
        None
    }
}

/// Whether a process has ended by itself.
fn has_run(failure: &Failure) -> bool {
    failure.exit_code.is_some() || failure.signal.is_some()
}

fn says(text: &str, words: &[&str]) -> bool {
    let text = text.to_lowercase();
    words.iter().any(|word| text.contains(word))
}

/// A line that says that there is no licence. Programs also print the licence that they are under.
fn speaks_of_licence(line: &str) -> bool {
    says(line, &["license", "licence", "flexnet", "flexlm"]) && says(line, &LICENCE_WORDS)
}

/// What an outcome shows of its engine, and the failure of the machine when it is one.
pub(crate) fn finding(engine: &str, outcome: &Outcome, stderr: &str) -> (Finding, Option<Trouble>) {
    match outcome {
        Outcome::Succeeded { .. } | Outcome::TimedOut { .. } => (Finding::Works, None),
        Outcome::Failed(failure) => match trouble(engine, failure, stderr) {
            Some(trouble) => (Finding::Broken, Some(trouble)),
            // What failed by itself has run. What was refused before says nothing of the engine, and neither
            // does a runtime that perhaps was not reached.
            None if has_run(failure) && failure.code != Code::WorkerFault => (Finding::Works, None),
            None => (Finding::Nothing, None),
        },
        Outcome::Interrupted | Outcome::Lost | Outcome::Cancelled | Outcome::HandedBack { .. } => {
            (Finding::Nothing, None)
        }
    }
}

/// What an outcome shows that speaks of a full disk where there is room on it: a task can write these words. A
/// fault of the worker stays one.
pub(crate) fn disproved(outcome: &Outcome) -> (Finding, Option<Trouble>) {
    match outcome {
        Outcome::Failed(failure) if failure.code == Code::WorkerFault => {
            (Finding::Broken, Some(Trouble::Fault))
        }
        _ => (Finding::Nothing, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exited(message: &str) -> Failure {
        Failure { exit_code: Some(1), ..Failure::fatal(Code::ExitNonZero, message) }
    }

    #[test]
    fn what_is_missing_is_the_machines_unless_the_task_named_it() {
        let failed = |code| Failure::fatal(code, "x");
        assert_eq!(trouble("lammps", &failed(Code::EngineMissing), ""), Some(Trouble::Missing));
        assert_eq!(trouble("vasp", &failed(Code::SpawnFailed), ""), Some(Trouble::NotStarted));
        for code in [Code::EngineMissing, Code::SpawnFailed, Code::InputMissing, Code::ExitNonZero] {
            assert_eq!(trouble("command", &failed(code), ""), None, "{code}");
        }
        assert_eq!(trouble("lammps", &failed(Code::InputMissing), ""), None);
        assert_eq!(trouble("command", &failed(Code::WorkerFault), ""), Some(Trouble::Fault));
        assert_eq!(trouble("command", &failed(Code::HookFailed), ""), Some(Trouble::Hook));
        let full = Failure::of_the_worker(
            "the job folder cannot be prepared: No space left on device (os error 28)",
        );
        assert_eq!(trouble("command", &full, ""), Some(Trouble::DiskFull));
    }

    #[test]
    fn words_of_the_engines_own_program_are_understood() {
        for (engine, stderr, expected) in [
            ("lammps", "write failed: No space left on device", Some(Trouble::DiskFull)),
            ("python", "OSError: [Errno 28] No space left on device", Some(Trouble::DiskFull)),
            ("vasp", "forrtl: Disk quota exceeded", Some(Trouble::DiskFull)),
            ("vasp", "License checkout failed (-5,357)", Some(Trouble::Licence)),
            ("lammps", "your licence has expired", Some(Trouble::Licence)),
            ("openfoam", "FLEXnet: cannot connect to server", Some(Trouble::Licence)),
            ("lammps", "distributed under the GNU General Public License", None),
            ("lammps", "License: GPL\nERROR: neighbour list failed", None),
            ("python", "my own licence checkout failed", None),
            ("command", "No space left on device", None),
            ("lammps", "ERROR: Lost atoms", None),
        ] {
            assert_eq!(trouble(engine, &exited("exit"), stderr), expected, "{engine}: {stderr}");
        }
        let before = Failure::fatal(Code::InputMissing, "no licence.txt: checkout failed");
        assert_eq!(trouble("lammps", &before, ""), None, "no process has said it");
    }

    #[test]
    fn words_that_may_be_the_tasks_own_are_none_of_the_machines() {
        for words in ["`params.x` No space left on device", "`params.x` licence checkout failed"] {
            assert_eq!(trouble("lammps", &exited(words), ""), None, "{words}");
        }
    }

    #[test]
    fn a_container_cannot_pass_for_a_runtime_that_is_not_reached() {
        let fault = Failure::of_the_worker("docker: Cannot connect to the Docker daemon");
        let printed = Failure { exit_code: Some(125), ..fault.clone() };
        let found = |engine, failure: &Failure| finding(engine, &Outcome::Failed(failure.clone()), "");
        assert_eq!(found("container", &printed), (Finding::Nothing, None));
        assert_eq!(found("container", &fault), (Finding::Broken, Some(Trouble::Fault)));
        assert_eq!(found("lammps", &printed), (Finding::Broken, Some(Trouble::Fault)));
    }

    #[test]
    fn a_disk_with_room_makes_a_fault_no_less_and_words_nothing() {
        let of = |failure| disproved(&Outcome::Failed(failure));
        assert_eq!(of(exited("OSError: [Errno 28]")), (Finding::Nothing, None));
        let fault = Failure::of_the_worker("Disk quota exceeded");
        assert_eq!(of(fault), (Finding::Broken, Some(Trouble::Fault)));
    }

    #[test]
    fn the_end_of_a_long_stderr_is_cut_at_a_character() {
        let stderr = format!("{}\nNo space left on device", "é".repeat(20_001));
        assert_eq!(trouble("lammps", &exited("exit"), &stderr), Some(Trouble::DiskFull));
    }

    #[test]
    fn an_engine_that_runs_works_whatever_its_task_comes_to() {
        let of = |outcome: Outcome| finding("lammps", &outcome, "").0;
        assert_eq!(of(Outcome::Succeeded { result: serde_json::Value::Null }), Finding::Works);
        assert_eq!(of(Outcome::Failed(exited("ERROR: Lost atoms"))), Finding::Works);
        assert_eq!(of(Outcome::TimedOut { seconds: 1, soft: false }), Finding::Works);
        assert_eq!(of(Outcome::Failed(Failure::fatal(Code::InputMissing, "x"))), Finding::Nothing);
        assert_eq!(of(Outcome::Failed(Failure::fatal(Code::EngineMissing, "x"))), Finding::Broken);
        for outcome in [Outcome::Interrupted, Outcome::Cancelled] {
            assert_eq!(of(outcome), Finding::Nothing);
        }
    }
}
