//! What the worker runs right now: each task with the message that brought it, until that message is
//! deleted.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use stageline::At;
use stageline::task::TaskId;

use crate::acknowledge::Handle;

struct Entry {
    since: At,
    /// The message, while it is still on the queue.
    message: Option<Handle>,
}

/// The running tasks. Ids are unique: the claim lets one attempt of a task in.
#[derive(Default)]
pub(crate) struct Running(Mutex<BTreeMap<TaskId, Entry>>);

impl Running {
    // A panic while the lock was held cannot leave the map half-changed: each change is one call.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<TaskId, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn begin(&self, id: TaskId, since: At, message: Handle) {
        self.lock().insert(id, Entry { since, message: Some(message) });
    }

    /// Takes the task out; gives its message when that is still to be deleted.
    pub fn end(&self, id: &TaskId) -> Option<Handle> {
        self.lock().remove(id)?.message
    }

    pub fn count(&self) -> usize {
        self.lock().len()
    }

    /// The tasks that have run since `before` or longer, in order.
    pub fn older_than(&self, before: At) -> Vec<TaskId> {
        self.lock().iter().filter(|(_, entry)| entry.since <= before).map(|(id, _)| id.clone()).collect()
    }

    /// The messages of `listed` tasks, which the registry remembers now.
    pub fn release(&self, listed: &[TaskId]) -> Vec<Handle> {
        let mut entries = self.lock();
        listed.iter().filter_map(|id| entries.get_mut(id)?.message.take()).collect()
    }
}
