//! Updates that share a request do what they do alone, over every backend.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use futures::future::join_all;
use serde_json::{Value, json};
use stageline::At;
use stageline::aws::{Aws, Claimed, Leavings, TasksTable, Write};
use stageline::protocol::claim::Current;
use stageline::protocol::command::Queued;
use stageline::protocol::outcome::{Failure, Outcome, decide};
use stageline::task::{Attempt, Status, Task};
use stageline_tests::backend::{Backend, ENDPOINT};
use stageline_tests::faults::{Control, Fault, FaultyHttp, Plan};

/// Records as they may lie in the table when a message of theirs comes, at attempt 0 unless they say another.
fn records() -> Vec<(Value, Attempt)> {
    let usual = json!({
        "accountId": "a", "createdAt": "2026-01-01T00:00:00.000Z", "status": "QUEUED", "attempt": 0,
        "command": "true", "history": [{"at": "2026-01-01T00:00:00.000Z", "status": "QUEUED", "by": "d"}],
        "queuedAt": "2026-01-01T00:00:00.000Z",
    });
    let changes = [
        json!({}),
        json!({"attempt": null}),
        json!({"status": null}),
        json!({"status": "PENDING"}),
        // Sent, held and resumed since.
        json!({"status": "PENDING", "history": [
            {"at": "2026-01-01T00:00:00.000Z", "status": "QUEUED", "by": "d"},
            {"at": "2026-01-01T00:00:01.000Z", "status": "PAUSED", "by": "d"},
            {"at": "2026-01-01T00:00:02.000Z", "status": "PENDING", "by": "d"},
        ]}),
        // Sent again.
        json!({"queuedAt": "2026-01-01T00:01:00.000Z", "history": [
            {"at": "2026-01-01T00:00:00.000Z", "status": "QUEUED", "by": "d"},
            {"at": "2026-01-01T00:01:00.000Z", "status": "QUEUED", "by": "d"},
        ]}),
        json!({"status": "RETRYING", "attempt": 3, "result": {"a": 1}, "completedAt": "x"}),
        json!({"status": "RUNNING", "attempt": 1, "workerNodeId": "other"}),
        json!({"status": "COMPLETED", "attempt": 1}),
        json!({"status": "CANCELLED"}),
        json!({"attempt": 2}),
        json!({"cancelRequested": true}),
        json!({"cancelRequested": false, "pauseRequested": null}),
        json!({"pauseRequested": true}),
        json!({"notBefore": "2026-01-01T00:00:00.000Z"}),
        json!({"notBefore": "2036-01-01T00:00:00.000Z"}),
        json!({"workerNodeId": null}),
        json!({"history": null}),
        json!({"history": "spoiled"}),
        json!({"priority": ["cannot", "be", "read"]}),
    ];
    let mut records: Vec<_> = changes
        .into_iter()
        .map(|change| {
            let attempt = if change["status"] == "RETRYING" { 3 } else { 0 };
            let mut record = usual.clone();
            record.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
            (record, Attempt(attempt))
        })
        .collect();
    for missing in ["attempt", "status", "history", "accountId", "createdAt"] {
        let mut record = usual.clone();
        record.as_object_mut().unwrap().remove(missing);
        records.push((record, Attempt(0)));
    }
    records
}

async fn put(backend: &Backend, id: &str, record: &Value) {
    let mut record = record.clone();
    record["id"] = json!(id);
    let item = serde_dynamo::to_item(record).unwrap();
    backend
        .dynamodb()
        .put_item()
        .table_name(&backend.names().tasks)
        .set_item(Some(item))
        .send()
        .await
        .unwrap();
}

async fn item(backend: &Backend, id: &str) -> Value {
    let got = backend.dynamodb().get_item().table_name(&backend.names().tasks);
    let got = got.key("id", aws_sdk_dynamodb::types::AttributeValue::S(id.to_owned())).send().await.unwrap();
    let mut item: Value = serde_dynamo::from_item(got.item.unwrap()).unwrap();
    item.as_object_mut().unwrap().remove("id");
    item
}

fn now() -> At {
    serde_json::from_value(json!("2026-02-01T00:00:00.000Z")).unwrap()
}

