//! A worker is killed (`kill -9`) in each gap between the writes of a task's life. Real processes; the moment
//! is one request of the worker, before or after it has its effect. Nothing is lost: the task completes
//! exactly once. What recovered it is read from what was written down, and printed as a table.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

mod case;
mod evidence;
mod gaps;
mod scene;
mod witness;

use std::sync::{Arc, Mutex};

use anyhow::Result;
use libtest_mimic::{Arguments, Failed, Trial};

use case::{Heir, Row, Verdict};
use gaps::Gap;

/// How often a case is tried whose kill was not in the gap, since the machine was busy with others.
const TRIES: u32 = 5;

/// A case spends most of its time waiting for a lease.
const AT_ONCE: usize = 4;

/// The lines of the table: where in it, and what.
type Table = Arc<Mutex<Vec<(usize, String)>>>;

fn main() {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = arguments.test_threads.or(Some(AT_ONCE));
    let table = Table::default();
    let gaps: Vec<Arc<Gap>> = gaps::all().into_iter().map(Arc::new).collect();
    let heirs = [(Heir::Another, "another worker"), (Heir::Successor, "its successor")];
    let cases = gaps.iter().flat_map(|gap| heirs.map(|heir| (Arc::clone(gap), heir)));
    let trials = cases.enumerate().map(|(place, (gap, (heir, heir_name)))| {
        let table = Arc::clone(&table);
        Trial::test(format!("{}: {heir_name}", gap.name), move || {
            let tried = recovered(&gap, heir).map_err(|error| Failed::from(format!("{error:?}")))?;
            table.lock().unwrap().push((place, lines(gap.name, heir_name, &tried)));
            Ok(())
        })
    });
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    print(&table);
    conclusion.exit();
}

/// Tries the case until its kill was in the gap; why the earlier ones were not.
fn recovered(gap: &Gap, heir: Heir) -> Result<(Row, Vec<String>)> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let mut missed = Vec::new();
    for _ in 0..TRIES {
        match runtime.block_on(case::run(gap, heir))? {
            Verdict::Recovered(row) => return Ok((row, missed)),
            Verdict::Missed(why) => missed.push(why),
        }
    }
    anyhow::bail!("the gap was never hit: {missed:#?}")
}

fn lines(gap: &str, heir: &str, (row, missed): &(Row, Vec<String>)) -> String {
    let Row { recovered_by, attempts, took } = row;
    let took = took.as_secs_f64();
    let line = format!("| {gap:<53} | {heir:<14} | {recovered_by:<60} | {attempts:>8} | {took:>7.1} |");
    missed.iter().fold(line, |lines, why| format!("{lines}\n  tried once more: {why}"))
}

fn print(table: &Table) {
    let mut lines = std::mem::take(&mut *table.lock().unwrap());
    if lines.is_empty() {
        return;
    }
    lines.sort();
    println!("\n| {:<53} | {:<14} | {:<60} | attempts | seconds |", "gap", "heir", "recovered by");
    println!("|{0:-<55}|{0:-<16}|{0:-<62}|---------:|--------:|", "");
    lines.iter().for_each(|(_, line)| println!("{line}"));
    println!(
        "Seconds from the kill to COMPLETED; where the killed worker had completed the task itself, until nothing \
         of it is left. A lease is 3 s, a sweep comes every 6 s."
    );
}
