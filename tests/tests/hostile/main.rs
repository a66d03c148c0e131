//! Hostile and broken input, each through the whole of it: the record as a foreign client puts it, the dispatcher,
//! the queue, a worker, and what the record says in the end. All of them run side by side on one worker; then each
//! is judged. What came of each is printed as a table, which lies in `docs/hostile.md`.
//!
//! The engines' programs are stand-ins that play what the real ones have printed. What is behind each refusal is
//! tested in depth where it is decided; here it is shown that nothing of it gets past, hangs, or is lost.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

mod bench;
mod case;
mod commands;
mod disk;
mod document;
mod paths;
mod programs;
mod recordings;
mod records;

use anyhow::Result;
use futures::{StreamExt, TryStreamExt, stream};
use libtest_mimic::{Arguments, Failed, Trial};

use bench::Bench;
use case::{Case, Ended};

/// Records that are put side by side.
const AT_ONCE: usize = 16;

/// A part of the table.
struct Section {
    title: &'static str,
    cases: fn(&Bench) -> Vec<Case>,
}

const SECTIONS: &[Section] = &[
    Section { title: "Records", cases: |_| records::cases() },
    Section { title: "Paths and inputs", cases: paths::cases },
    Section { title: "Commands and parameters", cases: commands::cases },
    Section { title: "Programs", cases: programs::cases },
    Section { title: "A full disk", cases: |_| Vec::new() },
    Section { title: "Recorded failures of engines", cases: recordings::cases },
];

fn main() {
    let mut arguments = Arguments::from_args();
    // Everything runs before the first verdict, whatever of it is asked for.
    arguments.test_threads = Some(1);
    if arguments.list {
        libtest_mimic::run(&arguments, Vec::new()).exit();
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (tables, mut trials) = match runtime.block_on(run()) {
        Ok(done) => done,
        Err(error) => (Vec::new(), vec![failed("the cases run", format!("{error:#}"))]),
    };
    let whole = !tables.is_empty() && tables.iter().all(|(_, rows)| !rows.is_empty());
    trials.push(
        Trial::test("the table is as committed", move || document::is_as_committed(&tables))
            .with_ignored_flag(!whole),
    );
    libtest_mimic::run(&arguments, trials).exit();
}

type Tables = Vec<(&'static str, Vec<document::Row>)>;

/// Runs all cases, and gives their rows and verdicts.
async fn run() -> Result<(Tables, Vec<Trial>)> {
    let bench = Bench::start().await?;
    let cases = SECTIONS.iter().flat_map(|one| (one.cases)(&bench).into_iter().map(|case| (one.title, case)));
    let cases: Vec<_> = cases.collect();
    let submitted =
        stream::iter(&cases).map(|(_, case)| bench.submit(case)).buffered(AT_ONCE).try_collect::<Vec<_>>();
    let (submitted, full) = tokio::join!(submitted, disk::run());
    let (mut tables, mut trials) =
        (SECTIONS.iter().map(|one| (one.title, Vec::new())).collect::<Tables>(), Vec::new());
    for ((title, case), id) in cases.iter().zip(submitted?) {
        let ended = bench.ended(&id).await?;
        judge(title, case, &ended, &mut tables, &mut trials);
    }
    match full? {
        Ok(cases) => {
            cases.iter().for_each(|(case, ended)| judge("A full disk", case, ended, &mut tables, &mut trials))
        }
        Err(disk::Missing(why)) => {
            eprintln!("SKIPPED: A full disk, and with it the table: {why}");
            trials.push(Trial::test("A full disk", || Ok(())).with_ignored_flag(true));
        }
    }
    bench.end().await?;
    Ok((tables, trials))
}

fn judge(title: &str, case: &Case, ended: &Ended, tables: &mut Tables, trials: &mut Vec<Trial>) {
    let rows = tables.iter_mut().find(|(name, _)| *name == title).expect("a section");
    rows.1.push(document::Row::of(case, ended));
    let name = format!("{title}: {}", case.what);
    trials.push(match case.judge(ended) {
        Ok(()) => Trial::test(name, || Ok(())),
        Err(why) => failed(&name, format!("{why:#}")),
    });
}

fn failed(name: &str, why: String) -> Trial {
    Trial::test(name, || Err(Failed::from(why)))
}
