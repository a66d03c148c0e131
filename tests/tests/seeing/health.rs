//! `/healthz` and `/readyz` of workers that are well, cut off, stuck, or about to end.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use serde_json::json;
use stageline::Clock;
use stageline_tests::faults::{Fault, FaultyHttp, Plan};
use stageline_tests::system::{Stack, eventually, id};
use stageline_worker::Config;

use crate::http::get;

fn seen(config: Config) -> Config {
    Config { metrics_address: Some("127.0.0.1:0".to_owned()), ..config }
}

/// Waits until a path answers so; gives the body.
async fn answers(address: SocketAddr, path: &str, status: u16) -> Result<String> {
    eventually(&format!("{path} answers {status}"), || async {
        let (now, body) = get(address, path).await?;
        Ok((now == status).then_some(body))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_cut_off_is_unhealthy_until_it_beats_again() -> Result<()> {
    let stack = Stack::embedded_with_lease(3).await?;
    let (sdk, control) = FaultyHttp::wrap(&stack.config, Plan::none())?;
    let worker = stack.worker_through(seen(stack.worker_config(1)), &sdk, Clock::system())?;
    let address = worker.metrics.context("an address")?;
    answers(address, "/readyz", 200).await?;
    assert_eq!(get(address, "/healthz").await?, (200, "ok\n".to_owned()));
    control.hold();
    let why = answers(address, "/healthz", 503).await?;
    assert!(why.contains("heartbeat"), "{why}");
    assert_eq!(get(address, "/readyz").await?.0, 503);
    let (_, metrics) = get(address, "/metrics").await?;
    assert!(metrics.contains("\nstageline_unhealthy 1\n") && metrics.contains("\nstageline_fenced 1\n"));
    control.release();
    answers(address, "/healthz", 200).await?;
    answers(address, "/readyz", 200).await?;
    assert_eq!(get(address, "/nothing").await?.0, 404);
    worker.drained().await?;
    stack.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_drains_is_healthy_and_not_ready() -> Result<()> {
    let stack = Stack::embedded().await?;
    let config = Config { drain_grace_seconds: 600, ..stack.worker_config(1) };
    let worker = stack.worker(seen(config))?;
    let address = worker.metrics.context("an address")?;
    let folder = tempfile::tempdir()?;
    let go = folder.path().join("go");
    let command = format!("sh -c 'until test -e {}; do sleep 0.05; done'", go.display());
    let task = stack.put(&json!({"id": id("long"), "command": command})).await?;
    stack.until(&task, |task| task.status == stageline::task::Status::Running).await?;
    assert_eq!(get(address, "/readyz").await?.0, 200, "a busy worker is ready");
    worker.drain.cancel();
    let why = answers(address, "/readyz", 503).await?;
    assert!(why.contains("drains"), "{why}");
    assert_eq!(get(address, "/healthz").await?.0, 200);
    std::fs::write(go, "")?;
    worker.ended().await?;
    stack.completed(&task).await?;
    stack.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_wait_while_no_poll_is_answered_make_a_worker_unhealthy_and_end_it() -> Result<()> {
    let stack = Stack::embedded().await?;
    let an_hour = std::time::Duration::from_secs(3_600);
    let no_polls = Plan::always(Fault::Slow(an_hour)).only("ReceiveMessage");
    let (sdk, _control) = FaultyHttp::wrap(&stack.config, no_polls)?;
    let config = Config { watchdog_seconds: 4, ..stack.worker_config(1) };
    let worker = stack.worker_through(seen(config), &sdk, Clock::system())?;
    let address = worker.metrics.context("an address")?;
    answers(address, "/readyz", 200).await?;
    let task = stack.put(&json!({"id": id("waits"), "command": "true"})).await?;
    let why = answers(address, "/healthz", 503).await?;
    assert!(why.contains("1 messages wait"), "{why}");
    assert_eq!(get(address, "/readyz").await?.0, 503);
    // Nobody restarts it, so it makes room itself, and says why.
    let why = worker.ended().await.err().context("it ends as a failure")?.to_string();
    assert!(why.contains("1 messages wait"), "{why}");
    // A new process does better.
    let worker = stack.worker(stack.worker_config(1))?;
    stack.completed(&task).await?;
    worker.drained().await?;
    stack.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_queues_without_a_message_are_no_reason_to_end() -> Result<()> {
    let stack = Stack::embedded().await?;
    let an_hour = std::time::Duration::from_secs(3_600);
    let no_polls = Plan::always(Fault::Slow(an_hour)).only("ReceiveMessage");
    let (sdk, _control) = FaultyHttp::wrap(&stack.config, no_polls)?;
    let config = Config { watchdog_seconds: 1, ..stack.worker_config(1) };
    let worker = stack.worker_through(seen(config), &sdk, Clock::system())?;
    let address = worker.metrics.context("an address")?;
    // Four looks a second at three queues, from the first second on: twice as many as giving up takes.
    let looks = r#"stageline_aws_calls_total{operation="GetQueueAttributes",outcome="ok"} "#;
    eventually("the queues' depth is asked for often enough", || async {
        let (_, metrics) = get(address, "/metrics").await?;
        let count = metrics.lines().find_map(|line| line.strip_prefix(looks)?.parse::<u64>().ok());
        Ok((count >= Some(3 * 8)).then_some(()))
    })
    .await?;
    assert_eq!(get(address, "/healthz").await?.0, 200);
    worker.drained().await?;
    stack.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_cannot_be_listened_on_is_named() -> Result<()> {
    let stack = Stack::embedded().await?;
    let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
    for (address, word) in
        [(taken.local_addr()?.to_string(), "another port"), ("9464".to_owned(), "IP address")]
    {
        let config = Config { metrics_address: Some(address.clone()), ..stack.worker_config(1) };
        let error = stack.worker(config).err().context("it does not start")?.to_string();
        assert!(
            error.contains("metrics_address") && error.contains(&address) && error.contains(word),
            "{error}"
        );
    }
    stack.shutdown().await;
    Ok(())
}
