//! How fast the repair scan goes through the table: as fast as a whole pass within the hour takes, so that what
//! every other path missed is found within it however large the table is, up to a price.

use serde::{Deserialize, Serialize};

/// Pages of a call at least: 2 MB a minute are a small table's whole pass.
pub const LEAST_PAGES: u32 = 2;
/// Pages of a call at most: 2,048 read units a minute, about 11 dollars a month, for about 1 GB an hour.
pub const MOST_PAGES: u32 = 16;
/// Calls in which a pass is to be over: an hour of them.
const CALLS: u32 = 60;

/// What is known of the table's size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pace {
    /// Pages that the pass under way has read.
    #[serde(default)]
    pub read: u32,
    /// Pages of the last whole pass; 0 before there was one.
    #[serde(default)]
    pub whole: u32,
}

impl Pace {
    /// How many pages the next call reads.
    pub fn pages(self) -> u32 {
        // A pass that has read more than the last one had says more.
        self.whole.max(self.read).div_ceil(CALLS).clamp(LEAST_PAGES, MOST_PAGES)
    }

    /// Takes note of what a call has read, and whether that was the end of the table.
    pub fn went(&mut self, pages: u32, complete: bool) {
        self.read = self.read.saturating_add(pages);
        if complete {
            *self = Self { read: 0, whole: self.read };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Calls that each of some passes over a table of that size takes, and the pages that a call read at most.
    fn passes(pages: u32) -> (Vec<u32>, u32) {
        let (mut pace, mut calls, mut most) = (Pace::default(), Vec::new(), 0);
        for _ in 0..3 {
            let (mut left, mut count) = (pages, 0);
            while left > 0 {
                let now = pace.pages().min(left);
                left -= now;
                most = most.max(now);
                pace.went(now, left == 0);
                count += 1;
            }
            calls.push(count);
        }
        (calls, most)
    }

    #[test]
    fn a_pass_takes_an_hour_at_most_until_it_costs_too_much() {
        for (pages, calls, most) in
            [(1, 1, 1), (2, 1, 2), (120, 60, 2), (121, 41, 3), (600, 60, 10), (960, 60, 16)]
        {
            let (took, read) = passes(pages);
            assert_eq!((took[1], took[2], read), (calls, calls, most), "{pages} pages");
            assert!(took[0] <= 240, "{pages} pages, of which nothing is known: {took:?}");
        }
        let (took, read) = passes(24_000);
        assert_eq!((took[2], read), (1_500, MOST_PAGES));
    }

    #[test]
    fn a_table_that_shrank_is_read_more_slowly_after_one_pass() {
        let mut pace = Pace { read: 0, whole: 900 };
        assert_eq!(pace.pages(), 15);
        pace.went(30, true);
        assert_eq!(pace, Pace { read: 0, whole: 30 });
        assert_eq!(pace.pages(), LEAST_PAGES);
    }
}
