//! One worker: its parts, and how they start and stop.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use stageline::aws::{Aws, AwsError, Deployment, DeploymentError, Heartbeat};
use stageline::protocol::lease::Lease;
use stageline::protocol::pools::Queues;
use stageline::task::WorkerId;
use stageline::trace::Tracer;
use stageline::{At, Clock};
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::acknowledge::Acknowledger;
use crate::child::{Confiner, Custody};
use crate::context::Context;
use crate::endpoint::{self, Polls};
use crate::engines::Engines;
use crate::fence::keep_fence;
use crate::fleet::Fleet;
use crate::former::{LifeLock, settle_former_selves};
use crate::gpus::Gpus;
use crate::guard::Breakers;
use crate::heartbeat::LeaseKeeper;
use crate::hooks::{Hooks, Webhook};
use crate::meters::Meters;
use crate::notices::{Notices, keep_watching};
use crate::old_jobs::keep_removing;
use crate::poller::Poller;
use crate::protection::keep_protected;
use crate::received::Received;
use crate::review::{ReviewRequests, Reviewer};
use crate::running::Running;
use crate::store::Store;
use crate::{Config, ConfigError};

/// How long calls of the webhook that still wait may take when the worker ends.
const LAST_CALLS: Duration = Duration::from_secs(10);

