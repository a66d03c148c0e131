//! Traces, as a collector on this machine gets them.

use anyhow::{Context, Result};
use serde_json::json;
use stageline::Clock;
use stageline::aws::Aws;
use stageline::protocol::command::Command;
use stageline::task::Lane;
use stageline::trace::TraceContext;
use stageline_dispatcher::Dispatcher;
use stageline_tests::parts::Parts;
use stageline_tests::system::{RunningWorker, eventually, id, worker_config};
use stageline_worker::Worker;
use stageline_worker::child::Custody;

use crate::collector::{Collector, Span};
use crate::lambdas::batch;

const CLIENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

async fn one(collector: &Collector, name: &str) -> Result<Span> {
    eventually(name, || async { Ok(collector.named(name).into_iter().next()) }).await
}

/// A task that fails once: dispatched, claimed, run, dispatched again. Each part has a tracer of its own, as
/// processes have.
#[tokio::test(flavor = "multi_thread")]
async fn a_tasks_spans_are_one_trace_from_its_client_to_its_engine_and_its_second_attempt() -> Result<()> {
    let parts = Parts::start(stageline::protocol::lease::Lease::default()).await?;
    let collector = Collector::start().await?;
    let folder = tempfile::tempdir()?;
    let told = folder.path().join("told");
    let command = format!("sh -c 'echo $TRACEPARENT >> {}; test $STAGELINE_ATTEMPT = 2'", told.display());
    let task = id("traced");
    let record = json!({
        "id": task, "command": command, "traceparent": CLIENT, "status": "PENDING",
        "retry": {"strategy": "IMMEDIATE", "maxRetries": 1, "delaySeconds": 0},
    });
    let dispatcher = Dispatcher::new(parts.aws(), parts.deployment.clone(), Clock::system());
    let dispatcher = dispatcher.traced(collector.tracer("stageline-dispatcher")?);
    let (response, _) = dispatcher.handle_measured(batch(&parts, &[record]).await?).await;
    assert!(response.batch_item_failures.is_empty());

    let dispatched = one(&collector, "dispatch").await?;
    let client = TraceContext::parse(CLIENT).context("the client's")?;
    let trace = format!("{:032x}", client.trace);
    assert_eq!((&dispatched.trace, &dispatched.parent), (&trace, &format!("{:016x}", client.span)));
    assert_eq!(dispatched.service, "stageline-dispatcher");

    let aws = Aws::new(&parts.local.sdk_config(), &parts.deployment);
    let config = worker_config(folder.path(), 1);
    let worker = Worker::new(config, aws, &parts.deployment, Clock::system(), Custody::shared()?)?;
    let worker = RunningWorker::of(worker.traced(collector.tracer("stageline-worker")?));
    let first = eventually("the first attempt is over", || async {
        Ok(parts
            .aws()
            .tasks
            .get(&task.parse()?)
            .await?
            .filter(|task| task.attempt.0 == 1 && task.failures == Some(1)))
    })
    .await?;
    // The stream's next record of it; the message's trace is the record's again.
    let decided =
        stageline::protocol::dispatch::Triage::Send(Box::new(stageline::protocol::dispatch::Dispatch {
            pool: "default".to_owned(),
            queue_url: parts
                .deployment
                .pools
                .get("default")
                .context("pool")?
                .queues
                .url(Lane::Normal)
                .to_owned(),
            delay: std::time::Duration::ZERO,
            task: first,
        }));
    assert_eq!(dispatcher.repair(vec![decided]).await, Ok(()));
    let id = task.parse()?;
    eventually("it completes", || async {
        let task = parts.aws().tasks.get(&id).await?;
        Ok(task.filter(|task| task.status == stageline::task::Status::Completed))
    })
    .await?;
    worker.drained().await?;

    let attempts = collector.named("attempt");
    assert_eq!(attempts.len(), 2, "{attempts:#?}");
    let (first, second) = (&attempts[0], &attempts[1]);
    assert!(attempts.iter().all(|span| span.trace == trace && span.service == "stageline-worker"));
    assert_eq!((&first.parent, first.failed, second.failed), (&dispatched.id, true, false));
    assert_eq!(second.links, [format!("{trace}-{}", first.id)]);
    assert_eq!(first.attributes["stageline.outcome"], "retrying");
    for name in ["claim", "plan", "engine", "keep", "end"] {
        let steps = collector.named(name);
        let parents: Vec<_> = steps.iter().map(|span| (&span.trace, &span.parent)).collect();
        assert_eq!(parents, [(&trace, &first.id), (&trace, &second.id)], "{name}");
    }
    let engines = collector.named("engine");
    assert_eq!(collector.named("inputs")[0].parent, engines[0].id);
    let told = std::fs::read_to_string(told)?;
    let should: Vec<_> = engines.iter().map(|span| format!("00-{trace}-{}-01", span.id)).collect();
    assert_eq!(told.lines().collect::<Vec<_>>(), should, "what the processes were told");
    Ok(())
}

/// What an old dispatcher sends, and one without a collector.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_collector_a_clients_trace_is_handed_on_and_none_is_made_up() -> Result<()> {
    let parts = Parts::start(stageline::protocol::lease::Lease::default()).await?;
    let (with, without) = (id("with"), id("without"));
    let record = |id: &str| json!({"id": id, "command": "sh -c 'echo [$TRACEPARENT]'"});
    let mut traced = record(&with);
    traced["traceparent"] = json!(CLIENT);
    let mut spoilt = record(&without);
    spoilt["traceparent"] = json!("00-zz\",\"attempt\":9");
    let dispatcher = Dispatcher::new(parts.aws(), parts.deployment.clone(), Clock::system());
    dispatcher.handle(batch(&parts, &[traced, spoilt]).await?).await;
    let queues = &parts.deployment.pools.get("default").context("pool")?.queues;
    let seconds = std::time::Duration::from_secs;
    let mut sent = Vec::new();
    for message in parts.aws().queues.receive(queues.url(Lane::Normal), 10, seconds(0), seconds(0)).await? {
        let command = Command::from_body(&message.body)?;
        sent.push((command.task_id.to_string(), command.traceparent));
    }
    sent.sort();
    assert_eq!(sent, [(with.clone(), Some(CLIENT.to_owned())), (without.clone(), None)]);

    let folder = tempfile::tempdir()?;
    let config = worker_config(folder.path(), 2);
    let worker = RunningWorker::start(config, &parts.local.sdk_config(), &parts.deployment, Clock::system())?;
    for (id, printed) in [(with, format!("[{CLIENT}]\n")), (without, "[]\n".to_owned())] {
        let id = id.parse()?;
        let task = eventually("it ends", || async {
            Ok(parts.aws().tasks.get(&id).await?.filter(|task| task.status.is_terminal()))
        })
        .await?;
        assert_eq!(task.stdout, Some(printed), "{id}");
    }
    worker.drained().await
}
