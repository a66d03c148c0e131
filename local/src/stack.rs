//! The embedded AWS as one thing that starts and stops: DynamoDB with its streams (dynoxide), SQS, the
//! front door, and the deployment's tables and queues in them.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::config::{Credentials, SharedCredentialsProvider};
use axum::Router;
use axum::serve::ListenerExt as _;
use dynoxide::Database;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::data_dir::DataDir;
use crate::error::LocalError;
use crate::front::Front;
use crate::schema::{self, Names, QueueUrls};
use crate::server::Server;
use crate::sqs::{REGION, Sqs, SystemClock};

/// What to start.
#[derive(Debug, Clone)]
pub struct LocalOptions {
    /// Where the tables are kept (`dynamodb.sqlite`); none keeps them in memory.
    pub data_dir: Option<PathBuf>,
    /// The port of the one endpoint; 0 takes a free one.
    pub port: u16,
    /// The prefix of the names of tables and queues.
    pub prefix: String,
}

/// A running embedded AWS. Dropping it aborts it; [`LocalAws::shutdown`] lets requests finish.
#[derive(Debug)]
pub struct LocalAws {
    address: SocketAddr,
    dynamodb_address: SocketAddr,
    names: Names,
    queues: QueueUrls,
    writes: watch::Sender<u64>,
    front: Server,
    dynamodb: Server,
    /// Held so that no second process opens the same files.
    _data_dir: Option<DataDir>,
}

impl LocalAws {
    /// Starts everything and creates the tables and queues that are missing.
    ///
    /// # Errors
    /// See [`LocalError`]; whatever had been started by then is stopped again.
    pub async fn start(options: LocalOptions) -> Result<Self, LocalError> {
        let data_dir = options.data_dir.as_deref().map(DataDir::open).transpose()?;
        let database = open_database(data_dir.as_ref().map(DataDir::path)).await?;
        // The port that was asked for first: it is the one that may be taken.
        let front_listener = listen(options.port).await?;
        let dynamodb_listener = listen(0).await?;
        let address = local_address(&front_listener)?;
        let dynamodb_address = local_address(&dynamodb_listener)?;

        let dynamodb = Server::spawn("dynamodb", |stop| {
            let stopped = stop.cancelled_owned();
            dynoxide::server::serve_with_shutdown(dynamodb_listener, database, stopped)
        });
        let writes = watch::Sender::new(0);
        let front = Server::spawn("front door", |stop| {
            let sqs = Sqs::new(Arc::new(SystemClock::new()), stop.clone());
            let front = Front::new(address, sqs, dynamodb_address, writes.clone());
            serve(front_listener, front.router(), stop)
        });

        let config = sdk_config(&format!("http://{address}"));
        let names = Names::with_prefix(&options.prefix);
        let dynamodb_client = aws_sdk_dynamodb::Client::new(&config);
        let sqs_client = aws_sdk_sqs::Client::new(&config);
        let queues = schema::create(&dynamodb_client, &sqs_client, &names).await?;
        tracing::info!(endpoint = %address, "embedded AWS is ready");
        Ok(Self { address, dynamodb_address, names, queues, writes, front, dynamodb, _data_dir: data_dir })
    }

    /// The address of every service, for `AWS_ENDPOINT_URL`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// DynamoDB and its streams without the front door. Writes that go here wake nobody.
    pub fn dynamodb_endpoint(&self) -> String {
        format!("http://{}", self.dynamodb_address)
    }

    /// What a client needs to talk to this endpoint: its address, a region and credentials that nobody checks.
    pub fn sdk_config(&self) -> SdkConfig {
        sdk_config(&self.endpoint())
    }

    /// The names of the tables and queues.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// The URLs of the queues.
    pub fn queues(&self) -> &QueueUrls {
        &self.queues
    }

    /// Changes after every successful write through the front door: the pump reads the stream then.
    pub fn writes(&self) -> watch::Receiver<u64> {
        self.writes.subscribe()
    }

    /// Stops: waiting receives answer at once, other requests get a few seconds.
    pub async fn shutdown(self) {
        // The front door first, because requests in it still need DynamoDB behind it.
        self.front.stop().await;
        self.dynamodb.stop().await;
    }
}

async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) -> Result<(), String> {
    // Answers are small and latency is all that matters on loopback.
    let listener = listener.tap_io(|stream| {
        stream.set_nodelay(true).ok();
    });
    let served = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned());
    served.await.map_err(|error| error.to_string())
}

/// A configuration for a loopback endpoint, independent of the environment.
pub fn sdk_config(endpoint: &str) -> SdkConfig {
    let credentials = Credentials::new("local", "local", None, None, "stageline-local");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(endpoint)
        .region(Region::from_static(REGION))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build()
}

async fn open_database(directory: Option<&Path>) -> Result<Database, LocalError> {
    let path = directory.map(|directory| directory.join("dynamodb.sqlite"));
    // Opening may recover a journal after a crash, which takes its time.
    let opened = tokio::task::spawn_blocking(move || match path {
        Some(path) => Database::new(&path.to_string_lossy()),
        None => Database::memory(),
    });
    match opened.await {
        Ok(Ok(database)) => Ok(database),
        Ok(Err(error)) => Err(LocalError::Database(error.to_string())),
        Err(error) => Err(LocalError::Database(error.to_string())),
    }
}

async fn listen(port: u16) -> Result<TcpListener, LocalError> {
    let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await;
    bound.map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => LocalError::PortInUse { port },
        _ => LocalError::Listen { port, reason: error.to_string() },
    })
}

fn local_address(listener: &TcpListener) -> Result<SocketAddr, LocalError> {
    listener.local_addr().map_err(|error| LocalError::Listen { port: 0, reason: error.to_string() })
}
