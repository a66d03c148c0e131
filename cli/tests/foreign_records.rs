//! Records of foreign clients against a running `stageline dev`: a bad one fails alone with its reason, and
//! what any client may write does no harm.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::path::Path;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{AttributeValue, PutRequest, WriteRequest};
use serde_json::{Value, json};
use support::{Dev, Place, eventually, failed_with};

fn client(dev: &Dev) -> Client {
    Client::new(&stageline_local::sdk_config(dev.endpoint()))
}

/// Puts all records with one call, as any client of DynamoDB may.
async fn put_together(dev: &Dev, records: &[Value]) {
    let put = |record: &Value| {
        let item = serde_dynamo::to_item(record).unwrap();
        let put = PutRequest::builder().set_item(Some(item)).build().unwrap();
        WriteRequest::builder().put_request(put).build()
    };
    let writes = records.iter().map(put).collect();
    let written =
        client(dev).batch_write_item().request_items(dev.tasks_table(), writes).send().await.unwrap();
    assert!(written.unprocessed_items().is_none_or(|left| left.is_empty()));
}

/// The record as it lies in the table, which no type of ours need be able to read.
async fn raw(dev: &Dev, id: &str) -> Value {
    let get = client(dev).get_item().table_name(dev.tasks_table()).consistent_read(true);
    let found = get.key("id", AttributeValue::S(id.to_owned())).send().await.unwrap();
    serde_dynamo::from_item(found.item.unwrap_or_default()).unwrap()
}