/// Why a worker cannot run.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// Its configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The deployment's variables.
    #[error(transparent)]
    Deployment(#[from] DeploymentError),
    /// The pool it is to serve is not among the deployment's.
    #[error("there is no pool \"{pool}\"; STAGELINE_POOLS has {known}")]
    NoSuchPool {
        /// The pool.
        pool: String,
        /// The pools there are.
        known: String,
    },
    /// The process cannot take care of its children.
    #[error("cannot become the reaper of orphaned processes: {0}")]
    Custody(#[from] std::io::Error),
    /// AWS, at the first heartbeat.
    #[error(transparent)]
    Aws(#[from] AwsError),
    /// It took nothing although tasks wait; a new process may do better.
    #[error("given up, for a new process to do better: {0}")]
    Stuck(String),
}

/// A worker that has not started yet.
pub struct Worker {
    id: WorkerId,
    config: Config,
    aws: Aws,
    artifacts: Option<Store>,
    clock: Clock,
    queues: Queues,
    lease: Lease,
    custody: Custody,
    confiner: Confiner,
    endpoint: Option<TcpListener>,
    tracer: Tracer,
}

impl Worker {
    /// A worker of `deployment`.
    ///
    /// # Errors
    /// When the configuration makes no sense or needs what this machine has not got, or its pool does not exist.
    pub fn new(
        config: Config,
        aws: Aws,
        deployment: &Deployment,
        clock: Clock,
        custody: Custody,
    ) -> Result<Self, WorkerError> {
        let config = config.validated()?;
        let tasks = if config.share_requests { aws.tasks.sharing_requests() } else { aws.tasks };
        let aws = Aws { tasks, ..aws };
        let confiner = Confiner::of(&config)?;
        let endpoint = endpoint::bind(&config)?;
        let pool = deployment.pools.get(&config.pool).ok_or_else(|| {
            let known: Vec<_> = deployment.pools.iter().map(|pool| pool.name.as_str()).collect();
            WorkerError::NoSuchPool {
                pool: config.pool.clone(),
                known: if known.is_empty() { "none".to_owned() } else { known.join(", ") },
            }
        })?;
        let queues = pool.queues.clone();
        let invalid = |why: String| ConfigError::Invalid { setting: "artifacts_url", why };
        let address = config.artifacts_address().map_err(|why| invalid(why.to_owned()))?;
        let opened = address.map(|address| Store::open(&address, &aws.sdk)).transpose();
        let artifacts = opened.map_err(|error| invalid(format!("cannot be used: {error}")))?;
        let host = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
        let id = WorkerId::fresh(host.as_deref().unwrap_or("worker"));
        let (lease, tracer) = (deployment.lease, Tracer::default());
        Ok(Self { id, config, aws, artifacts, clock, queues, lease, custody, confiner, endpoint, tracer })
    }

    /// The same, writing into the tasks' traces.
    #[must_use]
    pub fn traced(self, tracer: Tracer) -> Self {
        Self { tracer, ..self }
    }

    /// Where its metrics are served, if they are.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.endpoint.as_ref()?.local_addr().ok()
    }

    /// The worker's id: this incarnation's.
    pub fn id(&self) -> &WorkerId {
        &self.id
    }

    /// Serves until `drain`, or until its machine is told that it ends; then running tasks have the drain grace (or until `stop`) to finish, what is
    /// left is stopped and handed back as interrupted, and the lease is given up.
    ///
    /// # Errors
    /// When the lock of its own file cannot be had, or the first heartbeat cannot be written: nothing has
    /// been taken then. When the watchdog found it stuck: it holds nothing any more.
    pub async fn run(self, drain: CancellationToken, stop: CancellationToken) -> Result<(), WorkerError> {
        let told = CancellationToken::new();
        let webhook = Webhook::start(&self.config, self.clock.clone(), told.clone())?;
        let (webhook, telling) = webhook.unzip();
        let breakers = Arc::new(Breakers::new(&self.config, self.clock.clone()));
        let life = LifeLock::take(&self.config.work_dir, &self.id).map_err(|error| ConfigError::Invalid {
            setting: "work_dir",
            why: format!(
                "{}: {error}; choose a folder whose files can be locked",
                self.config.work_dir.display()
            ),
        })?;
        settle_former_selves(&self.config, &self.aws, &self.id, &self.clock).await;
        let meters = Arc::new(Meters::new(Arc::clone(&self.aws.meters)));
        let (acknowledger, acknowledging) =
            Acknowledger::start(self.aws.queues.clone(), meters.deleted.clone());
        let (reviews, asked) = ReviewRequests::new();
        let (running, received) = (Arc::new(Running::default()), Arc::new(Received::default()));
        let engines = Engines::of(&self.id);
        let notices = Arc::new(Notices::new(&self.config));
        let (alive, last_alive) = watch::channel(Instant::now());
        let mut keeper = LeaseKeeper {
            workers: self.aws.workers.clone(),
            clock: self.clock.clone(),
            lease: self.lease,
            running: Arc::clone(&running),
            received: Arc::clone(&received),
            breakers: Arc::clone(&breakers),
            notices: Arc::clone(&notices),
            meters: Arc::clone(&meters),
            reviewer: Reviewer {
                worker: self.id.clone(),
                tasks: self.aws.tasks.clone(),
                running: Arc::clone(&running),
            },
            asked,
            acknowledger: acknowledger.clone(),
            beat: self.first_heartbeat(&engines),
            drain: drain.clone(),
            handled: Vec::new(),
            alive,
        };
        // Alive before the first claim: a claim by an unknown worker would look like a dead one's.
        if let Err(error) = keeper.begin().await {
            life.give_up();
            return Err(error.into());
        }
        let given_up = CancellationToken::new();
        let fencing = tokio::spawn(keep_fence(Arc::clone(&running), last_alive.clone(), self.lease.fence()));
        let leasing = tokio::spawn(keeper.keep(given_up.clone()));
        let (slots, grace) = (self.config.slots as usize, self.config.drain_grace());
        info!(worker.id = %self.id, pool = %self.config.pool, slots, "worker started");

        let gpus = Gpus::new(&self.config.gpus);
        let context = Arc::new(Context {
            id: self.id,
            config: self.config,
            artifacts: self.artifacts,
            aws: self.aws,
            clock: self.clock,
            engines,
            breakers,
            hooks: Hooks::new(webhook),
            fleet: Fleet::default(),
            custody: Arc::new(self.custody),
            confiner: self.confiner,
            gpus,
            notices,
            running,
            received,
            lease: self.lease,
            observations: Mutex::default(),
            reviews,
            meters,
            tracer: self.tracer,
            polls: Polls::default(),
            stop: stop.clone(),
        });
        let removing = tokio::spawn(keep_removing(Arc::clone(&context), given_up.clone()));
        let watching = tokio::spawn(keep_watching(Arc::clone(&context), drain.clone(), given_up.clone()));
        let protecting = tokio::spawn(keep_protected(
            context.config.scale_in_protection,
            Arc::clone(&context.running),
            self.lease.length(),
            given_up.clone(),
        ));
        context.notices.first_look().await;
        let seen = endpoint::Beside {
            context: Arc::clone(&context),
            queues: self.queues.clone(),
            alive: last_alive,
            drain: drain.clone(),
        };
        let seen = tokio::spawn(seen.run(self.endpoint, given_up.clone()));
        let attempts = TaskTracker::new();
        Poller {
            context: Arc::clone(&context),
            queues: self.queues,
            slots: Arc::new(Semaphore::new(slots)),
            attempts: attempts.clone(),
            acknowledger: acknowledger.clone(),
        }
        .run(drain)
        .await;

        attempts.close();
        info!(worker.id = %context.id, running = attempts.len(), "draining");
        tokio::select! {
            () = attempts.wait() => {}
            () = stop.cancelled() => {}
            () = context.notices.grace_is_over(grace) => stop.cancel(),
        }
        attempts.wait().await;
        told.cancel();
        drop(acknowledger);
        given_up.cancel();
        // All end by themselves: the keeper was told, the acknowledger and the fence have no sender left.
        let (seen, ..) = tokio::join!(seen, leasing, acknowledging, fencing, removing, watching, protecting);
        life.give_up();
        if let Some(mut telling) = telling
            && tokio::time::timeout(LAST_CALLS, &mut telling).await.is_err()
        {
            warn!("calls of the webhook are given up");
            telling.abort();
        }
        info!(worker.id = %context.id, "worker stopped");
        // A task that panicked has said so, and found nothing.
        seen.ok().flatten().map_or(Ok(()), |why| Err(WorkerError::Stuck(why)))
    }

    fn first_heartbeat(&self, engines: &Engines) -> Heartbeat {
        Heartbeat {
            worker_id: self.id.clone(),
            heartbeat_at: At::from_millis(0),
            pool: self.config.pool.clone(),
            slots: self.config.slots,
            running: 0,
            engines: engines.names().filter(|name| self.config.runs(name)).map(str::to_owned).collect(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            draining: false,
            instance: self.config.instance.clone(),
            received_until: BTreeMap::new(),
            broken: BTreeMap::new(),
            notice: None,
        }
    }
}
