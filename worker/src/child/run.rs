//! Runs one process from its start to its last byte, and makes sure that nothing of it is left.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use stageline::Code;
use stageline::aws::Leavings;
use stageline::protocol::outcome::{Failure, Outcome};
use stageline::task::Task;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;
use tracing::warn;

use super::capture::Capture;
use super::environment::scrubbed;
use super::folder::JobFolder;
use super::follow::{End, Followed};
use super::time_limits::TimeLimits;
use super::tree::Tree;
use crate::attempt::Abandoned;
use crate::context::Context;
use crate::control::{Order, Orders};
use crate::engines::{ChildPlan, Exit, Reader, Stream};
use crate::progress::{Reporter, Sink};

/// How long the pipes may stay open once every process of the tree is gone. Something outside the tree
/// may hold them; the task does not wait for it.
const LAST_BYTES: Duration = Duration::from_secs(2);
const CHUNK_BYTES: usize = 64 * 1024;

/// Both streams and who understands them.
struct Output {
    reader: Option<Box<dyn Reader>>,
    stdout: Capture,
    stderr: Capture,
    sink: Sink,
}

/// Runs `plan` for `task`, as its orders say.
///
/// # Errors
/// When it was abandoned: nothing may be written about it.
pub(crate) async fn run(
    plan: ChildPlan,
    task: &Task,
    job_dir: &Path,
    context: &Context,
    reporter: &Reporter,
    orders: &mut Orders,
) -> Result<(Outcome, Leavings), Abandoned> {
    let files = plan.files;
    let created = tokio::task::spawn_blocking({
        let job_dir = job_dir.to_path_buf();
        move || JobFolder::create(&job_dir, &files)
    });
    let folder = match created.await.map_err(std::io::Error::other).flatten() {
        Ok(folder) => folder,
        Err(error) => {
            let message = format!("the job folder {} cannot be prepared: {error}", job_dir.display());
            return Ok((Outcome::Failed(Failure::of_the_worker(message)), Leavings::default()));
        }
    };
    // What was ordered while files were copied comes before there is a process.
    match orders.latest() {
        Order::Abandon(why) => return Err(Abandoned(why)),
        Order::Cancel => return Ok((Outcome::Cancelled, Leavings::default())),
        Order::Interrupt => return Ok((Outcome::Interrupted, Leavings::default())),
        Order::Go | Order::Pause => {}
    }
    let marker = uuid::Uuid::new_v4().simple().to_string();
    let env = scrubbed(task, &context.config, &context.id, folder.path(), &marker, &plan.env);
    let mut command = Command::new(&plan.program);
    command
        .args(&plan.args)
        .env_clear()
        .envs(env)
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    let (mut child, leader) = match context.custody.spawn(&mut command) {
        Ok(spawned) => spawned,
        Err(error) => {
            let message = format!("{} could not be started: {error}", plan.program.display());
            return Ok((Outcome::Failed(Failure::fatal(Code::SpawnFailed, message)), Leavings::default()));
        }
    };
    let log = |name: &str| Capture::new(folder.path().join(name), context.config.log_limit_bytes);
    let mut reader = plan.reader;
    let sink = reporter.sink();
    reader.started().into_iter().for_each(|report| sink.report(report));
    let output = Arc::new(Mutex::new(Output {
        reader: Some(reader),
        stdout: log("stdout.log"),
        stderr: log("stderr.log"),
        sink,
    }));
    let pumps = (
        tokio::spawn(pump(child.stdout.take(), Stream::Stdout, Arc::clone(&output))),
        tokio::spawn(pump(child.stderr.take(), Stream::Stderr, Arc::clone(&output))),
    );

    let tree = Tree::of(&context.custody, leader, &marker);
    let followed = Followed { child: &mut child, tree, context, task, limits: TimeLimits::of(task) };
    let end = followed.wait(orders).await;

    let aborts = (pumps.0.abort_handle(), pumps.1.abort_handle());
    let both = async { tokio::join!(pumps.0, pumps.1) };
    let understood = match tokio::time::timeout(LAST_BYTES, both).await {
        Ok((stdout, stderr)) => stdout.is_ok() && stderr.is_ok(),
        Err(_elapsed) => {
            warn!("the pipes stay open though every process is gone; the rest of the output is not read");
            aborts.0.abort();
            aborts.1.abort();
            true
        }
    };
    let mut output = output.lock().unwrap_or_else(PoisonError::into_inner);
    if !understood {
        // Its reader panicked: what it would say of the rest is worth nothing.
        output.reader = None;
    }
    conclude(end, &mut output)
}

fn conclude(end: End, output: &mut Output) -> Result<(Outcome, Leavings), Abandoned> {
    let left = Leavings {
        stdout: output.stdout.tail(),
        stderr: output.stderr.tail(),
        artifacts: [&output.stdout, &output.stderr].into_iter().filter_map(Capture::artifact).collect(),
    };
    let outcome = match (end, output.reader.take()) {
        (End::Abandoned(why), _) => return Err(Abandoned(why)),
        // Whether it was done anyway, nobody can know.
        (End::SoftTimedOut(limit), _) => Outcome::TimedOut { seconds: limit.as_secs(), soft: true },
        (End::TimedOut(limit), _) => Outcome::TimedOut { seconds: limit.as_secs(), soft: false },
        (End::Interrupted | End::Fenced, _) => Outcome::Interrupted,
        (End::Cancelled, _) => Outcome::Cancelled,
        (End::Lost(error), _) => {
            Outcome::Failed(Failure::of_the_worker(format!("the process was lost: {error}")))
        }
        (End::Exited(status), Some(reader)) => {
            reader.verdict(Exit { code: status.code(), signal: status.signal() }, &left.stderr)
        }
        (End::Exited(_), None) => {
            Outcome::Failed(Failure::of_the_worker("the engine's reader failed over the output"))
        }
    };
    Ok((outcome, left))
}

async fn pump(pipe: Option<impl AsyncRead + Unpin>, stream: Stream, output: Arc<Mutex<Output>>) {
    let Some(mut pipe) = pipe else { return };
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let count = match pipe.read(&mut chunk).await {
            Ok(count) => count,
            Err(error) => {
                warn!(%error, ?stream, "output not read any further");
                0
            }
        };
        let mut output = output.lock().unwrap_or_else(PoisonError::into_inner);
        let Output { reader, stdout, stderr, sink } = &mut *output;
        let capture = if stream == Stream::Stdout { stdout } else { stderr };
        let mut each_line = |line: &str| {
            if let Some(reader) = reader {
                reader.line(stream, line).into_iter().for_each(|report| sink.report(report));
            }
        };
        if count == 0 {
            return capture.end(&mut each_line);
        }
        capture.take(&chunk[..count], &mut each_line);
    }
}
