//! What a look says about the system. Pure: the same look always says the same.

use serde::Serialize;
use stageline::aws::{AwsError, Depth};

use super::fleet;
use super::look::{PoolSeen, Seen};
use crate::connection::Connection;
use crate::failure::{SET_VARIABLES, next_after};

/// What brings back whatever has an ordinary path to go.
pub(super) const REPAIR: &str = "stageline doctor --repair";

/// How it stands with one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    /// As it should be.
    Ok,
    /// Worth a look; tasks run all the same.
    Warning,
    /// Something does not work until somebody does something about it.
    Problem,
}

/// What was seen of one thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Check {
    /// The thing.
    pub check: &'static str,
    /// How it stands.
    pub state: State,
    /// What was seen, in words.
    pub seen: String,
    /// What to type about it.
    pub next: Option<String>,
}

impl Check {
    pub fn ok(check: &'static str, seen: impl Into<String>) -> Self {
        Self { check, state: State::Ok, seen: seen.into(), next: None }
    }

    pub fn warning(check: &'static str, seen: impl Into<String>, next: impl Into<String>) -> Self {
        Self { check, state: State::Warning, seen: seen.into(), next: Some(next.into()) }
    }

    pub fn problem(check: &'static str, seen: impl Into<String>, next: impl Into<String>) -> Self {
        Self { check, state: State::Problem, seen: seen.into(), next: Some(next.into()) }
    }

    /// A call that failed; `what` is in front of the error's words.
    pub fn failed(check: &'static str, what: &str, error: &AwsError) -> Self {
        let next = next_after(error).unwrap_or("correct what AWS says, then once more: stageline doctor");
        Self::problem(check, format!("{what}: {error}"), next)
    }
}

/// `1 worker`, `2 workers`.
pub(super) fn counted(count: impl std::fmt::Display, one: &str) -> String {
    let count = count.to_string();
    let plural = if count == "1" { "" } else { "s" };
    format!("{count} {one}{plural}")
}

/// Every check, in the order in which they are shown.
pub(super) fn checks(seen: &Seen, system: &Connection) -> Vec<Check> {
    let names = &system.deployment;
    let mut all = vec![settings(system)];
    all.push(table(&names.tasks_table, seen.tasks.as_ref().err()));
    all.push(table(&names.stages_table, seen.stages.as_ref().err()));
    all.push(table(&names.control_table, seen.workers.as_ref().err()));
    for pool in &seen.pools {
        all.extend(queues(pool));
        all.extend(dead_letters(pool));
    }
    all.push(late(seen, system));
    all.extend(fleet::checks(seen, system));
    all
}

fn settings(system: &Connection) -> Check {
    const CHECK: &str = "system";
    let lease = system.deployment.lease.length().as_secs();
    let system_is = format!("{}, lease {lease} s", system.system);
    if system.missing.is_empty() {
        return Check::ok(CHECK, system_is);
    }
    let no_queues = match system.missing.contains(&"STAGELINE_POOLS") {
        true => "; its queues are not known, and not looked at",
        false => "",
    };
    let missing = system.missing.join(", ");
    Check::warning(CHECK, format!("{system_is}; not set: {missing}{no_queues}"), SET_VARIABLES)
}

fn table(name: &str, error: Option<&AwsError>) -> Check {
    match error {
        None => Check::ok("table", format!("{name} answers")),
        Some(error) => Check::failed("table", name, error),
    }
}

fn queues(pool: &PoolSeen) -> Vec<Check> {
    const CHECK: &str = "queues";
    let failed = pool.lanes.iter().filter_map(|(lane, depth)| Some((lane, depth.as_ref().err()?)));
    let failed: Vec<_> = failed
        .map(|(lane, error)| Check::failed(CHECK, &format!("{}, lane {}", pool.name, lane.as_str()), error))
        .collect();
    if !failed.is_empty() {
        return failed;
    }
    let Depth { visible, in_flight, delayed } = pool.depth();
    let lanes = pool.lanes.iter().filter_map(|(lane, depth)| {
        let visible = depth.as_ref().ok()?.visible;
        (visible > 0).then(|| format!("{} {visible}", lane.as_str()))
    });
    let lanes: Vec<_> = lanes.collect();
    let lanes = if lanes.is_empty() { String::new() } else { format!(" ({})", lanes.join(", ")) };
    let seen = format!("{}: {visible} waiting{lanes}, {in_flight} in flight, {delayed} delayed", pool.name);
    vec![Check::ok(CHECK, seen)]
}

fn dead_letters(pool: &PoolSeen) -> Option<Check> {
    const CHECK: &str = "dead letters";
    let name = &pool.name;
    Some(match pool.dead.as_ref()? {
        Err(error) => Check::failed(CHECK, name, error),
        Ok(depth) if depth.visible == 0 => Check::ok(CHECK, format!("{name}: none")),
        Ok(depth) => {
            let seen = format!("{name}: {} that no worker could settle", counted(depth.visible, "message"));
            Check::warning(CHECK, seen, format!("{REPAIR} (the sweeper's next round does the same)"))
        }
    })
}

/// Whether the sweeper does its rounds, by what it would have done.
fn late(seen: &Seen, system: &Connection) -> Check {
    const CHECK: &str = "due tasks";
    match &seen.late {
        Err(error) => Check::failed(CHECK, "not counted", error),
        Ok(None) => Check::warning(
            CHECK,
            "the tasks table has no index byDue: what waits for more than 15 minutes is sent late".to_owned(),
            "add the index (docs/deploy.md, \"Adopting a dashboard's table\")".to_owned(),
        ),
        Ok(Some(0)) => Check::ok(CHECK, "none is late"),
        Ok(Some(late)) => {
            let next = match system.is_dev {
                true => format!("the log of `stageline dev` says why; at once: {REPAIR}"),
                false => {
                    let prefix = system.deployment.tasks_table.trim_end_matches("-tasks");
                    format!("aws logs tail /aws/lambda/{prefix}-sweeper; at once: {REPAIR}")
                }
            };
            let seen =
                format!("{late} or more should have been sent 3 minutes ago: the sweeper makes no rounds");
            Check::problem(CHECK, seen, next)
        }
    }
}

#[cfg(test)]
#[path = "checks_tests.rs"]
pub(super) mod tests;
