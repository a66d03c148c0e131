//! `docs/metrics.md`, of which the tables are written from the table in the code.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::PathBuf;

use super::table::ALL;
use super::{Kind, Metric, Shown, Source, emf};

/// Set to write the file instead of comparing it.
const BLESS: &str = "STAGELINE_BLESS";
const BEGIN: &str = "<!-- Generated from shared/src/metrics/table.rs by `STAGELINE_BLESS=1 cargo test -p stageline --lib metrics`. -->\n";
const END: &str = "<!-- End of what is generated. -->\n";

fn row(metric: &Metric) -> String {
    let kind = match metric.kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram(_) => "histogram",
    };
    let labels = metric.labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", ");
    let shown = match metric.shown {
        Shown::Always => "always",
        Shown::WhenItHappens => "when it happens",
        Shown::OnSchedule => "scheduled calls",
    };
    let (name, unit, meaning) = (metric.name, metric.unit.name(), metric.meaning);
    format!("| `{name}` | {kind} | {unit} | {labels} | {shown} | {meaning} |\n")
}

/// The tables: of the worker, of each Lambda, of both.
fn tables() -> String {
    let mut text = String::new();
    for (heading, from, labels) in [
        ("The worker", &[Source::Worker][..], "labels"),
        ("The dispatcher", &[Source::Dispatcher], "also by"),
        ("The sweeper", &[Source::Sweeper], "also by"),
        ("The dispatcher and the sweeper", &[Source::Dispatcher, Source::Sweeper], "also by"),
    ] {
        writeln!(
            text,
            "### {heading}\n\n| name | kind | unit | {labels} | there | meaning |\n|---|---|---|---|---|---|"
        )
        .unwrap();
        ALL.iter().filter(|metric| metric.from == from).for_each(|metric| text.push_str(&row(metric)));
        text.push('\n');
    }
    let bounds = |metric: &Metric| match metric.kind {
        Kind::Histogram(bounds) => Some(bounds.iter().map(f64::to_string).collect::<Vec<_>>().join(", ")),
        _ => None,
    };
    let bounds: BTreeSet<_> = ALL.iter().filter_map(bounds).collect();
    for bounds in bounds {
        writeln!(text, "Bounds of the histograms, in seconds: {bounds}.").unwrap();
    }
    text
}

#[test]
fn the_document_has_the_tables_of_the_code() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    let (before, rest) = committed.split_once(BEGIN).expect("docs/metrics.md says where the tables begin");
    let (is, after) = rest.split_once(END).expect("docs/metrics.md says where the tables end");
    let should = format!("\n{}\n", tables());
    if std::env::var_os(BLESS).is_some_and(|value| value == "1") {
        std::fs::write(&path, format!("{before}{BEGIN}{should}{END}{after}")).unwrap();
        return;
    }
    let first = is.lines().zip(should.lines()).find(|(is, should)| is != should);
    assert!(
        is == should,
        "docs/metrics.md is not what the code says, first: {first:#?}; {BLESS}=1 writes it"
    );
}

#[test]
fn names_are_as_their_readers_expect() {
    let mut seen = BTreeSet::new();
    for metric in ALL {
        assert!(seen.insert(metric.name), "{} is there twice", metric.name);
        assert!(!metric.meaning.is_empty() && !metric.from.is_empty());
        if metric.from == [Source::Worker] {
            // https://prometheus.io/docs/practices/naming/: the application, the unit, `_total`.
            assert!(metric.name.starts_with("stageline_"), "{}", metric.name);
            assert_eq!(metric.name.ends_with("_total"), metric.kind == Kind::Counter, "{}", metric.name);
            let timed = metric.unit == super::Unit::Seconds;
            assert_eq!(metric.name.ends_with("_seconds"), timed, "{}", metric.name);
        } else {
            assert!(metric.name.chars().all(|c| c.is_ascii_alphanumeric()), "{}", metric.name);
            assert!(metric.labels.is_empty() || metric.labels == ["Pool"], "{}", metric.name);
        }
    }
    assert!(ALL.len() < 2 * emf::MOST_METRICS);
}