/// What a command says that was sent when the usual record was.
fn queued() -> Queued {
    serde_json::from_value(json!({"at": "2026-01-01T00:00:00.000Z", "by": "d"})).unwrap()
}

async fn claim(tasks: &TasksTable, id: &str, attempt: Attempt) -> String {
    claim_after(tasks, id, attempt, None).await
}

async fn claim_after(tasks: &TasksTable, id: &str, attempt: Attempt, queued: Option<&Queued>) -> String {
    let answer = tasks.claim(&id.parse().unwrap(), attempt, queued, &"me".parse().unwrap(), now()).await;
    match answer.unwrap() {
        Claimed::Won(task) => format!("won {:?} {:?}", task.attempt, task.status),
        Claimed::WonUnreadable(rejection) => format!("won unreadable {}", rejection.code.as_str()),
        Claimed::Refused(Current::Missing) => "missing".to_owned(),
        Claimed::Refused(Current::Unreadable) => "unreadable".to_owned(),
        Claimed::Refused(Current::Task(task)) => format!("refused {:?} {:?}", task.attempt, task.status),
    }
}

/// Tables that send alone and together, and the calls of the second.
async fn tables(backend: &Backend) -> (TasksTable, TasksTable, Control) {
    let deployment = backend.deployment().unwrap();
    let alone = Aws::new(backend.config(), &deployment).tasks;
    let (counted, control) = FaultyHttp::wrap(backend.config(), Plan::none()).unwrap();
    let together = Aws::new(&counted, &deployment).tasks.sharing_requests();
    (alone, together, control)
}

fn calls(control: &Control, operation: &str) -> usize {
    control.log().iter().filter(|call| call.operation == operation).count()
}

/// How many gather depends on how fast this machine is at that moment, and one whose turn is late goes alone: one of
/// some rounds shows it. What an emulator makes of a statement is its own affair: it then takes them one by one.
async fn few_requests(control: &Control, most: usize, mut round: impl AsyncFnMut(usize)) {
    let mut counts = Vec::new();
    for number in 0..10 {
        let before = control.log().len();
        round(number).await;
        counts.push(control.log().len() - before);
        if std::env::var(ENDPOINT).is_ok() || counts[number] <= most {
            return;
        }
    }
    panic!("requests of each round: {counts:?}, at most {most} were expected of one");
}

