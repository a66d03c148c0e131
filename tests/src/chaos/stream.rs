//! The dispatcher behind a stream that loses, repeats and reorders, failing a third of the time itself and
//! in a third of its calls of AWS.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Result;
use stageline::Clock;
use stageline_local::pump::StreamPump;
use stageline_local::system::mapping_rules;
use tokio_util::task::AbortOnDropHandle;

use super::Options;
use crate::faults::{Control, Counts, Fault, FaultyFunction, FaultyHttp, Plan, StreamCounts, StreamPlan};
use crate::parts::{DispatcherFunction, Parts};

/// The stream's way to the dispatcher.
pub(super) struct Stream {
    pump: StreamPump,
    function: Arc<FaultyFunction>,
    control: Control,
    given_up: AbortOnDropHandle<()>,
    /// For ever.
    lost: bool,
    amid_faults: OnceLock<(StreamCounts, Counts)>,
}

/// What was done to it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Suffered {
    /// While things went wrong.
    pub stream: StreamCounts,
    /// While things went wrong.
    pub calls: Counts,
    /// Requests to AWS, all the time.
    pub requests: u64,
    /// Batches that the mapping gave up.
    pub given_up: u64,
}

impl Stream {
    /// Starts it with the rules of the template, and with faults.
    pub async fn start(parts: &Parts, options: &Options) -> Result<Self> {
        let lost = options.lost_stream;
        let plan = if lost { StreamPlan::drop_everything() } else { faulty(options.seed) };
        let (config, control) = FaultyHttp::wrap(&parts.local.sdk_config(), a_third(options.seed))?;
        let dispatcher = DispatcherFunction(parts.dispatcher(&config, Clock::system()));
        let function = Arc::new(FaultyFunction::new(Arc::new(dispatcher), plan));
        let (pump, mut failed) = parts.pump(mapping_rules()?, function.clone()).await?;
        // Nobody sends again what was given up: that is what the repair scan is for.
        let given_up = tokio::spawn(async move { while failed.recv().await.is_some() {} });
        let given_up = AbortOnDropHandle::new(given_up);
        Ok(Self { pump, function, control, given_up, lost, amid_faults: OnceLock::new() })
    }

    /// From now on it works, unless it is lost.
    pub fn heal(&self) {
        if self.lost {
            return;
        }
        self.amid_faults.get_or_init(|| (self.function.counts(), self.control.counts()));
        self.function.set_plan(StreamPlan::none());
        self.control.stop();
    }

    /// Ends it; what it suffered.
    pub async fn end(self) -> Suffered {
        let stats = self.pump.stats();
        self.pump.shutdown().await;
        drop(self.given_up);
        let all = self.control.counts();
        let (stream, calls) = self.amid_faults.into_inner().unwrap_or((self.function.counts(), all));
        Suffered {
            stream,
            calls,
            requests: all.passed + all.faults(),
            given_up: stats.failed_batches.load(Relaxed),
        }
    }
}

/// What the stream and the function do in a third of their calls.
fn faulty(seed: u64) -> StreamPlan {
    StreamPlan { seed, drop: 0.05, duplicate: 0.10, reorder: 0.30, fail: 0.28, panic: 0.05 }
}

fn a_third(seed: u64) -> Plan {
    Plan::seeded(seed)
        .with(0.11, Fault::Throttle)
        .with(0.08, Fault::ServerError)
        .with(0.06, Fault::LostAnswer)
        .with(0.05, Fault::Twice)
        .with(0.04, Fault::Slow(Duration::from_millis(100)))
}
