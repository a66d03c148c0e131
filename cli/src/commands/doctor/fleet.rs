//! What a look says about the workers.
//!
//! A worker is dead when its beat does not change for a lease, which takes two looks a lease apart. One look
//! has only the beats' ages, and those compare the worker's clock with this machine's: they are shown as what
//! they are, and nothing is done about them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use stageline::At;
use stageline::aws::{Heartbeat, WorkerItem};
use stageline::protocol::pools::Pools;
use stageline::task::WorkerId;

use super::checks::{Check, REPAIR, counted};
use super::look::Seen;
use crate::connection::Connection;

const CHECK: &str = "workers";
/// A beat this far in the future says that clocks differ; less may be rounding.
const AHEAD: Duration = Duration::from_secs(5);
/// Workers that are named; the others are counted.
const NAMED: usize = 5;

/// The checks of the workers, none if they cannot be read: then that is said of their table.
pub(super) fn checks(seen: &Seen, system: &Connection) -> Vec<Check> {
    let Ok(items) = &seen.workers else { return Vec::new() };
    let lease = system.deployment.lease.length();
    let (lively, silent): (Vec<_>, Vec<_>) =
        items.values().partition(|item| is_lively(item, &seen.beaten, seen.now, lease));
    let beats: Vec<_> = lively.iter().filter_map(|item| item.heartbeat.as_ref()).collect();
    let mut all = vec![summary(&beats, seen)];
    all.extend(silence(&silent, lease));
    all.extend(versions(&beats));
    all.extend(broken_engines(&beats));
    all.extend(notices(&beats));
    all.extend(clocks(&beats, seen.now));
    all.extend(strangers(&beats, &system.deployment.pools));
    all.extend(unserved(seen, &beats, system.is_dev));
    all
}

fn is_lively(item: &WorkerItem, beaten: &BTreeSet<WorkerId>, now: At, lease: Duration) -> bool {
    let is_young = |beat: &Heartbeat| now.since(beat.heartbeat_at) <= lease;
    beaten.contains(&item.worker) || item.heartbeat.as_ref().is_some_and(is_young)
}

/// Engines that do not work on some worker, which it therefore leaves to others for a while.
fn broken_engines(beats: &[&Heartbeat]) -> Option<Check> {
    let broken = beats.iter().flat_map(|beat| beat.broken.keys().map(|engine| (engine, &beat.worker_id)));
    let named: Vec<_> = broken.map(|(engine, worker)| format!("{engine} on {worker}")).collect();
    let more = named.len().saturating_sub(NAMED);
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    let seen =
        format!("do not work: {}{rest}", named.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", "));
    let next = "the worker's log says why: docs/operations.md, \"When an engine does not work\"";
    (!named.is_empty()).then(|| Check::warning("engines", seen, next))
}

/// Machines that were told of their end.
fn notices(beats: &[&Heartbeat]) -> Option<Check> {
    let told = beats.iter().filter_map(|beat| {
        let notice = beat.notice.as_ref()?;
        let at = notice.at.map_or(String::new(), |at| format!(" {at}"));
        Some(format!("{} ({}{at})", beat.worker_id, notice.what))
    });
    let named: Vec<_> = told.collect();
    let more = named.len().saturating_sub(NAMED);
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    let seen = format!(
        "told of their machine's end: {}{rest}",
        named.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ")
    );
    let next = "nothing, their tasks go to others: docs/operations.md, \"Notices of a machine's end\"";
    (!named.is_empty()).then(|| Check::warning("notices", seen, next))
}

fn summary(beats: &[&Heartbeat], seen: &Seen) -> Check {
    let ages = beats.iter().map(|beat| seen.now.since(beat.heartbeat_at).as_secs());
    let (Some(youngest), Some(oldest)) = (ages.clone().min(), ages.max()) else {
        return Check::ok(CHECK, "none");
    };
    let (slots, running) = beats.iter().fold((0u64, 0u64), |(slots, running), beat| {
        (slots + u64::from(beat.slots), running + u64::from(beat.running))
    });
    let proven = beats.iter().filter(|beat| seen.beaten.contains(&beat.worker_id)).count();
    let how = match proven == beats.len() {
        true => "each has just beaten".to_owned(),
        false if youngest == oldest => format!("last heard of {oldest} s ago by its own clock"),
        false => format!("last heard of {youngest} to {oldest} s ago by their own clocks"),
    };
    let draining: Vec<_> = beats.iter().filter(|beat| beat.draining).map(|beat| &beat.worker_id).collect();
    let draining = match draining.as_slice() {
        [] => String::new(),
        some => format!("; draining: {}", names(some)),
    };
    Check::ok(CHECK, format!("{} with {slots} slots, {running} running; {how}{draining}", beats.len()))
}

