//! The system that is measured: AWS's emulator, the stream pump with the real dispatcher, and loopback addresses
//! that count for client, dispatcher and worker. The worker is a process of its own ([`crate::process`]).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_lambda_events::event::dynamodb::Event;
use aws_lambda_events::event::streams::DynamoDbEventResponse;
use aws_sdk_dynamodb::types::StreamSpecification;
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::json;
use stageline::Clock;
use stageline::aws::{Aws, Deployment};
use stageline::protocol::lease::Lease;
use stageline::task::{Lane, Task};
use stageline_dispatcher::Dispatcher;
use stageline_local::pump::{
    FailedBatch, InvokeError, Source, StartingPosition, StreamFunction, StreamPump, aws_sdk_dynamodbstreams,
};
use stageline_local::{LocalAws, LocalOptions, Names, schema, sdk_config, system};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::meter::{Meter, Tally};
use crate::process::WorkerProcess;
use crate::records::{self, Ended};

/// Puts at once: enough to keep the emulator busy.
const PUTS: usize = 16;
/// The mapping's batch.
const BATCH: usize = 100;
/// Batches that are put ahead of the dispatcher, where no stream brings them.
const BATCHES: usize = 4;
const LOOK: Duration = Duration::from_millis(50);
/// No task of a run may take this long without any progress of the run.
const STALLED: Duration = Duration::from_secs(60);

/// Whether anything still happens.
struct Moving {
    since: Instant,
    last: (u64, u64),
}

impl Default for Moving {
    fn default() -> Self {
        Self { since: Instant::now(), last: (0, 0) }
    }
}

impl Moving {
    /// What is counted now; whether that has been the same for too long.
    fn has_stopped(&mut self, now: (u64, u64)) -> bool {
        if now != self.last {
            *self = Self { since: Instant::now(), last: now };
        }
        self.since.elapsed() > STALLED
    }
}

/// Who asks AWS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Whoever puts tasks.
    Client,
    /// The stream Lambda.
    Dispatcher,
    /// The worker's process.
    Worker,
}

/// A running system without workers.
pub struct Rig {
    /// Tables, queues and lease.
    pub deployment: Deployment,
    endpoint: String,
    meters: Option<[Meter; 3]>,
    dispatcher: Arc<Dispatcher>,
    client: Aws,
    /// Looks without being counted.
    observer: Aws,
    pump: StreamPump,
    _failed: mpsc::Receiver<FailedBatch>,
    local: Option<LocalAws>,
}

struct DispatcherFunction(Arc<Dispatcher>);

#[async_trait]
impl StreamFunction for DispatcherFunction {
    async fn invoke(&self, event: Event) -> Result<DynamoDbEventResponse, InvokeError> {
        Ok(self.0.handle(event).await)
    }
}

impl Rig {
    /// Starts one on the embedded AWS, in memory; `counted` puts the counting addresses between.
    ///
    /// # Errors
    /// It does not start.
    pub async fn embedded(counted: bool) -> Result<Self> {
        Self::start(counted, true).await
    }

    /// Starts a counted one whose table has no stream: what is put is handed to the dispatcher by
    /// [`Rig::put_and_send`]. The embedded DynamoDB writes to a stream the slower the longer it is, so that with
    /// many tasks nothing else would be waited for.
    ///
    /// # Errors
    /// It does not start.
    pub async fn for_many_tasks() -> Result<Self> {
        let rig = Self::start(true, false).await?;
        let off = StreamSpecification::builder().stream_enabled(false).build()?;
        let client = aws_sdk_dynamodb::Client::new(&sdk_config(&rig.endpoint));
        let table = client.update_table().table_name(&rig.deployment.tasks_table);
        table.stream_specification(off).send().await.context("the stream cannot be turned off")?;
        Ok(rig)
    }

    async fn start(counted: bool, announced: bool) -> Result<Self> {
        let options = LocalOptions { data_dir: None, port: 0, prefix: "bench".to_owned() };
        let local = LocalAws::start(options).await.context("the embedded AWS")?;
        let targets = vec!["default/*".parse()?];
        let deployment = schema::deployment(local.names(), local.queues(), targets, Lease::default());
        Self::on(local.endpoint(), deployment, Some(local), counted, announced).await
    }

    /// Starts one on a running emulator, with tables and queues of its own there.
    ///
    /// # Errors
    /// The emulator does not answer, or refuses the tables and queues.
    pub async fn emulator(endpoint: &str) -> Result<Self> {
        let config = sdk_config(endpoint);
        let names = Names::with_prefix("bench");
        let (dynamodb, sqs) = (aws_sdk_dynamodb::Client::new(&config), aws_sdk_sqs::Client::new(&config));
        let queues = schema::create(&dynamodb, &sqs, &names).await?;
        let deployment = schema::deployment(&names, &queues, vec!["default/*".parse()?], Lease::default());
        Self::on(endpoint.to_owned(), deployment, None, false, false).await
    }

    async fn on(
        endpoint: String,
        deployment: Deployment,
        local: Option<LocalAws>,
        counted: bool,
        announced: bool,
    ) -> Result<Self> {
        let meters = match counted {
            true => Some([
                Meter::start(&endpoint).await?,
                Meter::start(&endpoint).await?,
                Meter::start(&endpoint).await?,
            ]),
            false => None,
        };
        let config = |role: Role| -> SdkConfig {
            sdk_config(&meters.as_ref().map_or(endpoint.clone(), |all| all[role as usize].endpoint()))
        };
        let client = Aws::new(&config(Role::Client), &deployment);
        let dispatching = Aws::new(&config(Role::Dispatcher), &deployment);
        let dispatcher = Arc::new(Dispatcher::new(dispatching, deployment.clone(), Clock::system()));
        let source = Source {
            streams: aws_sdk_dynamodbstreams::Client::new(&sdk_config(&endpoint)),
            table: deployment.tasks_table.clone(),
            start: StartingPosition::Latest,
            writes: local.as_ref().filter(|_| announced).map(LocalAws::writes),
        };
        let (sender, failed) = mpsc::channel(64);
        let function = Arc::new(DispatcherFunction(Arc::clone(&dispatcher)));
        let pump = StreamPump::start(source, system::mapping_rules()?, function, sender).await?;
        let observer = Aws::new(&sdk_config(&endpoint), &deployment);
        Ok(Self { deployment, endpoint, meters, dispatcher, client, observer, pump, _failed: failed, local })
    }

