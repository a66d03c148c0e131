//! What a call did.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::PoolView;

/// Examples of impossible records that a report names; the others are only counted.
const EXAMPLES: usize = 20;

/// What a call did; the Lambda's answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Workers that beat, or have not been silent for long enough.
    pub workers_alive: usize,
    /// Workers that were found dead, or are known to be.
    pub workers_dead: usize,
    /// Tasks taken from workers that cannot have them any more.
    pub rescued: usize,
    /// Tasks of the index of waiting tasks that were due and dealt with.
    pub due: usize,
    /// Records that the repair scan looked at.
    pub scanned: usize,
    /// What the repair scan cost, in read capacity units.
    pub read_units: f64,
    /// Tasks that the repair scan sent: nobody had, or their message was gone.
    pub sent_again: usize,
    /// Tasks that the repair scan put into the index of waiting tasks.
    pub deferred: usize,
    /// Tasks that the repair scan found unfit to run.
    pub rejected: usize,
    /// Tasks that nobody held and whose end was asked for.
    pub cancelled: usize,
    /// Tasks that nobody held and that were to be paused.
    pub held: usize,
    /// Paused tasks that nobody held and that were to go on.
    pub resumed: usize,
    /// Signals left for workers.
    pub signals: usize,
    /// Tasks that failed since no worker could settle their message.
    pub dead_letters_failed: usize,
    /// Dead letters that nobody needs.
    pub dead_letters_dropped: usize,
    /// Records in a state that no path leads into; the first few.
    pub impossible: Vec<Impossible>,
    /// How many of those there were.
    pub impossible_count: usize,
    /// What went wrong, each with its reason in the log.
    pub errors: usize,
    /// Whether the repair scan reached the end of the table.
    pub pass_complete: bool,
    /// The pools, when the workers could be read.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub pools: BTreeMap<String, PoolView>,
}

/// A record in a state that no path leads into. It is left as it is: a person has to look.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Impossible {
    /// Its key.
    pub id: String,
    /// What is wrong with it.
    pub why: String,
}

impl Report {
    pub(crate) fn add_impossible(&mut self, id: &str, why: String) {
        self.impossible_count += 1;
        if self.impossible.len() < EXAMPLES {
            self.impossible.push(Impossible { id: id.to_owned(), why });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_names_a_few_impossible_records_and_counts_all() {
        let mut report = Report::default();
        for n in 0..50 {
            report.add_impossible(&format!("t{n}"), "why".to_owned());
        }
        assert_eq!((report.impossible.len(), report.impossible_count), (20, 50));
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["impossible"][0], serde_json::json!({"id": "t0", "why": "why"}));
        assert_eq!(
            (json["impossibleCount"].as_u64(), json["passComplete"].as_bool()),
            (Some(50), Some(false))
        );
    }
}
