//! How a process ended, and what that alone says.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use stageline::Code;
use stageline::protocol::outcome::Failure;
use stageline::task::ErrorKind;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    /// Its exit code, if it exited.
    pub code: Option<i32>,
    /// The signal that ended it, if one did.
    pub signal: Option<i32>,
}

/// What a wrapper exits with when the program behind it is not executable, or is not there.
const CANNOT_EXECUTE: i32 = 126;
const NOT_FOUND: i32 = 127;

impl From<ExitStatus> for Exit {
    fn from(status: ExitStatus) -> Self {
        Self { code: status.code(), signal: status.signal() }
    }
}

impl Exit {
    /// The class of the failure that the way it ended is, where its engine says nothing of its own.
    pub fn kind(self) -> ErrorKind {
        match self.code {
            Some(CANNOT_EXECUTE | NOT_FOUND) => ErrorKind::Fatal,
            _ => ErrorKind::Retryable,
        }
    }

    /// The failure that the way it ended is by itself; `None` for exit code 0. `said` is what the engine
    /// said last on its standard error.
    pub fn failure(self, program: &str, said: &str) -> Option<Failure> {
        let said = said.trim();
        let said = if said.is_empty() { String::new() } else { format!(": {said}") };
        let (code, message) = match (self.code, self.signal) {
            (Some(0), _) => return None,
            (Some(code), _) => (Code::ExitNonZero, format!("{program} ended with exit code {code}{said}")),
            (None, Some(signal)) => {
                (Code::ExitSignal, format!("{program} was ended by signal {signal}{said}"))
            }
            (None, None) => (Code::ExitSignal, format!("{program} ended in an unknown way{said}")),
        };
        Some(Failure { code, message, kind: self.kind(), exit_code: self.code, signal: self.signal })
    }
}

/// The failure of a program that has said by the progress contract that its solution has diverged. `exit` is how it
/// ended, once it has: even exit code 0 is none of a good solution.
pub(super) fn said_to_diverge(reason: Option<&str>, exit: Option<Exit>) -> Option<Failure> {
    let failure = Failure::fatal(Code::Diverged, reason?);
    let (exit_code, signal) = exit.map_or((None, None), |exit| (exit.code, exit.signal));
    Some(Failure { exit_code, signal, ..failure })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_exit_code_zero_is_no_failure() {
        let exit = |code, signal| Exit { code, signal }.failure("x", " said \n");
        assert_eq!(exit(Some(0), None), None);
        assert_eq!(exit(Some(3), None).unwrap().message, "x ended with exit code 3: said");
        assert_eq!(exit(None, Some(9)).unwrap().code, Code::ExitSignal);
    }

    #[test]
    fn a_program_that_cannot_be_started_is_not_worth_a_retry() {
        for (code, signal, kind) in [
            (Some(126), None, ErrorKind::Fatal),
            (Some(127), None, ErrorKind::Fatal),
            (Some(1), None, ErrorKind::Retryable),
            (Some(128), None, ErrorKind::Retryable),
            (None, Some(11), ErrorKind::Retryable),
        ] {
            assert_eq!(Exit { code, signal }.failure("x", "").unwrap().kind, kind, "{code:?} {signal:?}");
        }
    }
}