    /// The address to give to `role`.
    pub fn endpoint(&self, role: Role) -> String {
        self.meters.as_ref().map_or(self.endpoint.clone(), |all| all[role as usize].endpoint())
    }

    /// What `role` has asked so far; nothing where it is not counted.
    pub fn tally(&self, role: Role) -> Tally {
        self.meters.as_ref().map(|all| all[role as usize].tally()).unwrap_or_default()
    }

    /// What all three have asked so far.
    pub fn tally_of_all(&self) -> Tally {
        let all = [Role::Client, Role::Dispatcher, Role::Worker];
        all.into_iter().fold(Tally::default(), |sum, role| sum.with(&self.tally(role)))
    }

    /// Calls of the dispatcher so far.
    pub fn dispatcher_calls(&self) -> u64 {
        self.dispatcher.tally().invocations.load(Ordering::Relaxed)
    }

    /// Looks at AWS without being counted.
    pub fn observer(&self) -> &Aws {
        &self.observer
    }

    /// Puts as a client does, counted.
    pub fn client(&self) -> &Aws {
        &self.client
    }

    /// Puts tasks as a client does.
    ///
    /// # Errors
    /// A put fails, or an id is taken.
    pub async fn put(&self, tasks: Vec<Task>) -> Result<()> {
        stream::iter(tasks.into_iter().map(Ok))
            .try_for_each_concurrent(PUTS, |task| async move {
                ensure!(self.client.tasks.put_new(&task).await?, "the id {} is taken", task.id);
                Ok(())
            })
            .await
    }

    /// Puts tasks as a client does, and calls the dispatcher with the records that a stream would have, a
    /// hundred a call.
    ///
    /// # Errors
    /// As [`Rig::put`]; or the dispatcher fails for a record.
    pub async fn put_and_send(&self, tasks: Vec<Task>) -> Result<()> {
        // The dispatcher's calls come one after the other, as a shard's do.
        stream::iter(tasks.chunks(BATCH))
            .map(|batch| async move { self.put(batch.to_vec()).await.map(|()| batch) })
            .buffered(BATCHES)
            .try_for_each(|batch| async move {
                let records = batch.iter().enumerate().map(|(number, task)| records::inserted(number, task));
                let records = json!({"Records": records.collect::<Result<Vec<_>>>()?});
                let answer = self.dispatcher.handle(serde_json::from_value(records)?).await;
                ensure!(answer.batch_item_failures.is_empty(), "the dispatcher failed for some records");
                Ok(())
            })
            .await
    }

    /// Messages that can be received, are in somebody's hands, or wait.
    ///
    /// # Errors
    /// A queue does not answer.
    pub async fn messages(&self) -> Result<u64> {
        let queues = self
            .deployment
            .pools
            .iter()
            .flat_map(|pool| Lane::ALL.map(|lane| pool.queues.url(lane).to_owned()));
        let depths: Vec<_> = stream::iter(queues)
            .then(|url| async move { self.observer.queues.depth(&url).await })
            .try_collect()
            .await?;
        Ok(depths.iter().map(|depth| depth.visible + depth.in_flight + depth.delayed).sum())
    }

    /// Waits until `count` tasks whose ids begin with `prefix` have ended and no message is left; gives their
    /// records' times.
    ///
    /// # Errors
    /// A task did not complete, or nothing moves any more.
    pub async fn ended(&self, prefix: &str, count: usize, worker: &mut WorkerProcess) -> Result<Vec<Ended>> {
        let mut moving = Moving::default();
        loop {
            let messages = self.look(&mut moving, worker).await.with_context(|| prefix.to_owned())?;
            if messages == 0 {
                let ended = records::ended(&self.endpoint, &self.deployment.tasks_table, prefix).await?;
                if ended.len() == count {
                    return Ok(ended);
                }
            }
            tokio::time::sleep(if messages == 0 { LOOK * 2 } else { LOOK }).await;
        }
    }

    /// Waits until no more than `count` messages are left; gives how many.
    ///
    /// # Errors
    /// Nothing moves any more.
    pub async fn at_most(&self, count: usize, worker: &mut WorkerProcess) -> Result<usize> {
        let mut moving = Moving::default();
        loop {
            let messages = usize::try_from(self.look(&mut moving, worker).await?)?;
            if messages <= count {
                return Ok(messages);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// How many messages are left, while something moves.
    async fn look(&self, moving: &mut Moving, worker: &mut WorkerProcess) -> Result<u64> {
        worker.lives()?;
        let sent = self.dispatcher.tally().sent.load(Ordering::Relaxed);
        let messages = self.messages().await?;
        if moving.has_stopped((sent, messages)) {
            bail!("nothing has moved for {STALLED:?}; {messages} messages left\n{}", worker.last_words());
        }
        Ok(messages)
    }

    /// Stops everything.
    pub async fn shutdown(self) {
        self.pump.shutdown().await;
        if let Some(local) = self.local {
            local.shutdown().await;
        }
    }
}
