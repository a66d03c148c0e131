//! The exit codes of the command line (`docs/cli.md` has the same table).

use std::process::ExitCode;

/// What a command's end means to a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Success,
    /// Something went wrong that has no code of its own.
    Error,
    /// The arguments or the task are invalid, or the task is not in a state for it; nothing was written.
    /// (clap uses the same code.)
    Invalid,
    /// The watched task ended, and not as COMPLETED.
    NotCompleted,
    /// There is no such task.
    NotFound,
    /// AWS did not answer, or refused.
    Aws,
    /// A port is taken, or a folder cannot be written.
    Environment,
    /// `doctor` found a problem, or could not repair one.
    Problem,
    /// Interrupted from the keyboard.
    Interrupted,
}

impl Exit {
    /// The code.
    pub const fn code(self) -> u8 {
        match self {
            Exit::Success => 0,
            Exit::Error => 1,
            Exit::Invalid => 2,
            Exit::NotCompleted => 3,
            Exit::NotFound => 4,
            Exit::Aws => 5,
            Exit::Environment => 6,
            Exit::Problem => 7,
            Exit::Interrupted => 130,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit.code())
    }
}
