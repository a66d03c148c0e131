//! An attempt goes on where an interrupted one has saved: on another worker, in another folder.

#[path = "checkpoints/segments.rs"]
mod segments;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use stageline_tests::process::WorkerProcess;
use stageline_tests::system::{Stack, eventually, id};
use stageline_worker::Config;

/// Counts, saves by renaming, and writes each step it takes into a log outside of its folder.
const COUNTING: &str = r#"
import json, os, sys, time
told = json.load(open("params.json"))
resumed = os.environ.get("STAGELINE_RESUME") == "1"
done = json.load(open("state.json"))["done"] if resumed else 0
log = open(told["log"], "a", buffering=1)
while done < told["steps"]:
    time.sleep(told["pause"])
    done += 1
    with open("state.new", "w") as new:
        json.dump({"done": done}, new)
    os.rename("state.new", "state.json")
    print("::stageline", json.dumps({"stage": "Count", "done": done, "total": told["steps"], "checkpoint": "state.json"}))
    log.write("%s %d %d\n" % (os.environ["STAGELINE_ATTEMPT"], done, os.getpid()))
print("::stageline", json.dumps({"result": {"done": done, "resumed": resumed}}))
"#;

/// The steps that an attempt has taken, in order, and its process.
fn taken(log: &Path, attempt: u32) -> Vec<(u32, i32)> {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines = text.lines().filter_map(|line| {
        let numbers: Vec<i64> = line.split(' ').filter_map(|word| word.parse().ok()).collect();
        match numbers.as_slice() {
            [of, step, pid] if *of == i64::from(attempt) => {
                Some((u32::try_from(*step).ok()?, i32::try_from(*pid).ok()?))
            }
            _ => None,
        }
    });
    lines.collect()
}

fn store(folder: &Path) -> String {
    if let Ok(bucket) = std::env::var("STAGELINE_TEST_BUCKET") {
        return format!("s3://{bucket}");
    }
    format!("file://{}", folder.join("store").display())
}

