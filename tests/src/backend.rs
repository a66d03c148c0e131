//! The AWS that a test runs against: an embedded one of its own, or the endpoint in
//! `STAGELINE_TEST_ENDPOINT` (an emulator), where each test gets an account of its own.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use aws_config::SdkConfig;
use aws_sdk_dynamodb::config::{Credentials, SharedCredentialsProvider};
use stageline::aws::Deployment;
use stageline::protocol::lease::Lease;
use stageline_local::pump::aws_sdk_dynamodbstreams;
use stageline_local::{LocalAws, LocalOptions, Names, QueueUrls, schema, sdk_config};

/// The environment variable that names an external endpoint.
pub const ENDPOINT: &str = "STAGELINE_TEST_ENDPOINT";

/// A backend with the deployment's tables and queues, seen by one test alone.
#[derive(Debug)]
pub struct Backend {
    config: SdkConfig,
    names: Names,
    queues: QueueUrls,
    /// Runs as long as the test; none when the endpoint is an external one.
    _embedded: Option<LocalAws>,
}

impl Backend {
    /// Starts or enters a backend.
    ///
    /// # Errors
    /// The backend does not start, or refuses the tables and queues.
    pub async fn start() -> Result<Self> {
        match std::env::var(ENDPOINT) {
            Ok(endpoint) => Self::external(&endpoint).await,
            Err(_) => Self::embedded().await,
        }
    }

    async fn embedded() -> Result<Self> {
        let options = LocalOptions { data_dir: None, port: 0, prefix: "conf".to_owned() };
        let aws = LocalAws::start(options).await?;
        Ok(Self {
            config: aws.sdk_config(),
            names: aws.names().clone(),
            queues: aws.queues().clone(),
            _embedded: Some(aws),
        })
    }

    async fn external(endpoint: &str) -> Result<Self> {
        let account = account();
        // Emulators take a key id of twelve digits as the account.
        let credentials = Credentials::new(account.as_str(), "test", None, None, "test");
        let config = sdk_config(endpoint)
            .to_builder()
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .build();
        // An emulator without accounts still keeps the tests apart, by their names.
        let names = Names::with_prefix(&format!("conf-{account}"));
        let dynamodb = aws_sdk_dynamodb::Client::new(&config);
        let sqs = aws_sdk_sqs::Client::new(&config);
        let queues = schema::create(&dynamodb, &sqs, &names).await?;
        Ok(Self { config, names, queues, _embedded: None })
    }

    /// How any client reaches it.
    pub fn config(&self) -> &SdkConfig {
        &self.config
    }

    /// A DynamoDB client.
    pub fn dynamodb(&self) -> aws_sdk_dynamodb::Client {
        aws_sdk_dynamodb::Client::new(&self.config)
    }

    /// A DynamoDB Streams client.
    pub fn streams(&self) -> aws_sdk_dynamodbstreams::Client {
        aws_sdk_dynamodbstreams::Client::new(&self.config)
    }

    /// An SQS client.
    pub fn sqs(&self) -> aws_sdk_sqs::Client {
        aws_sdk_sqs::Client::new(&self.config)
    }

    /// The tables' and queues' names.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// The deployment that they are.
    ///
    /// # Errors
    /// Never, as the pattern of its pool is a good one.
    pub fn deployment(&self) -> Result<Deployment> {
        Ok(schema::deployment(&self.names, &self.queues, vec!["default/*".parse()?], Lease::default()))
    }

    /// The queues' URLs.
    pub fn queues(&self) -> &QueueUrls {
        &self.queues
    }
}

/// Twelve digits that no other test of this or another run has.
fn account() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let micros = u64::try_from(since_epoch.as_micros()).unwrap_or_default();
    let count = NEXT.fetch_add(1, Ordering::Relaxed);
    let process = u64::from(std::process::id());
    format!("1{:06}{:02}{:03}", micros % 1_000_000, process % 100, count % 1000)
}
