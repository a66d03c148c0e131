//! The SDK's configuration and clients, one way for every binary.

use std::sync::Arc;
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode};

use super::meter::Meter;
use super::{Deployment, StagesTable, SweepTable, TasksTable, WorkQueues, WorkersTable};
use crate::metrics::Registry;

const AMAZON_ROOTS: &[u8] = include_bytes!("amazon_roots.pem");

/// Loads region, credentials and endpoint the standard way (environment, profile, role).
///
/// The HTTP client runs on rustls with ring, which compiles in a fraction of the time of aws-lc and keeps
/// the Lambda small. The default region is `us-east-1`, so that an emulator needs no region.
pub async fn sdk_config() -> SdkConfig {
    sdk_config_trusting(TrustStore::default()).await
}

/// The same for a Lambda, which speaks to AWS and to nobody else: it trusts the roots of AWS alone. Reading all
/// of a system's certificates is more than half of what such a function's start costs. A bundle that the
/// environment names (`SSL_CERT_FILE`, `SSL_CERT_DIR`) is trusted instead.
pub async fn sdk_config_of_function() -> SdkConfig {
    let named = ["SSL_CERT_FILE", "SSL_CERT_DIR"].iter().any(|name| std::env::var_os(name).is_some());
    let trusted = match named {
        true => TrustStore::default(),
        false => TrustStore::empty().with_pem_certificate(AMAZON_ROOTS),
    };
    sdk_config_trusting(trusted).await
}

async fn sdk_config_trusting(trusted: TrustStore) -> SdkConfig {
    // It fails without a trust store only.
    let tls = TlsContext::builder().with_trust_store(trusted).build().unwrap_or_default();
    let http = aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .tls_context(tls)
        .build_https();
    // The longest answer is a long poll's, after 20 s; whatever is silent for longer is gone.
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(3))
        .read_timeout(Duration::from_secs(30))
        .build();
    let config = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http)
        .retry_config(RetryConfig::standard().with_max_attempts(4))
        .timeout_config(timeouts)
        .load()
        .await;
    match config.region() {
        Some(_) => config,
        None => config.into_builder().region(Region::new("us-east-1")).build(),
    }
}

/// The tables and queues of one deployment.
#[derive(Clone, Debug)]
pub struct Aws {
    /// What the clients were made from, for further ones.
    pub sdk: SdkConfig,
    /// The `tasks` table.
    pub tasks: TasksTable,
    /// The `stages` table.
    pub stages: StagesTable,
    /// The workers' part of the `control` table.
    pub workers: WorkersTable,
    /// The sweeper's part of the `control` table.
    pub sweep: SweepTable,
    /// The queues.
    pub queues: WorkQueues,
    /// What all of these have cost so far, and what else is counted beside it.
    pub meters: Arc<Registry>,
}

impl Aws {
    /// Clients for `deployment`.
    pub fn new(config: &SdkConfig, deployment: &Deployment) -> Self {
        let meters = Arc::new(Registry::default());
        let meter = Meter(Arc::clone(&meters));
        let dynamodb = aws_sdk_dynamodb::config::Builder::from(config).interceptor(meter.clone()).build();
        let dynamodb = aws_sdk_dynamodb::Client::from_conf(dynamodb);
        let sqs = aws_sdk_sqs::config::Builder::from(config).interceptor(meter).build();
        Self {
            sdk: config.clone(),
            tasks: TasksTable::new(
                dynamodb.clone(),
                deployment.tasks_table.clone(),
                deployment.account_index.clone(),
            ),
            stages: StagesTable::new(dynamodb.clone(), deployment.stages_table.clone()),
            workers: WorkersTable::new(dynamodb.clone(), deployment.control_table.clone()),
            sweep: SweepTable::new(dynamodb, deployment.control_table.clone()),
            queues: WorkQueues::new(aws_sdk_sqs::Client::from_conf(sqs)),
            meters,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_roots_of_aws_can_be_read_and_are_all_there() {
        let text = std::str::from_utf8(AMAZON_ROOTS).unwrap();
        assert_eq!(text.matches("-----BEGIN CERTIFICATE-----").count(), 5);
        let config = sdk_config_of_function().await;
        // They are read for the first connection, which nobody takes here.
        let config = config.into_builder().endpoint_url("https://127.0.0.1:1").build();
        let dynamodb = aws_sdk_dynamodb::config::Builder::from(&config)
            .retry_config(RetryConfig::disabled())
            .credentials_provider(aws_sdk_dynamodb::config::Credentials::new("a", "b", None, None, "test"))
            .build();
        let error = aws_sdk_dynamodb::Client::from_conf(dynamodb).list_tables().send().await.unwrap_err();
        assert!(format!("{error:?}").contains("refused"), "{error:?}");
    }
}