/// Whether anything is left below the store's folder of this task's checkpoints.
fn has_checkpoints(folder: &Path, id: &str) -> bool {
    fn files(folder: &Path) -> usize {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| if entry.path().is_dir() { files(&entry.path()) } else { 1 }).sum()
    }
    files(&folder.join("store").join(id).join("checkpoint")) > 0
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_that_dies_with_its_machine_goes_on_from_its_checkpoint_on_another() -> Result<()> {
    let stack = Stack::embedded_with_lease(6).await?;
    let folder = tempfile::tempdir()?;
    let (log, inputs) = (folder.path().join("log"), folder.path().join("in"));
    std::fs::create_dir(&inputs)?;
    std::fs::write(inputs.join("count.py"), COUNTING)?;
    let endpoint = stack.embedded.as_ref().context("embedded")?.local().endpoint().to_owned();
    let (inputs, url) = (inputs.display().to_string(), store(folder.path()));
    let settings = [
        ("STAGELINE_WORKER_INPUTS_DIR", inputs.as_str()),
        ("STAGELINE_WORKER_ARTIFACTS_URL", url.as_str()),
        ("STAGELINE_WORKER_CHECKPOINT_SECONDS", "2"),
    ];
    let start = |name: &str| {
        let at = folder.path().join(name);
        std::fs::create_dir(&at)?;
        let program = env!("CARGO_BIN_EXE_test-worker");
        WorkerProcess::start(program, &endpoint, &stack.deployment, &at, &settings)
    };
    let mut first = start("first")?;
    first.started().await?;
    let record = json!({
        "id": id("counts"), "status": "PENDING", "engine": "python", "script": "count.py",
        "params": {"steps": 400, "pause": 0.05, "log": log},
    });
    let task = stack.put(&record).await?;
    let saved = |line: &Value| line["message"] == "checkpoint stored" && line["number"] == 2;
    first.log().until(saved).await?;
    tokio::time::sleep(Duration::from_millis(700)).await;
    // The whole machine: the worker, and the script with it.
    first.kill().await?;
    let before = taken(&log, 1);
    let (last, pid) = *before.last().context("it has taken steps")?;
    kill(Pid::from_raw(pid), Signal::SIGKILL)?;
    assert!(has_checkpoints(folder.path(), task.as_str()));

    let second = start("second")?;
    let ended = stack.completed(&task).await?;
    second.log().until(|line| line["message"] == "goes on from a checkpoint").await?;
    assert_eq!(ended.result, Some(json!({"done": 400, "resumed": true})));
    assert_eq!((ended.attempt.0, ended.interruptions), (2, Some(1)));
    let (begin, _) = *taken(&log, 2).first().context("it has taken steps")?;
    let again = (last + 1).saturating_sub(begin);
    // Two seconds between looks and one for a look, at twenty steps a second at most.
    println!("killed after step {last}, went on with step {begin}: {again} steps again");
    assert!(begin > 1 && again <= 60, "killed after step {last}, went on with step {begin}");
    let gone = || async { Ok((!has_checkpoints(folder.path(), task.as_str())).then_some(())) };
    eventually("its checkpoints are removed", gone).await?;
    drop(second);
    stack.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_worker_saves_the_last_state_and_the_next_goes_on_from_it() -> Result<()> {
    let stack = Stack::embedded().await?;
    let folder = tempfile::tempdir()?;
    let log = folder.path().join("log");
    std::fs::create_dir(folder.path().join("in"))?;
    std::fs::write(folder.path().join("in/count.py"), COUNTING)?;
    let config = |name: &str| Config {
        inputs_dir: folder.path().join("in"),
        artifacts_url: Some(store(folder.path())),
        work_dir: folder.path().join(name),
        checkpoint_seconds: 3_600,
        ..stack.worker_config(1)
    };
    let first = stack.worker(config("first"))?;
    let record = json!({
        "id": id("drained"), "status": "PENDING", "engine": "python", "script": "count.py",
        "params": {"steps": 150, "pause": 0.05, "log": log},
    });
    let task = stack.put(&record).await?;
    eventually("steps are taken", || async { Ok((taken(&log, 1).len() > 20).then_some(())) }).await?;
    first.stop.cancel();
    first.drained().await?;
    let (last, _) = *taken(&log, 1).last().context("steps")?;
    let second = stack.worker(config("second"))?;
    let ended = stack.completed(&task).await?;
    assert_eq!(ended.result, Some(json!({"done": 150, "resumed": true})));
    let (begin, _) = *taken(&log, 2).first().context("steps")?;
    assert!((last..=last + 2).contains(&begin), "stopped after step {last}, went on with step {begin}");
    second.drained().await?;
    stack.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spoiled_checkpoint_is_passed_over_and_the_task_starts_over() -> Result<()> {
    let stack = Stack::embedded().await?;
    let folder = tempfile::tempdir()?;
    let log = folder.path().join("log");
    std::fs::create_dir(folder.path().join("in"))?;
    std::fs::write(folder.path().join("in/count.py"), COUNTING)?;
    let config = |name: &str| Config {
        inputs_dir: folder.path().join("in"),
        artifacts_url: Some(format!("file://{}", folder.path().join("store").display())),
        work_dir: folder.path().join(name),
        checkpoint_seconds: 3_600,
        ..stack.worker_config(1)
    };
    let first = stack.worker(config("first"))?;
    let record = json!({
        "id": id("spoiled"), "status": "PENDING", "engine": "python", "script": "count.py",
        "params": {"steps": 60, "pause": 0.05, "log": log},
    });
    let task = stack.put(&record).await?;
    eventually("steps are taken", || async { Ok((taken(&log, 1).len() > 10).then_some(())) }).await?;
    first.stop.cancel();
    first.drained().await?;
    let saved = folder.path().join("store").join(task.as_str()).join("checkpoint/1/1/files/state.json");
    // As long as it was.
    let spoiled = std::fs::read_to_string(&saved)?.replace("done", "gone");
    std::fs::write(&saved, spoiled)?;
    let second = stack.worker(config("second"))?;
    let ended = stack.completed(&task).await?;
    assert_eq!(ended.result, Some(json!({"done": 60, "resumed": false})));
    second.drained().await?;
    stack.shutdown().await;
    Ok(())
}

/// Goes on by its own words.
const MELTING: &str = r#"
units lj
atom_style atomic
variable steps index 20000
if "$(is_defined(variable,restart))" then "read_restart ${restart}" else "include new.lammps"
mass 1 1.0
pair_style lj/cut 2.5
pair_coeff 1 1 1.0 1.0 2.5
fix 1 all nve
thermo 100
restart 200 a.rst b.rst
run ${steps} upto
"#;
const NEW: &str = r#"
lattice fcc 0.8442
region box block 0 6 0 6 0 6
create_box 1 box
create_atoms 1 box
mass 1 1.0
velocity all create 1.44 87287
"#;

#[tokio::test(flavor = "multi_thread")]
async fn lammps_goes_on_from_the_newest_restart_file_that_is_whole() -> Result<()> {
    let stack = Stack::embedded().await?;
    let folder = tempfile::tempdir()?;
    let inputs = folder.path().join("in");
    std::fs::create_dir(&inputs)?;
    std::fs::write(inputs.join("in.melt"), MELTING)?;
    std::fs::write(inputs.join("new.lammps"), NEW)?;
    let config = |name: &str| Config {
        inputs_dir: inputs.clone(),
        artifacts_url: Some(store(folder.path())),
        work_dir: folder.path().join(name),
        checkpoint_seconds: 1,
        ..stack.worker_config(1)
    };
    let first = stack.worker(config("first"))?;
    let steps = 15_000;
    let record = json!({
        "id": id("melts"), "status": "PENDING", "engine": "lammps", "script": "in.melt", "inputs": ["new.lammps"],
        "params": {"steps": steps, "totalSteps": steps},
    });
    let task = stack.put(&record).await?;
    let past = |text: &str, step: u64| {
        text.lines()
            .filter_map(|line| line.split_whitespace().next()?.parse::<u64>().ok())
            .any(|at| at >= step)
    };
    let log = folder.path().join("first").join(task.as_str()).join("1/stdout.log");
    let runs =
        || async { Ok(std::fs::read_to_string(&log).is_ok_and(|text| past(&text, 1_000)).then_some(())) };
    eventually("it runs", runs).await?;
    first.stop.cancel();
    first.drained().await?;
    assert!(!stack.aws.tasks.get(&task).await?.context("a task")?.status.is_terminal());
    let second = stack.worker(config("second"))?;
    let ended = stack.completed(&task).await?;
    let result = ended.result.context("a result")?;
    println!("{result}");
    assert_eq!(result["lastRow"]["Step"], json!(steps));
    assert!(result["steps"].as_u64().is_some_and(|taken| taken <= steps - 1_000), "{result}");
    second.drained().await?;
    stack.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn openfoam_goes_on_from_the_latest_time() -> Result<()> {
    if !Path::new("/usr/bin/icoFoam").exists() {
        println!("no OpenFOAM here: not tested");
        return Ok(());
    }
    let stack = Stack::embedded().await?;
    let folder = tempfile::tempdir()?;
    let config = |name: &str| Config {
        artifacts_url: Some(store(folder.path())),
        work_dir: folder.path().join(name),
        checkpoint_seconds: 1,
        term_grace_seconds: 5,
        ..stack.worker_config(1)
    };
    let inputs = config("").inputs_dir;
    let control = std::fs::read_to_string(inputs.join("openfoam/cavity/system/controlDict"))?
        .replace("writeInterval     200;", "writeInterval     100;")
        .replace("endTime           0.5;", "endTime           5;");
    let own = folder.path().join("in");
    let copied = std::process::Command::new("cp").arg("-r").arg(&inputs).arg(&own).status()?;
    assert!(copied.success());
    std::fs::write(own.join("openfoam/cavity/system/controlDict"), control)?;
    let config = |name: &str| Config { inputs_dir: own.clone(), ..config(name) };
    let first = stack.worker(config("first"))?;
    let record =
        json!({"id": id("flows"), "status": "PENDING", "engine": "openfoam", "script": "openfoam/cavity"});
    let task = stack.put(&record).await?;
    let times = folder.path().join("first").join(task.as_str()).join("1/0.2/uniform/time");
    eventually("times are written", || async { Ok(times.exists().then_some(())) }).await?;
    first.stop.cancel();
    first.drained().await?;
    let second = stack.worker(config("second"))?;
    let ended = stack.completed(&task).await?;
    println!("{:?}", ended.result);
    assert_eq!((ended.attempt.0, ended.interruptions), (2, Some(1)));
    let log = std::fs::read_to_string(folder.path().join("second").join(task.as_str()).join("2/stdout.log"))?;
    let begins = log
        .lines()
        .filter_map(|line| line.strip_prefix("Time = ")?.trim_end_matches('s').parse::<f64>().ok());
    let first_time = begins.into_iter().find(|time| *time > 0.0).context("a time")?;
    println!("went on at {first_time}");
    assert!(first_time >= 0.2, "{first_time}");
    second.drained().await?;
    stack.shutdown().await;
    Ok(())
}
