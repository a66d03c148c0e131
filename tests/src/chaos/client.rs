//! What people and other programs do to the system: write tasks, pause and resume them, and empty queues.
//! Their own calls succeed.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};
use stageline::Clock;
use stageline::aws::Request;
use stageline::protocol::pools::Queues;
use tokio::time::{Instant, sleep, sleep_until};

use super::witness::LAST;
use super::workload::{Kind, Planned};
use crate::parts::Parts;

/// Writes of tasks at once.
const WRITES_AT_ONCE: usize = 64;

/// Writes each task at its time, and pauses and resumes those that are meant for it.
pub(super) async fn submit(
    parts: &Parts,
    tasks: &[Planned],
    begin: Instant,
    program: &Path,
    effects: &Path,
) -> Result<()> {
    let dynamodb = aws_sdk_dynamodb::Client::new(&parts.local.sdk_config());
    let aws = parts.aws();
    let each = stream::iter(tasks).map(|task| {
        let (dynamodb, aws) = (&dynamodb, &aws);
        async move {
            sleep_until(begin + task.at).await;
            put(parts, dynamodb, &task.record(program, effects)).await?;
            let Kind::Paused(pause, resume) = task.kind else { return Ok(()) };
            let id = task.id.parse()?;
            for (wait, request) in [(pause, Request::Pause), (resume, Request::Resume)] {
                sleep(wait).await;
                // Refused when the task has ended by itself, which is as good.
                let _answer = aws.tasks.ask(&id, request, Clock::system().now()).await?;
            }
            anyhow::Ok(())
        }
    });
    each.buffer_unordered(WRITES_AT_ONCE).try_collect::<()>().await
}

/// Writes the record that tells the witness that there is nothing more. It is nobody's task.
pub(super) async fn put_last(parts: &Parts) -> Result<()> {
    let dynamodb = aws_sdk_dynamodb::Client::new(&parts.local.sdk_config());
    put(parts, &dynamodb, &json!({"id": LAST, "metadata": {"dispatch_mode": "local"}})).await
}

/// As a foreign client does: the JSON as it is, without any check.
async fn put(parts: &Parts, dynamodb: &aws_sdk_dynamodb::Client, record: &Value) -> Result<()> {
    let item = serde_dynamo::to_item(record)?;
    dynamodb.put_item().table_name(&parts.deployment.tasks_table).set_item(Some(item)).send().await?;
    Ok(())
}

/// Empties the queues at each of these times; how many messages were on them.
pub(super) async fn purge(parts: &Parts, begin: Instant, times: &[Duration]) -> Result<u64> {
    let sqs = aws_sdk_sqs::Client::new(&parts.local.sdk_config());
    let aws = parts.aws();
    let mut messages = 0;
    for time in times {
        sleep_until(begin + *time).await;
        for Queues { high, normal, low, .. } in parts.deployment.pools.iter().map(|pool| pool.queues.clone())
        {
            for queue in [high, normal, low] {
                let depth = aws.queues.depth(&queue).await?;
                messages += depth.visible + depth.delayed + depth.in_flight;
                sqs.purge_queue().queue_url(&queue).send().await?;
            }
        }
    }
    Ok(messages)
}
