use proptest::prelude::*;
use serde_json::json;

use super::*;

fn pools() -> Pools {
    Pools::from_json(
        r#"[{"name":"default","targets":["default/*"],"queues":{"high":"h","normal":"n","low":"l"}}]"#,
    )
    .unwrap()
}

fn on(image: Value, cause: Cause<'_>) -> Triage {
    let key = image.get("id").and_then(Value::as_str).unwrap_or("k").to_owned();
    let (pools, modes) = (pools(), ["local".to_owned()]);
    let rules = Rules { pools: &pools, foreign_modes: &modes };
    triage(&key, image, cause, rules, At::parse(NOW).unwrap())
}

const NOW: &str = "2026-11-21T12:00:00.000Z";

fn kind(triage: &Triage) -> &'static str {
    match triage {
        Triage::Leave(_) => "leave",
        Triage::Reject { .. } => "reject",
        Triage::Send(_) => "send",
        Triage::RunAgain { .. } => "run again",
        Triage::Defer(_) => "defer",
        Triage::Cancel(_) => "cancel",
        Triage::Hold(_) => "hold",
        Triage::Resume(_) => "resume",
        Triage::Signal { .. } => "signal",
    }
}

#[test]
fn an_insert_is_sent_unless_it_is_somebody_elses_or_wrong() {
    let table = [
        (json!({"id": "t", "command": "true"}), "send"),
        (json!({"id": "t", "command": "true", "status": "PENDING", "dispatchStatus": "PENDING"}), "send"),
        (json!({"id": "t", "command": "true", "status": null, "dispatchStatus": null}), "send"),
        (json!({"id": "t", "command": "true", "status": "RUNNING"}), "leave"),
        (json!({"id": "t", "command": 5, "status": "ARCHIVED"}), "leave"),
        (json!({"id": "t", "command": "true", "dispatchStatus": "DISPATCHED"}), "leave"),
        (json!({"id": "t", "command": 5, "metadata": {"dispatch_mode": "local"}}), "leave"),
        (json!({"id": "t", "command": 5, "metadata": "{\"dispatch_mode\":\"local\"}"}), "leave"),
        (json!({"id": "t", "command": "true", "metadata": "no json"}), "send"),
        (json!({"id": "t", "command": "true", "cancelRequested": true}), "cancel"),
        (json!({"id": "t", "command": "true", "pauseRequested": true}), "hold"),
        (json!({"id": "t", "command": "true", "notBefore": "2026-11-21T12:10:00Z"}), "send"),
        (json!({"id": "t", "command": "true", "scheduledTime": "2026-11-21T12:16:00Z"}), "defer"),
        (json!({"id": "t", "command": "true", "status": 5}), "reject"),
        (json!({"id": "t", "command": "true", "target": "gpu/x"}), "reject"),
        (json!({"id": "not/valid", "command": "true"}), "reject"),
    ];
    for (image, expected) in table {
        assert_eq!(kind(&on(image.clone(), Cause::Insert)), expected, "{image}");
    }
}

#[test]
fn a_change_is_sent_only_when_it_makes_the_record_ready() {
    let image = |status: &str, wanted: &str| json!({"id": "t", "command": "true", "status": status, "dispatchStatus": wanted, "attempt": 2});
    let table = [
        ("RUNNING", "PENDING", "PENDING", "send"),
        ("RUNNING", "RETRYING", "DISPATCHED", "send"),
        ("PENDING", "PENDING", "PENDING", "leave"),
        ("PENDING", "QUEUED", "DISPATCHED", "leave"),
        ("RUNNING", "COMPLETED", "DISPATCHED", "leave"),
        ("COMPLETED", "COMPLETED", "PENDING", "run again"),
        ("FAILED", "FAILED", "PENDING", "run again"),
    ];
    for (old, new, wanted, expected) in table {
        let old = image(old, "DISPATCHED");
        let triage = on(image(new, wanted), Cause::Modify { old: &old });
        assert_eq!(kind(&triage), expected, "{new} {wanted}");
    }
}

#[test]
fn a_task_that_ended_before_it_was_dispatched_does_not_run_again_by_a_later_edit() {
    let image =
        |status: &str| json!({"id": "t", "command": "true", "status": status, "dispatchStatus": "PENDING"});
    let old = image("PENDING");
    assert_eq!(kind(&on(image("CANCELLED"), Cause::Modify { old: &old })), "leave");
}

#[test]
fn a_repair_pass_sends_what_waits_and_nothing_else() {
    for (status, expected) in
        [("PENDING", "send"), ("QUEUED", "send"), ("RUNNING", "leave"), ("FAILED", "leave")]
    {
        let image = json!({
            "id": "t", "command": "true", "status": status, "dispatchStatus": "DISPATCHED",
            "queuedAt": "2026-11-21T09:25:00.000Z",
        });
        assert_eq!(kind(&on(image, Cause::Repair)), expected, "{status}");
    }
    let foreign = json!({"id": "t", "command": "true", "status": "PENDING", "dispatchStatus": "DISPATCHED"});
    assert_eq!(kind(&on(foreign, Cause::Repair)), "leave", "somebody else's stays so");
}

