use std::collections::BTreeMap;

use stageline::aws::{Depth, Notice};

use super::super::checks::State;
use super::super::checks::tests::{amiss, sound, system};
use super::*;

/// A worker of the pool `default` that beat so many seconds ago by its own clock.
fn worker(id: &str, seconds: i64) -> WorkerItem {
    let now = sound().now;
    let heartbeat = Heartbeat {
        worker_id: id.parse().unwrap(),
        heartbeat_at: At::from_millis(now.millis() - seconds * 1_000),
        pool: "default".to_owned(),
        slots: 4,
        running: 1,
        engines: Vec::new(),
        version: "1.0.0".to_owned(),
        draining: false,
        instance: None,
        received_until: BTreeMap::new(),
        broken: BTreeMap::new(),
        notice: None,
    };
    WorkerItem {
        worker: heartbeat.worker_id.clone(),
        beat: heartbeat.heartbeat_at.to_string(),
        heartbeat: Some(heartbeat),
    }
}

fn with(mut item: WorkerItem, change: impl FnOnce(&mut Heartbeat)) -> WorkerItem {
    change(item.heartbeat.as_mut().unwrap());
    item
}

fn seen(items: impl IntoIterator<Item = WorkerItem>) -> Seen {
    let items = items.into_iter().map(|item| (item.worker.clone(), item)).collect();
    Seen { workers: Ok(items), ..sound() }
}

fn waiting(mut seen: Seen, visible: u64) -> Seen {
    seen.pools[0].lanes[0].1 = Ok(Depth { visible, ..Depth::default() });
    seen
}

#[track_caller]
fn only(amiss: &[Check], state: State, words: &[&str]) {
    assert_eq!(amiss.len(), 1, "{amiss:?}");
    assert_eq!(amiss[0].state, state, "{amiss:?}");
    for word in words {
        assert!(amiss[0].seen.contains(word), "{word:?} is not in {amiss:?}");
    }
}

#[test]
fn workers_that_beat_are_counted_with_their_slots_and_the_age_is_called_their_own() {
    let seen = seen([worker("a:1:x", 1), worker("b:1:x", 9)]);
    assert_eq!(amiss(&seen, &system()), []);
    let checks = checks(&seen, &system());
    let own = "2 with 8 slots, 2 running; last heard of 1 to 9 s ago by their own clocks";
    assert_eq!(checks, [Check::ok(CHECK, own)]);
}

#[test]
fn a_silent_worker_is_a_warning_unless_it_was_seen_to_beat() {
    let mut seen = seen([worker("a:1:x", 31), worker("b:1:x", 30)]);
    only(&amiss(&seen, &system()), State::Warning, &["1 without a beat", "a:1:x"]);
    seen.beaten = ["a:1:x", "b:1:x"].map(|id| id.parse().unwrap()).into();
    assert_eq!(amiss(&seen, &system()), [], "its clock is late, and it lives");
    assert!(checks(&seen, &system())[0].seen.contains("each has just beaten"));
}

#[test]
fn what_a_worker_left_without_a_beat_is_a_silent_worker() {
    let left = WorkerItem { heartbeat: None, beat: String::new(), ..worker("a:1:x", 0) };
    only(&amiss(&seen([left]), &system()), State::Warning, &["a:1:x"]);
}

#[test]
fn messages_without_a_worker_that_takes_them_are_a_problem() {
    let takes = |item| amiss(&waiting(seen([item]), 3), &system());
    assert_eq!(takes(worker("a:1:x", 1)), []);
    let draining = with(worker("a:1:x", 1), |beat| beat.draining = true);
    assert!(checks(&seen([draining.clone()]), &system())[0].seen.ends_with("draining: a:1:x"));
    only(&takes(draining), State::Problem, &["default: 3 messages waiting"]);
    only(&amiss(&waiting(seen([]), 1), &system()), State::Problem, &["1 message waiting"]);
    assert_eq!(amiss(&seen([]), &system()), [], "nobody is needed while nothing waits");
    // A dead one takes nothing either.
    let silent = takes(worker("a:1:x", 99));
    assert_eq!(silent.iter().map(|check| check.state).collect::<Vec<_>>(), [State::Warning, State::Problem]);
}

#[test]
fn workers_of_different_versions_are_named_by_version() {
    let newer = with(worker("b:1:x", 1), |beat| beat.version = "1.1.0".to_owned());
    let amiss = amiss(&seen([worker("a:1:x", 1), newer]), &system());
    only(&amiss, State::Warning, &["1.0.0 (a:1:x)", "1.1.0 (b:1:x)"]);
}

#[test]
fn a_beat_from_the_future_says_that_a_clock_is_off() {
    only(&amiss(&seen([worker("a:1:x", -60)]), &system()), State::Warning, &["a:1:x is 60 s in the future"]);
    assert_eq!(amiss(&seen([worker("a:1:x", -4)]), &system()), []);
}

#[test]
fn a_worker_of_an_unknown_pool_is_a_warning_if_pools_are_known() {
    let strange = || seen([with(worker("a:1:x", 1), |beat| beat.pool = "gpu".to_owned())]);
    only(&amiss(&strange(), &system()), State::Warning, &["a:1:x", "(gpu)"]);
    let mut system = system();
    system.deployment.pools = Pools::default();
    assert_eq!(amiss(&strange(), &system), []);
}

#[test]
fn many_workers_are_counted_and_few_named() {
    let many = seen((0..40).map(|n| worker(&format!("w{n:02}:1:x"), 500)));
    only(&amiss(&many, &system()), State::Warning, &["40 without", "w04:1:x and 35 more"]);
}

#[test]
fn machines_that_were_told_of_their_end_are_named() {
    let told = |id, what: &str, at: Option<&str>| {
        let notice = Notice { what: what.to_owned(), at: at.and_then(At::parse) };
        with(worker(id, 1), |beat| beat.notice = Some(notice))
    };
    let seen = seen([
        told("a:1:x", "spot-terminate", Some("2026-11-21T08:22:00Z")),
        told("b:1:x", "rebalance", None),
        worker("c:1:x", 1),
    ]);
    let words = ["a:1:x (spot-terminate 2026-11-21T08:22:00.000Z), b:1:x (rebalance)"];
    only(&amiss(&seen, &system()), State::Warning, &words);
}
