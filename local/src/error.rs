//! Why the embedded AWS could not start.

use std::path::PathBuf;

use thiserror::Error;

/// A failure to start the embedded AWS, or to lay out its tables and queues.
#[derive(Debug, Error)]
pub enum LocalError {
    /// Another process listens on the port.
    #[error("port {port} is already in use; choose another one")]
    PortInUse {
        /// The port that was asked for.
        port: u16,
    },
    /// The loopback interface refused a listener for another reason.
    #[error("cannot listen on 127.0.0.1:{port}: {reason}")]
    Listen {
        /// The port that was asked for.
        port: u16,
        /// The system's words.
        reason: String,
    },
    /// The data directory cannot be created or written.
    #[error("the data directory {} cannot be written: {reason}", path.display())]
    DirectoryNotWritable {
        /// The data directory.
        path: PathBuf,
        /// The system's words.
        reason: String,
    },
    /// Another process has the data directory open.
    #[error("the data directory {} is in use by another process", path.display())]
    DirectoryInUse {
        /// The data directory.
        path: PathBuf,
    },
    /// The embedded DynamoDB could not open its database.
    #[error("cannot open the database: {0}")]
    Database(String),
    /// A table or a queue could not be created.
    #[error(transparent)]
    Schema(#[from] crate::schema::SchemaError),
    /// The stream pump could not take its place.
    #[error("the stream pump: {0}")]
    Pump(#[from] crate::pump::PumpError),
    /// The mapping's filter cannot be read.
    #[error("infra/stream-filters.json: {0}")]
    Filter(String),
    /// A call to the embedded AWS failed.
    #[error(transparent)]
    Aws(#[from] stageline::aws::AwsError),
}
