//! Each program may do what it does, and nothing else: what dispatcher, sweeper and workers ask for while they
//! do all that they ever do, beside what `infra/core.yaml` allows them (as `infra/permissions.json`, which
//! `scripts/check-infra` holds to the template).

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use stageline::Clock;
use stageline::aws::{Aws, Outgoing, Request, Write};
use stageline::protocol::command::Command;
use stageline::protocol::lease::Lease;
use stageline::task::{Attempt, Lane, Status, Task, TaskId};
use stageline_local::pump::StreamPump;
use stageline_local::system::mapping_rules;
use stageline_sweeper::{InstanceEvent, Limits};
use stageline_tests::parts::{DispatcherFunction, Parts};
use stageline_tests::process::WorkerProcess;
use stageline_tests::recorder::{Permissions, Recorder};
use stageline_tests::system::{eventually, id};

const INSTANCE: &str = "i-0a1b2c3d4e5f67890";

/// What Lambda itself does with a function's role: writes its log, reads the stream of its mapping, keeps what
/// the mapping gives up. No program of ours makes these calls, so no recorder sees them.
const OF_LAMBDA: [(&str, &[&str]); 3] = [
    ("log", &["logs:CreateLogStream", "logs:PutLogEvents"]),
    (
        "stream",
        &[
            "dynamodb:DescribeStream",
            "dynamodb:GetRecords",
            "dynamodb:GetShardIterator",
            "dynamodb:ListStreams",
        ],
    ),
    ("stream failures", &["sqs:SendMessage"]),
];

/// A script that saves its state, and does not end in its first attempt.
const SAVING: &str = r#"
import json, os, time
resumed = os.environ.get("STAGELINE_RESUME") == "1"
open("state.json", "w").write("{}")
print("::stageline", json.dumps({"stage": "Save", "done": 1, "total": 2, "checkpoint": "state.json"}), flush=True)
while not resumed:
    time.sleep(0.1)
print("::stageline", json.dumps({"result": {"resumed": resumed}}))
"#;

/// The embedded AWS, and each program behind a recorder of its own.
struct Scene {
    parts: Parts,
    aws: Aws,
    dispatcher: Recorder,
    sweeper: Recorder,
    worker: Recorder,
    pump: StreamPump,
}

impl Scene {
    async fn start() -> Result<Self> {
        let parts = Parts::start(Lease::of(Duration::from_secs(3))).await?;
        let endpoint = parts.local.endpoint();
        let recorder = || Recorder::start(&endpoint, &parts.deployment);
        let (dispatcher, sweeper, worker) = (recorder().await?, recorder().await?, recorder().await?);
        let sdk = stageline_local::sdk_config(&dispatcher.endpoint());
        let function = DispatcherFunction(parts.dispatcher(&sdk, Clock::system()));
        let (pump, _failed) = parts.pump(mapping_rules()?, Arc::new(function)).await?;
        std::fs::write(parts.folder.path().join("saving.py"), SAVING)?;
        Ok(Self { aws: parts.aws(), parts, dispatcher, sweeper, worker, pump })
    }

    fn process(&self, name: &str, settings: &[(&str, &str)]) -> Result<WorkerProcess> {
        let folder = self.parts.folder.path().join(name);
        std::fs::create_dir_all(&folder)?;
        let inputs = self.parts.folder.path().display().to_string();
        let mut all = vec![
            ("STAGELINE_WORKER_ARTIFACTS_URL", "s3://bucket/artifacts"),
            ("STAGELINE_WORKER_CHECKPOINT_SECONDS", "1"),
            ("STAGELINE_WORKER_INPUTS_DIR", inputs.as_str()),
            ("STAGELINE_WORKER_POLL_WAIT_SECONDS", "1"),
            ("STAGELINE_WORKER_STORE_PATIENCE_SECONDS", "10"),
        ];
        all.extend(settings);
        let program = env!("CARGO_BIN_EXE_test-worker");
        WorkerProcess::start(program, &self.worker.endpoint(), &self.parts.deployment, &folder, &all)
    }

