//! Notices of a machine's end, from a metadata service that only pretends, and its protection from one, by an agent
//! that does.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use hyper::StatusCode;
use serde_json::json;
use stageline::Clock;
use stageline::task::Status;
use stageline_loopback::{Loopback, Parts, Response};
use stageline_tests::process::WorkerProcess;
use stageline_tests::system::{Stack, eventually, id};
use tokio::sync::watch;
use tokio::time::timeout;

const INSTANCE_ACTION: &str = "spot/instance-action";
const TARGET_STATE: &str = "autoscaling/target-lifecycle-state";
const REBALANCE: &str = "events/recommendations/rebalance";

/// Longer than anything here takes on a busy machine.
const LONG: Duration = Duration::from_secs(120);

/// Counts, saves by renaming, and writes each step into a log outside of its folder.
const COUNTING: &str = r#"
import json, os, time
told = json.load(open("params.json"))
resumed = os.environ.get("STAGELINE_RESUME") == "1"
done = json.load(open("state.json"))["done"] if resumed else 0
log = open(told["log"], "a", buffering=1)
while done < 200:
    time.sleep(0.01 if resumed else 0.1)
    done += 1
    with open("state.new", "w") as new:
        json.dump({"done": done}, new)
    os.rename("state.new", "state.json")
    print("::stageline", json.dumps({"stage": "Count", "done": done, "total": 200, "checkpoint": "state.json"}))
    log.write("%s %d\n" % (os.environ["STAGELINE_ATTEMPT"], done))
print("::stageline", json.dumps({"result": {"done": done, "resumed": resumed}}))
"#;

/// A metadata service of version 2: what it was told to say under a path, and 404.
struct Imds {
    address: Loopback,
    says: Arc<Mutex<Says>>,
}

type Says = BTreeMap<&'static str, String>;

impl Imds {
    async fn start() -> Result<Self> {
        let says: Arc<Mutex<Says>> = Arc::default();
        let saying = Arc::clone(&says);
        let address = Loopback::start(move |_, parts, _| {
            let (status, body) = to(&parts, &saying.lock().unwrap_or_else(PoisonError::into_inner));
            let mut answer = Response::new(body.into());
            *answer.status_mut() = status;
            async { Ok(answer) }
        });
        Ok(Self { address: address.await?, says })
    }

    fn url(&self) -> String {
        self.address.endpoint()
    }

    fn say(&self, path: &'static str, body: String) {
        self.says.lock().unwrap_or_else(PoisonError::into_inner).insert(path, body);
    }
}

fn to(asked: &Parts, says: &Says) -> (StatusCode, String) {
    let path = asked.uri.path();
    if asked.method == "PUT" && path == "/latest/api/token" {
        return (StatusCode::OK, "a-token".to_owned());
    }
    if asked.headers.get("x-aws-ec2-metadata-token").is_none_or(|token| token != "a-token") {
        return (StatusCode::UNAUTHORIZED, String::new());
    }
    let said = path.strip_prefix("/latest/meta-data/").and_then(|path| says.get(path));
    said.map_or((StatusCode::NOT_FOUND, String::new()), |body| (StatusCode::OK, body.clone()))
}

fn seconds_from_now(seconds: u64) -> String {
    Clock::system().now().plus(Duration::from_secs(seconds)).to_string()
}

struct Bench {
    stack: Stack,
    folder: tempfile::TempDir,
    endpoint: String,
}

impl Bench {
    async fn start() -> Result<Self> {
        let stack = Stack::embedded_with_lease(3).await?;
        let folder = tempfile::tempdir()?;
        std::fs::create_dir(folder.path().join("in"))?;
        std::fs::write(folder.path().join("in/count.py"), COUNTING)?;
        let endpoint = stack.embedded.as_ref().context("embedded")?.local().endpoint().to_owned();
        Ok(Self { stack, folder, endpoint })
    }

    /// A worker in a folder of its own on a machine with this metadata service, with one slot.
    async fn worker(&self, name: &str, imds: &str) -> Result<WorkerProcess> {
        self.worker_with(name, imds, &[]).await
    }