#[test]
fn what_is_asked_of_a_task_goes_to_whoever_holds_it() {
    // status, worker, cancel, pause (was), pause (is), expected
    let (none, yes, no) = (json!(null), json!(true), json!(false));
    let table = [
        ("PENDING", none.clone(), &yes, &none, &none, "cancel"),
        ("QUEUED", none.clone(), &yes, &none, &none, "cancel"),
        ("SCHEDULED", none.clone(), &yes, &none, &none, "cancel"),
        ("RETRYING", none.clone(), &yes, &none, &none, "cancel"),
        ("WAITING", none.clone(), &yes, &none, &none, "cancel"),
        ("PAUSED", none.clone(), &yes, &yes, &yes, "cancel"),
        ("RUNNING", json!("w:1:a"), &yes, &none, &none, "signal"),
        ("PAUSED", json!("w:1:a"), &yes, &yes, &yes, "signal"),
        ("COMPLETED", json!("w:1:a"), &yes, &none, &none, "leave"),
        ("CANCELLED", none.clone(), &yes, &none, &none, "leave"),
        ("QUEUED", none.clone(), &none, &none, &yes, "hold"),
        ("WAITING", none.clone(), &none, &none, &yes, "hold"),
        ("RUNNING", json!("w:1:a"), &none, &none, &yes, "signal"),
        ("PAUSED", none.clone(), &none, &yes, &no, "resume"),
        ("PAUSED", none.clone(), &none, &yes, &none, "resume"),
        ("PAUSED", json!("w:1:a"), &none, &yes, &no, "signal"),
        // Taken back before the pause was written: its message is still on the queue.
        ("QUEUED", none.clone(), &none, &yes, &no, "leave"),
        ("COMPLETED", json!("w:1:a"), &none, &none, &yes, "leave"),
    ];
    for (status, worker, cancel, was, is, expected) in table {
        let image = json!({
            "id": "t", "command": "true", "status": status, "attempt": 1, "workerNodeId": worker,
            "cancelRequested": cancel, "pauseRequested": is,
        });
        let old = json!({"id": "t", "status": status, "pauseRequested": was});
        assert_eq!(kind(&on(image.clone(), Cause::Modify { old: &old })), expected, "{image}");
    }
}

#[test]
fn a_cancel_on_a_record_that_somebody_else_runs_is_not_ours() {
    let image = json!({"id": "t", "status": "RUNNING", "workerNodeId": "theirs", "cancelRequested": true});
    let old = json!({"id": "t", "status": "RUNNING", "workerNodeId": "theirs"});
    assert_eq!(kind(&on(image, Cause::Modify { old: &old })), "leave");
}

#[test]
fn a_rescued_task_that_is_to_be_paused_or_cancelled_is_not_sent() {
    for (attribute, expected) in [("pauseRequested", "hold"), ("cancelRequested", "cancel")] {
        let image = json!({"id": "t", "command": "true", "status": "PENDING", "attempt": 1, attribute: true});
        let old = json!({"id": "t", "status": "RUNNING", "attempt": 1, attribute: true});
        assert_eq!(kind(&on(image, Cause::Modify { old: &old })), expected);
    }
}

#[test]
fn a_task_waits_in_the_table_when_sqs_cannot_hold_its_delay() {
    let image = |status: &str, due: &str, key: Value| json!({"id": "t", "command": "true", "status": status, "attempt": 1, "notBefore": due, "dueKey": key});
    let (soon, late) = ("2026-11-21T12:00:30.000Z", "2026-11-21T13:00:00.000Z");
    let table = [
        ("RETRYING", soon, json!(null), "send"),
        ("RETRYING", late, json!(null), "defer"),
        ("RETRYING", late, json!("due#1"), "leave"),
        ("PENDING", late, json!(null), "defer"),
        // Resumed: what it had in the index is written again.
        ("PENDING", late, json!("due#1"), "defer"),
    ];
    for (status, due, key, expected) in table {
        let old = json!({"id": "t", "status": "RUNNING"});
        let triage = on(image(status, due, key), Cause::Modify { old: &old });
        assert_eq!(kind(&triage), expected, "{status} {due}");
        if let Triage::Send(dispatch) = triage {
            assert_eq!(dispatch.delay, Duration::from_secs(30));
        }
    }
    for (due, key, expected) in
        [(soon, json!("due#1"), "send"), (late, json!("due#1"), "leave"), (late, json!(null), "defer")]
    {
        assert_eq!(kind(&on(image("SCHEDULED", due, key), Cause::Repair)), expected, "{due}");
    }
}

proptest! {
    #[test]
    fn no_record_makes_the_decision_panic(status in ".*", metadata in ".*", command in ".*", attempt in any::<i64>()) {
        let image = json!({"id": "t", "status": status, "metadata": metadata, "command": command, "attempt": attempt});
        let old = json!({"status": 7});
        for cause in [Cause::Insert, Cause::Modify { old: &old }, Cause::Repair] {
            on(image.clone(), cause);
        }
    }
}
