//! A stream that is throttled, whose iterators expire and whose shards end: scripted, because no emulator
//! does these things.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use stageline_local::pump::{MappingRules, Source, StartingPosition, StreamPump};
use stageline_local::sdk_config;
use tokio::sync::mpsc;

use crate::function::{Calls, done, scripted};

/// One answer to GetRecords.
enum Reply {
    Records(&'static [&'static str]),
    /// The last records of the shard.
    Last(&'static [&'static str]),
    Refused(&'static str),
}

/// The stream's script, and what was asked of it.
#[derive(Default)]
struct Script {
    replies: Mutex<VecDeque<Reply>>,
    places: Mutex<Vec<String>>,
    /// Shards beyond the first appear with it as their parent once it has ended.
    ended: Mutex<bool>,
}

type Answer = (StatusCode, String);

async fn answer(State(script): State<Arc<Script>>, headers: HeaderMap, body: Bytes) -> Answer {
    let target = headers["x-amz-target"].to_str().unwrap();
    let call = target.rsplit('.').next().unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap();
    match call {
        "ListStreams" => {
            let stream = json!({ "StreamArn": "arn:stream", "StreamLabel": "1" });
            ok(json!({ "Streams": [stream] }))
        }
        "DescribeStream" => {
            let mut shards = vec![json!({ "ShardId": "shard-parent" })];
            if *script.ended.lock().unwrap() {
                shards.push(json!({ "ShardId": "shard-child", "ParentShardId": "shard-parent" }));
            }
            ok(json!({ "StreamDescription": { "StreamArn": "arn:stream", "Shards": shards } }))
        }
        "GetShardIterator" => {
            let part = |name: &str| body[name].as_str().unwrap_or("-").to_owned();
            let (shard, kind) = (part("ShardId"), part("ShardIteratorType"));
            let place = format!("{shard} {kind} {}", part("SequenceNumber"));
            script.places.lock().unwrap().push(place);
            ok(json!({ "ShardIterator": shard }))
        }
        "GetRecords" => records(&script, &body),
        other => panic!("unexpected call {other}"),
    }
}

fn records(script: &Script, body: &Value) -> Answer {
    let shard = body["ShardIterator"].as_str().unwrap();
    let reply = script.replies.lock().unwrap().pop_front();
    let show = |ids: &[&str]| -> Vec<Value> {
        let record = |id: &&str| {
            json!({
                "eventID": id, "eventName": "INSERT", "awsRegion": "r",
                "dynamodb": {
                    "Keys": { "id": { "S": id } },
                    "SequenceNumber": format!("sequence-of-{id}"),
                    "SizeBytes": 1,
                    "StreamViewType": "KEYS_ONLY",
                },
            })
        };
        ids.iter().map(record).collect()
    };
    match reply {
        None => ok(json!({ "Records": [], "NextShardIterator": shard })),
        Some(Reply::Records(ids)) => ok(json!({ "Records": show(ids), "NextShardIterator": shard })),
        Some(Reply::Last(ids)) => {
            *script.ended.lock().unwrap() = true;
            ok(json!({ "Records": show(ids) }))
        }
        Some(Reply::Refused(kind)) => {
            let body =
                json!({ "__type": format!("com.amazonaws.dynamodb.v20120810#{kind}"), "message": "no" });
            (StatusCode::BAD_REQUEST, body.to_string())
        }
    }
}

fn ok(body: Value) -> Answer {
    (StatusCode::OK, body.to_string())
}

/// A pump on a scripted stream.
async fn pump(replies: Vec<Reply>) -> (StreamPump, Calls, Arc<Script>) {
    let script = Arc::new(Script { replies: Mutex::new(replies.into()), ..Script::default() });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().fallback(answer).with_state(script.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let (function, calls) = scripted(|_| done());
    let source = Source {
        streams: aws_sdk_dynamodbstreams::Client::new(&sdk_config(&endpoint)),
        table: "t".to_owned(),
        start: StartingPosition::Latest,
        writes: None,
    };
    let rules = MappingRules { poll_interval: Duration::from_millis(1), ..MappingRules::default() };
    let (failures, _) = mpsc::channel(1);
    let pump = StreamPump::start(source, rules, function, failures).await;
    (pump.unwrap(), calls, script)
}

#[tokio::test]
async fn a_refused_read_is_tried_again_and_loses_nothing() {
    let replies = vec![
        Reply::Records(&["a"]),
        Reply::Refused("LimitExceededException"),
        Reply::Refused("ResourceNotFoundException"),
        Reply::Records(&["b"]),
    ];
    let (_pump, mut calls, script) = pump(replies).await;
    assert_eq!(calls.ids(2).await, ["a", "b"]);
    assert_eq!(*script.places.lock().unwrap(), ["shard-parent LATEST -"]);
}

#[tokio::test]
async fn an_expired_iterator_is_replaced_by_one_after_the_last_record() {
    let replies =
        vec![Reply::Records(&["a", "b"]), Reply::Refused("ExpiredIteratorException"), Reply::Records(&["c"])];
    let (_pump, mut calls, script) = pump(replies).await;
    assert_eq!(calls.ids(3).await, ["a", "b", "c"]);
    assert_eq!(
        *script.places.lock().unwrap(),
        ["shard-parent LATEST -", "shard-parent AFTER_SEQUENCE_NUMBER sequence-of-b"]
    );
}

#[tokio::test]
async fn a_place_that_was_trimmed_is_replaced_by_the_oldest_record_left() {
    let replies =
        vec![Reply::Records(&["a"]), Reply::Refused("TrimmedDataAccessException"), Reply::Records(&["z"])];
    let (_pump, mut calls, script) = pump(replies).await;
    assert_eq!(calls.ids(2).await, ["a", "z"]);
    assert_eq!(*script.places.lock().unwrap(), ["shard-parent LATEST -", "shard-parent TRIM_HORIZON -"]);
}

#[tokio::test]
async fn a_shard_that_ended_is_followed_by_its_child_from_the_childs_beginning() {
    let replies = vec![Reply::Last(&["a"]), Reply::Records(&["b"])];
    let (_pump, mut calls, script) = pump(replies).await;
    assert_eq!(calls.ids(2).await, ["a", "b"]);
    assert_eq!(*script.places.lock().unwrap(), ["shard-parent LATEST -", "shard-child TRIM_HORIZON -"]);
}
