//! The sandbox with a real bubblewrap, and a real end by the kernel for want of memory. Its own harness: what
//! cannot be tried on this machine is counted as ignored, with the reason.
#![allow(clippy::unwrap_used, reason = "a test's helpers fail as the test does")]
#![allow(clippy::print_stderr, reason = "why tests are left out")]

mod support;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use libtest_mimic::{Arguments, Trial};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use stageline::aws::Request;
use stageline::task::{ErrorKind, Status};
use support::{Bench, reason, runs, until_gone};

const SANDBOX: (&str, &str) = ("SANDBOX", "bubblewrap");

/// Engines with a record of the examples; each has two processors.
const ENGINES: [(&str, &str, &str); 5] = [
    ("python", "/usr/bin/python3", r#"{"script": "python/heat.py", "inputs": ["stageline.py"]}"#),
    ("lammps", "/usr/bin/lmp", r#"{"script": "lammps/melt/in.melt", "params": {"nsteps": 200, "cells": 4}}"#),
    ("openfoam", "/usr/bin/icoFoam", r#"{"script": "openfoam/cavity"}"#),
    ("quantum-espresso", "/usr/bin/pw.x", r#"{"script": "quantum-espresso/silicon/si.scf.in"}"#),
    (
        "fenicsx",
        "/usr/lib/petsc/lib/python3/dist-packages/dolfinx",
        r#"{"script": "fenicsx/poisson.py", "inputs": ["stageline.py"], "params": {"levels": 2}}"#,
    ),
];

fn main() -> ExitCode {
    let works = Command::new("bwrap").args(["--unshare-all", "--ro-bind", "/", "/", "true"]).status();
    let no_bwrap = match works {
        Ok(status) if status.success() => None,
        Ok(status) => Some(format!("bwrap does not work here: {status}")),
        Err(error) => Some(format!("no bwrap (Debian: apt-get install bubblewrap): {error}")),
    };
    let group = MemoryGroup::make().map_err(|error| format!("no memory group can be made: {error}"));
    let no_group = group.as_ref().err().cloned();
    drop(group);
    let no_mpi =
        no_bwrap.clone().or_else(|| (!Path::new("/usr/bin/mpirun").exists()).then(|| "no mpirun".to_owned()));
    let root = nix::unistd::geteuid().is_root().then(|| "the limit does not bind root".to_owned());
    let mut trials = vec![
        trial("a_sandbox_has_no_network_unless_both_sides_agree", &no_bwrap, network()),
        trial("a_worker_whose_sandbox_cannot_be_made_does_not_start", &no_bwrap, refusal()),
        trial("the_machine_is_read_only_and_what_is_hidden_is_empty", &no_bwrap, files()),
        trial("neither_other_jobs_nor_the_workers_process_can_be_seen", &no_bwrap, others()),
        trial("nobody_in_it_gets_back_what_was_taken", &no_bwrap, powers()),
        trial("a_program_in_it_has_its_grace_and_can_be_paused", &no_bwrap, signals()),
        trial("what_ignores_or_outlives_its_end_is_ended", &no_bwrap, survivors()),
        trial("it_ends_with_its_sandbox_and_with_its_worker", &no_bwrap, death()),
        trial("mpi_runs_in_it", &no_mpi, mpi()),
        trial("a_task_that_starts_ever_more_processes_ends_at_its_limit", &root, processes()),
        trial("a_process_that_the_kernel_ends_for_memory_is_told_apart", &no_group, kernel()),
    ];
    for (name, program, record) in ENGINES {
        let missing = || (!Path::new(program).exists()).then(|| format!("no {program}"));
        let missing = no_bwrap.clone().or_else(missing);
        trials.push(trial(&format!("an_engine_completes_in_it::{name}"), &missing, engine(name, record)));
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn trial(name: &str, missing: &Option<String>, test: impl Future<Output = ()> + Send + 'static) -> Trial {
    if let Some(why) = missing {
        // Its harness counts it as ignored: without the marks by which `scripts/test` would count it again.
        eprintln!("SKIPPED: {name}: {why}");
    }
    let run = move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(test);
        Ok(())
    };
    Trial::test(name, run).with_ignored_flag(missing.is_some())
}

/// In a place where no namespaces can be made, as in many containers.
async fn refusal() {
    let bench = Bench::start(&[]).await;
    let output = Command::new("bwrap")
        .args(["--unshare-user", "--cap-drop", "ALL", "--disable-userns", "--dev-bind", "/", "/"])
        .arg(env!("CARGO_BIN_EXE_stageline-worker"))
        .current_dir(bench.folder.path())
        .envs(bench.system.deployment().to_env())
        .env("AWS_ENDPOINT_URL", bench.system.local().endpoint())
        .env("STAGELINE_WORKER_WORK_DIR", bench.folder.path().join("other"))
        .env("STAGELINE_WORKER_INPUTS_DIR", concat!(env!("CARGO_MANIFEST_DIR"), "/tests"))
        .env("STAGELINE_WORKER_SANDBOX", "bubblewrap")
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{log}");
    assert!(log.contains("`sandbox`") && log.contains("does not work here"), "{log}");
    bench.system.shutdown().await;
}

async fn network() {
    let bench = Bench::start(&[SANDBOX]).await;
    let port = bench.system.local().endpoint().rsplit(':').next().unwrap().to_owned();
    let reach = format!("exec bash -c 'exec 3<>/dev/tcp/127.0.0.1/{}' 2>&1", port.trim_end_matches('/'));
    let devices = "grep -c : /proc/net/dev";
    assert_eq!(bench.printed(devices, json!({})).await, "1\n", "the loopback device alone");
    assert_eq!(bench.run(&reach, json!({})).await.status, Status::Failed);
    let (code, message) = reason(&bench.run(&reach, json!({"network": true})).await);
    assert!(code == "RESOURCES_UNAVAILABLE" && message.contains("sandbox_network"), "{code} {message}");
    bench.system.shutdown().await;

    let bench = Bench::start(&[SANDBOX, ("SANDBOX_NETWORK", "true")]).await;
    let port = bench.system.local().endpoint().rsplit(':').next().unwrap().to_owned();
    let reach = format!("exec bash -c 'exec 3<>/dev/tcp/127.0.0.1/{}' 2>&1", port.trim_end_matches('/'));
    assert_eq!(bench.run(&reach, json!({})).await.status, Status::Failed);
    assert_eq!(bench.run(&reach, json!({"network": true})).await.status, Status::Completed);
    bench.system.shutdown().await;
}

async fn files() {
    let bench =
        Bench::start(&[SANDBOX, ("SANDBOX_HIDDEN", r#"["/etc/passwd", "/etc/ssl", "/absent"]"#)]).await;
    let outside = bench.folder.path().join("outside");
    std::fs::write(&outside, "private").unwrap();
    let text = format!(
        "for f in /usr/x /etc/x /var/x /x; do if touch $f 2>/dev/null; then echo wrote $f; fi; done\n\
         touch /tmp/own-{1} && ls /tmp | grep own- | wc -l\n\
         cat {0} /etc/passwd 2>/dev/null; ls -A /etc/ssl | wc -l; ls -A /run | wc -l\n\
         ln -s /etc/hostname link; echo over > link 2>/dev/null && echo wrote through the link\n\
         echo kept > result; test -s /etc/hosts && echo reads",
        outside.display(),
        std::process::id(),
    );
    let id = bench.script(&text, json!({})).await;
    let task = bench.ended(&id).await;
    assert_eq!(task.stdout.as_deref(), Some("1\n0\n0\nreads\n"), "{:?}", task.stderr);
    assert!(!Path::new(&format!("/tmp/own-{}", std::process::id())).exists());
    assert_eq!(std::fs::read_to_string(bench.job(&id).join("result")).unwrap(), "kept\n");
    assert_eq!(std::fs::read_to_string(&outside).unwrap(), "private");
    bench.system.shutdown().await;
}

async fn others() {
    let bench = Bench::start(&[SANDBOX]).await;
    let neighbour = bench.script("echo secret > result; sleep 600.125", json!({})).await;
    let result = bench.job(&neighbour).join("result");
    bench.until_there(&result).await;
    let text = format!(
        "cat {} 2>&1 | grep -c secret; ls $STAGELINE_JOB_DIR/../.. | wc -l\n\
         cat /proc/[0-9]*/environ | tr '\\0' '\\n' | grep -c -e top-secret -e AWS_\n\
         cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -c -e 'stageline[-]worker' -e '600[.]125'\n\
         test $(ls -d /proc/[0-9]* | wc -l) -lt 9 && echo few",
        result.display(),
    );
    assert_eq!(bench.printed(&text, json!({})).await, "0\n1\n0\n0\nfew\n");
    bench.ask(&neighbour, Request::Cancel).await;
    assert_eq!(bench.ended(&neighbour).await.status, Status::Cancelled);
    assert_eq!(std::fs::read_to_string(result).unwrap(), "secret\n");
    bench.system.shutdown().await;
}

async fn powers() {
    let bench = Bench::start(&[SANDBOX]).await;
    let text = "
        (mount -o remount,rw / && echo remounted) 2>/dev/null
        (umount /tmp && echo unmounted) 2>/dev/null
        (unshare -Urm sh -c 'mount -o remount,rw / || umount /tmp' && echo nested) 2>/dev/null
        (mknod disk b 254 0 && echo made) 2>/dev/null
        (ulimit -Hn 9999 && echo raised) 2>/dev/null
        (chroot / true && echo rooted) 2>/dev/null
        grep -E 'CapEff|CapBnd|NoNewPrivs' /proc/self/status | tr -d '\\t'; ulimit -n; ulimit -Hn";
    let seen = bench.printed(text, json!({"openFiles": 100})).await;
    assert_eq!(seen, "CapEff:0000000000000000\nCapBnd:0000000000000000\nNoNewPrivs:1\n100\n100\n");
    bench.system.shutdown().await;
}

async fn signals() {
    let bench = Bench::start(&[SANDBOX, ("TERM_GRACE_SECONDS", "20")]).await;
    let text =
        "trap 'echo saved > saved; exit 0' TERM; echo > up; while :; do echo >> count; sleep 0.05; done";
    let id = bench.script(text, json!({})).await;
    let job = bench.job(&id);
    bench.until_there(&job.join("up")).await;
    bench.ask(&id, Request::Pause).await;
    bench.until(&id, |task| task.status == Status::Paused).await;
    let size = || job.join("count").metadata().unwrap().len();
    let paused_at = size();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(size(), paused_at);
    bench.ask(&id, Request::Resume).await;
    bench.until(&id, |task| task.status == Status::Running).await;
    while size() == paused_at {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    bench.ask(&id, Request::Cancel).await;
    assert_eq!(bench.ended(&id).await.status, Status::Cancelled);
    assert_eq!(std::fs::read_to_string(job.join("saved")).unwrap(), "saved\n");
    let exit = bench.run("exit 7", json!({})).await;
    assert_eq!(exit.error_details.unwrap().exit_code, Some(7));
    bench.system.shutdown().await;
}

async fn survivors() {
    let bench = Bench::start(&[SANDBOX]).await;
    let forks = bench.printed("(setsid sleep 600.25 &) ; exec >&- 2>&-", json!({})).await;
    assert_eq!(forks, "");
    until_gone("600.25").await;
    let id = bench
        .script("trap '' TERM; echo > up; exec >&- 2>&-; while :; do sleep 600.375; done", json!({}))
        .await;
    bench.until_there(&bench.job(&id).join("up")).await;
    bench.ask(&id, Request::Cancel).await;
    assert_eq!(bench.ended(&id).await.status, Status::Cancelled);
    assert!(!runs("600.375"));
    bench.system.shutdown().await;
}

/// The processes of a task's sandbox, the outermost first.
fn sandboxes(job: &Path) -> Vec<Pid> {
    let job = format!("{}\0", job.display());
    let pid = |entry: std::fs::DirEntry| {
        let line = String::from_utf8(std::fs::read(entry.path().join("cmdline")).ok()?).ok()?;
        let pid = entry.file_name().to_str()?.parse().ok()?;
        (line.starts_with("/usr/bin/bwrap") && line.contains(&job)).then_some(Pid::from_raw(pid))
    };
    let mut pids: Vec<_> = std::fs::read_dir("/proc").unwrap().flatten().filter_map(pid).collect();
    pids.sort();
    pids
}

/// The script says that it is there before its last process is.
async fn until_runs(text: &str) {
    let wait = async {
        while !runs(text) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(90), wait).await.unwrap();
}

async fn death() {
    let mut bench = Bench::start(&[SANDBOX]).await;
    let id = bench.script("echo > up; sleep 600.5", json!({})).await;
    bench.until_there(&bench.job(&id).join("up")).await;
    kill(sandboxes(&bench.job(&id))[0], Signal::SIGKILL).unwrap();
    let task = bench.ended(&id).await;
    assert_eq!(reason(&task).0, "EXIT_SIGNAL");
    until_gone("600.5").await;

    let id = bench.script("trap '' TERM HUP; echo > up; setsid sleep 600.625", json!({})).await;
    bench.until_there(&bench.job(&id).join("up")).await;
    until_runs("600.625").await;
    bench.worker.kill().await.unwrap();
    until_gone("600.625").await;
    bench.system.shutdown().await;
}

async fn engine(name: &str, record: &str) {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let settings = [
        SANDBOX,
        ("INPUTS_DIR", examples.to_str().unwrap()),
        ("PATH", "/usr/bin:/bin"),
        ("TERM_GRACE_SECONDS", "5"),
    ];
    let bench = Bench::start(&settings).await;
    let mut record: serde_json::Value = serde_json::from_str(record).unwrap();
    let resources = json!({"cpus": 2, "memoryMb": 4096, "fileSizeMb": 500, "openFiles": 1024});
    record["engine"] = name.into();
    record["resources"] = resources;
    let id = bench.submit(record).await;
    let task = bench.ended(&id).await;
    assert_eq!(task.status, Status::Completed, "{:?} {:?}", task.status_reason, task.stderr);
    bench.system.shutdown().await;
}

async fn mpi() {
    let bench = Bench::start(&[SANDBOX]).await;
    let text = "export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
        /usr/bin/mpirun -np 2 --oversubscribe sh -c 'echo rank $OMPI_COMM_WORLD_RANK' | sort";
    assert_eq!(bench.printed(text, json!({"cpus": 2, "openFiles": 1024})).await, "rank 0\nrank 1\n");
    bench.system.shutdown().await;
}

async fn processes() {
    let bench = Bench::start(&[]).await;
    let me = nix::unistd::geteuid().as_raw();
    let threads = |entry: std::fs::DirEntry| {
        let is_mine = std::os::unix::fs::MetadataExt::uid(&entry.metadata().ok()?) == me;
        is_mine.then(|| std::fs::read_dir(entry.path().join("task")).map_or(0, Iterator::count))
    };
    let count: usize = std::fs::read_dir("/proc").unwrap().flatten().filter_map(threads).sum();
    // Not without an end of its own, should the limit fail.
    let text = "n=0; while test $n -lt 400; do sleep 600.75 & n=$((n + 1)); done; echo all";
    let task = bench.run(text, json!({"processes": count + 60})).await;
    assert_eq!((task.status, task.stdout.unwrap_or_default().as_str()), (Status::Failed, ""));
    assert!(task.stderr.unwrap().contains("fork"));
    until_gone("600.75").await;
    bench.system.shutdown().await;
}

/// A group of this test's own whose processes may use 40 MiB (version 1; removed when dropped).
struct MemoryGroup(PathBuf);

impl MemoryGroup {
    fn make() -> std::io::Result<Self> {
        let group = PathBuf::from(format!("/sys/fs/cgroup/memory/stageline-test-{}", std::process::id()));
        std::fs::create_dir(&group)?;
        let group = Self(group);
        std::fs::write(group.0.join("memory.limit_in_bytes"), (40u64 << 20).to_string())?;
        Ok(group)
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        let _kept = std::fs::remove_dir(&self.0);
    }
}

async fn kernel() {
    let group = MemoryGroup::make().unwrap();
    let bench = Bench::start(&[]).await;
    let text = format!(
        "echo $$ > {}/cgroup.procs; exec python3 -c 'bytearray(b\"x\") * (300 << 20)'",
        group.0.display()
    );
    let task = bench.run(&text, json!({})).await;
    let (code, message) = reason(&task);
    assert_eq!(
        (code.as_str(), task.error_details.clone().unwrap().kind),
        ("OUT_OF_MEMORY", ErrorKind::OutOfMemory)
    );
    assert!(message.contains("the kernel ended a process"), "{message}");
    assert_eq!(task.error_details.unwrap().signal, Some(9));
    bench.system.shutdown().await;
}