async fn raw_ended(dev: &Dev, id: &str) -> Value {
    for _ in 0..2_400 {
        let record = raw(dev, id).await;
        if matches!(record["status"].as_str(), Some("FAILED" | "COMPLETED" | "TIMED_OUT")) {
            return record;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    panic!("{id} has not ended: {}", raw(dev, id).await);
}

#[tokio::test]
async fn malformed_records_of_a_foreign_client_fail_with_their_codes_beside_a_good_one() {
    let place = Place::new();
    let dev = place.dev(&[]);
    let large = "x".repeat(300 * 1024);
    let bad = [
        (
            json!({"id": "number", "status": "PENDING", "command": 17}),
            "RECORD_MALFORMED",
            "attribute `command`",
        ),
        (json!({"id": "large", "engine": "demo", "params": {"text": large}}), "RECORD_TOO_LARGE", "`params`"),
        (json!({"id": "unknown", "engine": "lamps"}), "ENGINE_UNKNOWN", "use one of"),
        (json!({"id": "climbs", "engine": "lammps", "script": "../in"}), "PATH_UNSAFE", "`script` \"../in\""),
        (json!({"id": "absolute", "engine": "lammps", "script": "/in"}), "PATH_UNSAFE", "`script` \"/in\""),
        (json!({"id": "../up", "command": "true"}), "ID_INVALID", "attribute `id`"),
        (
            json!({"id": "history", "command": "true", "history": 5}),
            "RECORD_MALFORMED",
            "attribute `history`",
        ),
        (
            json!({"id": "attempt", "command": "true", "attempt": "x"}),
            "RECORD_MALFORMED",
            "attribute `attempt`",
        ),
        (json!({"id": "target", "command": "true", "target": "a b"}), "TARGET_INVALID", "attribute `target`"),
        (json!({"id": "quote", "command": "echo 'open"}), "COMMAND_INVALID", "open quote"),
        (json!({"id": "nothing"}), "COMMAND_INVALID", "needs `command`"),
    ];
    let mut records: Vec<Value> = bad.iter().map(|(record, _, _)| record.clone()).collect();
    records.insert(5, json!({"id": "good", "command": "echo fine", "custom": {"kept": [1, null]}}));
    put_together(&dev, &records).await;
    for (record, code, words) in &bad {
        let ended = raw_ended(&dev, record["id"].as_str().unwrap()).await;
        failed_with(&ended, code, &[words]);
        assert_eq!(ended["dispatchStatus"], "ERROR");
        assert!(ended["errorMessage"].as_str().unwrap().len() < 1_100);
        for (attribute, value) in record.as_object().unwrap() {
            let ours = ["status", "history"].contains(&attribute.as_str());
            assert!(ours || ended[attribute] == *value, "{attribute} of {} is not as it was", record["id"]);
        }
    }
    let good = raw_ended(&dev, "good").await;
    assert_eq!((&good["status"], &good["stdout"]), (&json!("COMPLETED"), &json!("fine\n")));
    assert_eq!(good["custom"], json!({"kept": [1, null]}), "what is not ours stays as it is");
    assert!(dev.children().is_empty() && !Path::new("/up").exists());
}

#[tokio::test]
async fn a_record_that_cannot_be_read_does_not_hide_others_and_is_shown_by_its_reason() {
    let place = Place::new();
    let dev = place.dev(&[]);
    let account = "default";
    let number =
        json!({"id": "number", "command": 17, "accountId": account, "createdAt": "2026-01-01T00:00:00Z"});
    let good =
        json!({"id": "good", "command": "true", "accountId": account, "createdAt": "2026-01-01T00:00:01Z"});
    put_together(&dev, &[number, good]).await;
    raw_ended(&dev, "number").await;
    assert_eq!(place.ended("good")["status"], "COMPLETED");
    let listed = place.json(["list"]);
    let ids: Vec<_> =
        listed["tasks"].as_array().unwrap().iter().map(|task| task["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["good", "number"]);
    for (command, exit) in [("status", 0), ("watch", 3)] {
        let run = place.run([command, "number"]);
        assert_eq!(run.code, Some(exit), "{run:?}");
        assert!(run.stdout.contains("RECORD_MALFORMED: attribute `command`"), "{run:?}");
    }
}

#[tokio::test]
async fn a_record_with_a_null_for_every_optional_attribute_runs() {
    let place = Place::new();
    let dev = place.dev(&[]);
    let record = json!({
        "id": "nulls", "command": "echo fine", "status": null, "attempt": null, "engine": null, "params": null,
        "target": null, "priority": null, "timeoutSeconds": null, "inputs": null, "metadata": null, "description": null,
        "failures": null, "interruptions": null, "dispatchStatus": null, "cancelRequested": null,
    });
    put_together(&dev, &[record]).await;
    let ended = raw_ended(&dev, "nulls").await;
    assert_eq!((&ended["status"], &ended["stdout"]), (&json!("COMPLETED"), &json!("fine\n")), "{ended}");
}

#[tokio::test]
async fn a_record_with_a_null_history_runs() {
    let place = Place::new();
    let dev = place.dev(&[]);
    put_together(&dev, &[json!({"id": "null", "command": "true", "history": null})]).await;
    let ended = raw_ended(&dev, "null").await;
    assert_eq!(ended["status"], "COMPLETED", "{ended}");
    assert_eq!(ended["history"].as_array().unwrap().last().unwrap()["status"], "COMPLETED");
}

#[tokio::test]
async fn a_deleted_record_ends_nothing_but_itself() {
    let place = Place::new();
    let dev = place.dev(&["--slots", "1"]);
    let go = place.path().join("go");
    let wait = format!("while ! test -e {}; do sleep 0.05; done", go.display());
    let id = place.submit(["--", "sh", "-c", &wait]);
    place.reaches(&id, "RUNNING");
    let key = AttributeValue::S(id.clone());
    client(&dev).delete_item().table_name(dev.tasks_table()).key("id", key).send().await.unwrap();
    std::fs::write(go, "").unwrap();
    let next = place.submit(["--", "true"]);
    assert_eq!(place.ended(&next)["status"], "COMPLETED");
    place.run(["status", &id]).refused(4, "TASK_NOT_FOUND", &[]);
    eventually("no process is left", || dev.children().is_empty().then_some(()));
}
