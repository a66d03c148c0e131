//! Runs the processes of a plan, each from its start to its last byte, and makes sure that nothing of it is
//! left.

mod output;
mod segments;
mod unprepared;

use std::io;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use stageline::Code;
use stageline::aws::Leavings;
use stageline::protocol::outcome::{Failure, Outcome};
use stageline::task::Task;
use tokio::process::Command;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::warn;

use self::output::{Output, pump};
use self::segments::Segmented;
use self::unprepared::unprepared;
use super::aside::{self, Pauser};
use super::capture::Capture;
use super::confine::Confinement;
use super::disk::DiskWatch;
use super::environment::{RESUME, devices, scrubbed};
use super::folder::JobFolder;
use super::follow::{End, Followed};
use super::limits::Limits;
use super::out_of_memory::{self, Kills};
use super::reached::reached_end;
use super::time_limits::{Stopwatch, TimeLimits};
use super::tree::Tree;
use super::turn::Turn;
use crate::attempt::Abandoned;
use crate::context::Context;
use crate::control::{Order, Orders};
use crate::engines::{ChildPlan, Exit, Pausing, SoftStop, Step, Stream};
use crate::progress::Reporter;
use crate::store::{self, Between, Saver};

/// How long the pipes may stay open once every process of the tree is gone. Something outside the tree
/// may hold them; the task does not wait for it.
const LAST_BYTES: Duration = Duration::from_secs(2);

/// How long what follows the processes may take.
const AFTERWARDS: Duration = Duration::from_secs(10);

/// What all steps of an attempt share.
struct Steps<'a> {
    task: &'a Task,
    context: &'a Context,
    folder: &'a JobFolder,
    env: Vec<(String, String)>,
    marker: String,
    soft_stop: SoftStop,
    pausing: Option<Pausing>,
    limits: TimeLimits,
    confinement: Confinement,
    disk: DiskWatch,
    watch: Stopwatch,
    output: Arc<Mutex<Output>>,
    /// For an engine that has to be stopped for a checkpoint.
    segmented: Option<Segmented>,
}

