//! `stageline dev`: the whole system in one process, its state in one folder.

use std::path::{Path, PathBuf};

use console::style;
use serde_json::json;
use stageline::clock::Clock;
use stageline::logging::{self, LogFormat};
use stageline::protocol::lease::Lease;
use stageline_local::{LocalOptions, System, SystemOptions};
use stageline_worker::child::{Custody, end_leftovers};
use stageline_worker::{Config, Worker, WorkerError};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::args::DevArgs;
use crate::connection::{ARTIFACTS_URL, DevFile, JOBS};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{self, Format};

pub(super) async fn run(
    args: DevArgs,
    dir: &Path,
    artifacts: Option<String>,
    format: Format,
) -> Result<Exit, Failure> {
    let artifacts = artifacts.filter(|url| !url.is_empty());
    let log_format = if format == Format::Json { LogFormat::Json } else { LogFormat::Text };
    logging::init(
        log_format,
        "warn,dynoxide=error,stageline_dispatcher=info,stageline_worker=info,stageline_local=info",
    );
    let config = if args.no_worker { None } else { Some(config(&args, dir, artifacts.as_deref())?) };
    let any_program = config.as_ref().is_some_and(|config| config.allow_any_program);
    let options = SystemOptions {
        local: LocalOptions {
            data_dir: Some(dir.to_owned()),
            port: args.port,
            prefix: "stageline".to_owned(),
        },
        targets: args.targets.clone(),
        lease: Lease::default(),
    };
    let system = System::start(options).await?;
    let artifacts = match &config {
        Some(config) => config.artifacts_url.clone(),
        None => artifacts,
    };
    let worker = match config {
        Some(config) => Some(worker(config, dir, &system).await?),
        None => None,
    };
    let environment =
        system.deployment().to_env().into_iter().chain(artifacts.map(|url| (ARTIFACTS_URL, url)));
    let file = DevFile {
        endpoint: system.local().endpoint(),
        pid: std::process::id(),
        environment: environment.into_iter().map(|(n, v)| (n.to_owned(), v)).collect(),
    };
    // From here on others know of this process and may signal it: a default handler would leave the file.
    let signals = Signals::new()?;
    let published = Published::new(&file, dir)?;
    announce(&file, &args, any_program, system.recovered(), format);

    let (drain, stop) = (CancellationToken::new(), CancellationToken::new());
    let working = tokio::spawn({
        let (drain, stop) = (drain.clone(), stop.clone());
        async move {
            match worker {
                Some(worker) => worker.run(drain, stop).await,
                None => {
                    drain.cancelled().await;
                    Ok(())
                }
            }
        }
    });
    let outcome = until_stopped(working, signals, &drain, &stop).await;
    drop(published);
    system.shutdown().await;
    outcome?;
    Ok(Exit::Success)
}

/// SIGTERM and SIGINT, caught as long as this lives.
struct Signals {
    term: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> Result<Self, Failure> {
        let caught = |kind| signal(kind).map_err(|source| Failure::Io { what: "signals".to_owned(), source });
        Ok(Self { term: caught(SignalKind::terminate())?, interrupt: caught(SignalKind::interrupt())? })
    }
}

/// A first signal lets running tasks finish, a second one stops them.
async fn until_stopped(
    mut working: tokio::task::JoinHandle<Result<(), WorkerError>>,
    mut signals: Signals,
    drain: &CancellationToken,
    stop: &CancellationToken,
) -> Result<(), Failure> {
    loop {
        tokio::select! {
            ended = &mut working => {
                // A worker that panicked is a defect; its tasks are rescued at the next start.
                let panicked = |e| Failure::Io { what: "worker".to_owned(), source: std::io::Error::other(e) };
                return ended.map_err(panicked)?.map_err(Failure::Worker);
            }
            _ = signals.term.recv() => {}
            _ = signals.interrupt.recv() => {}
        }
        if drain.is_cancelled() {
            stop.cancel();
        } else {
            eprintln!("stopping when the running tasks are done, within 60 s; once more to stop them now");
            drain.cancel();
        }
    }
}

/// The worker's settings: for development, with those of the file over them, and what is typed over all.
fn config(args: &DevArgs, dir: &Path, artifacts: Option<&str>) -> Result<Config, Failure> {
    let defaults = Config::default();
    let slots = defaults.slots.max(4);
    let mut config = Config { slots, allow_any_program: true, term_grace_seconds: 5, ..defaults };
    if let Some(file) = &args.worker_config {
        config = config.overlaid(file, "--worker-config").map_err(WorkerError::from)?;
    }
    Ok(Config {
        slots: args.slots.unwrap_or(config.slots),
        // Where a later start looks for what a killed one left.
        work_dir: dir.join(JOBS),
        inputs_dir: args.inputs.clone().unwrap_or(config.inputs_dir),
        lammps_program: args.lammps.clone().unwrap_or(config.lammps_program),
        artifacts_url: artifacts.map(str::to_owned).or(config.artifacts_url),
        metrics_address: args.metrics_address.map(|address| address.to_string()).or(config.metrics_address),
        ..config
    })
}

async fn worker(config: Config, dir: &Path, system: &System) -> Result<Worker, Failure> {
    // The system has locked the folder, so no other worker has it.
    end_leftovers(&dir.join(JOBS)).await;
    let custody = Custody::of_whole_process().map_err(WorkerError::Custody)?;
    Ok(Worker::new(config, system.aws(), system.deployment(), Clock::system(), custody)?)
}

/// The file by which other commands find this system, for as long as it runs.
struct Published(PathBuf);

impl Published {
    fn new(file: &DevFile, dir: &Path) -> Result<Self, Failure> {
        let path = DevFile::path(dir);
        file.write(dir).map_err(|source| Failure::Io { what: path.display().to_string(), source })?;
        Ok(Self(path))
    }
}

impl Drop for Published {
    fn drop(&mut self) {
        // Gone already is as good.
        let _gone = std::fs::remove_file(&self.0);
    }
}

fn announce(
    file: &DevFile,
    args: &DevArgs,
    any_program: bool,
    recovered: stageline_local::Recovered,
    format: Format,
) {
    if format == Format::Json {
        output::json(&json!({ "ready": true, "endpoint": file.endpoint, "environment": file.environment }));
        return;
    }
    let label = |text: &str| style(format!("{text:>10}")).for_stderr().cyan().to_string();
    eprintln!("{} {}", label("stageline"), style("is ready").for_stderr().green().bold());
    eprintln!("{} {}", label("endpoint"), file.endpoint);
    let patterns: Vec<_> = args.targets.iter().map(ToString::to_string).collect();
    eprintln!("{} {}", label("targets"), patterns.join(" "));
    if recovered != Default::default() {
        let stageline_local::Recovered { sent_again, rescued } = recovered;
        eprintln!("{} {sent_again} tasks sent again, {rescued} rescued", label("restart"));
    }
    if any_program {
        let note = "the command engine may start ANY program here: for development only";
        eprintln!("{} {}", label("warning"), style(note).for_stderr().yellow());
    }
    eprintln!("{} stageline submit --watch --engine demo", label("try"));
    eprintln!(
        "{} AWS_ENDPOINT_URL={} AWS_REGION=us-east-1 AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local",
        label("others"),
        file.endpoint
    );
}
