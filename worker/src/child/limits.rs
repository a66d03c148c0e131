//! Limits that the kernel holds a process and all its descendants to, set by util-linux `prlimit`, which then
//! becomes the program. A library call could only set them on the worker itself, or needs unsafe code between
//! fork and exec.
//!
//! Memory is not among them: `RLIMIT_AS` counts what is mapped, used or not, and of each process alone. What a
//! tree really uses is watched instead (`memory.rs`).

use std::ffi::OsString;

use nix::sys::resource::{Resource, getrlimit};
use stageline::protocol::outcome::Failure;
use stageline::task::{ErrorKind, Task};

use crate::Config;

const MEBIBYTE: u64 = 1024 * 1024;
/// The signal for a file that grows too large, and what shells and wrappers exit with for it.
const FILE_TOO_LARGE: i32 = 25;
const EXIT_OF_FILE_TOO_LARGE: i32 = 128 + FILE_TOO_LARGE;

/// What one task may use: the less of what it asks for and what its worker gives to any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Of all processes together, in MiB.
    pub memory_mb: Option<u64>,
    /// Of each process, in MiB.
    pub address_space_mb: Option<u64>,
    /// Of each file, in MiB.
    pub file_size_mb: Option<u64>,
    /// Of the job folder, in MiB.
    pub disk_mb: Option<u64>,
    /// Of each process.
    pub open_files: Option<u32>,
    /// Of the user that the worker runs as.
    pub processes: Option<u32>,
}

impl Limits {
    /// Those of `task` on a worker with this configuration.
    pub fn of(task: &Task, config: &Config) -> Self {
        let asked = task.resources.clone().unwrap_or_default();
        let most = Self::of_any(config);
        Self {
            memory_mb: less(asked.memory_mb, most.memory_mb),
            address_space_mb: less(asked.address_space_mb, most.address_space_mb),
            file_size_mb: less(asked.file_size_mb, most.file_size_mb),
            disk_mb: less(asked.disk_mb, most.disk_mb),
            open_files: less(asked.open_files, most.open_files),
            processes: less(asked.processes, most.processes),
        }
    }

    /// Those of any task on a worker with this configuration.
    pub fn of_any(config: &Config) -> Self {
        Self {
            memory_mb: config.max_memory_mb,
            address_space_mb: config.max_address_space_mb,
            file_size_mb: config.max_file_size_mb,
            disk_mb: (config.job_quota_mb > 0).then_some(config.job_quota_mb),
            open_files: config.max_open_files,
            processes: config.max_processes,
        }
    }

    /// The arguments of `prlimit` before the program; none when there is nothing to set.
    pub fn arguments(&self, hard: impl Fn(Resource) -> u64) -> Option<Vec<OsString>> {
        let wanted = [
            ("--as", Resource::RLIMIT_AS, bytes(self.address_space_mb)),
            ("--fsize", Resource::RLIMIT_FSIZE, bytes(self.file_size_mb)),
            ("--nofile", Resource::RLIMIT_NOFILE, self.open_files.map(u64::from)),
            ("--nproc", Resource::RLIMIT_NPROC, self.processes.map(u64::from)),
        ];
        // Soft and hard: a program cannot take it back. Never above what the worker itself may have, which
        // the kernel would refuse.
        let set = wanted.into_iter().filter_map(|(option, resource, wanted)| {
            Some(OsString::from(format!("{option}={}", wanted?.min(hard(resource)))))
        });
        let mut arguments: Vec<_> = set.collect();
        if arguments.is_empty() {
            return None;
        }
        arguments.extend(["--core=0", "--"].map(OsString::from));
        Some(arguments)
    }

    /// Says of a failure that a limit was its reason, where the way it ended tells.
    pub fn explain(&self, failure: Failure) -> Failure {
        let too_large =
            failure.signal == Some(FILE_TOO_LARGE) || failure.exit_code == Some(EXIT_OF_FILE_TOO_LARGE);
        match self.file_size_mb {
            Some(limit) if too_large => Failure {
                message: format!(
                    "{} (it wrote a file larger than the {limit} MiB that it may; raise `resources.fileSizeMb`, or \
                     `max_file_size_mb` of the worker's configuration)",
                    failure.message
                ),
                // The next attempt writes the same file.
                kind: ErrorKind::Fatal,
                ..failure
            },
            _ => failure,
        }
    }
}

/// The worker's own hard limit, which a child cannot exceed.
pub(super) fn hard_limit(resource: Resource) -> u64 {
    getrlimit(resource).map_or(u64::MAX, |(_soft, hard)| hard)
}

fn less<T: Ord>(asked: Option<T>, most: Option<T>) -> Option<T> {
    match (asked, most) {
        (Some(asked), Some(most)) => Some(asked.min(most)),
        (asked, most) => asked.or(most),
    }
}

fn bytes(mebibytes: Option<u64>) -> Option<u64> {
    mebibytes.map(|n| n.saturating_mul(MEBIBYTE))
}

#[cfg(test)]
mod tests {
    use stageline::Code;
    use stageline::task::Resources;

    use super::*;

    fn limits(resources: Resources, config: &Config) -> Limits {
        let mut task = Task::new("t".parse().unwrap());
        task.resources = Some(resources);
        Limits::of(&task, config)
    }

    #[test]
    fn the_less_of_what_is_asked_for_and_what_is_given_counts() {
        let config = Config { max_memory_mb: Some(100), max_open_files: Some(64), ..Config::default() };
        let asked = Resources { memory_mb: Some(7), open_files: Some(9_999), ..Resources::default() };
        let of_both = limits(asked, &config);
        assert_eq!((of_both.memory_mb, of_both.open_files), (Some(7), Some(64)));
        let of_the_worker = limits(Resources::default(), &config);
        assert_eq!((of_the_worker.memory_mb, of_the_worker.processes), (Some(100), None));
    }

    #[test]
    fn without_a_limit_no_wrapper_is_needed() {
        let memory = Limits { memory_mb: Some(512), ..Limits::default() };
        assert_eq!(memory.arguments(|_| u64::MAX), None);
    }

    #[test]
    fn limits_are_bytes_and_never_above_the_workers_own() {
        let limits = Limits {
            address_space_mb: Some(u64::MAX),
            file_size_mb: Some(2),
            open_files: Some(5_000),
            processes: Some(10),
            ..Limits::default()
        };
        let hard = |resource| if resource == Resource::RLIMIT_NOFILE { 4_096 } else { u64::MAX };
        let expected =
            ["--as=18446744073709551615", "--fsize=2097152", "--nofile=4096", "--nproc=10", "--core=0", "--"];
        assert_eq!(limits.arguments(hard).unwrap(), expected);
    }

    #[test]
    fn a_file_that_grew_too_large_is_explained_where_there_is_a_limit() {
        let limited = Limits { file_size_mb: Some(3), ..Limits::default() };
        let failure = |exit_code, signal| Failure {
            kind: ErrorKind::Retryable,
            exit_code,
            signal,
            ..Failure::fatal(Code::ExitSignal, "sh was ended")
        };
        for (code, signal) in [(None, Some(25)), (Some(153), None)] {
            let explained = limited.explain(failure(code, signal));
            assert!(explained.message.contains("larger than the 3 MiB"), "{}", explained.message);
            assert_eq!(explained.kind, ErrorKind::Fatal);
            assert_eq!(Limits::default().explain(failure(code, signal)), failure(code, signal));
        }
        assert_eq!(limited.explain(failure(None, Some(9))), failure(None, Some(9)));
    }
}
