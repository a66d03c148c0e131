//! What a record costs in the handler, beyond the SDK's own.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use aws_lambda_events::event::dynamodb::Event;
use aws_lambda_events::event::streams::DynamoDbEventResponse;
use futures::{StreamExt, stream};
use serde_json::json;
use stageline::Clock;
use stageline::aws::{Aws, Deployment};
use stageline::protocol::lease::Lease;
use stageline_dispatcher::Dispatcher;
use stageline_local::pump::{
    InvokeError, Source, StartingPosition, StreamFunction, StreamPump, aws_sdk_dynamodbstreams,
};
use stageline_local::{LocalAws, LocalOptions, schema, system};
use tokio::sync::mpsc;

use super::replay::{Prepared, Recorded, StubHttp};
use crate::procfs::thread_cpu_nanos;
use crate::records;
use crate::report::Figure;
use crate::scope::Scope;

const RECORDS: usize = 100;
const REPETITIONS: usize = 5;
/// As many calls at once as the handler makes.
const CALLS_AT_ONCE: usize = 16;

pub(super) async fn measure(scope: &Scope) -> Result<Vec<Figure>> {
    let (event, deployment) = recorded().await?;
    let rounds = scope.of(40, 200);
    // One thread and nothing else on it, as on Lambda, so that the thread's CPU time is the handler's.
    tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(timed(&event, &deployment, rounds))
    })
    .await?
}

/// CPU microseconds and wall seconds of a record.
struct Timed {
    cpu: f64,
    wall: f64,
}

async fn timed(event: &Event, deployment: &Deployment, rounds: usize) -> Result<Vec<Figure>> {
    let stub = StubHttp::default();
    let config = stub.config();
    let dispatcher = Dispatcher::new(Aws::new(&config, deployment), deployment.clone(), Clock::system());
    // The first batch also fills caches; its calls are what the SDK is measured with.
    stub.record(true);
    dispatcher.handle(event.clone()).await;
    let calls = stub.recorded();
    stub.record(false);
    ensure!(!calls.is_empty(), "the handler made no call");
    let (mut whole, mut sdk, mut own, mut rate) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..REPETITIONS {
        let events: Vec<_> = std::iter::repeat_n(event, rounds).cloned().collect();
        let handled = clocked(rounds, async {
            for event in events {
                let answer = dispatcher.handle(event).await;
                ensure!(answer.batch_item_failures.is_empty(), "the handler failed for some records");
            }
            Ok(())
        })
        .await?;
        let bare = bare_calls(&config, &calls, rounds).await?;
        whole.push(handled.cpu);
        sdk.push(bare.cpu);
        own.push((handled.cpu - bare.cpu).max(0.0));
        rate.push(1.0 / handled.wall);
    }
    Ok(vec![
        Figure::new("CPU a record beyond the SDK's own", "µs", own).at_most(20.0),
        Figure::new("CPU a record, handler and SDK", "µs", whole),
        Figure::new("CPU a record, the SDK's calls alone", "µs", sdk),
        Figure::new("records a second, AWS answering at once", "", rate),
    ])
}

/// What the SDK takes for the recorded calls, built before the clock runs.
async fn bare_calls(config: &aws_config::SdkConfig, calls: &[Recorded], rounds: usize) -> Result<Timed> {
    let dynamodb = aws_sdk_dynamodb::Client::new(config);
    let sqs = aws_sdk_sqs::Client::new(config);
    let mut batches = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        let batch = calls.iter().map(|call| Prepared::of(call, &dynamodb, &sqs));
        batches.push(batch.collect::<Result<Vec<_>>>()?);
    }
    clocked(rounds, async {
        for batch in batches {
            let answers = stream::iter(batch).map(Prepared::send).buffer_unordered(CALLS_AT_ONCE);
            answers.collect::<Vec<_>>().await.into_iter().collect::<Result<()>>()?;
        }
        Ok(())
    })
    .await
}

async fn clocked(rounds: usize, work: impl Future<Output = Result<()>>) -> Result<Timed> {
    let (begun, before) = (Instant::now(), thread_cpu_nanos()?);
    work.await?;
    let records = (rounds * RECORDS) as f64;
    let cpu = (thread_cpu_nanos()? - before) as f64 / 1e3 / records;
    Ok(Timed { cpu, wall: begun.elapsed().as_secs_f64() / records })
}

/// Keeps what the pump delivers.
#[derive(Default)]
struct Recorder(Mutex<Vec<aws_lambda_events::event::dynamodb::EventRecord>>);

#[async_trait::async_trait]
impl StreamFunction for Recorder {
    async fn invoke(&self, event: Event) -> Result<DynamoDbEventResponse, InvokeError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(event.records);
        Ok(DynamoDbEventResponse::default())
    }
}

/// A batch as the pump delivers it: tasks that a client has put.
async fn recorded() -> Result<(Event, Deployment)> {
    let options = LocalOptions { data_dir: None, port: 0, prefix: "bench".to_owned() };
    let local = LocalAws::start(options).await?;
    let deployment =
        schema::deployment(local.names(), local.queues(), vec!["default/*".parse()?], Lease::default());
    let recorder = Arc::<Recorder>::default();
    let source = Source {
        streams: aws_sdk_dynamodbstreams::Client::new(&local.sdk_config()),
        table: deployment.tasks_table.clone(),
        start: StartingPosition::Latest,
        writes: Some(local.writes()),
    };
    let (sender, _failed) = mpsc::channel(1);
    let function: Arc<dyn StreamFunction> = Arc::<Recorder>::clone(&recorder);
    let pump = StreamPump::start(source, system::mapping_rules()?, function, sender).await?;
    let aws = Aws::new(&local.sdk_config(), &deployment);
    for task in records::tasks("batch", RECORDS, &json!({"command": "/bin/true"}))? {
        ensure!(aws.tasks.put_new(&task).await?, "the id is taken");
    }
    let all = || recorder.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let complete = async {
        while all().len() < RECORDS {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), complete)
        .await
        .context("the stream is silent")?;
    pump.shutdown().await;
    let mut event = Event::default();
    event.records = all();
    local.shutdown().await;
    Ok((event, deployment))
}
