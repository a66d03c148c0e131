//! The meter: what a task costs and how fast it goes, as counts and ratios beside targets and peers.
//!
//! Counts come from loopback addresses in front of the emulator ([`meter`]), CPU time and memory from the kernel
//! ([`procfs`]) for processes that run nothing but what is measured ([`process`]). Every timed figure is measured
//! several times and shown with its spread.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod args;
pub mod children;
pub mod cost;
pub mod dispatcher;
pub mod growth;
pub mod latency;
pub mod load;
pub mod meter;
pub mod ministack;
pub mod optimised;
pub mod peers;
pub mod prices;
pub mod process;
pub mod procfs;
pub mod records;
pub mod report;
pub mod rig;
pub mod scope;
pub mod spawn;
pub mod statistics;
pub mod worker;

use std::time::Instant;

use anyhow::{Context, Result};

use crate::args::{Args, Subject};
use crate::prices::Prices;
use crate::report::{Machine, Results, Section, markdown};
use crate::scope::Scope;

/// A line for whoever waits.
pub fn say(line: &str) {
    eprintln!("{line}");
}

/// Measures, and writes what came out.
///
/// # Errors
/// The price list cannot be read, or the results cannot be written. What cannot be measured is in the results.
pub async fn run(args: &Args) -> Result<Results> {
    let root = args.root.canonicalize().context("--root")?;
    let peers_folder = root.join(&args.peers);
    let prices = Prices::load()?;
    let priced = format!("{}, {}", prices.list.region, prices.list.date);
    let scope = Scope {
        quick: args.quick,
        // Workers run in folders of their own.
        before: args.before.as_ref().map(|path| path.canonicalize()).transpose().context("--before")?,
        prices,
        peers: scope::Peers::find(&root, &peers_folder),
        root: root.clone(),
    };
    let mut machine = Machine::here();
    let sections = Box::pin(sections(args, &scope)).await;
    machine.at_the_end();
    let date = jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M UTC").to_string();
    let results = Results { date, quick: args.quick, machine, prices: priced, sections };
    let target = root.join("target/bench");
    std::fs::create_dir_all(&target)?;
    std::fs::write(target.join("results.json"), serde_json::to_vec_pretty(&results)?)?;
    let document = markdown(&results);
    std::fs::write(target.join("performance.md"), &document)?;
    if args.only.is_empty() {
        std::fs::write(root.join("docs/performance.md"), &document)?;
    }
    Ok(results)
}

async fn sections(args: &Args, scope: &Scope) -> Vec<Section> {
    let mut sections = Vec::new();
    let begun = Instant::now();
    let mut took = |section: Section| {
        say(&format!("{:>5.0} s  {}", begun.elapsed().as_secs_f64(), section.title));
        sections.push(section);
    };
    // First, since others are shown beside them.
    let mut peers = None;
    if args.wants(Subject::Peers) {
        let (section, measured) = Box::pin(peers::measure(scope)).await;
        peers = Some(measured);
        took(section);
    }
    if args.wants(Subject::Cost) {
        took(Box::pin(cost::measure(scope, peers.as_ref())).await);
    }
    if args.wants(Subject::Worker) {
        took(Box::pin(worker::measure(scope, peers.as_ref())).await);
    }
    if args.wants(Subject::Dispatcher) {
        took(Box::pin(dispatcher::measure(scope)).await);
    }
    if args.wants(Subject::Latency) {
        took(Box::pin(latency::measure(scope)).await);
    }
    if args.wants(Subject::Growth) {
        took(Box::pin(growth::measure(scope)).await);
    }
    if args.wants(Subject::Optimised) {
        took(Box::pin(optimised::measure(scope)).await);
    }
    // Peers last in the document: they are what the rest is compared with.
    if peers.is_some() {
        sections.rotate_left(1);
    }
    sections
}