    async fn put(&self, record: Value) -> Result<TaskId> {
        let name = record["id"].as_str().context("an id")?.parse()?;
        let item: stageline::task::Item = serde_dynamo::to_item(record)?;
        let client = aws_sdk_dynamodb::Client::new(&self.parts.local.sdk_config());
        let put = client.put_item().table_name(&self.parts.deployment.tasks_table).set_item(Some(item));
        put.send().await?;
        Ok(name)
    }

    async fn until(&self, id: &TaskId, what: &str, is_so: impl Fn(&Task) -> bool) -> Result<Task> {
        eventually(&format!("{id} {what}"), || async { Ok(self.aws.tasks.get(id).await?.filter(&is_so)) })
            .await
    }

    async fn ended(&self, id: &TaskId) -> Result<Task> {
        self.until(id, "ends", |task| task.status.is_terminal()).await
    }

    async fn runs(&self, id: &TaskId) -> Result<Task> {
        self.until(id, "runs", |task| task.status == Status::Running).await
    }

    async fn send(&self, queue_url: &str, id: &TaskId) -> Result<()> {
        let command = Command::new(id.clone(), Attempt(0));
        let sent = self.aws.queues.send(queue_url, &[Outgoing { command, delay: Duration::ZERO }]).await;
        ensure!(sent.failures == [None], "{sent:?}");
        Ok(())
    }

    async fn ask(&self, id: &TaskId, request: Request) -> Result<()> {
        ensure!(self.aws.tasks.ask(id, request, Clock::system().now()).await? == Write::Applied);
        Ok(())
    }
}

/// Ordinary work: many tasks at once, progress, retries, inputs, artifacts of every size.
///
/// Gives a task whose output the store refuses, which it notices only when its patience ends.
async fn work(scene: &Scene) -> Result<TaskId> {
    // What comes together shares a request; whether it came together is the machine's affair.
    let mut rounds = 0;
    while !(scene.dispatcher.has("tasks", "dynamodb:PartiQLUpdate")
        && scene.worker.has("tasks", "dynamodb:PartiQLUpdate"))
    {
        rounds += 1;
        ensure!(rounds <= 20, "nothing ever shared a request");
        let mut ids = Vec::new();
        for _ in 0..20 {
            ids.push(scene.put(json!({"id": id("many"), "command": "true"})).await?);
        }
        for id in ids {
            scene.ended(&id).await?;
        }
    }
    let bucket = scene.worker.bucket();
    bucket.put("inputs/given.txt", b"given");
    bucket.refuse_parts("refused.dat");
    let retry = json!({"strategy": "IMMEDIATE", "maxRetries": 1});
    let one = scene.put(json!({"id": id("retried"), "command": "false", "retry": retry})).await?;
    let params = json!({"items": 5, "seconds": 0.2});
    let demo = scene.put(json!({"id": id("demo"), "engine": "demo", "params": params})).await?;
    let made = "sh -c 'head -c 9000000 /dev/zero > large.dat; cat given.txt > small.dat'";
    let given = json!([{"source": "s3://bucket/inputs/given.txt", "path": "given.txt"}]);
    let files = json!(["*.dat"]);
    let made = json!({"id": id("made"), "command": made, "inputs": given, "outputs": files});
    let made = scene.put(made).await?;
    let refused = "sh -c 'head -c 9000000 /dev/zero > refused.dat'";
    let refused = scene.put(json!({"id": id("refused"), "command": refused, "outputs": files})).await?;
    assert_eq!(scene.ended(&one).await?.attempt, Attempt(2));
    assert_eq!(scene.ended(&demo).await?.status, Status::Completed);
    let made = scene.ended(&made).await?;
    assert_eq!(made.status, Status::Completed, "{made:#?}");
    Ok(refused)
}