async fn claims_together_do_what_they_do_alone(queued: Option<&Queued>) {
    let backend = Backend::start().await.unwrap();
    let (alone, together, _) = tables(&backend).await;
    let records = records();
    for (index, (record, _)) in records.iter().enumerate() {
        put(&backend, &format!("alone-{index}"), record).await;
        put(&backend, &format!("together-{index}"), record).await;
    }
    let shared = records.iter().enumerate().map(|(index, (_, attempt))| {
        let (together, attempt) = (&together, *attempt);
        async move { claim_after(together, &format!("together-{index}"), attempt, queued).await }
    });
    let (shared, nobody) =
        tokio::join!(join_all(shared), claim_after(&together, "nobody", Attempt(0), queued));
    assert_eq!(nobody, "missing");
    for (index, (record, attempt)) in records.iter().enumerate() {
        let expected = claim_after(&alone, &format!("alone-{index}"), *attempt, queued).await;
        assert_eq!(shared[index], expected, "{record}");
        let both = (
            item(&backend, &format!("together-{index}")).await,
            item(&backend, &format!("alone-{index}")).await,
        );
        assert_eq!(both.0, both.1, "{record}");
        let known = record["history"].as_array().map_or(0, Vec::len);
        if expected.starts_with("won Attempt") && known > 0 {
            let now = both.0["history"].as_array().unwrap();
            assert_eq!(
                now[..known],
                record["history"].as_array().unwrap()[..],
                "an entry was lost: {record}"
            );
            assert_eq!(now.len(), known + 1);
        }
    }
    assert!(shared.iter().filter(|answer| answer.starts_with("won")).count() > 8, "{shared:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_that_share_a_request_do_what_they_do_alone() {
    claims_together_do_what_they_do_alone(None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_that_know_how_a_history_begins_share_a_request_and_lose_no_entry() {
    claims_together_do_what_they_do_alone(Some(&queued())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_overtakes_the_mark_is_one_write_and_keeps_both_in_the_history() {
    let backend = Backend::start().await.unwrap();
    let (_, together, control) = tables(&backend).await;
    let (marked, attempt) = records().remove(0);
    let mut overtaken = marked.clone();
    for absent in ["history", "queuedAt", "status"] {
        overtaken.as_object_mut().unwrap().remove(absent);
    }
    for index in 0..50 {
        put(&backend, &format!("t-{index}"), if index % 2 == 0 { &overtaken } else { &marked }).await;
    }
    let (together, queued) = (&together, &queued());
    let claims = (0..50).map(|index| async move {
        claim_after(together, &format!("t-{index}"), attempt, Some(queued)).await
    });
    let answers = join_all(claims).await;
    assert!(answers.iter().all(|answer| answer == "won Attempt(1) Running"), "{answers:?}");
    let expected = json!([marked["history"][0], {"at": now(), "status": "RUNNING", "by": "me"}]);
    for index in 0..50 {
        let item = item(&backend, &format!("t-{index}")).await;
        assert_eq!((&item["history"], &item["queuedAt"]), (&expected, &marked["queuedAt"]), "{index}");
    }
    if std::env::var(ENDPOINT).is_err() {
        // The first may go by itself.
        let alone = calls(&control, "UpdateItem");
        assert!(alone <= 12, "{alone} of 50 went once more by themselves");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ends_that_share_a_request_are_fenced_as_alone() {
    let backend = Backend::start().await.unwrap();
    let (alone, together, _) = tables(&backend).await;
    let running = |worker: &str, attempt: u32, status: &str| {
        json!({
            "accountId": "a", "createdAt": "2026-01-01T00:00:00.000Z", "status": status, "attempt": attempt,
            "workerNodeId": worker, "history": [],
        })
    };
    let records = [
        running("me", 1, "RUNNING"),
        running("me", 1, "PAUSED"),
        running("me", 2, "RUNNING"),
        running("other", 1, "RUNNING"),
        running("me", 1, "COMPLETED"),
        running("me", 1, "QUEUED"),
    ];
    let outcomes = [
        Outcome::Succeeded { result: json!({"energy": -1.5, "list": [1, "two", null]}) },
        Outcome::Failed(Failure::of_the_worker("x")),
        Outcome::Interrupted,
    ];
    let end = async |tasks: &TasksTable, id: String, outcome: &Outcome| {
        let mut task = Task::new(id.parse().unwrap());
        (task.attempt, task.status, task.history) = (Attempt(1), Status::Running, Some(vec![]));
        let left = Leavings { stdout: "out".to_owned(), ..Leavings::default() };
        let decision = decide(outcome.clone(), &task, now());
        tasks.end_attempt(&task, &"me".parse().unwrap(), "me", &decision, &left, now()).await.unwrap()
    };
    let cases: Vec<_> =
        outcomes.iter().flat_map(|outcome| records.iter().map(move |r| (outcome, r))).collect();
    for (index, (_, record)) in cases.iter().enumerate() {
        put(&backend, &format!("alone-{index}"), record).await;
        put(&backend, &format!("together-{index}"), record).await;
    }
    let shared = cases
        .iter()
        .enumerate()
        .map(|(index, (outcome, _))| end(&together, format!("together-{index}"), outcome));
    let shared: Vec<Write> = join_all(shared).await;
    for (index, (outcome, record)) in cases.iter().enumerate() {
        let expected = end(&alone, format!("alone-{index}"), outcome).await;
        assert_eq!(shared[index], expected, "{outcome:?} {record}");
        let both = (
            item(&backend, &format!("together-{index}")).await,
            item(&backend, &format!("alone-{index}")).await,
        );
        assert_eq!(both.0, both.1, "{outcome:?} {record}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_claims_at_a_time_are_a_few_requests() {
    let backend = Backend::start().await.unwrap();
    let (_, together, control) = tables(&backend).await;
    let (record, attempt) = records().remove(0);
    let (backend, together, record) = (&backend, &together, &record);
    few_requests(&control, 25, async |round| {
        for index in 0..100 {
            put(backend, &format!("t-{round}-{index}"), record).await;
        }
        let claim = |index| async move { claim(together, &format!("t-{round}-{index}"), attempt).await };
        let answers = join_all((0..100).map(claim)).await;
        assert!(answers.iter().all(|answer| answer.starts_with("won")), "{answers:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_that_come_twice_cost_one_request_and_change_nothing() {
    let backend = Backend::start().await.unwrap();
    let (_, together, control) = tables(&backend).await;
    let (mut record, attempt) = records().remove(0);
    (record["status"], record["attempt"], record["workerNodeId"]) = (json!("RUNNING"), json!(1), json!("w"));
    let (backend, together, queued, record) = (&backend, &together, &queued(), &record);
    for index in 0..50 {
        put(backend, &format!("t-{index}"), record).await;
    }
    // Two requests of 25, and few that went once more by themselves.
    few_requests(&control, 15, async |_| {
        let claims = (0..50).map(|index| async move {
            claim_after(together, &format!("t-{index}"), attempt, (index % 2 == 0).then_some(queued)).await
        });
        let answers = join_all(claims).await;
        assert!(answers.iter().all(|answer| answer == "refused Attempt(1) Running"), "{answers:?}");
        for index in 0..50 {
            assert_eq!(item(backend, &format!("t-{index}")).await, *record);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shared_request_whose_answer_is_lost_is_won_all_the_same() {
    let backend = Backend::start().await.unwrap();
    let (_, together, control) = tables(&backend).await;
    let (record, attempt) = records().remove(0);
    for index in 0..30 {
        put(&backend, &format!("t-{index}"), &record).await;
    }
    control.set_plan(Plan::always(Fault::LostAnswer).only("BatchExecuteStatement").calls(0..1));
    let together = &together;
    let claims = (0..30).map(|index| async move { claim(together, &format!("t-{index}"), attempt).await });
    let answers = join_all(claims).await;
    assert!(answers.iter().all(|answer| answer == "won Attempt(1) Running"), "{answers:?}");
    assert!(calls(&control, "BatchExecuteStatement") > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_statements_are_refused_updates_go_one_by_one() {
    let backend = Backend::start().await.unwrap();
    let (_, together, control) = tables(&backend).await;
    let (record, attempt) = records().remove(0);
    // A right that the worker lacks, or a call that an emulator does not know.
    control.set_plan(Plan::always(Fault::Denied).only("BatchExecuteStatement"));
    for round in 0..3 {
        for index in 0..25 {
            put(&backend, &format!("t-{round}-{index}"), &record).await;
        }
        let together = &together;
        let claims =
            (0..25).map(|index| async move { claim(together, &format!("t-{round}-{index}"), attempt).await });
        assert!(join_all(claims).await.iter().all(|answer| answer.starts_with("won")));
    }
    let tried = calls(&control, "BatchExecuteStatement");
    assert!((1..=3).contains(&tried), "{tried}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mark_that_comes_too_late_costs_one_request_and_changes_nothing() {
    let backend = Backend::start().await.unwrap();
    let (_, together, control) = tables(&backend).await;
    let (mut record, _) = records().remove(0);
    (record["status"], record["attempt"], record["workerNodeId"]) = (json!("RUNNING"), json!(1), json!("w"));
    let (backend, together, record) = (&backend, &together, &record);
    for index in 0..25 {
        put(backend, &format!("t-{index}"), record).await;
    }
    few_requests(&control, 13, async |_| {
        let marks = (0..25).map(|index| async move {
            let mut task = Task::new(format!("t-{index}").parse().unwrap());
            task.history = Some(vec![]);
            together.mark_queued(&task, "dispatcher", now()).await.unwrap()
        });
        let answers = join_all(marks).await;
        assert!(answers.iter().all(|answer| *answer == Write::Fenced), "{answers:?}");
        for index in 0..25 {
            assert_eq!(item(backend, &format!("t-{index}")).await, *record);
        }
    })
    .await;
}