    async fn worker_with(&self, name: &str, imds: &str, more: &[(&str, &str)]) -> Result<WorkerProcess> {
        let at = self.folder.path().join(name);
        std::fs::create_dir(&at)?;
        let inputs = self.folder.path().join("in").display().to_string();
        let url = format!("file://{}", self.folder.path().join("store").display());
        let settings = [
            ("AWS_EC2_METADATA_DISABLED", "false"),
            ("AWS_EC2_METADATA_SERVICE_ENDPOINT", imds),
            ("STAGELINE_WORKER_SLOTS", "1"),
            ("STAGELINE_WORKER_INPUTS_DIR", &inputs),
            ("STAGELINE_WORKER_ARTIFACTS_URL", &url),
            ("STAGELINE_WORKER_CHECKPOINT_SECONDS", "3600"),
        ];
        let settings = [&settings[..], more].concat();
        let program = env!("CARGO_BIN_EXE_test-worker");
        let worker = WorkerProcess::start(program, &self.endpoint, &self.stack.deployment, &at, &settings)?;
        worker.started().await?;
        Ok(worker)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spot_notice_hands_the_task_back_and_another_machine_goes_on_from_its_checkpoint() -> Result<()> {
    let bench = Bench::start().await?;
    let imds = Imds::start().await?;
    let mut first = bench.worker("first", &imds.url()).await?;
    let log = bench.folder.path().join("log");
    let record = json!({
        "id": id("spot"), "status": "PENDING", "engine": "python", "script": "count.py", "params": {"log": log},
    });
    let task = bench.stack.put(&record).await?;
    let steps = |attempt: &str| {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        let of =
            text.lines().filter_map(|line| line.strip_prefix(&format!("{attempt} "))?.parse::<u32>().ok());
        of.collect::<Vec<_>>()
    };
    eventually("steps are taken", || async { Ok((steps("1").len() > 5).then_some(())) }).await?;
    // Too soon for any grace: stopping and storing take what is left.
    let time = seconds_from_now(40);
    imds.say(INSTANCE_ACTION, json!({"action": "terminate", "time": time}).to_string());
    assert!(first.ended().await?.success());
    assert_eq!(first.log().count(|line| line["what"] == "spot-terminate"), 1);
    let back = bench.stack.until(&task, |task| task.status != Status::Running).await?;
    assert_eq!((back.interruptions, back.failures, back.worker_node_id), (Some(1), None, None));
    let last = *steps("1").last().context("steps")?;

    // The same machine, started anew, takes nothing; another one does.
    let mut again = bench.worker("again", &imds.url()).await?;
    assert!(again.ended().await?.success());
    let _second = bench.worker("second", "http://127.0.0.1:1").await?;
    let ended = bench.stack.completed(&task).await?;
    assert_eq!(ended.result, Some(json!({"done": 200, "resumed": true})));
    assert_eq!((ended.attempt.0, ended.interruptions, ended.failures), (2, Some(1), None));
    let begin = *steps("2").first().context("steps")?;
    assert!((last..=last + 2).contains(&begin), "stopped after step {last}, went on with step {begin}");
    bench.stack.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_at_risk_leaves_new_tasks_to_another_one_and_keeps_what_it_has() -> Result<()> {
    let bench = Bench::start().await?;
    let imds = Imds::start().await?;
    imds.say(REBALANCE, json!({"noticeTime": seconds_from_now(0)}).to_string());
    let at_risk = bench.worker("risk", &imds.url()).await?;
    let its_id = at_risk.started().await?;
    // Alone it takes what there is.
    let go = bench.folder.path().join("go");
    let wait = format!("sh -c 'until test -e {}; do sleep 0.05; done'", go.display());
    let kept = bench.stack.put(&json!({"id": id("kept"), "command": wait})).await?;
    bench.stack.until(&kept, |task| task.status == Status::Running).await?;
    eventually("its heartbeat says so", || async {
        let item = bench.stack.aws.workers.get(&its_id).await?;
        let notice = item.and_then(|item| item.heartbeat).and_then(|beat| beat.notice);
        Ok(notice.filter(|notice| notice.what == "rebalance" && notice.at.is_some()))
    })
    .await?;

    // A service that makes no sense is no reason for anything.
    let garbage = Imds::start().await?;
    garbage.say(INSTANCE_ACTION, "<html>".to_owned());
    garbage.say(REBALANCE, "{}".to_owned());
    let other = bench.worker("other", &garbage.url()).await?;
    let other_id = other.started().await?;
    at_risk
        .log()
        .until(|line| line["message"] == "new tasks are left to the other workers of the pool")
        .await?;
    std::fs::write(&go, "")?;
    let done = bench.stack.completed(&kept).await?;
    assert_eq!((done.attempt.0, done.worker_node_id, done.interruptions), (1, Some(its_id), None));
    // It has a free slot for them.
    for _ in 0..5 {
        let task = bench.stack.put(&json!({"id": id("new"), "command": "true"})).await?;
        let done = bench.stack.completed(&task).await?;
        assert_eq!((done.attempt.0, done.worker_node_id.as_ref()), (1, Some(&other_id)));
    }
    bench.stack.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_its_group_lets_go_hands_its_task_back_and_ends_with_success() -> Result<()> {
    let bench = Bench::start().await?;
    let imds = Imds::start().await?;
    let quickly = [("STAGELINE_WORKER_DRAIN_GRACE_SECONDS", "0")];
    let mut worker = bench.worker_with("group", &imds.url(), &quickly).await?;
    let task = bench.stack.put(&json!({"id": id("group"), "command": "sleep 600"})).await?;
    bench.stack.until(&task, |task| task.status == Status::Running).await?;
    imds.say(TARGET_STATE, "Terminated".to_owned());
    // Its unit is started again on failures alone, and the hook's wait is ended after a success.
    assert!(worker.ended().await?.success());
    let back = bench.stack.until(&task, |task| task.status != Status::Running).await?;
    assert_eq!((back.interruptions, back.failures, back.worker_node_id), (Some(1), None, None));
    bench.stack.shutdown().await;
    Ok(())
}

/// An agent of ECS: what it was told of protection, in order.
async fn agent() -> Result<(Loopback, watch::Receiver<Vec<bool>>)> {
    let (told, seen) = watch::channel(Vec::new());
    let address = Loopback::start(move |_, _, body| {
        let on = String::from_utf8_lossy(&body).contains(r#""ProtectionEnabled":true"#);
        told.send_modify(|told| told.push(on));
        let said = json!({"protection": {"ProtectionEnabled": on, "TaskArn": "a"}}).to_string();
        async { Ok(Response::new(said.into())) }
    });
    Ok((address.await?, seen))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_on_ecs_is_protected_while_it_has_a_task_and_not_when_it_is_idle() -> Result<()> {
    let bench = Bench::start().await?;
    let (agent, mut told) = agent().await?;
    let address = format!("{}/api/1", agent.endpoint());
    let settings = [("ECS_AGENT_URI", address.as_str()), ("AWS_EC2_METADATA_DISABLED", "true")];
    let _worker = bench.worker_with("ecs", "http://127.0.0.1:1", &settings).await?;
    let go = bench.folder.path().join("go");
    let wait = format!("sh -c 'until test -e {}; do sleep 0.05; done'", go.display());
    assert!(told.borrow().is_empty(), "an idle worker asks for nothing");
    let task = bench.stack.put(&json!({"id": id("ecs"), "command": wait})).await?;
    timeout(LONG, told.wait_for(|told| told == &[true])).await??;
    assert!(!bench.stack.until(&task, |_| true).await?.status.is_terminal());
    std::fs::write(&go, "")?;
    bench.stack.completed(&task).await?;
    timeout(LONG, told.wait_for(|told| told == &[true, false])).await??;
    bench.stack.shutdown().await;
    Ok(())
}