fn silence(silent: &[&WorkerItem], lease: Duration) -> Option<Check> {
    if silent.is_empty() {
        return None;
    }
    let ids: Vec<_> = silent.iter().map(|item| &item.worker).collect();
    let seen = format!(
        "{} without a beat for more than {} s, dead or with a clock that is off: {}",
        silent.len(),
        lease.as_secs(),
        names(&ids)
    );
    Some(Check::warning(CHECK, seen, format!("{REPAIR} (waits for a beat, and takes the tasks of the dead)")))
}

fn versions(beats: &[&Heartbeat]) -> Option<Check> {
    let mut versions: BTreeMap<&str, Vec<&WorkerId>> = BTreeMap::new();
    for beat in beats {
        versions.entry(&beat.version).or_default().push(&beat.worker_id);
    }
    let each = versions.iter().map(|(version, ids)| format!("{version} ({})", names(ids)));
    let seen = format!("of different versions: {}", each.collect::<Vec<_>>().join(", "));
    (versions.len() > 1).then(|| {
        Check::warning(
            CHECK,
            seen,
            "kill -TERM each of the older ones: it drains; then start the new version",
        )
    })
}

fn clocks(beats: &[&Heartbeat], now: At) -> Option<Check> {
    let ahead = |beat: &&&Heartbeat| beat.heartbeat_at.since(now) > AHEAD;
    let most = beats.iter().filter(ahead).max_by_key(|beat| beat.heartbeat_at)?;
    let by = most.heartbeat_at.since(now).as_secs();
    let seen =
        format!("the beat of {} is {by} s in the future: its clock or this machine's is off", most.worker_id);
    Some(Check::warning("clocks", seen, "timedatectl (on both machines)"))
}

/// Workers of pools that the deployment's variables do not have.
fn strangers(beats: &[&Heartbeat], pools: &Pools) -> Option<Check> {
    // Without any pool nothing is known about pools.
    pools.iter().next()?;
    let strange: Vec<_> = beats.iter().filter(|beat| pools.get(&beat.pool).is_none()).collect();
    let ids: Vec<_> = strange.iter().map(|beat| &beat.worker_id).collect();
    let of: BTreeSet<_> = strange.iter().map(|beat| beat.pool.as_str()).collect();
    let of = of.into_iter().collect::<Vec<_>>().join(", ");
    (!strange.is_empty()).then(|| {
        let seen = format!("{} of pools that STAGELINE_POOLS does not have ({of})", names(&ids));
        Check::warning(
            CHECK,
            seen,
            "eval \"$(scripts/deploy --env)\", in this shell and where they are started",
        )
    })
}

/// Pools whose messages wait for nobody.
fn unserved<'a>(seen: &'a Seen, beats: &'a [&Heartbeat], is_dev: bool) -> impl Iterator<Item = Check> + 'a {
    let takes = |beat: &&&Heartbeat, pool: &str| beat.pool == pool && !beat.draining;
    let waiting = seen.pools.iter().map(|pool| (pool.name.as_str(), pool.depth().visible));
    let alone =
        waiting.filter(move |(pool, visible)| *visible > 0 && !beats.iter().any(|beat| takes(&beat, pool)));
    alone.map(move |(pool, visible)| {
        let next = match is_dev {
            true => "stop `stageline dev`, and start it with a worker: stageline dev",
            false => "start a worker with the deployment's variables: stageline-worker",
        };
        let waiting = counted(visible, "message");
        Check::problem("pool", format!("{pool}: {waiting} waiting, and no worker to take them"), next)
    })
}

fn names(ids: &[&WorkerId]) -> String {
    let named: Vec<_> = ids.iter().take(NAMED).map(ToString::to_string).collect();
    match ids.len().saturating_sub(NAMED) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

#[cfg(test)]
#[path = "fleet_tests.rs"]
mod tests;
