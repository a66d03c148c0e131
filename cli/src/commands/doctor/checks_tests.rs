use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use stageline::At;
use stageline::aws::{Aws, Deployment};
use stageline::protocol::lease::Lease;
use stageline::protocol::pools::Pools;
use stageline::task::Lane;

use super::*;

/// A system that nobody asks anything.
pub(in super::super) fn system() -> Connection {
    let mut deployment = Deployment::with_prefix("x");
    deployment.lease = Lease::of(Duration::from_secs(30));
    deployment.pools = Pools::from_json(
        r#"[{"name":"default","targets":["default/*"],"queues":{"high":"h","normal":"n","low":"l","dead":"d"}}]"#,
    )
    .unwrap();
    Connection {
        aws: Aws::new(&stageline_local::sdk_config("http://127.0.0.1:1"), &deployment),
        deployment,
        system: "a test".to_owned(),
        is_dev: false,
        artifacts: None,
        jobs: None,
        missing: Vec::new(),
    }
}

/// A look at a sound system without workers, a million seconds after the beginning of time.
pub(in super::super) fn sound() -> Seen {
    let empty = || Ok(Depth::default());
    Seen {
        now: At::from_millis(1_000_000_000),
        tasks: Ok(()),
        stages: Ok(()),
        workers: Ok(BTreeMap::new()),
        beaten: BTreeSet::new(),
        late: Ok(Some(0)),
        pools: vec![PoolSeen {
            name: "default".to_owned(),
            lanes: Lane::ALL.map(|lane| (lane, empty())).into(),
            dead: Some(empty()),
        }],
    }
}

pub(in super::super) fn refused(code: &str) -> AwsError {
    AwsError::Refused { call: "A call", code: code.to_owned(), message: "words of AWS".to_owned() }
}

/// The checks that are not ok; each of them says what to type.
#[track_caller]
pub(in super::super) fn amiss(seen: &Seen, system: &Connection) -> Vec<Check> {
    let amiss: Vec<_> = checks(seen, system).into_iter().filter(|check| check.state != State::Ok).collect();
    for check in &amiss {
        assert!(check.next.as_ref().is_some_and(|next| !next.is_empty()), "{check:?}");
    }
    amiss
}

#[test]
fn a_sound_system_has_nothing_amiss() {
    assert_eq!(amiss(&sound(), &system()), []);
}

#[test]
fn each_call_that_fails_is_a_problem_of_its_own_with_the_words_of_aws() {
    let mut seen = sound();
    let no_table = || refused("ResourceNotFoundException");
    seen.tasks = Err(no_table());
    seen.stages = Err(no_table());
    seen.workers = Err(no_table());
    seen.late = Err(no_table());
    seen.pools[0].lanes[1].1 = Err(refused("AWS.SimpleQueueService.NonExistentQueue"));
    seen.pools[0].dead = Some(Err(refused("AccessDeniedException")));
    let amiss = amiss(&seen, &system());
    assert!(amiss.iter().all(|check| check.state == State::Problem && check.seen.contains("words of AWS")));
    let of = |name: &str| amiss.iter().filter(|check| check.check == name).collect::<Vec<_>>();
    assert_eq!(of("table").len(), 3);
    assert!(of("table")[0].next.as_ref().unwrap().contains("scripts/deploy"));
    assert!(of("queues")[0].seen.starts_with("default, lane normal: "));
    assert!(of("queues")[0].next.as_ref().unwrap().contains("STAGELINE_POOLS"));
    assert!(of("dead letters")[0].next.as_ref().unwrap().contains("Permissions of clients"));
    assert_eq!(of("due tasks").len(), 1);
}

#[test]
fn dead_letters_are_a_warning_and_late_tasks_a_problem() {
    let mut seen = sound();
    seen.pools[0].dead = Some(Ok(Depth { visible: 2, ..Depth::default() }));
    seen.late = Ok(Some(7));
    let found = amiss(&seen, &system());
    seen.late = Ok(None);
    let without_index = amiss(&seen, &system());
    assert_eq!((without_index[1].check, without_index[1].state), ("due tasks", State::Warning));
    let amiss = found;
    assert_eq!(amiss[0].seen, "default: 2 messages that no worker could settle");
    assert_eq!((amiss[0].state, amiss[1].state), (State::Warning, State::Problem));
    assert!(amiss[1].seen.starts_with("7 or more"));
    assert!(amiss[1].next.as_ref().unwrap().contains("/aws/lambda/x-sweeper"), "{amiss:?}");
}

#[test]
fn what_is_not_set_is_named_and_unknown_queues_are_said_to_be_unknown() {
    let mut system = system();
    system.missing = vec!["STAGELINE_POOLS", "STAGELINE_LEASE_SECONDS"];
    let mut seen = sound();
    seen.pools.clear();
    let amiss = amiss(&seen, &system);
    assert_eq!((amiss.len(), amiss[0].state), (1, State::Warning));
    for words in ["STAGELINE_POOLS, STAGELINE_LEASE_SECONDS", "not looked at"] {
        assert!(amiss[0].seen.contains(words), "{amiss:?}");
    }
    assert!(amiss[0].next.as_ref().unwrap().contains("scripts/deploy --env"));
}
