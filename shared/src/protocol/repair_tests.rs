use serde_json::json;

use super::*;
use crate::protocol::pools::Pools;

const NOW: &str = "2026-11-21T12:00:00.000Z";
const LONG_AGO: &str = "2026-11-21T11:00:00.000Z";
const JUST_NOW: &str = "2026-11-21T11:59:30.000Z";

fn find(image: Value) -> Finding {
    let json = r#"[{"name":"default","targets":["default/*"],"queues":{"high":"h","normal":"n","low":"l"}}]"#;
    let (pools, modes) = (Pools::from_json(json).unwrap(), ["local".to_owned()]);
    let workers = BTreeMap::from([("alive:1:a".parse().unwrap(), None)]);
    let rules = Rules { pools: &pools, foreign_modes: &modes };
    let view = View { rules, workers: &workers, now: At::parse(NOW).unwrap() };
    let key = image["id"].as_str().unwrap_or("k").to_owned();
    inspect(&key, image, view)
}

fn kind(finding: &Finding) -> &'static str {
    match finding {
        Finding::Fine => "fine",
        Finding::Overdue(Triage::Send(_)) => "send",
        Finding::Overdue(Triage::Cancel(_)) => "cancel",
        Finding::Overdue(Triage::Hold(_)) => "hold",
        Finding::Overdue(Triage::Resume(_)) => "resume",
        Finding::Overdue(Triage::Defer(_)) => "defer",
        Finding::Overdue(Triage::Reject { .. }) => "reject",
        Finding::Overdue(_) => "other",
        Finding::Queued(_) => "queued",
        Finding::UnderNobody(..) => "under nobody",
        Finding::Held(..) => "held",
        Finding::Impossible(_) => "impossible",
    }
}

#[test]
fn each_record_that_another_path_missed_is_found() {
    let record = |status: &str, at: &str, more: Value| {
        let mut image = json!({
            "id": "t", "command": "true", "status": status, "createdAt": LONG_AGO, "updatedAt": at,
            "attempt": 1, "queuedAt": LONG_AGO,
        });
        image.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        image
    };
    let under = |worker: &str| json!({"workerNodeId": worker});
    for (image, expected) in [
        (record("PENDING", LONG_AGO, json!({})), "send"),
        (record("PENDING", JUST_NOW, json!({})), "fine"),
        (record("RETRYING", LONG_AGO, json!({})), "send"),
        (
            record("RETRYING", LONG_AGO, json!({"notBefore": "2026-11-21T14:00:00Z", "dueKey": "due#0"})),
            "fine",
        ),
        (record("SCHEDULED", LONG_AGO, json!({"notBefore": "2026-11-21T14:00:00Z"})), "defer"),
        (record("SCHEDULED", LONG_AGO, json!({"notBefore": LONG_AGO, "dueKey": "due#0"})), "send"),
        (record("QUEUED", LONG_AGO, json!({})), "queued"),
        (record("QUEUED", JUST_NOW, json!({})), "fine"),
        (record("QUEUED", LONG_AGO, json!({"cancelRequested": true})), "cancel"),
        (record("QUEUED", LONG_AGO, json!({"pauseRequested": true})), "hold"),
        (record("PAUSED", LONG_AGO, json!({"pauseRequested": false})), "resume"),
        (record("PAUSED", LONG_AGO, json!({"pauseRequested": true})), "fine"),
        (
            record("PAUSED", LONG_AGO, json!({"pauseRequested": true, "workerNodeId": "gone:1:a"})),
            "under nobody",
        ),
        (record("WAITING", LONG_AGO, json!({})), "fine"),
        (record("RUNNING", LONG_AGO, under("alive:1:a")), "held"),
        (record("RUNNING", JUST_NOW, under("gone:1:a")), "under nobody"),
        (record("PREPARING", LONG_AGO, under("gone:1:a")), "under nobody"),
        (record("RUNNING", LONG_AGO, json!({})), "impossible"),
        (record("RUNNING", LONG_AGO, json!({"workerNodeId": "alive:1:a", "attempt": 0})), "impossible"),
        (record("RUNNING", LONG_AGO, json!({"workerNodeId": {"no": "worker"}})), "impossible"),
        (record("ARCHIVED", LONG_AGO, json!({})), "impossible"),
        (record("PENDING", LONG_AGO, json!({"command": 5})), "reject"),
        (record("COMPLETED", LONG_AGO, json!({"cancelRequested": true})), "fine"),
        (record("PENDING", LONG_AGO, json!({"metadata": {"dispatch_mode": "local"}})), "fine"),
    ] {
        assert_eq!(kind(&find(image.clone())), expected, "{image}");
    }
}

#[test]
fn records_that_none_of_our_writes_touched_are_repaired_only_when_they_are_pending() {
    for (image, expected) in [
        (json!({"id": "t", "command": "true"}), "send"),
        (json!({"id": "t", "command": "true", "status": "PENDING", "attempt": 0}), "send"),
        (json!({"id": "t", "command": "true", "status": "RUNNING", "workerNodeId": "theirs"}), "fine"),
        (json!({"id": "t", "status": "ARCHIVED"}), "fine"),
        (json!({"id": "t", "status": "PENDING", "dispatchStatus": "DISPATCHED", "command": "true"}), "fine"),
        (json!({"id": "t", "status": "QUEUED", "command": "true"}), "fine"),
    ] {
        assert_eq!(kind(&find(image.clone())), expected, "{image}");
    }
}

#[test]
fn a_clock_far_ahead_does_not_hide_a_record_for_ever() {
    let image = |at: &str| json!({"id": "t", "command": "true", "status": "PENDING", "updatedAt": at});
    assert_eq!(kind(&find(image("2026-11-21T12:00:30.000Z"))), "fine", "within the clocks' play");
    assert_eq!(kind(&find(image("2099-01-01T00:00:00.000Z"))), "send");
}

#[test]
fn a_message_is_gone_when_its_queue_is_empty_or_was_overtaken() {
    let mut task = Task::new("t".parse().unwrap());
    task.queued_at = At::parse(LONG_AGO);
    let at = |minutes: u64| At::parse(LONG_AGO).map(|at| at.plus(Duration::from_secs(60 * minutes)));
    let view = |empty, received_until| QueueView { empty, received_until };
    for (queue, gone) in [
        (view(true, None), true),
        (view(false, None), false),
        (view(false, at(4)), false),
        (view(false, at(5)), true),
    ] {
        assert_eq!(is_message_gone(&task, queue), gone, "{queue:?}");
    }
    task.not_before = at(10);
    assert!(!is_message_gone(&task, view(false, at(12))), "a delayed message is received later");
    assert!(is_message_gone(&task, view(false, at(15))));
}
