//! The trace of a submission: its span reaches a collector, below whoever called the command, and the task goes on
//! below it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::{Value, json};
use support::{Place, finish};

const CALLER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// A collector of one export: where it is, and the document it was sent.
fn collector() -> (String, Receiver<(String, Value)>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (sender, received) = channel();
    std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(&stream);
        let (mut head, mut length) = (String::new(), 0);
        while reader.read_line(&mut head).unwrap() > 2 {
            let line = head.lines().last().unwrap().to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        (&stream).write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}").unwrap();
        let path = head.split(' ').nth(1).unwrap().to_owned();
        sender.send((path, serde_json::from_slice(&body).unwrap())).unwrap();
    });
    (address, received)
}

#[test]
fn a_submission_is_a_span_below_its_caller_and_the_tasks_trace_goes_on_below_it() {
    let place = Place::new();
    let _dev = place.dev(&["--no-worker"]);
    let (address, received) = collector();
    let mut command = place.stageline();
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", address).env("TRACEPARENT", CALLER);
    let run = finish(command.args(["--output", "json", "submit", "--", "true"]));
    assert_eq!(run.code, Some(0), "{run:?}");
    let (path, document) = received.recv_timeout(Duration::from_secs(30)).unwrap();
    assert_eq!(path, "/v1/traces");
    let span = &document["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
    let (trace, caller) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
    assert_eq!((&span["name"], &span["traceId"]), (&json!("submit"), &json!(trace)), "{document}");
    assert_eq!(span["parentSpanId"], caller);
    let task = place.task(run.document()["id"].as_str().unwrap());
    let own = span["spanId"].as_str().unwrap();
    assert_eq!(task["traceparent"], format!("00-{trace}-{own}-01"), "the dispatch goes below it");
}

#[test]
fn without_a_collector_the_caller_is_the_tasks_parent() {
    let place = Place::new();
    let _dev = place.dev(&["--no-worker"]);
    let run = finish(
        place.stageline().env("TRACEPARENT", CALLER).args(["--output", "json", "submit", "--", "true"]),
    );
    assert_eq!(run.code, Some(0), "{run:?}");
    let task = place.task(run.document()["id"].as_str().unwrap());
    assert_eq!(task["traceparent"], CALLER);
}
