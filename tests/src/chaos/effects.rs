//! What the tasks' processes left in files of their own: which executions there were, whatever the database
//! says.

use std::io;
use std::path::Path;

/// One execution's word: of which attempt, under which worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Execution {
    /// The attempt.
    pub attempt: u64,
    /// The worker's id.
    pub worker: String,
}

/// The executions of one task.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// Those that began.
    pub started: Vec<Execution>,
    /// Those that did all they were to do.
    pub finished: Vec<Execution>,
}

impl Effects {
    /// Reads the file of the task `id`; one that is not there has no executions.
    ///
    /// # Errors
    /// It is there and cannot be read.
    pub fn read(folder: &Path, id: &str) -> io::Result<Self> {
        match std::fs::read_to_string(folder.join(id)) {
            Ok(text) => Ok(Self::of(&text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }

    fn of(text: &str) -> Self {
        let mut effects = Self::default();
        for line in text.lines() {
            let mut words = line.split(' ');
            let (Some(what), Some(Ok(attempt)), Some(worker)) =
                (words.next(), words.next().map(str::parse), words.next())
            else {
                continue;
            };
            let execution = Execution { attempt, worker: worker.to_owned() };
            match what {
                "started" => effects.started.push(execution),
                "finished" => effects.finished.push(execution),
                _ => {}
            }
        }
        effects
    }

    /// Whether this attempt, under this worker, did all it was to do.
    pub fn has_finished(&self, attempt: u64, worker: &str) -> bool {
        self.finished.iter().any(|execution| execution.attempt == attempt && execution.worker == worker)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_execution_is_known_by_its_attempt_and_worker() {
        let effects =
            Effects::of("started 1 a:1:x\nfailed 1 a:1:x\nstarted 2 b:1:y\nfinished 2 b:1:y\nstarted 3");
        assert_eq!((effects.started.len(), effects.finished.len()), (2, 1));
        assert!(effects.has_finished(2, "b:1:y"));
        assert!(!effects.has_finished(2, "a:1:x") && !effects.has_finished(1, "a:1:x"));
    }
}
