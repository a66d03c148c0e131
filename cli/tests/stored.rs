//! What is too large for a record goes through the artifact store without anybody noticing, and logs are read from
//! wherever they are.
#![allow(clippy::unwrap_used, reason = "a failure here is a failure of the test")]

mod support;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use support::{Place, eventually};

/// Says of its parameters what only somebody who has all of them can say, and gives as much back.
const SCRIPT: &str = r#"
import json, sys
params = json.load(open(sys.argv[1]))
data = params["data"]
print("::stageline", json.dumps({"result": {"items": len(data), "sum": sum(data), "text": "ä" * 150000}}))
"#;

fn url(place: &Place) -> String {
    format!("file://{}/store", place.path().canonicalize().unwrap().display())
}

fn path(reference: &Value) -> PathBuf {
    let uri = reference["$artifact"]["uri"].as_str().unwrap_or_else(|| panic!("no reference: {reference}"));
    uri.strip_prefix("file://").unwrap().into()
}

fn large() -> Value {
    // 300 KB and more.
    json!({ "data": (0..60_000).collect::<Vec<u32>>() })
}

/// The record as it lies in the table: what `list` shows.
fn on_the_record(place: &Place, id: &str) -> Value {
    let listed = place.json(["list"]);
    listed["tasks"].as_array().unwrap().iter().find(|task| task["id"] == id).unwrap().clone()
}

fn submit(place: &Place, record: &Value) -> String {
    place.write("record.json", record.to_string());
    place.submit(["--json", "record.json"])
}

#[test]
fn large_params_and_a_large_result_pass_through_the_store_and_come_back_whole() {
    let place = Place::new();
    place.write("sum.py", SCRIPT);
    let _dev = place.dev(&["--artifacts", &url(&place)]);
    let id = submit(&place, &json!({"engine": "python", "script": "sum.py", "params": large()}));
    let task = place.ended(&id);
    assert_eq!(task["status"], "COMPLETED", "{}", task["statusReason"]);
    assert_eq!(
        (&task["result"]["items"], &task["result"]["sum"]),
        (&json!(60_000), &json!(1_799_970_000u64))
    );
    assert_eq!(task["result"]["text"].as_str().unwrap().chars().count(), 150_000);
    assert_eq!(task["params"], large());
    assert_eq!(place.task(&id), task, "`status` shows what `watch` shows");

    let record = on_the_record(&place, &id);
    let (params, result) = (path(&record["params"]), path(&record["result"]));
    assert!(params.metadata().unwrap().len() > 300_000 && result.metadata().unwrap().len() > 300_000);
    assert_eq!(record["params"]["$artifact"]["sizeBytes"], params.metadata().unwrap().len());
    let text = place.run(["status", &id]).stdout;
    assert!(text.lines().any(|row| row.starts_with("result ") && row.ends_with("result/1.json")), "{text}");

    // From a machine that has not got the store, the reference is all there is.
    std::fs::rename(&result, result.with_extension("away")).unwrap();
    let run = place.run(["--output", "json", "status", &id]);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert_eq!(run.document()["task"]["result"], record["result"]);
    assert!(run.stderr.contains("`result` cannot be read at file://"), "{}", run.stderr);
    std::fs::write(&result, vec![b'1'; 300_000]).unwrap();
    let run = place.run(["--output", "json", "status", &id]);
    assert!(run.stderr.contains("it was changed"), "{}", run.stderr);
}

