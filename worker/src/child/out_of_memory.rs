//! Whether a process that failed had run out of memory: by how it ended, what the kernel counted meanwhile, and
//! what it said last.

use std::fs;

use stageline::protocol::outcome::Failure;
use stageline::task::ErrorKind;
use stageline::{Code, Rejection};

const KILL: i32 = 9;
/// 128 and the signal: what `mpirun`, shells and the sandbox exit with for a process that was killed.
const EXIT_OF_KILLED: i32 = 128 + KILL;
/// What programs and their libraries say when memory is refused to them, in small letters.
const REFUSED: [&str; 13] = [
    "std::bad_alloc",
    "memoryerror",
    "outofmemoryerror",
    "cannot allocate memory",
    "out of memory",
    "memory allocation of",
    "failed to allocate",
    "could not allocate",
    "unable to allocate",
    "error allocating",
    "insufficient virtual memory",
    "allocation would exceed memory limit",
    "cudaerrormemoryallocation",
];
/// How much of the end of standard error may hold the reason: what comes after it are traces and MPI's words.
const LAST_LINES: usize = 40;

/// How often the kernel has ended a process for want of memory: on the whole host, and in the worker's control
/// group, which counts on its own where the host is shared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Kills([Option<u64>; 3]);

impl Kills {
    /// The counts so far; unknown where the kernel does not tell.
    pub fn counted() -> Self {
        let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let group = |controller: &str| {
            groups.lines().find_map(|line| {
                let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
                controllers.split(',').any(|name| name == controller).then(|| path.to_owned())
            })
        };
        let v2 = group("").map(|path| format!("/sys/fs/cgroup{path}/memory.events"));
        let v1 = group("memory").map(|path| format!("/sys/fs/cgroup/memory{path}/memory.oom_control"));
        let count = |path: Option<String>| oom_kills(&fs::read_to_string(path?).ok()?);
        Self([count(Some("/proc/vmstat".to_owned())), count(v2), count(v1)])
    }

    /// Whether any of the counts went up.
    pub fn rose_since(self, before: Self) -> bool {
        let pairs = before.0.into_iter().zip(self.0);
        pairs.into_iter().any(|(before, after)| matches!((before, after), (Some(b), Some(a)) if a > b))
    }
}

