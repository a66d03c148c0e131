//! A Celery worker, and the program that gives it tasks.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use stageline_local::{LocalAws, LocalOptions};
use tokio::process::{Child, Command};

use crate::load::SETTLED;
use crate::meter::{Meter, Tally};
use crate::procfs::cpu_seconds;
use crate::scope::Peers;

const THREADS: &str = "16";
const START: Duration = Duration::from_secs(60);

/// What a worker gets its tasks from.
pub enum Broker {
    /// SQS on an embedded AWS of its own, with results in DynamoDB there.
    Sqs {
        /// Whether its requests are counted.
        counted: bool,
    },
    /// The Redis at this address.
    Redis(String),
}

/// A running worker; killed when dropped.
pub struct Celery {
    child: Child,
    python: PathBuf,
    environment: Vec<(String, String)>,
    scripts: PathBuf,
    local: Option<LocalAws>,
    meter: Option<Meter>,
    folder: tempfile::TempDir,
}

impl Celery {
    /// Starts one, and waits until it takes tasks.
    ///
    /// # Errors
    /// It does not start; its last words are told.
    pub async fn start(peers: &Peers, broker: Broker) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let (local, meter, mut environment) = match broker {
            Broker::Redis(address) => {
                (None, None, vec![("BENCH_BROKER", "redis".into()), ("BENCH_ENDPOINT", address)])
            }
            Broker::Sqs { counted } => {
                let options = LocalOptions { data_dir: None, port: 0, prefix: "bench".to_owned() };
                let local = LocalAws::start(options).await?;
                let meter = if counted { Some(Meter::start(&local.endpoint()).await?) } else { None };
                let endpoint = meter.as_ref().map_or(local.endpoint(), Meter::endpoint);
                let sqs = aws_sdk_sqs::Client::new(&local.sdk_config());
                let queue = sqs.create_queue().queue_name("bench-celery").send().await?;
                let url = queue.queue_url.context("a queue has an address")?;
                // Through the same address as everything else.
                let url = url.replacen(&local.endpoint(), &endpoint, 1);
                let environment = vec![
                    ("BENCH_BROKER", "sqs".into()),
                    ("BENCH_ENDPOINT", endpoint),
                    ("BENCH_QUEUE_URL", url),
                ];
                (Some(local), meter, environment)
            }
        };
        let ready = folder.path().join("ready");
        environment.push(("BENCH_READY", ready.display().to_string()));
        environment.push(("PYTHONPYCACHEPREFIX", peers.folder.join("pycache").display().to_string()));
        environment.push(("PATH", std::env::var("PATH").unwrap_or_default()));
        environment.push(("AWS_EC2_METADATA_DISABLED", "true".into()));
        environment.push(("AWS_DEFAULT_REGION", "us-east-1".into()));
        let environment: Vec<(String, String)> =
            environment.into_iter().map(|(name, value): (&str, String)| (name.to_owned(), value)).collect();
        let scripts = peers.script("");
        let log = std::fs::File::create(folder.path().join("log"))?;
        let child = Command::new(peers.python())
            .args(["-m", "celery", "-A", "tasks", "worker", "--pool", "threads", "--concurrency", THREADS])
            .args(["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "WARNING"])
            .current_dir(&scripts)
            .env_clear()
            .envs(environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .context("Celery cannot be started")?;
        let mut celery = Self { child, python: peers.python(), environment, scripts, local, meter, folder };
        let begun = Instant::now();
        while !ready.exists() {
            if let Some(status) = celery.child.try_wait()? {
                bail!("Celery ended: {status}\n{}", celery.last_words());
            }
            ensure!(begun.elapsed() < START, "Celery does not start\n{}", celery.last_words());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        tokio::time::sleep(SETTLED).await;
        // Its first tasks open connections and make the table; neither side is measured with that.
        celery.produce(&["noop", "32"]).await?;
        tokio::time::sleep(SETTLED).await;
        Ok(celery)
    }

    /// The CPU seconds of its process so far.
    ///
    /// # Errors
    /// It has ended.
    pub fn cpu(&self) -> Result<f64> {
        cpu_seconds(self.child.id().context("Celery has ended")?)
    }

    /// Gives it tasks and waits for their results.
    ///
    /// # Errors
    /// They do not come.
    pub async fn produce(&self, words: &[&str]) -> Result<Value> {
        let output = Command::new(&self.python)
            .arg("produce.py")
            .args(words)
            .current_dir(&self.scripts)
            .env_clear()
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let end: Vec<_> = said.lines().rev().take(3).collect();
            bail!("produce.py {}: {}; the worker: {}", words.join(" "), end.join(" / "), self.last_words());
        }
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// The same, and what it asked of AWS meanwhile. Looks for results are not counted.
    ///
    /// # Errors
    /// As [`Celery::produce`].
    pub async fn counted(&self, words: &[&str]) -> Result<(Tally, Value)> {
        let meter = self.meter.as_ref().context("it is not counted")?;
        let before = meter.tally();
        let produced = self.produce(words).await?;
        tokio::time::sleep(SETTLED).await;
        let mut tally = meter.tally().since(&before);
        tally
            .0
            .retain(|kind, _| !kind.starts_with("dynamodb Scan") && !kind.starts_with("dynamodb Describe"));
        Ok((tally, produced))
    }

    /// Ends it.
    pub async fn stop(mut self) {
        self.child.kill().await.ok();
        drop(self.meter.take());
        if let Some(local) = self.local.take() {
            local.shutdown().await;
        }
    }

    fn last_words(&self) -> String {
        let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        let lines: Vec<_> = log.lines().rev().filter(|line| !line.trim().is_empty()).take(4).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join(" / ")
    }
}
