//! What happens next: events in the order of their time, and of their making where that is equal. So a run is
//! the same each time.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// Microseconds since the beginning of the simulated time.
pub type Micros = u64;

/// One second.
pub const SECOND: Micros = 1_000_000;

/// Seconds as microseconds.
pub fn seconds(seconds: f64) -> Micros {
    // Saturates: a time that long never comes.
    (seconds * SECOND as f64) as Micros
}

/// Events that are still to come.
#[derive(Debug)]
pub struct Calendar<E> {
    heap: BinaryHeap<Entry<E>>,
    made: u64,
}

#[derive(Debug)]
struct Entry<E> {
    at: Micros,
    made: u64,
    event: E,
}

impl<E> Default for Calendar<E> {
    fn default() -> Self {
        Self { heap: BinaryHeap::new(), made: 0 }
    }
}

impl<E> Calendar<E> {
    /// Puts an event.
    pub fn put(&mut self, at: Micros, event: E) {
        self.made += 1;
        self.heap.push(Entry { at, made: self.made, event });
    }

    /// Takes the next event.
    pub fn next(&mut self) -> Option<(Micros, E)> {
        self.heap.pop().map(|entry| (entry.at, entry.event))
    }
}

impl<E> Ord for Entry<E> {
    /// The heap gives the greatest first.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.made).cmp(&(self.at, self.made))
    }
}

impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.made) == (other.at, other.made)
    }
}

impl<E> Eq for Entry<E> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_by_time_and_then_as_they_were_made() {
        let mut calendar = Calendar::default();
        for (at, name) in [(5, "c"), (1, "a"), (5, "d"), (2, "b")] {
            calendar.put(at, name);
        }
        let order: Vec<_> = std::iter::from_fn(|| calendar.next()).collect();
        assert_eq!(order, [(1, "a"), (2, "b"), (5, "c"), (5, "d")]);
    }
}