/// The line `oom_kill N` of the files that have one.
fn oom_kills(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

/// The failure for what it was: with the class of a want of memory where that was the reason. Only for failures
/// by the process's own end; `stderr` is the end of standard error, and `kernel_killed` whether the kernel ended
/// a process meanwhile.
pub(super) fn recognised(failure: Failure, stderr: &str, kernel_killed: bool) -> Failure {
    let by_its_end = matches!(failure.exit_code, Some(code) if code != 0) || failure.signal.is_some();
    if !by_its_end || failure.code == Code::OutOfMemory {
        return failure;
    }
    let killed = failure.signal == Some(KILL) || failure.exit_code == Some(EXIT_OF_KILLED);
    let why = if killed && kernel_killed {
        "the kernel ended a process for want of memory while it ran"
    } else if has_words(&failure, stderr) {
        "memory was refused to it"
    } else {
        return failure;
    };
    let message = format!(
        "out of memory: {why}; raise `resources.memoryMb` or `resources.addressSpaceMb` if it has one, give the \
         worker fewer slots or a larger machine, or make the task smaller: {}",
        failure.message
    );
    let message = Rejection::new(Code::OutOfMemory, message).message;
    Failure { code: Code::OutOfMemory, kind: ErrorKind::OutOfMemory, message, ..failure }
}

fn has_words(failure: &Failure, stderr: &str) -> bool {
    let refused = |text: &str| {
        let text = text.to_lowercase();
        REFUSED.iter().any(|words| text.contains(words))
    };
    // An engine that has found a reason knows better than the text around it.
    let is_plain = matches!(failure.code, Code::ExitNonZero | Code::ExitSignal);
    refused(&failure.message) || is_plain && stderr.lines().rev().take(LAST_LINES).any(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(code: Code, exit_code: Option<i32>, signal: Option<i32>) -> Failure {
        let kind = ErrorKind::Retryable;
        Failure { code, message: "x ended".to_owned(), kind, exit_code, signal }
    }

    fn code(failure: Failure, stderr: &str, kernel_killed: bool) -> Code {
        let kind = failure.kind;
        let seen = recognised(failure, stderr, kernel_killed);
        assert_eq!(seen.kind, if seen.code == Code::OutOfMemory { ErrorKind::OutOfMemory } else { kind });
        seen.code
    }

    #[test]
    fn a_kill_is_a_want_of_memory_only_if_the_kernel_counted_one() {
        for (exit_code, signal) in [(None, Some(9)), (Some(137), None)] {
            let killed = failure(Code::ExitSignal, exit_code, signal);
            assert_eq!(code(killed.clone(), "", true), Code::OutOfMemory);
            assert_eq!(code(killed, "", false), Code::ExitSignal);
        }
        assert_eq!(code(failure(Code::ExitSignal, None, Some(11)), "", true), Code::ExitSignal);
        assert_eq!(code(failure(Code::ExitNonZero, Some(1), None), "", true), Code::ExitNonZero);
    }

    #[test]
    fn the_words_of_many_languages_are_known() {
        for words in [
            "terminate called after throwing an instance of 'std::bad_alloc'\n  what():  std::bad_alloc",
            "MemoryError: Unable to allocate 7.45 GiB for an array",
            "sh: fork: Cannot allocate memory",
            "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB",
            "forrtl: severe (41): insufficient virtual memory",
            "Error allocating 8000000000 bytes\nError termination. Backtrace:",
            "memory allocation of 8589934592 bytes failed\n#0 ...\n",
            "ERROR on proc 0: Failed to allocate 1342177280 bytes for array atom:x",
        ] {
            assert_eq!(
                code(failure(Code::ExitSignal, None, Some(6)), words, false),
                Code::OutOfMemory,
                "{words}"
            );
        }
        assert_eq!(code(failure(Code::ExitNonZero, Some(1), None), "no such file", false), Code::ExitNonZero);
    }

    #[test]
    fn an_engines_own_reason_stands_unless_it_is_a_want_of_memory_itself() {
        let found = failure(Code::LammpsError, Some(1), None);
        assert_eq!(code(found.clone(), "a library: out of memory", false), Code::LammpsError);
        let message = "Failed to allocate 12 bytes for array (src/memory.cpp:66)".to_owned();
        assert_eq!(code(Failure { message, ..found }, "", false), Code::OutOfMemory);
    }

    #[test]
    fn what_did_not_end_by_itself_and_what_is_known_already_is_left_alone() {
        let by_the_worker = Failure::fatal(Code::SpawnFailed, "Cannot allocate memory");
        assert_eq!(recognised(by_the_worker.clone(), "out of memory", true), by_the_worker);
        let succeeded_too_early = failure(Code::LammpsIncomplete, Some(0), None);
        assert_eq!(code(succeeded_too_early, "out of memory", true), Code::LammpsIncomplete);
        let known = Failure { kind: ErrorKind::OutOfMemory, ..failure(Code::OutOfMemory, Some(137), None) };
        assert_eq!(recognised(known.clone(), "", true), known);
    }

    #[test]
    fn words_long_before_the_end_are_no_reason() {
        let stderr = format!("warning: out of memory, trying again\n{}", "line\n".repeat(LAST_LINES));
        assert_eq!(code(failure(Code::ExitNonZero, Some(1), None), &stderr, false), Code::ExitNonZero);
    }

    #[test]
    fn a_hostile_message_stays_bounded() {
        let message = "out of memory ".repeat(10_000);
        let seen = recognised(Failure { message, ..failure(Code::ExitNonZero, Some(1), None) }, "", false);
        assert!(seen.message.len() < 1_100);
    }

    #[test]
    fn each_count_counts_on_its_own() {
        let kills = |counts| Kills(counts);
        let before = kills([Some(3), None, Some(0)]);
        assert!(!before.rose_since(before));
        assert!(kills([Some(4), None, Some(0)]).rose_since(before));
        assert!(kills([Some(3), None, Some(1)]).rose_since(before));
        assert!(!kills([None, Some(9), None]).rose_since(before), "what was not known before says nothing");
    }

    #[test]
    fn the_kernels_files_are_read() {
        assert_eq!(oom_kills("nr_free_pages 1\noom_kill 12\nnuma_hit 3\n"), Some(12));
        assert_eq!(oom_kills("low 0\nhigh 0\nmax 3\noom 2\noom_kill 1\noom_group_kill 0\n"), Some(1));
        assert_eq!(oom_kills("oom_kill_disable 0\nunder_oom 0\noom_kill 5\n"), Some(5));
        assert_eq!(oom_kills("oom_kill many"), None);
        assert!(Kills::counted().0[0].is_some(), "this kernel counts");
    }
}