/// Runs `plan` for `task`, as its orders say.
///
/// # Errors
/// When it was abandoned: nothing may be written about it.
pub(crate) async fn run(
    plan: ChildPlan,
    task: &Task,
    job_dir: &Path,
    gpus: &[String],
    context: &Context,
    reporter: &Reporter,
    orders: &mut Orders,
) -> Result<(Outcome, Leavings), Abandoned> {
    let confinement = if plan.confines_itself {
        Ok(Confinement::default())
    } else {
        context.confiner.confine(task, &context.config, job_dir, gpus)
    };
    let confinement = match confinement {
        Ok(confinement) => confinement,
        Err(failure) => return Ok((Outcome::Failed(failure), Leavings::default())),
    };
    let files = plan.files;
    let created = tokio::task::spawn_blocking({
        let job_dir = job_dir.to_path_buf();
        move || JobFolder::create(&job_dir, &files).map(|folder| (folder, files))
    });
    let (folder, files) = match created.await.map_err(io::Error::other).flatten() {
        Ok(created) => created,
        Err(error) => {
            let failure = unprepared(job_dir, &context.config.work_dir, &error);
            return Ok((Outcome::Failed(failure), Leavings::default()));
        }
    };
    if let Some(outcome) = Box::pin(store::fetch_inputs(&files, folder.path(), context, orders)).await? {
        return Ok((outcome, Leavings::default()));
    }
    // What was ordered while files were copied comes before there is a process.
    match orders.latest() {
        Order::Abandon(why) => return Err(Abandoned(why)),
        Order::Cancel => return Ok((Outcome::Cancelled, Leavings::default())),
        Order::Interrupt => return Ok((Outcome::Interrupted, Leavings::default())),
        Order::Go | Order::Pause => {}
    }
    let marker = uuid::Uuid::new_v4().simple().to_string();
    let log = |name: &str| Capture::new(folder.path().join(name), context.config.log_limit_bytes);
    let output = Output {
        reader: Some(plan.reader),
        stdout: log("stdout.log").with_contract(),
        stderr: log("stderr.log"),
        sink: reporter.sink(),
        diverged: watch::Sender::new(None),
        stops_on_divergence: task.stop_on_divergence == Some(true),
    };
    let mut env = scrubbed(task, &context.config, &context.id, folder.path(), &marker, &plan.env);
    env.extend(context.gpus.any().then(|| devices(gpus)));
    let mut steps = Steps {
        task,
        context,
        env,
        folder: &folder,
        marker,
        soft_stop: plan.soft_stop,
        pausing: plan.pausing,
        limits: TimeLimits::of(task),
        confinement,
        disk: DiskWatch::new(
            job_dir,
            Limits::of(task, &context.config).disk_mb,
            context.config.log_limit_bytes,
        ),
        watch: Stopwatch::started(Instant::now()),
        output: Arc::new(Mutex::new(output)),
        segmented: None,
    };
    if plan.resumed {
        steps.env.push((RESUME.to_owned(), "1".to_owned()));
    }
    let named = Arc::clone(&steps.output);
    let named = Arc::new(move || {
        let output = named.lock().unwrap_or_else(PoisonError::into_inner);
        output.reader.as_ref().map(|reader| reader.checkpoint()).unwrap_or_default()
    });
    let mut saver = None;
    let at = folder.path().to_path_buf();
    match plan.segments {
        Some(segments) => {
            let saves = Between::begin(plan.checkpoint, named, task, at, context);
            steps.segmented = Some(Segmented::new(segments, saves, plan.resumed, context));
        }
        None => saver = Saver::begin(plan.checkpoint, named, task, at, context),
    }
    let kills = Kills::counted();
    let end = Box::pin(steps.until_end(&plan.steps, orders)).await;
    if let Some(step) = &plan.afterwards {
        Box::pin(steps.clean_up(step)).await;
    }
    let save = end.as_ref().is_ok_and(End::may_be_gone_on_from);
    if let Some(saver) = saver {
        Box::pin(saver.end(save)).await;
    }
    if let Some(segmented) = steps.segmented.take().filter(|_| save) {
        Box::pin(segmented.end()).await;
    }
    match end {
        Ok(end) => {
            let by_itself = matches!(end, End::Exited(_));
            let ended = conclude(end, &mut steps.output.lock().unwrap_or_else(PoisonError::into_inner));
            let limits = &steps.confinement.limits;
            match ended {
                Ok((Outcome::Failed(failure), left)) if by_itself => {
                    Ok((Outcome::Failed(explained(failure, &left.stderr, limits, kills)), left))
                }
                ended => ended,
            }
        }
        Err(failure) => Ok((Outcome::Failed(failure), Leavings::default())),
    }
}

