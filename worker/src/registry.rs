//! The list of running tasks as it lies in the control table, page by page.

use stageline::aws::RegistryPage;
use stageline::task::TaskId;

/// The registry as it was last written.
#[derive(Default)]
pub(crate) struct Registry {
    pages: Vec<Vec<TaskId>>,
}

impl Registry {
    /// The pages that have to be written so that the registry lists `tasks`: a page changes only when a
    /// task on it has ended or found a place there.
    pub fn changed_pages(&self, tasks: &[TaskId]) -> Vec<RegistryPage> {
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

    /// The page is written.
    pub fn wrote(&mut self, page: RegistryPage) {
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
