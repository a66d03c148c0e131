//! The checks and the report, for people and for programs.

use console::{Style, style};
use serde_json::{Value, json};
use stageline::aws::{AwsError, Depth};
use stageline_sweeper::Report;

use super::checks::{Check, REPAIR, State};
use super::look::Seen;
use super::report;
use crate::output::{self, Format};
use crate::plain::plain_line;

/// Writes everything.
pub(super) fn show(seen: &Seen, checks: &[Check], repair: Option<&Report>, format: Format) {
    match format {
        Format::Text => text(checks, repair),
        Format::Json => json(seen, checks, repair),
    }
}

fn text(checks: &[Check], repair: Option<&Report>) {
    let repaired = repair.map(report::lines).unwrap_or_default();
    for Check { check, state, seen, next } in repaired.iter().chain(checks) {
        let (word, colour) = match state {
            State::Ok => ("ok", Style::new().green()),
            State::Warning => ("warning", Style::new().yellow()),
            State::Problem => ("problem", Style::new().red().bold()),
        };
        // What is seen is what anybody may have written.
        let seen = plain_line(seen);
        output::line(format_args!("{} {check:<13} {seen}", colour.apply_to(format!("{word:<8}"))));
        if let Some(next) = next {
            output::line(format_args!("{:>21}  {next}", style("next:").cyan()));
        }
    }
    if repair.is_none() {
        output::next(&format!("only `{REPAIR}` looks at the records themselves, all of them"));
    }
}

fn json(seen: &Seen, checks: &[Check], repair: Option<&Report>) {
    let healthy =
        checks.iter().all(|check| check.state != State::Problem) && repair.is_none_or(report::is_sound);
    let pools = seen.pools.iter().map(|pool| {
        let lanes = pool.lanes.iter().map(|(lane, read)| (lane.as_str().to_owned(), depth(Some(read))));
        json!({
            "name": pool.name,
            "lanes": lanes.collect::<serde_json::Map<_, _>>(),
            "dead": depth(pool.dead.as_ref()),
        })
    });
    let workers = seen.workers.iter().flatten().map(|(worker, item)| {
        json!({ "id": worker, "heartbeat": item.heartbeat, "seenToBeat": seen.beaten.contains(worker) })
    });
    output::json(&json!({
        "healthy": healthy,
        "checks": checks,
        "pools": pools.collect::<Vec<_>>(),
        "workers": workers.collect::<Vec<_>>(),
        "repair": repair,
    }));
}

fn depth(read: Option<&Result<Depth, AwsError>>) -> Value {
    match read {
        Some(Ok(Depth { visible, in_flight, delayed })) => {
            json!({ "waiting": visible, "inFlight": in_flight, "delayed": delayed })
        }
        _ => Value::Null,
    }
}
