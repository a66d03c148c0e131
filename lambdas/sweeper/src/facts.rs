//! What the repair scan has to look up about queues and workers, each of it at most once a call.

use std::collections::{HashMap, HashSet};

use stageline::aws::Aws;
use stageline::protocol::dispatch::Dispatch;
use stageline::protocol::lease::{Holder, Lease, Turn, had_time, turn};
use stageline::protocol::repair::{QueueView, is_message_gone};
use stageline::task::{AttemptRef, Task, WorkerId};
use tracing::error;

use crate::fleet::Fleet;

/// What was looked up so far. What could not be looked up counts as in order: too late costs minutes, and
/// a wrong rescue an attempt.
pub(crate) struct Facts<'a> {
    aws: &'a Aws,
    fleet: Option<&'a Fleet>,
    lease: Lease,
    empty: HashMap<String, bool>,
    absent: HashMap<WorkerId, bool>,
    registries: HashMap<WorkerId, Option<HashSet<AttemptRef>>>,
    /// Calls that failed.
    pub errors: usize,
}

impl<'a> Facts<'a> {
    pub fn new(aws: &'a Aws, fleet: Option<&'a Fleet>, lease: Lease) -> Self {
        let (empty, absent, registries) = Default::default();
        Self { aws, fleet, lease, empty, absent, registries, errors: 0 }
    }

    /// Whether the message of a queued task is gone.
    pub async fn is_message_gone(&mut self, dispatch: &Dispatch) -> bool {
        let task = &dispatch.task;
        let lane = task.priority.lane();
        let received_until = self.fleet.and_then(|fleet| fleet.received_until(&dispatch.pool, lane));
        // What workers received is known without a call.
        is_message_gone(task, QueueView { empty: false, received_until })
            || is_message_gone(
                task,
                QueueView { empty: self.is_empty(&dispatch.queue_url).await, received_until },
            )
    }

    async fn is_empty(&mut self, queue_url: &str) -> bool {
        if let Some(known) = self.empty.get(queue_url) {
            return *known;
        }
        let empty = match self.aws.queues.depth(queue_url).await {
            Ok(depth) => depth.is_empty(),
            Err(error) => {
                self.errors += 1;
                error!(queue = queue_url, %error, "the queue's depth cannot be read");
                false
            }
        };
        self.empty.insert(queue_url.to_owned(), empty);
        empty
    }

    /// Whether a worker has no item. The list of workers is older than the record that names it, so that is
    /// asked anew.
    pub async fn is_absent(&mut self, worker: &WorkerId) -> bool {
        if self.fleet.is_none() {
            return false;
        }
        if let Some(known) = self.absent.get(worker) {
            return *known;
        }
        let absent = match self.aws.workers.get(worker).await {
            Ok(item) => item.is_none(),
            Err(error) => {
                self.errors += 1;
                error!(worker.id = %worker, %error, "the worker cannot be read");
                false
            }
        };
        self.absent.insert(worker.clone(), absent);
        absent
    }

    /// Whose turn it is with a task whose worker has an item.
    pub async fn turn(&mut self, task: &Task, worker: &WorkerId) -> Turn {
        let Some(fleet) = self.fleet else { return Turn::Unsure };
        if fleet.is_dead(worker) {
            return turn(Holder::Dead);
        }
        let beat = fleet.item(worker).and_then(|item| item.heartbeat.as_ref()).map(|beat| beat.heartbeat_at);
        let had_time = beat.is_some_and(|beat| had_time(task.started_at, beat, self.lease));
        // Without that the registry decides nothing, and is not read.
        let lists = had_time && self.lists(worker, task).await;
        turn(Holder::Alive { lists, had_time })
    }

    async fn lists(&mut self, worker: &WorkerId, task: &Task) -> bool {
        if !self.registries.contains_key(worker) {
            let registry = match self.aws.workers.registered(worker).await {
                Ok(listed) => Some(listed.into_iter().collect()),
                Err(error) => {
                    self.errors += 1;
                    error!(worker.id = %worker, %error, "the worker's registry cannot be read");
                    None
                }
            };
            self.registries.insert(worker.clone(), registry);
        }
        let registry = self.registries.get(worker).and_then(Option::as_ref);
        registry.is_none_or(|registry| registry.contains(&task.attempt_ref()))
    }
}
