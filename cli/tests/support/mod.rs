//! What the tests of the real binary share: a folder of their own, commands with a deadline, a running
//! `stageline dev`, and the certainty that no process is left.
#![allow(dead_code, reason = "each test binary uses a part of this")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failure here is a failure of the test")]

mod processes;
mod verdict;

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

#[allow(unused_imports, reason = "each test binary uses its part")]
pub use processes::Mark;
use processes::processes;
#[allow(unused_imports, reason = "each test binary uses its part")]
pub use verdict::failed_with;

/// Longer than anything here takes on a slow machine: a test that reaches it has failed.
const DEADLINE: Duration = Duration::from_secs(60);
const PERIOD: Duration = Duration::from_millis(25);

/// Names the LAMMPS that `dev` takes.
const LAMMPS: &str = "STAGELINE_LMP";

/// Waits for a condition.
pub fn eventually<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < end, "not within {DEADLINE:?}: {what}");
        std::thread::sleep(PERIOD);
    }
}

/// A folder of one test: the working directory of its commands, the inputs of its tasks, and below it the
/// state of its `dev`.
pub struct Place(tempfile::TempDir);

/// How a command ended.
#[derive(Debug)]
pub struct Run {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Place {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// The state of `dev`.
    pub fn state(&self) -> PathBuf {
        self.path().join(".stageline")
    }

    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// The binary, with nothing of the caller's environment but the path and the LAMMPS program.
    pub fn stageline(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stageline"));
        command.env_clear().env("HOME", self.path()).current_dir(self.path()).stdin(Stdio::null());
        let kept = ["PATH", LAMMPS];
        command.envs(kept.into_iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
        command
    }

    /// Runs a command of `stageline` to its end.
    pub fn run<I: IntoIterator<Item: AsRef<OsStr>>>(&self, args: I) -> Run {
        finish(self.stageline().args(args))
    }

    /// The same, and the one JSON document that it writes.
    pub fn json<I: IntoIterator<Item: AsRef<OsStr>>>(&self, args: I) -> Value {
        let run = finish(self.stageline().args(["--output", "json"]).args(args));
        assert_eq!(run.code, Some(0), "{run:?}");
        run.document()
    }

    /// Submits a task that is valid; gives its id.
    pub fn submit<I: IntoIterator<Item: AsRef<OsStr>>>(&self, args: I) -> String {
        let args = args.into_iter().map(|arg| arg.as_ref().to_os_string());
        let answer = self.json(std::iter::once("submit".into()).chain(args));
        answer["id"].as_str().unwrap().to_owned()
    }

    /// The task, however it ended. The exit code of `watch` is checked against it.
    pub fn ended(&self, id: &str) -> Value {
        let run = self.run(["--output", "json", "watch", id]);
        let task = run.document()["task"].clone();
        let expected = if task["status"] == "COMPLETED" { 0 } else { 3 };
        assert_eq!(run.code, Some(expected), "{run:?}");
        task
    }

    /// The task as it is.
    pub fn task(&self, id: &str) -> Value {
        self.json(["status", id])["task"].clone()
    }

    /// Waits until the task is in this state.
    pub fn reaches(&self, id: &str, status: &str) -> Value {
        eventually(&format!("{id} is {status}"), || {
            let task = self.task(id);
            (task["status"] == status).then_some(task)
        })
    }

    /// Starts `dev` in this folder and waits until it is ready.
    pub fn dev(&self, args: &[&str]) -> Dev {
        self.dev_with(args, &[])
    }

    /// The same, with variables in its environment.
    pub fn dev_with(&self, args: &[&str], env: &[(&str, &str)]) -> Dev {
        let mut command = self.stageline();
        command.args(["--output", "json", "dev", "--port", "0"]).args(args).envs(env.iter().copied());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let logging = followed(child.stderr.take(), Arc::clone(&log));
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let jobs = self.path().canonicalize().unwrap().join(".stageline/jobs");
        let mut dev = Dev { child, log, logging: Some(logging), jobs, ready: Value::Null };
        match serde_json::from_str(&line) {
            Ok(ready) => dev.ready = ready,
            Err(error) => panic!("dev is not ready: {line:?}: {error}: {}", dev.killed()),
        }
        assert_eq!(dev.ready["ready"], true);
        dev
    }
}

impl Run {
    /// The one JSON document on standard output, which holds nothing else.
    pub fn document(&self) -> Value {
        assert_eq!(self.stdout.lines().count(), 1, "{self:?}");
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// That the command was refused: this exit code, this code and each of these words on standard error,
    /// and no data.
    #[track_caller]
    pub fn refused(&self, exit: i32, code: &str, words: &[&str]) {
        assert_eq!(self.code, Some(exit), "{self:?}");
        let error = format!("error: {code}: ");
        assert!(self.stderr.lines().any(|line| line.starts_with(&error)), "{self:?}");
        for word in words {
            assert!(self.stderr.contains(word), "{word:?} is not in {self:?}");
        }
        assert_eq!(self.stdout, "", "{self:?}");
        assert!(!self.stderr.contains("panicked"), "{self:?}");
    }
}

/// Runs a command to its end, with a deadline.
pub fn finish(command: &mut Command) -> Run {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (stdout, stderr) = (drained(child.stdout.take()), drained(child.stderr.take()));
    let status = within(&mut child, DEADLINE, |_| {});
    let overdue = status.is_none();
    if overdue {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let code = status.and_then(|status| status.code());
    let run = Run { code, stdout: stdout.join().unwrap(), stderr: stderr.join().unwrap() };
    assert!(!overdue, "not done within {DEADLINE:?}: {command:?}: {run:?}");
    run
}

/// Runs a command with text on its standard input.
pub fn finish_with_input(command: &mut Command, input: &str) -> Run {
    // A file instead of a pipe: no thread has to write while the command reads.
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(input.as_bytes()).unwrap();
    std::io::Seek::rewind(&mut file).unwrap();
    finish(command.stdin(file))
}

fn drained(pipe: Option<impl Read + Send + 'static>) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.unwrap().read_to_end(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

fn followed(pipe: Option<impl Read + Send + 'static>, log: Arc<Mutex<String>>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        for line in BufReader::new(pipe.unwrap()).split(b'\n').map_while(Result::ok) {
            let mut log = log.lock().unwrap();
            log.push_str(&String::from_utf8_lossy(&line));
            log.push('\n');
        }
    })
}

/// Waits for the end of a process; `meanwhile` is told the time that has gone by.
fn within(child: &mut Child, limit: Duration, mut meanwhile: impl FnMut(Duration)) -> Option<ExitStatus> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        if start.elapsed() > limit {
            return None;
        }
        meanwhile(start.elapsed());
        std::thread::sleep(PERIOD);
    }
}