impl Steps<'_> {
    /// Runs the processes up to the first that does not succeed.
    async fn until_end(&mut self, steps: &[Step], orders: &mut Orders) -> Result<End, Failure> {
        let last = steps.len().saturating_sub(1);
        for (index, step) in steps.iter().enumerate() {
            let end = self.in_segments(index, step, orders).await.map_err(|error| {
                let message = format!("{} could not be started: {error}", step.program.display());
                Failure::fatal(Code::SpawnFailed, message)
            })?;
            if index == last {
                return Ok(Box::pin(self.within_quota(end)).await);
            }
            match end {
                End::Exited(status) if status.success() => {}
                End::SoftTimedOut { limit, .. } => return Ok(End::SoftTimedOut { limit, last: None }),
                End::Interrupted { .. } => return Ok(End::Interrupted { last: None }),
                end => return Ok(end),
            }
        }
        Err(Failure::of_the_worker("the engine's plan has no process"))
    }

    /// A success, unless too much was left at the last.
    async fn within_quota(&mut self, end: End) -> End {
        match end {
            End::Exited(status) if status.success() => {
                self.disk.last_look().await.map_or(End::Exited(status), End::OverQuota)
            }
            end => end,
        }
    }

    /// The process of a step, without its streams.
    fn command(&self, step: &Step) -> Command {
        aside::command(step, &self.env, self.folder.path())
    }

    /// Runs what has to follow the processes. It cannot be stopped, so it may not take long.
    async fn clean_up(&self, step: &Step) {
        let what = "what follows the attempt";
        aside::run(self.context, self.command(step), &self.marker, what, AFTERWARDS).await;
    }

    /// Runs one process to its end and the last byte of its output; `index` is that of its step, if it is the
    /// first of it.
    async fn run(
        &mut self,
        index: Option<usize>,
        step: &Step,
        turn: Option<&mut Turn>,
        orders: &mut Orders,
    ) -> io::Result<End> {
        let (mut child, leader) = {
            let mut command = self.command(&self.confinement.around(step)?);
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
            self.context.custody.spawn(&mut command)?
        };
        let diverged = {
            let mut output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
            let Output { reader, sink, diverged, .. } = &mut *output;
            let reports = reader.as_mut().zip(index).map(|(reader, index)| reader.step(index));
            let reports = reports.unwrap_or_default();
            reports.into_iter().for_each(|report| sink.report(report));
            diverged.subscribe()
        };
        let pumps = (
            tokio::spawn(pump(child.stdout.take(), Stream::Stdout, Arc::clone(&self.output))),
            tokio::spawn(pump(child.stderr.take(), Stream::Stderr, Arc::clone(&self.output))),
        );
        let followed = Followed {
            child: &mut child,
            tree: Tree::of(&self.context.custody, leader, &self.marker).sandboxed(self.confinement.sandboxed),
            context: self.context,
            task: self.task,
            limits: self.limits,
            memory_mb: self.confinement.limits.memory_mb,
            disk: &mut self.disk,
            watch: &mut self.watch,
            soft_stop: &self.soft_stop,
            pauser: self.pausing.as_ref().map(|pausing| Pauser {
                pausing,
                context: self.context,
                env: &self.env,
                folder: self.folder.path(),
            }),
            job_dir: self.folder.path(),
            turn,
            diverged,
        };
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
        if !understood {
            // Its reader panicked: what it would say of the rest is worth nothing.
            self.output.lock().unwrap_or_else(PoisonError::into_inner).reader = None;
        }
        Ok(end)
    }
}

fn conclude(end: End, output: &mut Output) -> Result<(Outcome, Leavings), Abandoned> {
    let left = Leavings {
        stdout: output.stdout.tail(),
        stderr: output.stderr.tail(),
        artifacts: [&output.stdout, &output.stderr].into_iter().filter_map(Capture::artifact).collect(),
    };
    let outcome = match (end, output.reader.take()) {
        (End::Abandoned(why), _) => return Err(Abandoned(why)),
        (End::SoftTimedOut { limit, last }, reader) => {
            let reached = last.and_then(|status| reached_end(reader?, Exit::from(status), &left.stderr));
            reached.unwrap_or(Outcome::TimedOut { seconds: limit.as_secs(), soft: true })
        }
        (End::Interrupted { last }, reader) => {
            let reached = last.and_then(|status| reached_end(reader?, Exit::from(status), &left.stderr));
            reached.unwrap_or(Outcome::Interrupted)
        }
        (End::TimedOut(limit), _) => Outcome::TimedOut { seconds: limit.as_secs(), soft: false },
        (End::Fenced, _) => Outcome::Interrupted,
        (End::Cancelled, _) => Outcome::Cancelled,
        (End::Diverged(failure) | End::OutOfMemory(failure) | End::OverQuota(failure), _) => {
            Outcome::Failed(failure)
        }
        (End::Lost(error), _) => {
            Outcome::Failed(Failure::of_the_worker(format!("the process was lost: {error}")))
        }
        (End::NotContinued(error), _) => Outcome::Failed(Failure::of_the_worker(format!(
            "after the last process of the step stopped, another one could not be started: {error}"
        ))),
        (End::Exited(status) | End::Asked(status), Some(reader)) => {
            reader.verdict(Exit::from(status), &left.stderr)
        }
        (End::Exited(_) | End::Asked(_), None) => {
            Outcome::Failed(Failure::of_the_worker("the engine's reader failed over the output"))
        }
    };
    Ok((outcome, left))
}

/// A process's own end, with what its engine could not know of it; `before` are the kernel's kills when it
/// began.
fn explained(failure: Failure, stderr: &str, limits: &Limits, before: Kills) -> Failure {
    let failure = limits.explain(failure);
    out_of_memory::recognised(failure, stderr, Kills::counted().rose_since(before))
}
