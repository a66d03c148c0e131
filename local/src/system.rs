//! The deployed system without its workers, on one machine: the embedded AWS, the real dispatcher behind
//! the stream pump with the filter and the rules of the template, and the sweeper's rounds.

use std::sync::Arc;

use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_lambda_events::event::dynamodb::Event;
use aws_lambda_events::event::streams::DynamoDbEventResponse;
use stageline::Clock;
use stageline::aws::{Aws, Deployment};
use stageline::protocol::lease::Lease;
use stageline::task::TargetPattern;
use stageline_dispatcher::Dispatcher;
use stageline_sweeper::{Limits, Sweeper};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tracing::{debug, error};

use crate::pump::{
    FailedBatch, FilterPattern, InvokeError, MappingRules, Source, StartingPosition, StreamFunction,
    StreamPump,
};
use crate::restart::{Recovered, recover};
use crate::{LocalAws, LocalError, LocalOptions, schema};

/// The filter of the mapping in `infra/core.yaml` (a check holds the two together).
const FILTERS: &str = include_str!("../../infra/stream-filters.json");

/// What to start.
#[derive(Debug, Clone)]
pub struct SystemOptions {
    /// The embedded AWS.
    pub local: LocalOptions,
    /// The targets that the default pool takes.
    pub targets: Vec<TargetPattern>,
    /// The workers' lease.
    pub lease: Lease,
}

/// A running system.
pub struct System {
    local: LocalAws,
    pump: StreamPump,
    dispatcher: Arc<Dispatcher>,
    deployment: Deployment,
    recovered: Recovered,
    failures: JoinHandle<()>,
    sweeping: JoinHandle<()>,
}

struct DispatcherFunction(Arc<Dispatcher>);

#[async_trait]
impl StreamFunction for DispatcherFunction {
    async fn invoke(&self, event: Event) -> Result<DynamoDbEventResponse, InvokeError> {
        Ok(self.0.handle(event).await)
    }
}

impl System {
    /// Starts everything, and brings back what a former run left unfinished: its queues were in memory,
    /// and its workers are gone.
    ///
    /// # Errors
    /// See [`LocalError`].
    pub async fn start(options: SystemOptions) -> Result<Self, LocalError> {
        let local = LocalAws::start(options.local).await?;
        let deployment = schema::deployment(local.names(), local.queues(), options.targets, options.lease);
        let config = local.sdk_config();
        let aws = Aws::new(&config, &deployment);
        let clock = Clock::system();
        let dispatcher = Arc::new(Dispatcher::new(aws.clone(), deployment.clone(), clock.clone()));
        let source = Source {
            streams: aws_sdk_dynamodbstreams::Client::new(&config),
            table: deployment.tasks_table.clone(),
            start: StartingPosition::Latest,
            writes: Some(local.writes()),
        };
        let (sender, failed) = mpsc::channel(16);
        let function = Arc::new(DispatcherFunction(Arc::clone(&dispatcher)));
        let pump = StreamPump::start(source, mapping_rules()?, function, sender).await?;
        // After the pump has its place in the stream: what recovery writes is dispatched like any write.
        let sweeper = Sweeper::new(aws, deployment.clone(), clock);
        let recovered = recover(&sweeper).await;
        let failures = tokio::spawn(log_failures(failed));
        let sweeping = tokio::spawn(sweep(sweeper, deployment.lease));
        Ok(Self { local, pump, dispatcher, deployment, recovered, failures, sweeping })
    }

    /// The embedded AWS.
    pub fn local(&self) -> &LocalAws {
        &self.local
    }

    /// The names, pools and rules of this system.
    pub fn deployment(&self) -> &Deployment {
        &self.deployment
    }

    /// How clients reach it.
    pub fn sdk_config(&self) -> SdkConfig {
        self.local.sdk_config()
    }

    /// Its tables and queues.
    pub fn aws(&self) -> Aws {
        Aws::new(&self.sdk_config(), &self.deployment)
    }

    /// The dispatcher, with its counters.
    pub fn dispatcher(&self) -> &Dispatcher {
        &self.dispatcher
    }

    /// The pump's counters.
    pub fn pump_stats(&self) -> Arc<crate::pump::PumpStats> {
        self.pump.stats()
    }

    /// What was brought back at the start.
    pub fn recovered(&self) -> Recovered {
        self.recovered
    }

    /// Stops after running calls.
    pub async fn shutdown(self) {
        self.pump.shutdown().await;
        self.failures.abort();
        // Each of its writes is whole; what it had not come to is for the next start.
        self.sweeping.abort();
        self.local.shutdown().await;
    }
}

/// The mapping's settings in `infra/core.yaml`.
///
/// # Errors
/// The filter cannot be read, which a test excludes.
pub fn mapping_rules() -> Result<MappingRules, LocalError> {
    let patterns: Vec<serde_json::Value> =
        serde_json::from_str(FILTERS).map_err(|error| LocalError::Filter(error.to_string()))?;
    let filter = patterns
        .iter()
        .map(|pattern| pattern.to_string().parse::<FilterPattern>())
        .collect::<Result<_, _>>()
        .map_err(|error| LocalError::Filter(error.to_string()))?;
    Ok(MappingRules { batch_size: 100, max_retries: 5, bisect: true, filter, ..MappingRules::default() })
}

/// The sweeper's rounds: one a lease, where the template has one a minute.
async fn sweep(sweeper: Sweeper, lease: Lease) {
    loop {
        tokio::time::sleep(lease.length()).await;
        let report = sweeper.sweep(Limits::default()).await;
        debug!(?report, "swept");
    }
}

/// The failure destination: on AWS a queue, here the log. The records stay in the table.
async fn log_failures(mut failed: mpsc::Receiver<FailedBatch>) {
    while let Some(batch) = failed.recv().await {
        error!(
            from = batch.first_sequence,
            to = batch.last_sequence,
            attempts = batch.attempts,
            reason = ?batch.reason,
            "records given up by the stream; the sweeper brings their tasks back"
        );
    }
}