/// What people ask of tasks that run, and a message that comes twice.
async fn requests(scene: &Scene) -> Result<()> {
    let sleeps = |name: &str| json!({"id": id(name), "command": "sleep 600"});
    let (cancelled, paused) = (scene.put(sleeps("cancelled")).await?, scene.put(sleeps("paused")).await?);
    scene.runs(&cancelled).await?;
    scene.runs(&paused).await?;
    // A message that comes before its task is due is handed back.
    let now = Clock::system().now();
    let early = scene
        .put(json!({
            "id": id("early"), "command": "true", "status": "QUEUED", "createdAt": OLD, "updatedAt": now,
            "queuedAt": now, "notBefore": now.plus(Duration::from_secs(3)),
        }))
        .await?;
    let pool = scene.parts.deployment.pools.get("default").context("pool")?;
    scene.send(pool.queues.url(Lane::Normal), &early).await?;
    eventually("it is handed back", || async {
        Ok(scene.worker.has("lanes", "sqs:ChangeMessageVisibility").then_some(()))
    })
    .await?;
    assert_eq!(scene.ended(&early).await?.status, Status::Completed);
    scene.ask(&paused, Request::Pause).await?;
    scene.until(&paused, "is paused", |task| task.status == Status::Paused).await?;
    scene.ask(&paused, Request::Resume).await?;
    scene.runs(&paused).await?;
    for id in [&cancelled, &paused] {
        scene.ask(id, Request::Cancel).await?;
        assert_eq!(scene.ended(id).await?.status, Status::Cancelled);
    }
    Ok(())
}

/// Machines that die: one whose worker starts again in its folder, and one that the sweeper buries. Before that,
/// a message of the one reaches the other.
///
/// Gives the worker that is left.
async fn deaths(scene: &Scene, mut first: WorkerProcess) -> Result<WorkerProcess> {
    let saved = json!({"id": id("saved"), "engine": "python", "script": "saving.py"});
    let saved = scene.put(saved).await?;
    let log = first.log();
    log.until(|line| line["message"] == "checkpoint stored").await?;
    // The first one's slots are taken, so that the second one gets the message, asks after the first one, and
    // leaves the message.
    let mut filling = Vec::new();
    for _ in 0..3 {
        filling.push(scene.put(json!({"id": id("filling"), "command": "sleep 600"})).await?);
    }
    for id in &filling {
        scene.runs(id).await?;
    }
    let second = scene.process("second", &[("STAGELINE_WORKER_INSTANCE", INSTANCE)])?;
    second.started().await?;
    let lane = scene.parts.deployment.pools.get("default").context("pool")?.queues.url(Lane::Normal);
    eventually("the second one asks after the first one", || async {
        scene.send(lane, &saved).await?;
        tokio::time::sleep(Duration::from_millis(200)).await;
        Ok(scene.worker.has("control", "dynamodb:GetItem").then_some(()))
    })
    .await?;
    first.kill().await?;
    let again = scene.process("first", &[])?;
    again.started().await?;
    let done = scene.ended(&saved).await?;
    assert_eq!((done.status, done.result), (Status::Completed, Some(json!({"resumed": true}))));
    for id in &filling {
        scene.ask(id, Request::Cancel).await?;
        scene.ended(id).await?;
    }
    eventually("checkpoints are gone", || async {
        Ok(scene.worker.bucket().keys("/checkpoint/").is_empty().then_some(()))
    })
    .await?;
    let at_risk = InstanceEvent::AtRisk { instance: INSTANCE.to_owned() };
    let sdk = stageline_local::sdk_config(&scene.sweeper.endpoint());
    let sweeper = scene.parts.sweeper(&sdk, Clock::system());
    assert_eq!(sweeper.instance_event(at_risk).await.signals, 1);
    // Killed where it stands, and its instance reported as stopped.
    drop(second);
    let stopped = InstanceEvent::Stopped { instance: INSTANCE.to_owned() };
    assert_eq!(sweeper.instance_event(stopped).await.workers_dead, 1);
    Ok(again)
}

const OLD: &str = "2026-01-01T00:00:00.000Z";

/// A record that was sent long ago, and whose message is gone. The stream's filter does not let it through.
fn lost(name: &str) -> Value {
    json!({
        "id": id(name), "command": "true", "status": "QUEUED", "dispatchStatus": "DISPATCHED",
        "createdAt": OLD, "updatedAt": OLD, "queuedAt": OLD,
    })
}

