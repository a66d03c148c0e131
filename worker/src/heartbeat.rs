//! The worker's lease: a small item that says that it lives, and beside it the registry of what it runs.
//!
//! A message is deleted once a registry item that lists its task is written: from then on the registry
//! remembers the task if this worker dies. A task shorter than a heartbeat never costs a registry write.

use std::sync::Arc;
use std::time::Duration;

use stageline::aws::{Heartbeat, RegistryPage, WorkersTable};
use stageline::task::TaskId;
use stageline::{At, Clock};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::acknowledge::Acknowledger;
use crate::running::Running;

const BUSY: Duration = Duration::from_secs(3);
const IDLE: Duration = Duration::from_secs(10);
/// Younger tasks are not worth a registry write yet: most end within it.
const WORTH_LISTING: Duration = Duration::from_secs(1);

pub(crate) struct Lease {
    pub workers: WorkersTable,
    pub clock: Clock,
    pub running: Arc<Running>,
    pub acknowledger: Acknowledger,
    /// The unchanging parts of the heartbeat.
    pub beat: Heartbeat,
    pub drain: CancellationToken,
}

impl Lease {
    /// Writes one heartbeat.
    pub async fn beat(&mut self) -> Result<(), stageline::aws::AwsError> {
        self.beat.heartbeat_at = self.clock.now();
        self.beat.running = u32::try_from(self.running.count()).unwrap_or(u32::MAX);
        self.beat.draining = self.drain.is_cancelled();
        self.workers.beat(&self.beat).await
    }

    /// Beats until `done`.
    pub async fn keep(mut self, done: CancellationToken) {
        let mut registry = Registry::default();
        loop {
            let pause = if self.running.count() > 0 { BUSY } else { IDLE };
            tokio::select! {
                () = tokio::time::sleep(pause.min(BUSY)) => {}
                () = done.cancelled() => break,
            }
            let due = self.clock.now().since(self.beat.heartbeat_at) >= pause;
            if due && let Err(error) = self.beat().await {
                warn!(%error, "heartbeat not written");
                continue;
            }
            self.list(&mut registry).await;
        }
        if let Err(error) = self.workers.remove(&self.beat.worker_id).await {
            warn!(%error, "heartbeat item not removed; it expires");
        }
    }

    async fn list(&self, registry: &mut Registry) {
        let before = At::from_millis(
            self.clock.now().millis() - i64::try_from(WORTH_LISTING.as_millis()).unwrap_or_default(),
        );
        let tasks = self.running.older_than(before);
        for page in registry.changed_pages(&tasks) {
            if let Err(error) = self.workers.register(&self.beat.worker_id, &page).await {
                warn!(%error, page = page.page, "registry not written; messages stay on the queue");
                return;
            }
            registry.wrote(page);
        }
        for handle in self.running.release(&tasks) {
            self.acknowledger.delete(handle).await;
        }
    }
}

/// The registry as it was last written.
#[derive(Default)]
struct Registry {
    pages: Vec<Vec<TaskId>>,
}

impl Registry {
    /// The pages that have to be written so that the registry lists `tasks`: a page changes only when a
    /// task on it has ended or found a place there.
    fn changed_pages(&self, tasks: &[TaskId]) -> Vec<RegistryPage> {
        let mut pages: Vec<Vec<TaskId>> = self
            .pages
            .iter()
            .map(|page| page.iter().filter(|id| tasks.contains(id)).cloned().collect())
            .collect();
        for id in tasks.iter().filter(|id| !self.pages.iter().any(|page| page.contains(id))) {
            match pages.iter_mut().find(|page| page.len() < RegistryPage::ITEMS) {
                Some(page) => page.push(id.clone()),
                None => pages.push(vec![id.clone()]),
            }
        }
        let changed = pages.into_iter().enumerate().filter(|(n, page)| self.pages.get(*n) != Some(page));
        changed.map(|(n, tasks)| RegistryPage { page: u32::try_from(n).unwrap_or(u32::MAX), tasks }).collect()
    }

    fn wrote(&mut self, page: RegistryPage) {
        let index = page.page as usize;
        if self.pages.len() <= index {
            self.pages.resize(index + 1, Vec::new());
        }
        self.pages[index] = page.tasks;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(range: std::ops::Range<u32>) -> Vec<TaskId> {
        range.map(|n| format!("t{n:04}").parse().unwrap()).collect()
    }

    fn write(registry: &mut Registry, tasks: &[TaskId]) -> Vec<u32> {
        let pages = registry.changed_pages(tasks);
        let numbers = pages.iter().map(|page| page.page).collect();
        pages.into_iter().for_each(|page| registry.wrote(page));
        numbers
    }

    #[test]
    fn only_the_pages_that_changed_are_written() {
        let mut registry = Registry::default();
        assert!(registry.changed_pages(&[]).is_empty());
        assert_eq!(write(&mut registry, &ids(0..450)), [0, 1, 2]);
        assert!(registry.changed_pages(&ids(0..450)).is_empty());
        let without_one: Vec<_> = ids(0..450).into_iter().filter(|id| id.as_str() != "t0250").collect();
        assert_eq!(write(&mut registry, &without_one), [1]);
        assert_eq!(write(&mut registry, &[without_one, ids(900..901)].concat()), [1]);
        assert_eq!(write(&mut registry, &[]), [0, 1, 2]);
    }

    #[test]
    fn every_running_task_is_on_exactly_one_page() {
        let mut registry = Registry::default();
        for tasks in [ids(0..250), ids(100..700), ids(650..660), ids(0..1000)] {
            write(&mut registry, &tasks);
            let mut listed = registry.pages.concat();
            listed.sort();
            assert_eq!(listed, tasks);
            assert!(registry.pages.iter().all(|page| page.len() <= RegistryPage::ITEMS));
        }
    }
}
