//! What Stageline relies on in DynamoDB, call by call, over every backend. Run it against another one with
//! `STAGELINE_TEST_ENDPOINT=http://127.0.0.1:4566 cargo test -p stageline-tests`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{
    AttributeValue, BatchStatementErrorCodeEnum, BatchStatementRequest, KeysAndAttributes,
    ReturnConsumedCapacity, ReturnValue, ReturnValuesOnConditionCheckFailure,
};
use stageline_local::pump::aws_sdk_dynamodbstreams::types::{OperationType, Record, ShardIteratorType};
use stageline_tests::backend::Backend;

fn s(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

fn n(number: i64) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

fn set(values: &[&str]) -> AttributeValue {
    AttributeValue::Ss(values.iter().map(|v| (*v).to_owned()).collect())
}

type Item = HashMap<String, AttributeValue>;

fn item(fields: &[(&str, AttributeValue)]) -> Item {
    let field = |(name, value): &(&str, AttributeValue)| ((*name).to_owned(), value.clone());
    fields.iter().map(field).collect()
}

async fn put(client: &Client, table: &str, fields: &[(&str, AttributeValue)]) {
    let put = client.put_item().table_name(table);
    put.set_item(Some(item(fields))).send().await.unwrap();
}

/// A claim: only if the attempt is still this one.
fn claim(
    client: &Client,
    table: &str,
    attempt: i64,
) -> aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder {
    client
        .update_item()
        .table_name(table)
        .key("id", s("t"))
        .update_expression("SET #status = :running, attempt = :next")
        .condition_expression("attempt = :attempt AND #status IN (:pending, :queued)")
        .expression_attribute_names("#status", "status")
        .expression_attribute_values(":running", s("RUNNING"))
        .expression_attribute_values(":pending", s("PENDING"))
        .expression_attribute_values(":queued", s("QUEUED"))
        .expression_attribute_values(":attempt", n(attempt))
        .expression_attribute_values(":next", n(attempt + 1))
        .return_values(ReturnValue::AllNew)
        .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
}

#[tokio::test]
async fn a_conditional_update_returns_the_whole_new_item() {
    let backend = Backend::start().await.unwrap();
    let (client, table) = (backend.dynamodb(), &backend.names().tasks);
    let fields = [("id", s("t")), ("status", s("QUEUED")), ("attempt", n(0)), ("command", s("run"))];
    put(&client, table, &fields).await;
    let claimed = claim(&client, table, 0).send().await.unwrap();
    let expected =
        item(&[("id", s("t")), ("status", s("RUNNING")), ("attempt", n(1)), ("command", s("run"))]);
    assert_eq!(claimed.attributes, Some(expected));
}

#[tokio::test]
async fn a_failed_condition_returns_the_item_that_failed_it_and_changes_nothing() {
    let backend = Backend::start().await.unwrap();
    let (client, table) = (backend.dynamodb(), &backend.names().tasks);
    let fields = [("id", s("t")), ("status", s("RUNNING")), ("attempt", n(3))];
    put(&client, table, &fields).await;
    let refused = claim(&client, table, 0).send().await.unwrap_err();
    let UpdateItemError::ConditionalCheckFailedException(failure) = refused.into_service_error() else {
        panic!("not a failed condition");
    };
    assert_eq!(failure.item, Some(item(&fields)));
    let get = client.get_item().table_name(table).key("id", s("t"));
    let now = get.consistent_read(true).send().await.unwrap();
    assert_eq!(now.item, Some(item(&fields)));
}

#[tokio::test]
async fn a_failed_condition_on_an_absent_item_returns_no_item() {
    let backend = Backend::start().await.unwrap();
    let (client, table) = (backend.dynamodb(), &backend.names().tasks);
    let refused = claim(&client, table, 0).send().await.unwrap_err();
    let UpdateItemError::ConditionalCheckFailedException(failure) = refused.into_service_error() else {
        panic!("not a failed condition");
    };
    assert!(failure.item.is_none_or(|item| item.is_empty()));
}

#[tokio::test]
async fn writes_report_the_capacity_that_they_consumed() {
    let backend = Backend::start().await.unwrap();
    let (client, table) = (backend.dynamodb(), &backend.names().tasks);
    put(&client, table, &[("id", s("t")), ("status", s("QUEUED")), ("attempt", n(0))]).await;
    let update = claim(&client, table, 0).return_consumed_capacity(ReturnConsumedCapacity::Indexes);
    let consumed = update.send().await.unwrap().consumed_capacity.unwrap();
    assert_eq!(consumed.capacity_units, Some(1.0));
}

#[tokio::test]
async fn a_list_that_may_be_absent_is_appended_to() {
    let backend = Backend::start().await.unwrap();
    let (client, table) = (backend.dynamodb(), &backend.names().tasks);
    put(&client, table, &[("id", s("t"))]).await;
    let mut last = None;
    for entry in ["one", "two"] {
        let update = client
            .update_item()
            .table_name(table)
            .key("id", s("t"))
            .update_expression("SET history = list_append(if_not_exists(history, :none), :entry)")
            .expression_attribute_values(":none", AttributeValue::L(Vec::new()))
            .expression_attribute_values(":entry", AttributeValue::L(vec![s(entry)]))
            .return_values(ReturnValue::AllNew);
        last = update.send().await.unwrap().attributes;
    }
    let expected = AttributeValue::L(vec![s("one"), s("two")]);
    assert_eq!(last.unwrap()["history"], expected);
}

#[tokio::test]
async fn removing_from_a_set_is_idempotent_and_the_last_one_removes_the_attribute() {
    let backend = Backend::start().await.unwrap();
    let (client, table) = (backend.dynamodb(), &backend.names().tasks);
    put(&client, table, &[("id", s("t")), ("waitingOn", set(&["a", "b"]))]).await;
    let steps = [("a", Some(set(&["b"]))), ("a", Some(set(&["b"]))), ("b", None)];
    for (done, left) in steps {
        let update = client
            .update_item()
            .table_name(table)
            .key("id", s("t"))
            .update_expression("DELETE waitingOn :done")
            .expression_attribute_values(":done", set(&[done]))
            .return_values(ReturnValue::AllNew);
        let item = update.send().await.unwrap().attributes.unwrap();
        assert_eq!(item.get("waitingOn"), left.as_ref());
    }
}

#[tokio::test]
async fn a_query_finds_the_sort_keys_with_a_prefix_in_order() {
    let backend = Backend::start().await.unwrap();
    let (client, table) = (backend.dynamodb(), &backend.names().control);
    for (pk, sk) in [("w", "run#2"), ("w", "run#1"), ("w", "beat"), ("x", "run#3")] {
        put(&client, table, &[("pk", s(pk)), ("sk", s(sk))]).await;
    }
    let query = client
        .query()
        .table_name(table)
        .key_condition_expression("pk = :pk AND begins_with(sk, :prefix)")
        .expression_attribute_values(":pk", s("w"))
        .expression_attribute_values(":prefix", s("run#"));
    let found = query.send().await.unwrap();
    let keys: Vec<_> = found.items().iter().map(|item| item["sk"].clone()).collect();
    assert_eq!(keys, [s("run#1"), s("run#2")]);
}

#[tokio::test]
async fn an_index_lists_by_its_own_keys_page_by_page_newest_first() {
    let backend = Backend::start().await.unwrap();
    let (client, table) = (backend.dynamodb(), &backend.names().tasks);
    for id in ["1", "2", "3"] {
        let created = format!("2026-01-0{id}T00:00:00.000Z");
        let fields = [("id", s(id)), ("accountId", s("acme")), ("createdAt", s(&created)), ("x", s("y"))];
        put(&client, table, &fields).await;
    }
    let mut ids = Vec::new();
    let mut from = None;
    loop {
        let query = client
            .query()
            .table_name(table)
            .index_name("byAccount")
            .key_condition_expression("accountId = :account")
            .expression_attribute_values(":account", s("acme"))
            .scan_index_forward(false)
            .limit(2)
            .set_exclusive_start_key(from);
        let page = query.send().await.unwrap();
        for item in page.items() {
            assert!(!item.contains_key("x"), "the index holds keys only");
            ids.push(item["id"].clone());
        }
        from = page.last_evaluated_key;
        if from.is_none() {
            break;
        }
    }
    assert_eq!(ids, [s("3"), s("2"), s("1")]);
}

#[tokio::test]
async fn a_sparse_index_holds_only_the_items_that_have_its_keys() {
    let backend = Backend::start().await.unwrap();
    let (client, table) = (backend.dynamodb(), &backend.names().tasks);
    put(&client, table, &[("id", s("now"))]).await;
    let at = |minute: u32| s(&format!("2026-01-01T00:{minute:02}:00.000Z"));
    for (id, minute) in [("soon", 1), ("later", 30)] {
        put(&client, table, &[("id", s(id)), ("dueKey", s("due")), ("notBefore", at(minute))]).await;
    }
    let due = async || {
        let query = client
            .query()
            .table_name(table)
            .index_name("byDue")
            .key_condition_expression("dueKey = :key AND notBefore <= :until")
            .expression_attribute_values(":key", s("due"))
            .expression_attribute_values(":until", at(10));
        let found = query.send().await.unwrap();
        found.items().iter().map(|i| i["id"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(due().await, [s("soon")]);
    let leave = client.update_item().table_name(table).key("id", s("soon"));
    let leave = leave.update_expression("REMOVE dueKey");
    leave.send().await.unwrap();
    assert_eq!(due().await, []);
}

#[tokio::test]
async fn a_batch_of_reads_returns_the_items_that_exist() {
    let backend = Backend::start().await.unwrap();
    let (client, table) = (backend.dynamodb(), &backend.names().tasks);
    for id in ["a", "b"] {
        put(&client, table, &[("id", s(id)), ("status", s("RUNNING")), ("x", s("y"))]).await;
    }
    let keys = ["a", "b", "gone"].map(|id| item(&[("id", s(id))]));
    let request = KeysAndAttributes::builder()
        .set_keys(Some(keys.to_vec()))
        .projection_expression("id, #status")
        .expression_attribute_names("#status", "status")
        .consistent_read(true)
        .build()
        .unwrap();
    let batch = client.batch_get_item().request_items(table, request);
    let answer = batch.send().await.unwrap();
    let mut found = answer.responses.unwrap().remove(table).unwrap();
    found.sort_by_key(|item| item["id"].as_s().unwrap().clone());
    let expected = ["a", "b"].map(|id| item(&[("id", s(id)), ("status", s("RUNNING"))]));
    assert_eq!(found, expected);
    assert!(answer.unprocessed_keys.is_none_or(|left| left.is_empty()));
}

#[tokio::test]
async fn conditional_statements_of_a_batch_succeed_and_fail_each_for_itself() {
    let backend = Backend::start().await.unwrap();
    let (client, table) = (backend.dynamodb(), &backend.names().tasks);
    for (id, attempt) in [("a", 0), ("b", 7), ("c", 0)] {
        put(&client, table, &[("id", s(id)), ("status", s("QUEUED")), ("attempt", n(attempt))]).await;
    }
    let claim = |id: &str| {
        let statement = format!(
            "UPDATE \"{table}\" SET \"status\"=? SET attempt=? WHERE id=? AND attempt=? RETURNING ALL NEW *"
        );
        BatchStatementRequest::builder()
            .statement(statement)
            .parameters(s("RUNNING"))
            .parameters(n(1))
            .parameters(s(id))
            .parameters(n(0))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .build()
            .unwrap()
    };
    let batch = client
        .batch_execute_statement()
        .set_statements(Some(["a", "b", "c"].map(claim).to_vec()))
        .return_consumed_capacity(ReturnConsumedCapacity::Total);
    let answer = batch.send().await.unwrap();
    let responses = answer.responses();
    assert_eq!(responses.len(), 3);
    for (response, id) in [(&responses[0], "a"), (&responses[2], "c")] {
        assert!(response.error().is_none());
        let expected = item(&[("id", s(id)), ("status", s("RUNNING")), ("attempt", n(1))]);
        assert_eq!(response.item(), Some(&expected));
    }
    let error = responses[1].error().unwrap();
    let expected = BatchStatementErrorCodeEnum::ConditionalCheckFailed;
    assert_eq!(error.code(), Some(&expected));
    assert_eq!(error.item().unwrap()["attempt"], n(7));
    assert!(!answer.consumed_capacity().is_empty());
}

/// Reads a stream from its beginning until `count` records have come.
async fn read_stream(backend: &Backend, count: usize) -> Vec<Record> {
    let streams = backend.streams();
    let listed = streams.list_streams().table_name(&backend.names().tasks);
    let listed = listed.send().await.unwrap();
    let arn = listed.streams()[0].stream_arn().unwrap();
    let described = streams.describe_stream().stream_arn(arn).send().await;
    let description = described.unwrap().stream_description.unwrap();
    let mut records = Vec::new();
    for shard in description.shards() {
        let iterator = streams
            .get_shard_iterator()
            .stream_arn(arn)
            .shard_id(shard.shard_id().unwrap())
            .shard_iterator_type(ShardIteratorType::TrimHorizon);
        let mut next = iterator.send().await.unwrap().shard_iterator;
        while let Some(iterator) = next
            && records.len() < count
        {
            let read = streams.get_records().shard_iterator(iterator).send().await.unwrap();
            next = read.next_shard_iterator.clone();
            records.extend_from_slice(read.records());
        }
    }
    records
}

#[tokio::test]
async fn the_stream_holds_every_change_in_order_with_both_images() {
    let backend = Backend::start().await.unwrap();
    let (client, table) = (backend.dynamodb(), &backend.names().tasks);
    put(&client, table, &[("id", s("t")), ("status", s("QUEUED")), ("attempt", n(0))]).await;
    claim(&client, table, 0).send().await.unwrap();
    // A refused write leaves no record.
    claim(&client, table, 0).send().await.unwrap_err();
    let delete = client.delete_item().table_name(table).key("id", s("t"));
    delete.send().await.unwrap();
    let records = read_stream(&backend, 3).await;
    let names: Vec<_> = records.iter().filter_map(Record::event_name).collect();
    let expected = [&OperationType::Insert, &OperationType::Modify, &OperationType::Remove];
    assert_eq!(names, expected);
    let images: Vec<_> = records
        .iter()
        .map(|record| {
            let change = record.dynamodb().unwrap();
            let attempt = |image: Option<&HashMap<String, _>>| {
                use stageline_local::pump::aws_sdk_dynamodbstreams::types::AttributeValue as Value;
                let value: Option<Value> = image.and_then(|image| image.get("attempt").cloned());
                value.map(|value| value.as_n().unwrap().clone())
            };
            (attempt(change.old_image()), attempt(change.new_image()))
        })
        .collect();
    let text = |number: &str| Some(number.to_owned());
    assert_eq!(images, [(None, text("0")), (text("0"), text("1")), (text("1"), None)]);
    let sequences = records.iter().map(|r| r.dynamodb().unwrap().sequence_number().unwrap());
    let sequences: Vec<u128> = sequences.map(|text| text.parse().unwrap()).collect();
    assert!(sequences.is_sorted_by(|a, b| a < b), "{sequences:?}");
}