/// What only the sweeper brings back.
async fn sweeps(scene: &Scene) -> Result<()> {
    for n in 0..20 {
        scene.put(lost(&format!("lost-{n}"))).await?;
    }
    let dead = json!({
        "id": id("dead"), "command": "true", "status": "QUEUED", "createdAt": OLD,
        "updatedAt": Clock::system().now(), "queuedAt": Clock::system().now(),
    });
    let dead = scene.put(dead).await?;
    let pool = scene.parts.deployment.pools.get("default").context("pool")?;
    scene.send(pool.queues.dead.as_deref().context("a dead-letter queue")?, &dead).await?;
    let sdk = stageline_local::sdk_config(&scene.sweeper.endpoint());
    let sweeper = scene.parts.sweeper(&sdk, Clock::system());
    let (mut sent, mut failed) = (0, 0);
    // Not while messages of before are on the queue: they may be those of the lost tasks.
    while sent < 20 {
        let report = sweeper.sweep(Limits::default()).await;
        assert_eq!(report.errors, 0, "{report:?}");
        (sent, failed) = (sent + report.sent_again, failed + report.dead_letters_failed);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(failed, 1);
    let soon = Clock::system().now().plus(Duration::from_secs(60));
    let due = stageline::protocol::due::due_key(&"due".parse()?);
    let due = json!({
        "id": "due", "command": "true", "status": "SCHEDULED", "notBefore": soon, "dueKey": due,
        "createdAt": OLD, "updatedAt": OLD, "queuedAt": OLD,
    });
    scene.put(due).await?;
    let report = sweeper.sweep(Limits::default()).await;
    assert_eq!((report.errors, report.due), (0, 1), "{report:?}");
    Ok(())
}

fn allowed(program: &str) -> Result<Permissions> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../infra/permissions.json");
    let all: Value = serde_json::from_str(&std::fs::read_to_string(file)?)?;
    Ok(serde_json::from_value(all[program].clone())?)
}

fn without_lambdas_own(mut allowed: Permissions) -> Result<Permissions> {
    for (resource, actions) in OF_LAMBDA {
        if let Some(found) = allowed.remove(resource) {
            let expected: BTreeSet<_> = actions.iter().map(|action| (*action).to_owned()).collect();
            ensure!(found == expected, "{resource}: {found:?}");
        }
    }
    Ok(allowed)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_program_asks_for_exactly_what_its_policy_allows() -> Result<()> {
    let scene = Scene::start().await?;
    let first = scene.process("first", &[("STAGELINE_WORKER_SLOTS", "4")])?;
    first.started().await?;
    let refused = work(&scene).await?;
    requests(&scene).await?;
    assert_eq!(scene.ended(&refused).await?.status, Status::Failed);
    let mut last = deaths(&scene, first).await?;
    tokio::time::timeout(Duration::from_secs(120), sweeps(&scene)).await??;
    // A polite end gives up its lease.
    last.signal(nix::sys::signal::Signal::SIGTERM)?;
    last.ended().await?;
    // A queue that is silent for longer than the watchdog likes is asked how much lies in it.
    let silent = [("STAGELINE_WORKER_WATCHDOG_SECONDS", "1"), ("STAGELINE_WORKER_POLL_WAIT_SECONDS", "20")];
    let mut watched = scene.process("watched", &silent)?;
    eventually("the watchdog asks", || async {
        Ok(scene.worker.has("lanes", "sqs:GetQueueAttributes").then_some(()))
    })
    .await?;
    watched.kill().await?;
    // Where no worker says what it received, the queue is asked.
    let sdk = stageline_local::sdk_config(&scene.sweeper.endpoint());
    scene.put(lost("asked")).await?;
    // And where a task runs under a worker that no list has, that one is looked for.
    let orphan = json!({
        "id": id("orphan"), "command": "true", "status": "RUNNING", "attempt": 1, "workerNodeId": "gone:1:1",
        "createdAt": OLD, "updatedAt": OLD, "queuedAt": OLD, "startedAt": OLD,
    });
    scene.put(orphan).await?;
    assert_eq!(scene.parts.sweeper(&sdk, Clock::system()).sweep(Limits::default()).await.errors, 0);

    let recorders =
        [("dispatcher", &scene.dispatcher), ("sweeper", &scene.sweeper), ("worker", &scene.worker)];
    for (program, recorder) in recorders {
        assert_eq!(recorder.seen(), without_lambdas_own(allowed(program)?)?, "{program}: asked, and allowed");
    }
    scene.pump.shutdown().await;
    scene.parts.local.shutdown().await;
    Ok(())
}