/// A running `stageline dev`. Dropped, it and everything that its tasks started is stopped.
pub struct Dev {
    child: Child,
    log: Arc<Mutex<String>>,
    logging: Option<JoinHandle<()>>,
    jobs: PathBuf,
    ready: Value,
}

impl Dev {
    pub fn endpoint(&self) -> &str {
        self.ready["endpoint"].as_str().unwrap()
    }

    /// The name of the table of tasks.
    pub fn tasks_table(&self) -> &str {
        self.ready["environment"]["STAGELINE_TASKS_TABLE"].as_str().unwrap()
    }

    /// The name of the table of stages.
    pub fn stages_table(&self) -> &str {
        self.ready["environment"]["STAGELINE_STAGES_TABLE"].as_str().unwrap()
    }

    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().try_into().unwrap())
    }

    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// SIGKILL, as a crash; the processes of its tasks are not touched. Gives what it logged.
    pub fn killed(&mut self) -> String {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.logged()
    }

    /// Waits until it has ended by itself; gives its exit code and what it logged.
    pub fn ended(&mut self) -> (Option<i32>, String) {
        let status = within(&mut self.child, DEADLINE, |_| {}).expect("dev did not end");
        (status.code(), self.logged())
    }

    /// Asks it to stop, and waits; gives its exit code.
    pub fn ended_after_sigterm(&mut self) -> Option<i32> {
        self.signal(Signal::SIGTERM);
        self.ended().0
    }

    /// Waits until it has logged these words.
    pub fn says(&self, words: &str) {
        eventually(words, || self.log.lock().unwrap().contains(words).then_some(()));
    }

    /// The processes that are its children, also those that have ended and that nobody has waited for.
    pub fn children(&self) -> Vec<Pid> {
        let pid = self.pid();
        processes()
            .iter()
            .filter(|process| process.parent() == Some(pid))
            .map(|process| process.pid)
            .collect()
    }

    /// The folder of an attempt.
    pub fn job(&self, id: &str, attempt: u32) -> PathBuf {
        self.jobs.join(id).join(attempt.to_string())
    }

    fn logged(&mut self) -> String {
        if let Some(logging) = self.logging.take() {
            logging.join().unwrap();
        }
        self.log.lock().unwrap().clone()
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        let pid = self.pid();
        if matches!(self.child.try_wait(), Ok(None)) {
            // The first lets running tasks finish, the second stops them; equal signals may merge.
            let mut sent = Duration::ZERO;
            let ended = within(&mut self.child, Duration::from_secs(20), |elapsed| {
                if sent.is_zero() || elapsed - sent > Duration::from_millis(500) {
                    sent = elapsed.max(PERIOD);
                    let _gone_already = kill(pid, Signal::SIGTERM);
                }
            });
            if ended.is_none() {
                let _gone_already = self.child.kill();
                let _waited_for = self.child.wait();
            }
        }
        let jobs = format!("STAGELINE_JOB_DIR={}/", self.jobs.display());
        for process in processes() {
            if process.environment().any(|variable| variable.starts_with(jobs.as_bytes())) {
                let _gone_already = kill(process.pid, Signal::SIGKILL);
            }
        }
    }
}

/// Whether a program is there; `lmp` is the one that `dev` takes. Without it a test is skipped, loudly; where
/// `CI` is set, it fails.
pub fn has(program: &str, test: &str) -> bool {
    let lammps = std::env::var(LAMMPS).ok().filter(|_| program == "lmp");
    let program = lammps.as_deref().unwrap_or(program);
    let path = std::env::var_os("PATH").unwrap_or_default();
    // An absolute path is itself in every folder.
    let found = std::env::split_paths(&path).any(|dir| dir.join(program).is_file());
    if !found {
        assert!(std::env::var_os("CI").is_none(), "{test} needs {program}, which is not installed");
        // Not with a macro, whose output the test harness keeps to itself; in one piece, as others write too.
        let line = format!("\n!! SKIPPED: {test}: {program} is not installed\n");
        std::io::stderr().write_all(line.as_bytes()).unwrap();
    }
    found
}
