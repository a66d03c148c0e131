//! The artifact store: a folder or an S3 bucket to which attempts bring what they leave, and from which inputs
//! and checkpoints come.
//!
//! Nothing here decides what becomes of a task but [`keep`]; the others carry bytes. Keys hold task and
//! attempt, so that a worker that has lost its task overwrites nothing of its successor.

mod access;
mod address;
mod beneath;
mod checkpoint;
mod deadline;
mod fetch;
mod glob;
mod http;
mod inputs;
mod keep;
mod large;
mod log_parts;
mod params;
mod resume;
mod save;
mod upload;

use std::sync::Arc;

use aws_config::SdkConfig;
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, RetryConfig};
use stageline::task::TaskId;

pub use access::{ArtifactError, Artifacts, Log, read_reference};
pub(crate) use address::Address;
pub(crate) use inputs::{fetch_inputs, unless_ended};
pub(crate) use keep::keep;
pub(crate) use log_parts::LogParts;
pub(crate) use params::with_params;
pub(crate) use resume::{STAGING, earlier_checkpoint, forget_checkpoints};
pub(crate) use save::{Between, Saver};

/// How long the client itself tries again what failed in a way that may pass.
const CLIENT_PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);

/// Why bytes did not get where they should.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// The file on this machine.
    #[error("{0}")]
    Local(#[from] std::io::Error),
    /// The store.
    #[error("{0}")]
    Remote(#[from] object_store::Error),
    /// The store is silent.
    #[error("nothing came from the store for {0} s")]
    Silent(u64),
    /// More bytes than are wanted.
    #[error("it has more than {0} bytes")]
    TooLarge(u64),
    /// A name that no key can have.
    #[error("{0:?} cannot be the name of an object")]
    Name(String),
}

impl StoreError {
    /// Whether what was asked for is not there.
    pub fn is_absence(&self) -> bool {
        match self {
            Self::Local(error) => error.kind() == std::io::ErrorKind::NotFound,
            Self::Remote(error) => matches!(error, object_store::Error::NotFound { .. }),
            _ => false,
        }
    }
}

/// One bucket, or one folder, from some prefix on.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    objects: Arc<dyn ObjectStore>,
    /// The address of the empty key, without a slash at its end.
    base: String,
    /// Comes before each key.
    prefix: String,
}

impl Store {
    /// Opens what `address` names; its path is the prefix. A folder is made if it is not there.
    pub fn open(address: &Address, sdk: &SdkConfig) -> Result<Self, StoreError> {
        match address {
            Address::File(folder) => {
                std::fs::create_dir_all(folder)?;
                let folder = folder.canonicalize()?;
                let objects: Arc<dyn ObjectStore> = Arc::new(LocalFileSystem::new_with_prefix(&folder)?);
                Ok(Self { objects, base: format!("file://{}", folder.display()), prefix: String::new() })
            }
            Address::S3 { bucket, key } => {
                let objects: Arc<dyn ObjectStore> = Arc::new(s3(bucket, sdk)?);
                Ok(Self { objects, base: format!("s3://{bucket}"), prefix: key.trim_matches('/').to_owned() })
            }
        }
    }

    /// The key of `rest` below the prefix.
    pub fn key(&self, rest: &str) -> Result<Path, StoreError> {
        let text = if self.prefix.is_empty() { rest.to_owned() } else { format!("{}/{rest}", self.prefix) };
        Path::parse(&text).map_err(|_| StoreError::Name(text))
    }

    /// The address of a key.
    pub fn uri(&self, key: &Path) -> String {
        format!("{}/{key}", self.base)
    }
}

/// The task's part of every key: made safe as job folders are.
pub(crate) fn task_part(id: &TaskId) -> String {
    id.as_str().replace(':', "~")
}

fn s3(bucket: &str, sdk: &SdkConfig) -> Result<object_store::aws::AmazonS3, object_store::Error> {
    let region = sdk.region().map_or("us-east-1", |region| region.as_ref());
    let retry = RetryConfig { max_retries: 5, retry_timeout: CLIENT_PATIENCE, ..RetryConfig::default() };
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(bucket)
        .with_region(region)
        .with_retry(retry)
        .with_http_connector(http::Connector)
        .with_credentials(Arc::new(http::SdkCredentials::of(sdk)));
    let named = std::env::var("AWS_ENDPOINT_URL_S3").ok().or_else(|| sdk.endpoint_url().map(str::to_owned));
    if let Some(endpoint) = named {
        // An emulator: the bucket goes into the path, and only this machine is spoken to in the clear.
        let loopback = is_loopback(&endpoint);
        builder = builder
            .with_endpoint(endpoint)
            .with_virtual_hosted_style_request(false)
            .with_allow_http(loopback);
    }
    builder.build()
}

/// Whether an endpoint is on this machine.
fn is_loopback(endpoint: &str) -> bool {
    let Some(rest) = endpoint.strip_prefix("http://") else { return false };
    let host = rest.split('/').next().unwrap_or_default();
    let host = host.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok()).map_or(host, |(h, _)| h);
    matches!(host, "localhost" | "[::1]")
        || host.parse::<std::net::Ipv4Addr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_spoken_to_in_the_clear() {
        for yes in ["http://127.0.0.1:9000", "http://localhost", "http://[::1]:9000/", "http://127.1.2.3/x"] {
            assert!(is_loopback(yes), "{yes}");
        }
        for no in ["http://10.0.0.1:9000", "https://127.0.0.1", "http://localhost.evil.example", "http://"] {
            assert!(!is_loopback(no), "{no}");
        }
    }
}
