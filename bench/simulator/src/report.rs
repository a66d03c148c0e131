//! A study as Markdown.

use std::fmt::Write;

use crate::limit_use::{Kind, first};
use crate::month::Bill;
use crate::study::Case;

/// The tables of a study.
pub fn markdown(cases: &[Case]) -> String {
    let mut text = String::new();
    waits(&mut text, cases);
    counts(&mut text, cases);
    bills(&mut text, cases);
    bottlenecks(&mut text, cases);
    text
}

// Writing into a string never fails.
macro_rules! put {
    ($text:expr, $($arguments:tt)*) => {{ let _never = writeln!($text, $($arguments)*); }};
}

fn waits(text: &mut String, cases: &[Case]) {
    put!(text, "### Waits and workers\n");
    put!(
        text,
        "Wait: from the record's being written to the beginning of its claim, in seconds. Workers have 8 slots.\n"
    );
    put!(
        text,
        "| load | tasks simulated | mean | p50 | p95 | p99 | longest | workers mean | most | slots taken | interrupted by Spot |"
    );
    put!(text, "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|");
    for Case { name, outcome, .. } in cases {
        let waits = &outcome.waits;
        put!(
            text,
            "| {name} | {} | {} | {} | {} | {} | {} | {} | {} | {:.0} % | {} |",
            whole(outcome.tasks as f64),
            short(waits.mean),
            short(waits.p50),
            short(waits.p95),
            short(waits.p99),
            short(waits.longest),
            short(outcome.workers),
            whole(f64::from(outcome.peaks.workers)),
            outcome.utilisation * 100.0,
            whole(outcome.interruptions as f64),
        );
    }
    put!(text, "");
}

fn counts(text: &mut String, cases: &[Case]) {
    put!(text, "### Requests and units a task\n");
    put!(
        text,
        "| load | write units of `tasks` | of `stages` | of `control` | read units | SQS sends | receives | deletes | records a call of the dispatcher | Lambda GB s |"
    );
    put!(text, "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|");
    for Case { name, outcome, each, .. } in cases {
        let a_task = |count: u64| short(count as f64 / outcome.tasks as f64);
        let requests = &outcome.requests;
        put!(
            text,
            "| {name} | {} | {} | {} | {} | {} | {} | {} | {} | {:.5} |",
            short(each.task_write_units),
            short(each.stage_write_units),
            short(each.control_write_units),
            short(each.read_units),
            a_task(requests.sends),
            a_task(requests.receives),
            a_task(requests.deletes),
            short(requests.marks as f64 / requests.calls.max(1) as f64),
            each.lambda_gb_seconds,
        );
    }
    put!(text, "");
}

fn bills(text: &mut String, cases: &[Case]) {
    let cases: Vec<_> = cases.iter().filter(|case| case.plan.peak_hours.is_none()).collect();
    put!(text, "### A month's bill\n");
    put!(text, "Dollars for 30 such days; a worker has 8 vCPUs and 16 GB, records are kept for 30 days.\n");
    let names: Vec<_> = cases.iter().map(|case| case.name.as_str()).collect();
    let months: Vec<_> = cases.iter().map(|case| &case.bill).collect();
    bill_table(text, &names, &months);
}

/// The lines of several bills side by side.
pub fn bill_table(text: &mut String, names: &[&str], bills: &[&Bill]) {
    let Some(one) = bills.first() else { return };
    put!(text, "| | {} |", names.join(" | "));
    put!(text, "|---|{}", "--:|".repeat(bills.len()));
    let row = |text: &mut String, what: &str, of: &dyn Fn(&Bill) -> f64| {
        let cells: Vec<_> = bills.iter().map(|bill| dollars(of(bill))).collect();
        put!(text, "| {what} | {} |", cells.join(" | "));
    };
    for (index, line) in one.lines.iter().enumerate() {
        row(text, line.what, &|bill| bill.lines[index].dollars);
    }
    row(text, "**all but the workers**", &Bill::service);
    row(text, "**a million tasks, all but the workers**", &|bill| {
        bill.service() / (bill.tasks_a_day * crate::month::DAYS) * 1e6
    });
    row(text, "**all**", &|bill| bill.service() + bill.workers());
    put!(text, "");
}

