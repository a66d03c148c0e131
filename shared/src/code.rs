//! Stable error codes: what a record, a log line and the command line call a failure.
//!
//! A code never changes its meaning. `docs/errors.md` has a section for each (a test compares).

use std::fmt;

use serde::Serialize;

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $variant:ident = $text:literal,)+) => {
        /// The kinds of failure a Task record can carry.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Code {
            /// Every code, in the order of the documentation.
            pub const ALL: &[Code] = &[$(Code::$variant,)+];

            /// The code as records and documents write it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Code::$variant => $text,)+ }
            }
        }
    };
}

codes! {
    /// An attribute has the wrong type or an unreadable value.
    RecordMalformed = "RECORD_MALFORMED",
    /// The record, or one attribute of it, is larger than allowed.
    RecordTooLarge = "RECORD_TOO_LARGE",
    /// The `id` is empty, too long or has characters that no file name should have.
    IdInvalid = "ID_INVALID",
    /// The `target` is not one to five segments of letters, digits, `-`, `_` and `.`.
    TargetInvalid = "TARGET_INVALID",
    /// No pool takes the `target`.
    TargetUnroutable = "TARGET_UNROUTABLE",
    /// There is no engine of that name.
    EngineUnknown = "ENGINE_UNKNOWN",
    /// The engine needs an attribute that the record lacks, or cannot use one that it has.
    EngineInputInvalid = "ENGINE_INPUT_INVALID",
    /// The engine's program is not installed on the worker.
    EngineMissing = "ENGINE_MISSING",
    /// The worker takes no tasks of this engine for a while, because it does not work there.
    EngineUnavailable = "ENGINE_UNAVAILABLE",
    /// The command that the worker's operator has put before every attempt did not succeed.
    HookFailed = "HOOK_FAILED",
    /// The `command` is empty or its quoting is broken.
    CommandInvalid = "COMMAND_INVALID",
    /// The worker's configuration does not allow this program.
    CommandNotAllowed = "COMMAND_NOT_ALLOWED",
    /// The worker's configuration does not allow this image.
    ImageNotAllowed = "IMAGE_NOT_ALLOWED",
    /// There is no such image on the worker, or in its registry for this worker.
    ImageMissing = "IMAGE_MISSING",
    /// A path is absolute, climbs with `..` or leaves the inputs folder.
    PathUnsafe = "PATH_UNSAFE",
    /// A script or input file does not exist in the worker's inputs folder.
    InputMissing = "INPUT_MISSING",
    /// The content of an input is not what its `sha256` says.
    InputHashMismatch = "INPUT_HASH_MISMATCH",
    /// An input is larger than the worker takes.
    InputTooLarge = "INPUT_TOO_LARGE",
    /// An input could not be fetched from its address, though it may well be there.
    InputNotFetched = "INPUT_NOT_FETCHED",
    /// The task succeeded and did not leave a file that its `outputs` name.
    OutputMissing = "OUTPUT_MISSING",
    /// The task succeeded and what it left could not be stored.
    ArtifactNotStored = "ARTIFACT_NOT_STORED",
    /// The worker has not got what the task's `resources` ask for.
    ResourcesUnavailable = "RESOURCES_UNAVAILABLE",
    /// The process could not be started.
    SpawnFailed = "SPAWN_FAILED",
    /// The process ended with a non-zero exit code.
    ExitNonZero = "EXIT_NON_ZERO",
    /// The process was ended by a signal.
    ExitSignal = "EXIT_SIGNAL",
    /// A Python script ended in an exception.
    ScriptError = "SCRIPT_ERROR",
    /// LAMMPS reported an error in its input or its run.
    LammpsError = "LAMMPS_ERROR",
    /// LAMMPS ended without an error, with fewer steps than planned.
    LammpsIncomplete = "LAMMPS_INCOMPLETE",
    /// Quantum ESPRESSO reported an error in its input or its run.
    QeError = "QE_ERROR",
    /// Quantum ESPRESSO came to its end without convergence.
    QeNotConverged = "QE_NOT_CONVERGED",
    /// Quantum ESPRESSO stopped before its end, without an error.
    QeIncomplete = "QE_INCOMPLETE",
    /// VASP reported an error in its input or its run.
    VaspError = "VASP_ERROR",
    /// VASP came to its end without convergence.
    VaspNotConverged = "VASP_NOT_CONVERGED",
    /// VASP stopped before its end, without an error.
    VaspIncomplete = "VASP_INCOMPLETE",
    /// OpenFOAM reported a fatal error.
    OpenfoamError = "OPENFOAM_ERROR",
    /// OpenFOAM ended without an error, before its end time.
    OpenfoamIncomplete = "OPENFOAM_INCOMPLETE",
    /// The solution grew without bound, or became something that is no number.
    Diverged = "DIVERGED",
    /// The engines `mock` and `agent` were asked to fail.
    SimulatedFailure = "SIMULATED_FAILURE",
    /// The task ran longer than its `timeoutSeconds`.
    TimedOut = "TIMED_OUT",
    /// The engine stopped when its `softTimeoutSeconds` were over.
    SoftTimedOut = "SOFT_TIMED_OUT",
    /// The process needed more memory than it was allowed.
    OutOfMemory = "OUT_OF_MEMORY",
    /// The task's job folder took more of the disk than it may.
    DiskQuotaExceeded = "DISK_QUOTA_EXCEEDED",
    /// The worker was stopped while the task ran.
    Interrupted = "INTERRUPTED",
    /// The worker that ran the task was not heard of any more.
    WorkerLost = "WORKER_LOST",
    /// The task's workers were stopped or lost too often.
    InterruptedTooOften = "INTERRUPTED_TOO_OFTEN",
    /// Somebody asked for the task's end.
    Cancelled = "CANCELLED",
    /// The task's message was received many times and no worker could settle it.
    DeadLettered = "DEAD_LETTERED",
    /// The worker failed in a way that is not the task's doing.
    WorkerFault = "WORKER_FAULT",
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Why a record cannot be run: a stable code and a sentence that says what, where and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Rejection {
    /// The stable code.
    pub code: Code,
    /// What is wrong, where, and what to do about it.
    pub message: String,
}

impl Rejection {
    /// A rejection with its message bounded, since parts of it come from the record.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        const LONGEST_BYTES: usize = 1_000;
        let mut message = message.into();
        if message.len() > LONGEST_BYTES {
            message.truncate(message.floor_char_boundary(LONGEST_BYTES));
            message.push('…');
        }
        Self { code, message }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_section_in_the_documentation() {
        let page = include_str!("../../docs/errors.md");
        for code in Code::ALL {
            assert!(page.contains(&format!("### {code}\n")), "docs/errors.md lacks {code}");
        }
    }

    #[test]
    fn a_hostile_message_is_bounded_at_a_character() {
        let rejection = Rejection::new(Code::RecordMalformed, "é".repeat(10_000));
        assert!(rejection.message.len() < 1_010 && rejection.message.ends_with('…'));
    }
}
