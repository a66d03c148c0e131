//! Commands by queue, in batches of ten.

use stageline::aws::BATCH_ITEMS;
use stageline::protocol::dispatch::Dispatch;

/// A record to send, with the sequence number to name when that fails.
pub(crate) struct Ready {
    pub dispatch: Dispatch,
    pub sequence: Option<String>,
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
        let task = Task::new("t".parse().unwrap());
        let delay = std::time::Duration::ZERO;
        let dispatch = Dispatch { task, pool: "p".into(), queue_url: queue.into(), delay };
        Ready { dispatch, sequence: None }
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