fn bottlenecks(text: &mut String, cases: &[Case]) {
    put!(text, "### Limits\n");
    for case in cases {
        if let Some(first) = first(&case.limits) {
            let (used, of) = (short(first.used), short(first.of));
            // Single calls and workers say nothing about larger loads.
            let at = short(case.plan.tasks / first.share);
            if first.share < 0.01 {
                put!(text, "- **{}**: less than a hundredth of every limit of AWS is used.", case.name);
            } else if first.share >= 1.0 {
                let remedy = capital(first.remedy);
                put!(text, "- **{}**: {} is exceeded, {used} of {of}. {remedy}.", case.name, first.limit);
            } else {
                put!(
                    text,
                    "- **{}**: no limit of AWS is exceeded; the first would be {}, at about {at} such tasks a day \
                     ({used} of {of}).",
                    case.name,
                    first.limit
                );
            }
        }
        for one in case.limits.iter().filter(|one| one.kind == Kind::Design && one.share >= 1.0) {
            put!(
                text,
                "  - Of the settings: {}, {} of {}. {}.",
                one.limit,
                short(one.used),
                short(one.of),
                capital(one.remedy)
            );
        }
    }
    put!(text, "");
    for case in cases.iter().filter(|case| case.plan.tasks >= 1e8 && case.plan.run_seconds > 1.0) {
        put!(text, "{}: every limit at its peak.\n", case.name);
        put!(text, "| limit | used | of | part | whose | what to do |");
        put!(text, "|---|--:|--:|--:|---|---|");
        for one in &case.limits {
            let whose = match one.kind {
                Kind::Quota => "AWS, can be raised",
                Kind::Fixed => "AWS, fixed",
                Kind::Design => "a setting",
                Kind::Adaptive => "AWS, adapts",
            };
            let over = if one.share >= 1.0 { "**" } else { "" };
            let part = match one.share {
                share if share >= 10.0 => format!("{} times", whole(share)),
                share => format!("{:.0} %", share * 100.0),
            };
            put!(
                text,
                "| {} | {} | {} | {over}{part}{over} | {whose} | {} |",
                one.limit,
                short(one.used),
                short(one.of),
                one.remedy
            );
        }
        put!(text, "");
    }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

fn dollars(amount: f64) -> String {
    match amount {
        // Dollars a task, where there are none.
        a if !a.is_finite() => "–".to_owned(),
        a if a >= 100.0 => whole(a),
        a if a >= 0.005 || a == 0.0 => format!("{a:.2}"),
        _ => "< 0.01".to_owned(),
    }
}

/// Three digits that count.
fn short(number: f64) -> String {
    match number {
        n if n >= 1_000.0 => whole(n),
        n if n >= 100.0 => format!("{n:.0}"),
        n if n >= 10.0 => format!("{n:.1}"),
        n if n >= 0.1 || n == 0.0 => format!("{n:.2}"),
        n => format!("{n:.4}"),
    }
}

/// A whole number with its thousands apart.
fn whole(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Puts `generated` between the lines that mark generated text.
///
/// # Errors
/// The document has no such lines.
pub fn insert(document: &str, name: &str, generated: &str) -> anyhow::Result<String> {
    let (begin, end) = (format!("<!-- {name}: begin -->\n"), format!("<!-- {name}: end -->"));
    let marks = document.split_once(&begin).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(&end)?;
        Some(format!("{before}{begin}{generated}{end}{after}"))
    });
    marks.ok_or_else(|| anyhow::anyhow!("the document has no lines `{}` and `{end}`", begin.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_thousands_apart() {
        let shown: Vec<_> = [0.0, 0.01234, 0.5, 12.34, 123.4, 1_234.5, 1e8].map(short).into();
        assert_eq!(shown, ["0.00", "0.0123", "0.50", "12.3", "123", "1,234", "100,000,000"]);
        assert_eq!([0.001, 0.5, 1e4, 1.0 / 0.0].map(dollars), ["< 0.01", "0.50", "10,000", "–"]);
    }

    #[test]
    fn only_the_marked_part_of_a_document_changes() {
        let document = "a\n<!-- x: begin -->\nold\n<!-- x: end -->\nb\n";
        let new = insert(document, "x", "new\n").unwrap();
        assert_eq!(new, "a\n<!-- x: begin -->\nnew\n<!-- x: end -->\nb\n");
        assert_eq!(insert(&new, "x", "new\n").unwrap(), new);
        assert!(insert("a", "x", "").is_err());
    }
}
