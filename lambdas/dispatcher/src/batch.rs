//! Commands by queue, in batches of ten.

use std::collections::HashMap;

use stageline::aws::BATCH_ITEMS;
use stageline::protocol::dispatch::Dispatch;

/// A record to send, with the sequence number to name when that fails.
pub(crate) struct Ready {
    pub dispatch: Dispatch,
    pub sequence: Option<String>,
    /// Whether the mark begins the record's history.
    pub begins: bool,
}

impl Ready {
    /// One of these.
    pub fn new(dispatch: Dispatch, sequence: Option<String>) -> Self {
        let begins = dispatch.task.history.is_none();
        Self { dispatch, sequence, begins }
    }
}

/// Of several images of one record, which get the same time, none is known to be the first to be marked.
pub(crate) fn look_for_images_of_one_record(ready: &mut [Ready]) {
    let mut seen = HashMap::new();
    for one in ready.iter() {
        *seen.entry(one.dispatch.task.id.clone()).or_insert(0) += 1;
    }
    for one in ready {
        one.begins &= seen[&one.dispatch.task.id] == 1;
    }
}

/// Groups by queue and cuts into batches, in the order in which the records came.
pub(crate) fn batches(ready: Vec<Ready>) -> Vec<(String, Vec<Ready>)> {
    let mut batches: Vec<(String, Vec<Ready>)> = Vec::new();
    for one in ready {
        let open = batches
            .iter_mut()
            .find(|(queue, batch)| *queue == one.dispatch.queue_url && batch.len() < BATCH_ITEMS);
        match open {
            Some((_, batch)) => batch.push(one),
            None => batches.push((one.dispatch.queue_url.clone(), vec![one])),
        }
    }
    batches
}

/// The lowest of sequence numbers, which are decimal numbers of up to 40 digits.
pub(crate) fn lowest(sequences: impl IntoIterator<Item = String>) -> Option<String> {
    sequences.into_iter().min_by(|a, b| {
        let (a, b) = (a.trim_start_matches('0'), b.trim_start_matches('0'));
        a.len().cmp(&b.len()).then_with(|| a.cmp(b))
    })
}

#[cfg(test)]
mod tests {
    use stageline::task::Task;

    use super::*;

    fn ready(queue: &str) -> Ready {
        ready_task("t", queue)
    }

    fn ready_task(id: &str, queue: &str) -> Ready {
        let task = Task::new(id.parse().unwrap());
        let delay = std::time::Duration::ZERO;
        let dispatch = Dispatch { task, pool: "p".into(), queue_url: queue.into(), delay };
        Ready::new(dispatch, None)
    }

    #[test]
    fn only_the_one_image_of_a_record_without_a_history_says_how_it_begins() {
        let mut all = ["a", "b", "a", "c"].map(|id| ready_task(id, "q"));
        all[3].dispatch.task.history = Some(vec![]);
        let [a, b, other, c] = all;
        let c = Ready::new(c.dispatch, None);
        let mut all = [a, b, other, c];
        look_for_images_of_one_record(&mut all);
        assert_eq!(all.map(|one| one.begins), [false, true, false, false]);
    }

    #[test]
    fn a_batch_has_one_queue_and_at_most_ten_commands() {
        let mixed = (0..25).map(|n| ready(if n % 5 == 0 { "a" } else { "b" })).collect();
        let sizes: Vec<_> = batches(mixed).iter().map(|(q, batch)| (q.clone(), batch.len())).collect();
        assert_eq!(sizes, [("a".into(), 5), ("b".into(), 10), ("b".into(), 10)]);
    }

    #[test]
    fn sequence_numbers_are_compared_as_numbers() {
        let numbers = ["100000000000000000000", "99", "0100"].map(str::to_owned);
        assert_eq!(lowest(numbers).as_deref(), Some("99"));
        assert_eq!(lowest([]), None);
    }
}
