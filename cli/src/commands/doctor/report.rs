//! What a repair pass did, in words. Pure.

use stageline::task::TaskId;
use stageline_sweeper::Report;

use super::checks::{Check, counted};

const CHECK: &str = "repair";

/// Whether nothing is left for a person.
pub(super) fn is_sound(report: &Report) -> bool {
    report.errors == 0 && report.impossible_count == 0 && report.pass_complete
}

/// The report as lines like those of the checks.
pub(super) fn lines(report: &Report) -> Vec<Check> {
    let done = [
        ("dead workers", report.workers_dead),
        ("rescued", report.rescued),
        ("due and sent", report.due),
        ("sent again", report.sent_again),
        ("put among those that wait", report.deferred),
        ("failed as unfit to run", report.rejected),
        ("cancelled", report.cancelled),
        ("paused", report.held),
        ("resumed", report.resumed),
        ("signals to workers", report.signals),
        ("failed by their dead letters", report.dead_letters_failed),
        ("dead letters dropped", report.dead_letters_dropped),
    ];
    let done = done.iter().filter(|(_, count)| *count > 0).map(|(what, count)| format!("{what} {count}"));
    let done: Vec<_> = done.collect();
    let done = if done.is_empty() { "nothing to repair".to_owned() } else { done.join(", ") };
    let mut lines =
        vec![Check::ok(CHECK, format!("{} looked at: {done}", counted(report.scanned, "record")))];
    for record in &report.impossible {
        // Anybody may have written the key: only one that is an id becomes part of a command.
        let look = record.id.parse::<TaskId>().map(|id| format!("stageline status {id}, then "));
        let next =
            format!("{}correct it: docs/operations.md, \"Impossible records\"", look.unwrap_or_default());
        let seen = format!("{}: {}", record.id, record.why);
        lines.push(Check::problem("impossible", seen, next));
    }
    if let more @ 1.. = report.impossible_count - report.impossible.len() {
        let next = "RUST_LOG=warn stageline doctor --repair (names each)";
        lines.push(Check::problem("impossible", format!("{} more", counted(more, "record")), next));
    }
    if report.errors > 0 || !report.pass_complete {
        let seen = match report.pass_complete {
            true => format!("{} errors; their reasons are in the log above", report.errors),
            false => {
                format!("the end of the table was not reached, {} errors; see the log above", report.errors)
            }
        };
        lines.push(Check::problem(CHECK, seen, "once the reason is gone, again: stageline doctor --repair"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use stageline_sweeper::Impossible;

    use super::super::checks::State;
    use super::*;

    #[test]
    fn a_pass_that_found_nothing_is_sound_and_says_so() {
        let report = Report { scanned: 7, pass_complete: true, ..Report::default() };
        assert!(is_sound(&report));
        let lines = lines(&report);
        assert_eq!(lines, [Check::ok("repair", "7 records looked at: nothing to repair")]);
    }

    #[test]
    fn whatever_is_left_for_a_person_is_a_problem_with_a_next_step() {
        let impossible = vec![Impossible { id: "t-1".to_owned(), why: "it is odd".to_owned() }];
        for report in [
            Report { errors: 1, pass_complete: true, ..Report::default() },
            Report { pass_complete: false, ..Report::default() },
            Report { impossible_count: 3, impossible, pass_complete: true, ..Report::default() },
        ] {
            assert!(!is_sound(&report), "{report:?}");
            let problems: Vec<_> =
                lines(&report).into_iter().filter(|line| line.state == State::Problem).collect();
            assert!(!problems.is_empty() && problems.iter().all(|line| line.next.is_some()), "{report:?}");
            if report.impossible_count > 0 {
                assert!(
                    problems[0].seen.contains("t-1: it is odd")
                        && problems[1].seen.starts_with("2 records more")
                );
            }
        }
    }
}
