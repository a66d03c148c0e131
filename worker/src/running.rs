//! What the worker runs right now: each task with the message that brought it, until that message is
//! deleted.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use stageline::At;
use stageline::task::{Attempt, Task, TaskId};

use crate::acknowledge::Handle;

struct Entry {
    since: At,
    /// The message, while it is still on the queue.
    message: Option<Handle>,
}

/// The running attempts. A task can be there twice for a moment: an attempt that lost its task is still
/// ending while this same worker has claimed the next.
#[derive(Default)]
pub(crate) struct Running(Mutex<BTreeMap<(TaskId, Attempt), Entry>>);

impl Running {
    // A panic while the lock was held cannot leave the map half-changed: each change is one call.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<(TaskId, Attempt), Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn begin(&self, task: &Task, since: At, message: Handle) {
        self.lock().insert(key(task), Entry { since, message: Some(message) });
    }

    /// Takes the task out; gives its message when that is still to be deleted.
    pub fn end(&self, task: &Task) -> Option<Handle> {
        self.lock().remove(&key(task))?.message
    }

    pub fn count(&self) -> usize {
        self.lock().len()
    }

    /// The tasks that have run since `before` or longer, in order.
    pub fn older_than(&self, before: At) -> Vec<TaskId> {
        let entries = self.lock();
        let old = entries.iter().filter(|(_, entry)| entry.since <= before);
        let mut ids: Vec<_> = old.map(|((id, _), _)| id.clone()).collect();
        ids.dedup();
        ids
    }

    /// The messages of `listed` tasks, which the registry remembers now.
    pub fn release(&self, listed: &[TaskId]) -> Vec<Handle> {
        let mut entries = self.lock();
        let remembered = entries.iter_mut().filter(|((id, _), _)| listed.contains(id));
        remembered.filter_map(|(_, entry)| entry.message.take()).collect()
    }
}

fn key(task: &Task) -> (TaskId, Attempt) {
    (task.id.clone(), task.attempt)
}
