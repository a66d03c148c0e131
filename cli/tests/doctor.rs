//! `stageline doctor`: what it says of a sound system, of one without workers, and of none; and that
//! `--repair` brings back what nothing else would.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use stageline::aws::{Aws, Deployment, Heartbeat};
use stageline::protocol::lease::Lease;
use stageline::task::WorkerId;
use stageline::{At, Clock};
use stageline_local::{LocalAws, LocalOptions, schema};
use stageline_worker::child::Custody;
use stageline_worker::{Config, Worker};
use support::{Place, Run, eventually, finish};
use tokio_util::sync::CancellationToken;

/// A lease that a test can wait for.
const LEASE: Duration = Duration::from_secs(2);
/// Longer ago than any record is left to its ordinary path.
const LONG_AGO: &str = "2026-01-01T00:00:00.000Z";

/// Tables and queues and nothing that works on them: no dispatcher, no sweeper, no worker.
struct Bare {
    place: Place,
    local: LocalAws,
    deployment: Deployment,
    aws: Aws,
}

impl Bare {
    async fn start() -> Self {
        let options = LocalOptions { data_dir: None, port: 0, prefix: "bare".to_owned() };
        let local = LocalAws::start(options).await.unwrap();
        let targets = vec!["default/*".parse().unwrap()];
        let deployment = schema::deployment(local.names(), local.queues(), targets, Lease::of(LEASE));
        let aws = Aws::new(&local.sdk_config(), &deployment);
        Self { place: Place::new(), local, deployment, aws }
    }

    /// Runs a command as a client of it that has all variables but one.
    fn run_without(&self, missing: &str, args: &[&str]) -> Run {
        let mut command = self.place.stageline();
        command.env("AWS_ENDPOINT_URL", self.local.endpoint()).env("AWS_REGION", "us-east-1");
        command.env("AWS_ACCESS_KEY_ID", "local").env("AWS_SECRET_ACCESS_KEY", "local");
        command.envs(self.deployment.to_env().into_iter().filter(|(name, _)| *name != missing));
        finish(command.args(args))
    }

    fn run(&self, args: &[&str]) -> Run {
        self.run_without("", args)
    }

    async fn put(&self, record: Value) {
        let client = aws_sdk_dynamodb::Client::new(&self.local.sdk_config());
        let item = serde_dynamo::to_item(record).unwrap();
        client.put_item().table_name(&self.deployment.tasks_table).set_item(Some(item)).send().await.unwrap();
    }

    /// Puts a record that nobody has touched for long.
    async fn put_old(&self, id: &str, status: &str, more: Value) {
        let mut record = json!({
            "id": id, "command": "echo back", "status": status, "createdAt": LONG_AGO, "updatedAt": LONG_AGO,
        });
        record.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.put(record).await;
    }

    async fn put_running(&self, id: &str, worker: &str) {
        let held = json!({"attempt": 1, "workerNodeId": worker, "startedAt": LONG_AGO, "history": []});
        self.put_old(id, "RUNNING", held).await;
    }

    async fn beat(&self, worker: &str) {
        self.aws.workers.beat(&heartbeat(worker), &[], true).await.unwrap();
    }

    fn task(&self, id: &str) -> Value {
        self.run(&["--output", "json", "status", id]).document()["task"].clone()
    }
}

fn heartbeat(worker: &str) -> Heartbeat {
    Heartbeat {
        worker_id: worker.parse::<WorkerId>().unwrap(),
        heartbeat_at: Clock::system().now(),
        pool: "default".to_owned(),
        slots: 1,
        running: 0,
        engines: vec!["command".to_owned()],
        version: "1".to_owned(),
        draining: false,
        instance: None,
        received_until: Default::default(),
        broken: Default::default(),
        notice: None,
    }
}

/// The checks of this name.
fn of<'a>(document: &'a Value, name: &str) -> Vec<&'a Value> {
    document["checks"].as_array().unwrap().iter().filter(|check| check["check"] == name).collect()
}

// ---- Without --repair ------------------------------------------------------------------------------------

