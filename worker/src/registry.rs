//! The list of running attempts as it lies in the control table, page by page.

use stageline::aws::RegistryPage;
use stageline::task::AttemptRef;

/// The registry as it was last written.
#[derive(Default)]
pub(crate) struct Registry {
    pages: Vec<Vec<AttemptRef>>,
}

impl Registry {
    /// The pages that have to be written so that the registry lists `attempts`: a page changes only when an
    /// attempt on it has ended or found a place there.
    pub fn changed_pages(&self, attempts: &[AttemptRef]) -> Vec<RegistryPage> {
        let mut pages: Vec<Vec<AttemptRef>> = self
            .pages
            .iter()
            .map(|page| page.iter().filter(|listed| attempts.contains(listed)).cloned().collect())
            .collect();
        for new in attempts.iter().filter(|new| !self.pages.iter().any(|page| page.contains(new))) {
            match pages.iter_mut().find(|page| page.len() < RegistryPage::ITEMS) {
                Some(page) => page.push(new.clone()),
                None => pages.push(vec![new.clone()]),
            }
        }
        let changed = pages.into_iter().enumerate().filter(|(n, page)| self.pages.get(*n) != Some(page));
        let numbered = |(n, attempts)| RegistryPage { page: u32::try_from(n).unwrap_or(u32::MAX), attempts };
        changed.map(numbered).collect()
    }

    /// The page is written.
    pub fn wrote(&mut self, page: RegistryPage) {
        let index = page.page as usize;
        if self.pages.len() <= index {
            self.pages.resize(index + 1, Vec::new());
        }
        self.pages[index] = page.attempts;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(range: std::ops::Range<u32>) -> Vec<AttemptRef> {
        range.map(|n| format!("t{n:04}#1").parse().unwrap()).collect()
    }

    fn write(registry: &mut Registry, attempts: &[AttemptRef]) -> Vec<u32> {
        let pages = registry.changed_pages(attempts);
        let numbers = pages.iter().map(|page| page.page).collect();
        pages.into_iter().for_each(|page| registry.wrote(page));
        numbers
    }

    #[test]
    fn only_the_pages_that_changed_are_written() {
        let mut registry = Registry::default();
        assert!(registry.changed_pages(&[]).is_empty());
        assert_eq!(write(&mut registry, &first(0..450)), [0, 1, 2]);
        assert!(registry.changed_pages(&first(0..450)).is_empty());
        let without_one: Vec<_> = first(0..450).into_iter().filter(|id| id.id.as_str() != "t0250").collect();
        assert_eq!(write(&mut registry, &without_one), [1]);
        assert_eq!(write(&mut registry, &[without_one, first(900..901)].concat()), [1]);
        assert_eq!(write(&mut registry, &[]), [0, 1, 2]);
        assert_eq!(write(&mut registry, &["t0001#1".parse().unwrap()]), [0]);
        assert_eq!(
            write(&mut registry, &["t0001#2".parse().unwrap()]),
            [0],
            "a later attempt is another entry"
        );
    }

    #[test]
    fn every_running_attempt_is_on_exactly_one_page() {
        let mut registry = Registry::default();
        for attempts in [first(0..250), first(100..700), first(650..660), first(0..1000)] {
            write(&mut registry, &attempts);
            let mut listed = registry.pages.concat();
            listed.sort();
            assert_eq!(listed, attempts);
            assert!(registry.pages.iter().all(|page| page.len() <= RegistryPage::ITEMS));
        }
    }
}
