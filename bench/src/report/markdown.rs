//! The document `docs/performance.md`.

use std::fmt::Write as _;

use super::{Figure, Results, Section, Target, Verdict};
use crate::statistics::spread;

const PREFACE: &str = "# Performance

What a task costs and how fast it goes, beside the targets and others' systems on the same machine in the same \
run. This page is the output of `./scripts/bench`; the same figures as JSON are in `target/bench/results.json`.

- `MISS` marks a figure that does not reach its target.
- Timed figures are medians of at least three runs; the spread is the distance of the extremes as a part of the \
median, and `~` marks one above 30 %: then the machine had other work, and the figure says little.
- The ratio is the peer's figure divided by Stageline's: above 1 the peer takes more.
";

/// The whole document.
pub fn markdown(results: &Results) -> String {
    let machine = &results.machine;
    let mut text = PREFACE.to_owned();
    let _infallible = write!(
        text,
        "\nMeasured {} on {} ({} threads, {:.0} GB, Linux {}), load {:.1} before and {:.1} after{}. Prices: {}.\n",
        results.date,
        machine.processor,
        machine.threads,
        machine.memory_gb,
        machine.kernel,
        machine.load[0],
        machine.load[1],
        if results.quick { ", with `--quick`" } else { "" },
        results.prices,
    );
    results.sections.iter().for_each(|each| section(&mut text, each));
    text
}

fn section(text: &mut String, section: &Section) {
    text.push_str(&format!("\n## {}\n", section.title));
    if !section.how.is_empty() {
        text.push_str(&format!("\n{}\n", section.how.join(" ")));
    }
    if !section.figures.is_empty() {
        text.push_str(
            "\n| what | measured | spread | target | | peer | ratio |\n|---|--:|--:|--:|---|---|--:|\n",
        );
        section.figures.iter().for_each(|figure| text.push_str(&row(figure)));
    }
    for table in &section.tables {
        text.push_str(&format!("\n{}:\n\n| {} |\n", table.caption, table.columns.join(" | ")));
        let rule: Vec<_> =
            (0..table.columns.len()).map(|column| if column == 0 { "---" } else { "--:" }).collect();
        text.push_str(&format!("|{}|\n", rule.join("|")));
        table.rows.iter().for_each(|row| text.push_str(&format!("| {} |\n", row.join(" | "))));
    }
    if !section.failures.is_empty() {
        text.push_str("\nNot measured:\n\n");
        section.failures.iter().for_each(|why| text.push_str(&format!("- {}\n", why.replace('\n', " "))));
    }
}

fn row(figure: &Figure) -> String {
    let with_unit = |value: f64| format!("{} {}", number(value), figure.unit).trim_end().to_owned();
    let value = figure.value().map_or("–".to_owned(), with_unit);
    let spread = spread(&figure.values).map_or(String::new(), |spread| format!("{:.0} %", spread * 100.0));
    let target = match figure.target {
        None => String::new(),
        Some(Target::AtMost(most)) => format!("≤ {}", number(most)),
        Some(Target::AtLeast(least)) => format!("≥ {}", number(least)),
    };
    let verdict = match figure.verdict() {
        Verdict::Open => "",
        Verdict::Ok => "ok",
        Verdict::Miss => "**MISS**",
    };
    let peer = figure
        .peer
        .as_ref()
        .map_or(String::new(), |peer| format!("{}: {}", peer.name, with_unit(peer.value)));
    let ratio = figure.ratio().map_or(String::new(), |ratio| format!("{} ×", number(ratio)));
    let wide = if figure.is_wide() { "~ " } else { "" };
    format!("| {} | {wide}{value} | {spread} | {target} | {verdict} | {peer} | {ratio} |\n", figure.name)
}

/// A number with three significant digits at most behind its point, as people write it.
pub fn number(value: f64) -> String {
    let size = value.abs();
    let places = match size {
        _ if size == 0.0 || size >= 100.0 => 0,
        _ if size >= 10.0 => 1,
        _ if size >= 1.0 => 2,
        _ if size >= 0.1 => 3,
        _ => 4,
    };
    let text = format!("{value:.places$}");
    let (whole, rest) = text.split_once('.').unwrap_or((&text, ""));
    let rest = rest.trim_end_matches('0');
    let (sign, digits) = whole.strip_prefix('-').map_or(("", whole), |digits| ("-", digits));
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if rest.is_empty() { format!("{sign}{grouped}") } else { format!("{sign}{grouped}.{rest}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Machine;

    #[test]
    fn numbers_are_short() {
        for (value, expected) in [
            (0.0, "0"),
            (5.0, "5"),
            (0.3954, "0.395"),
            (0.0421, "0.0421"),
            (3.4567, "3.46"),
            (34.567, "34.6"),
            (1234.5, "1,234"),
            (-1234567.0, "-1,234,567"),
        ] {
            assert_eq!(number(value), expected, "{value}");
        }
    }

    #[test]
    fn the_document_shows_targets_misses_peers_and_what_is_missing() {
        let mut section = Section::new("Worker").how("As deployed.");
        section
            .figures
            .push(Figure::new("CPU", "s", [0.5, 0.6, 0.9]).at_most(0.4).beside("Celery", Some(3.0)));
        section.figures.push(Figure::one("units", "", 5.0).at_most(5.0));
        section.failures.push("redis: not\ninstalled".to_owned());
        let results = Results {
            date: "2026-01-02".to_owned(),
            quick: true,
            machine: Machine { processor: "P".to_owned(), threads: 2, ..Machine::default() },
            prices: "us-east-1".to_owned(),
            sections: vec![section],
        };
        let text = markdown(&results);
        for line in [
            "## Worker",
            "| CPU | ~ 0.6 s | 67 % | ≤ 0.4 | **MISS** | Celery: 3 s | 5 × |",
            "| units | 5 |  | ≤ 5 | ok |  |  |",
            "- redis: not installed",
        ] {
            assert!(text.lines().any(|each| each == line), "{line}\n{text}");
        }
        assert_eq!(results.misses(), 1);
        assert!(results.has_failures() && text.contains("with `--quick`"));
    }
}