#[test]
fn a_sound_system_has_nothing_amiss_in_text_and_in_json() {
    let place = Place::new();
    let _dev = place.dev(&[]);
    let run = place.run(["doctor"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(run.stdout.lines().all(|line| line.starts_with("ok ")), "{run:?}");
    assert_eq!(
        run.stderr,
        "next: only `stageline doctor --repair` looks at the records themselves, all of them\n"
    );
    assert!(!run.stdout.contains('\u{1b}'), "no colours in a pipe");
    let run = finish(place.stageline().args(["--output", "json", "doctor"]));
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{run:?}");
    let document = run.document();
    assert_eq!((&document["healthy"], &document["repair"]), (&json!(true), &Value::Null));
    assert_eq!(document["pools"][0]["lanes"]["high"]["waiting"], 0);
    assert_eq!(document["workers"][0]["heartbeat"]["pool"], "default");
    assert!(document["checks"].as_array().unwrap().iter().all(|check| check["state"] == "ok"), "{document}");
}

#[test]
fn messages_without_a_worker_are_a_problem_with_what_to_type() {
    let place = Place::new();
    let _dev = place.dev(&["--no-worker"]);
    let id = place.submit(["--", "true"]);
    place.reaches(&id, "QUEUED");
    let run = place.run(["doctor"]);
    assert_eq!(run.code, Some(7), "{run:?}");
    assert!(run.stdout.contains("problem  pool          default: 1 message waiting"), "{run:?}");
    assert!(run.stdout.contains("start it with a worker: stageline dev"), "{run:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_set_is_a_warning_and_what_is_not_there_a_problem() {
    let mut bare = Bare::start().await;
    let run = bare.run_without("STAGELINE_POOLS", &["doctor"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(run.stdout.contains("not set: STAGELINE_POOLS; its queues are not known"), "{run:?}");
    assert!(
        run.stdout.contains("scripts/deploy --env") && !run.stdout.contains("\nok       queues"),
        "{run:?}"
    );
    bare.deployment.stages_table = "no-such-table".to_owned();
    let run = bare.run(&["--output", "json", "doctor"]);
    assert_eq!(run.code, Some(7), "{run:?}");
    let document = run.document();
    assert_eq!(document["healthy"], false);
    let problems: Vec<_> =
        of(&document, "table").into_iter().filter(|check| check["state"] == "problem").collect();
    assert_eq!(problems.len(), 1, "{document}");
    assert!(problems[0]["seen"].as_str().unwrap().contains("no-such-table"), "{document}");
    assert!(problems[0]["next"].as_str().unwrap().contains("deploy"), "{document}");
}

#[test]
fn where_no_system_runs_the_error_says_what_to_start() {
    let place = Place::new();
    for args in [&["doctor"][..], &["doctor", "--repair"]] {
        let mut command = place.stageline();
        command.envs([("AWS_ENDPOINT_URL", "http://127.0.0.1:1"), ("AWS_EC2_METADATA_DISABLED", "true")]);
        command.envs([("AWS_ACCESS_KEY_ID", "local"), ("AWS_SECRET_ACCESS_KEY", "local")]);
        command.envs(Deployment::with_prefix("x").to_env());
        finish(command.args(args)).refused(5, "AWS_ERROR", &["no answer", "next: ", "stageline dev"]);
        // Without any setting it is AWS itself, which takes credentials.
        if args.len() == 1 {
            let mut command = place.stageline();
            command.env("AWS_EC2_METADATA_DISABLED", "true").args(args);
            finish(&mut command).refused(5, "AWS_ERROR", &["no AWS credentials", "next: ", "stageline dev"]);
        }
    }
    let mut dev = place.dev(&["--no-worker"]);
    dev.killed();
    place.run(["doctor"]).refused(5, "DEV_NOT_RUNNING", &["next: ", "stageline dev"]);
}

// ---- With --repair ---------------------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread")]
async fn a_repair_sends_what_has_no_message_and_it_completes() {
    let bare = Bare::start().await;
    bare.put_old("queued", "QUEUED", json!({"queuedAt": LONG_AGO, "history": []})).await;
    bare.put_old("pending", "PENDING", json!({})).await;
    bare.put(json!({"id": "bare"})).await;
    let run = bare.run(&["--output", "json", "doctor", "--repair"]);
    let document = run.document();
    // Nobody takes the messages yet; the repair itself left nothing.
    assert_eq!((run.code, of(&document, "pool").len()), (Some(7), 1), "{document}");
    let report = &document["repair"];
    assert_eq!((&report["sentAgain"], &report["rejected"]), (&json!(2), &json!(1)), "{document}");
    assert_eq!((&report["errors"], &report["passComplete"]), (&json!(0), &json!(true)), "{document}");
    assert_eq!(bare.task("bare")["statusReason"]["code"], "COMMAND_INVALID");

    let config = Config {
        slots: 2,
        work_dir: bare.place.path().join("jobs"),
        inputs_dir: bare.place.path().to_owned(),
        allow_any_program: true,
        drain_grace_seconds: 1,
        ..Config::default()
    };
    let custody = Custody::shared().unwrap();
    let worker = Worker::new(config, bare.aws.clone(), &bare.deployment, Clock::system(), custody).unwrap();
    let (drain, stop) = (CancellationToken::new(), CancellationToken::new());
    let done = tokio::spawn(worker.run(drain.clone(), stop.clone()));
    for id in ["queued", "pending"] {
        let task = eventually(id, || Some(bare.task(id)).filter(|task| task["status"] == "COMPLETED"));
        assert_eq!((&task["attempt"], &task["stdout"]), (&json!(1), &json!("back\n")), "{task}");
    }
    let again = bare.run(&["doctor", "--repair"]);
    assert_eq!(again.code, Some(0), "{again:?}");
    assert!(again.stdout.contains("3 records looked at: nothing to repair"), "{again:?}");
    drain.cancel();
    done.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repair_takes_tasks_from_silent_workers_only() {
    let bare = Bare::start().await;
    bare.put_running("of-nobody", "gone:1:x").await;
    bare.put_running("of-the-silent", "silent:1:x").await;
    bare.put_running("of-the-alive", "alive:1:x").await;
    bare.beat("silent:1:x").await;
    // What a beat says of its time is nobody's business: this one's clock stands still, years ago.
    let aws = bare.aws.clone();
    let alive = tokio::spawn(async move {
        for n in 0.. {
            let beat = Heartbeat { heartbeat_at: At::from_millis(n), ..heartbeat("alive:1:x") };
            aws.workers.beat(&beat, &[], true).await.unwrap();
            tokio::time::sleep(LEASE / 10).await;
        }
    });
    let mut memory = bare.aws.sweep.load().await.unwrap();
    memory.observations.observe(
        &"alive:1:x".parse().unwrap(),
        "a beat",
        At::from_millis(0),
        Lease::of(LEASE),
    );
    bare.aws.sweep.save(&memory).await.unwrap();
    let run = bare.run(&["doctor", "--repair"]);
    alive.abort();
    assert!(run.stdout.contains("3 records looked at: dead workers 1, rescued 2"), "{run:?}");
    assert!(run.stdout.contains("1 with 1 slots, 0 running; each has just beaten"), "{run:?}");
    assert_eq!(run.code, Some(0), "{run:?}");
    for (id, status) in [("of-nobody", "PENDING"), ("of-the-silent", "PENDING"), ("of-the-alive", "RUNNING")]
    {
        let task = bare.task(id);
        assert_eq!(task["status"], status, "{task}");
        assert_eq!(task.get("interruptions").is_some(), status == "PENDING", "{task}");
    }
    let kept = bare.aws.sweep.load().await.unwrap();
    assert_eq!(
        kept.observations, memory.observations,
        "they are times of the sweeper's clock, not of this one"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_impossible_record_is_named_left_alone_and_a_problem() {
    let bare = Bare::start().await;
    bare.put_running("without-worker", "gone:1:x").await;
    bare.put(json!({"id": "without-worker", "status": "RUNNING", "attempt": 1, "command": "true"})).await;
    bare.put(json!({"id": "no-state", "status": "DANCING", "attempt": 1, "command": "true"})).await;
    let before = bare.task("without-worker");
    let text = bare.run(&["doctor", "--repair"]);
    assert_eq!(text.code, Some(7), "{text:?}");
    for words in [
        "problem  impossible    without-worker: it is RUNNING and names no worker",
        "problem  impossible    no-state: `status` is \"DANCING\", which is no state",
        "stageline status without-worker",
    ] {
        assert!(text.stdout.contains(words), "{words}: {text:?}");
    }
    let json = bare.run(&["--output", "json", "doctor", "--repair"]);
    let document = json.document();
    assert_eq!((json.code, &document["healthy"]), (Some(7), &json!(false)));
    assert_eq!(document["repair"]["impossibleCount"], 2, "{document}");
    assert_eq!(bare.task("without-worker"), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repair_needs_every_variable_of_the_deployment_and_does_nothing_without() {
    let bare = Bare::start().await;
    bare.put_old("pending", "PENDING", json!({})).await;
    for missing in Deployment::VARIABLES {
        let run = bare.run_without(missing, &["doctor", "--repair"]);
        run.refused(6, "DEPLOYMENT_INCOMPLETE", &[missing, "next: ", "scripts/deploy --env"]);
    }
    let task = bare.aws.tasks.get(&"pending".parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(task.status.as_str(), "PENDING");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_repair_cannot_do_is_a_problem_and_its_reason_is_on_standard_error() {
    let mut bare = Bare::start().await;
    bare.put_old("pending", "PENDING", json!({})).await;
    let pools = bare.deployment.pools.to_json().replace("bare-", "absent-");
    bare.deployment.pools = stageline::protocol::pools::Pools::from_json(&pools).unwrap();
    let run = bare.run(&["doctor", "--repair"]);
    assert_eq!(run.code, Some(7), "{run:?}");
    assert!(run.stdout.contains("problem  repair"), "{run:?}");
    assert!(run.stderr.contains("command not sent") && run.stderr.contains("pending"), "{run:?}");
    assert_eq!(bare.task("pending")["status"], "PENDING");
}
