//! The parts of a system, for tests that put them together by themselves: with faults between them, with
//! clocks of their own, and with workers that are processes.

use std::sync::Arc;

use anyhow::Result;
use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_lambda_events::event::dynamodb::Event;
use aws_lambda_events::event::streams::DynamoDbEventResponse;
use stageline::Clock;
use stageline::aws::{Aws, Deployment};
use stageline::protocol::lease::Lease;
use stageline_dispatcher::Dispatcher;
use stageline_local::pump::{
    FailedBatch, InvokeError, MappingRules, Source, StartingPosition, StreamFunction, StreamPump,
    aws_sdk_dynamodbstreams,
};
use stageline_local::{LocalAws, LocalOptions, schema};
use stageline_sweeper::Sweeper;
use tokio::sync::mpsc;

/// The embedded AWS, and nothing that works on it.
#[derive(Debug)]
pub struct Parts {
    /// The embedded AWS.
    pub local: LocalAws,
    /// Its names, its pool `default` and the lease.
    pub deployment: Deployment,
    /// For the work folders of workers.
    pub folder: tempfile::TempDir,
}

/// The dispatcher as a function of the stream.
pub struct DispatcherFunction(pub Dispatcher);

#[async_trait]
impl StreamFunction for DispatcherFunction {
    async fn invoke(&self, event: Event) -> Result<DynamoDbEventResponse, InvokeError> {
        Ok(self.0.handle(event).await)
    }
}

impl Parts {
    /// Starts the embedded AWS.
    ///
    /// # Errors
    /// It does not start.
    pub async fn start(lease: Lease) -> Result<Self> {
        let local =
            LocalAws::start(LocalOptions { data_dir: None, port: 0, prefix: "parts".to_owned() }).await?;
        let targets = vec!["default/*".parse()?];
        let deployment = schema::deployment(local.names(), local.queues(), targets, lease);
        Ok(Self { local, deployment, folder: tempfile::tempdir()? })
    }

    /// A client without faults.
    pub fn aws(&self) -> Aws {
        self.aws_through(&self.local.sdk_config())
    }

    /// A client through another configuration, such as a faulty one.
    pub fn aws_through(&self, config: &SdkConfig) -> Aws {
        Aws::new(config, &self.deployment)
    }

    /// A dispatcher that calls AWS through `config`.
    pub fn dispatcher(&self, config: &SdkConfig, clock: Clock) -> Dispatcher {
        Dispatcher::new(self.aws_through(config), self.deployment.clone(), clock)
    }

    /// A sweeper that calls AWS through `config`.
    pub fn sweeper(&self, config: &SdkConfig, clock: Clock) -> Sweeper {
        Sweeper::new(self.aws_through(config), self.deployment.clone(), clock)
    }

    /// Starts a pump with its own place in the stream of the tasks table. What it gives up is given to the
    /// receiver, and waited for while that is full.
    ///
    /// # Errors
    /// The stream cannot be read.
    pub async fn pump(
        &self,
        rules: MappingRules,
        function: Arc<dyn StreamFunction>,
    ) -> Result<(StreamPump, mpsc::Receiver<FailedBatch>)> {
        let source = Source {
            streams: aws_sdk_dynamodbstreams::Client::new(&self.local.sdk_config()),
            table: self.deployment.tasks_table.clone(),
            start: StartingPosition::Latest,
            writes: Some(self.local.writes()),
        };
        let (sender, failed) = mpsc::channel(1_024);
        Ok((StreamPump::start(source, rules, function, sender).await?, failed))
    }
}
