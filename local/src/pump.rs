//! The stream pump: calls a function for the records of a DynamoDB stream by the rules of a Lambda event
//! source mapping, on one machine where there is no Lambda. No emulator was found that follows these rules
//! (finite retries, bisect, partial batch answers, failure destination), so tests of them run here.
//!
//! Pure inside ([`filter`], [`replay`]), effects at the edge.

pub mod filter;
pub mod function;
pub mod replay;
pub mod rules;

mod lane;
mod reader;
mod record;
mod shards;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodbstreams::Client;
use thiserror::Error;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

/// The SDK whose client [`Source`] takes.
pub use aws_sdk_dynamodbstreams;
pub use filter::{FilterError, FilterPattern};
pub use function::{FailedBatch, GiveUpReason, InvokeError, PumpStats, StreamFunction};
pub use rules::{MappingRules, StartingPosition};

use lane::Mapping;
use reader::ShardReader;
use shards::{Progress, Shard};

/// How often new shards are looked for while none has ended.
const DISCOVERY: Duration = Duration::from_secs(30);

/// The stream's API refused a call.
#[derive(Debug, Error)]
#[error("{call}: {reason}")]
pub struct PumpError {
    call: &'static str,
    reason: String,
}

impl PumpError {
    fn new(call: &'static str, reason: impl ToString) -> Self {
        Self { call, reason: reason.to_string() }
    }
}

/// What to read.
#[derive(Debug, Clone)]
pub struct Source {
    /// A client of the endpoint that has the stream.
    pub streams: Client,
    /// The table.
    pub table: String,
    /// Where to begin.
    pub start: StartingPosition,
    /// Announces writes, so that they are read at once; see [`crate::LocalAws::writes`].
    pub writes: Option<watch::Receiver<u64>>,
}

/// A running pump. Dropping it stops it in the middle; [`StreamPump::shutdown`] lets a running call finish.
#[derive(Debug)]
pub struct StreamPump {
    stats: Arc<PumpStats>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl StreamPump {
    /// Takes its place in the stream and begins. A write after this returned is seen, wherever it begins.
    ///
    /// What the function did not manage is sent to `failures`; while that channel is full the pump waits.
    ///
    /// # Errors
    /// The table has no stream, or its API does not answer. Once begun, the pump never ends by an error.
    pub async fn start(
        source: Source,
        rules: MappingRules,
        function: Arc<dyn StreamFunction>,
        failures: mpsc::Sender<FailedBatch>,
    ) -> Result<Self, PumpError> {
        let stream = shards::stream_of(&source.streams, &source.table).await?;
        let stats = Arc::<PumpStats>::default();
        let stop = CancellationToken::new();
        let mapping = Mapping {
            rules: Arc::new(rules),
            function,
            failures,
            stats: stats.clone(),
            writes: source.writes,
            stop: stop.clone(),
        };
        let mut pump = Coordinator {
            client: source.streams,
            stream,
            mapping,
            begun: HashMap::new(),
            lanes: JoinSet::new(),
        };
        pump.begin(source.start).await?;
        let task = tokio::spawn(pump.run());
        Ok(Self { stats, stop, task })
    }

    /// The counters.
    pub fn stats(&self) -> Arc<PumpStats> {
        self.stats.clone()
    }

    /// Stops after the running call of the function.
    pub async fn shutdown(mut self) {
        self.stop.cancel();
        if let Err(error) = (&mut self.task).await {
            tracing::error!(%error, "the pump failed");
        }
    }
}

impl Drop for StreamPump {
    fn drop(&mut self) {
        self.stop.cancel();
        self.task.abort();
    }
}

/// Begins a lane for every shard in its turn.
struct Coordinator {
    client: Client,
    stream: String,
    mapping: Mapping,
    begun: HashMap<String, Progress>,
    lanes: JoinSet<String>,
}

impl Coordinator {
    /// The first look at the stream.
    async fn begin(&mut self, start: StartingPosition) -> Result<(), PumpError> {
        let listed = shards::list(&self.client, &self.stream).await?;
        let first: Vec<&Shard> = match start {
            // At their ends all shards are equally new, and none has to wait for its parent.
            StartingPosition::Latest => listed.iter().collect(),
            StartingPosition::TrimHorizon => shards::due(&listed, &self.begun),
        };
        for shard in first {
            self.open(&shard.id, start).await?;
        }
        Ok(())
    }

    async fn open(&mut self, shard: &str, start: StartingPosition) -> Result<(), PumpError> {
        let client = self.client.clone();
        let reader = ShardReader::open(client, &self.stream, shard, start).await?;
        self.begun.insert(shard.to_owned(), Progress::Reading);
        self.lanes.spawn(self.mapping.clone().pump(reader));
        Ok(())
    }

    async fn run(mut self) {
        let stop = self.mapping.stop.clone();
        while !stop.is_cancelled() {
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(DISCOVERY) => {}
                Some(ended) = self.lanes.join_next() => match ended {
                    Ok(shard) => {
                        self.begun.insert(shard, Progress::Done);
                    }
                    Err(error) => tracing::error!(%error, "a shard's task failed"),
                },
            }
            if let Err(error) = self.discover().await {
                tracing::warn!(%error, "cannot look for new shards; will look again");
            }
        }
        while self.lanes.join_next().await.is_some() {}
    }

    /// Shards that appeared later are read from their beginning.
    async fn discover(&mut self) -> Result<(), PumpError> {
        let listed = shards::list(&self.client, &self.stream).await?;
        self.begun.retain(|id, _| listed.iter().any(|shard| shard.id == *id));
        for shard in shards::due(&listed, &self.begun) {
            self.open(&shard.id, StartingPosition::TrimHorizon).await?;
        }
        Ok(())
    }
}