#[test]
fn a_task_reads_nothing_by_a_reference_but_what_the_record_means() {
    let place = Place::new();
    place.write("sum.py", SCRIPT);
    let outside = place.write("outside.json", large().to_string());
    let inputs = place.path().join("in");
    std::fs::create_dir(&inputs).unwrap();
    std::fs::copy(place.path().join("sum.py"), inputs.join("sum.py")).unwrap();
    let _dev = place.dev(&["--artifacts", &url(&place), "--inputs", "in"]);
    let script = json!({"engine": "python", "script": "sum.py"});
    let with = |params: &Value| {
        let mut record = script.clone();
        record["params"] = params.clone();
        record
    };
    let first = submit(&place, &with(&large()));
    assert_eq!(place.ended(&first)["status"], "COMPLETED");
    let reference = on_the_record(&place, &first)["params"].clone();
    let stored = path(&reference);
    let code = |params: &Value, id: &str| {
        let mut record = with(params);
        record["id"] = json!(id);
        let task = place.ended(&submit(&place, &record));
        task["statusReason"]["code"].as_str().unwrap_or("none").to_owned()
    };
    let at = |path: &Path| {
        let mut moved = reference.clone();
        moved["$artifact"]["uri"] = json!(format!("file://{}", path.display()));
        moved
    };
    // The same content elsewhere: outside, and in the part of another task.
    assert_eq!(code(&at(&outside.canonicalize().unwrap()), "outside"), "PATH_UNSAFE");
    assert_eq!(code(&reference, "of-another"), "PATH_UNSAFE");
    let own = |id: &str| {
        let folder = place.path().canonicalize().unwrap().join("store").join(id);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::copy(&stored, folder.join("p.json")).unwrap();
        at(&folder.join("p.json"))
    };
    assert_eq!(code(&own("untouched"), "untouched"), "none");
    let tampered = own("tampered");
    let changed = std::fs::read_to_string(path(&tampered)).unwrap().replace("59999", "59998");
    std::fs::write(path(&tampered), changed).unwrap();
    assert_eq!(code(&tampered, "tampered"), "INPUT_HASH_MISMATCH");
    let missing = own("missing");
    std::fs::remove_file(path(&missing)).unwrap();
    assert_eq!(code(&missing, "missing"), "INPUT_MISSING");
    let mut larger = own("larger");
    larger["$artifact"]["sizeBytes"] = json!(65u64 << 20);
    assert_eq!(code(&larger, "larger"), "INPUT_TOO_LARGE");
}

#[test]
fn a_log_is_read_while_its_task_runs_and_from_wherever_it_is_afterwards() {
    let place = Place::new();
    let dev = place.dev(&["--artifacts", &url(&place)]);
    let script = "echo one; while ! test -e go; do sleep 0.05; done; printf 'two\\033[2J\\n'; echo bad >&2";
    let id = place.submit(["--", "sh", "-c", script]);
    let log = |args: &[&str]| place.run(["logs", &id].iter().chain(args));
    let running =
        eventually("its first line is there", || Some(log(&[])).filter(|run| run.stdout == "one\n"));
    assert!(running.stderr.contains("in the job folder"), "{running:?}");
    let following = std::thread::scope(|scope| {
        let following = scope.spawn(|| log(&["--follow"]));
        std::thread::sleep(std::time::Duration::from_millis(300));
        std::fs::write(dev.job(&id, 1).join("go"), "").unwrap();
        following.join().unwrap()
    });
    assert_eq!((following.code, following.stdout.as_str()), (Some(0), "one\ntwo\u{1b}[2J\n"));
    assert!(following.stderr.contains("the whole log, 12 bytes"), "{following:?}");
    assert_eq!(log(&["--stream", "stderr", "--attempt", "1"]).stdout, "bad\n");
    let refused = log(&["--attempt", "2"]);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    let piece = place.run(["--output", "json", "logs", &id]).document();
    assert_eq!(
        piece,
        json!({"id": id, "attempt": 1, "stream": "stdout", "source": "whole", "offset": 0, "text": "one\ntwo\u{1b}[2J\n"})
    );

    // As a killed worker leaves it.
    let store = place.path().join("store").join(&id);
    std::fs::remove_dir_all(store.join("1")).unwrap();
    std::fs::remove_dir_all(dev.job(&id, 1)).unwrap();
    let parts = store.join("log/1/stdout.log");
    std::fs::create_dir_all(&parts).unwrap();
    std::fs::write(parts.join("000001"), "first ").unwrap();
    std::fs::write(parts.join("000002"), "second").unwrap();
    let so_far = log(&[]);
    assert_eq!(so_far.stdout, "first second");
    assert!(so_far.stderr.contains("as stored while it ran"), "{so_far:?}");
    std::fs::remove_dir_all(&store).unwrap();
    let tail = log(&[]);
    assert_eq!(tail.stdout, "one\ntwo\u{1b}[2J\n");
    assert!(tail.stderr.contains("only the end"), "{tail:?}");
}
