//! What the sweeper remembers of its workers, however many they are.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use aws_sdk_dynamodb::types::{AttributeValue, PutRequest, WriteRequest};
use serde_json::{Value, json};
use stageline::At;
use stageline::aws::Aws;
use stageline::protocol::lease::Lease;
use stageline::task::{Item, Status, WorkerId};
use stageline_sweeper::Limits;
use stageline_tests::faults::{Control, Fault, FaultyHttp, Plan};

use super::bench::{Bench, heartbeat, worker};

/// About that of a machine of EC2 and a process on it.
fn one_of_many(n: usize) -> Result<WorkerId> {
    Ok(format!("ip-10-0-{}-{}.eu-central-1.compute.internal:{n}:5f3a", n / 256, n % 256).parse()?)
}

/// Writes these workers' beats, many at once, and of each no more than the sweeper needs.
async fn beat_together(bench: &Bench, workers: &[WorkerId], at: At) -> Result<()> {
    for (n, some) in workers.chunks(25).enumerate() {
        let put = |worker: &WorkerId| -> Result<WriteRequest> {
            // Which of the partitions does not matter to who reads them all.
            let partition = format!("workers#{}", n % 8);
            let item = json!({"pk": partition, "sk": worker, "workerId": worker, "heartbeatAt": at});
            let item: Item = serde_dynamo::to_item(item)?;
            Ok(WriteRequest::builder()
                .put_request(PutRequest::builder().set_item(Some(item)).build()?)
                .build())
        };
        let requests = some.iter().map(put).collect::<Result<Vec<_>>>()?;
        let write = bench.backend.dynamodb().batch_write_item();
        write.request_items(&bench.deployment.control_table, requests).send().await?;
    }
    Ok(())
}

/// The items of the memory by their sort keys, as JSON.
async fn items(bench: &Bench) -> Result<BTreeMap<String, Value>> {
    let query = bench.backend.dynamodb().query().table_name(&bench.deployment.control_table);
    let query = query.key_condition_expression("pk = :pk");
    let query = query.expression_attribute_values(":pk", AttributeValue::S("sweeper".to_owned()));
    let found = query.into_paginator().items().send().collect::<Result<Vec<_>, _>>().await?;
    let named = found.into_iter().map(|item| -> Result<_> {
        let item: Value = serde_dynamo::from_item(item)?;
        Ok((item["sk"].as_str().context("sk")?.to_owned(), item))
    });
    named.collect()
}

/// The bench with its calls about the memory in a log.
async fn counted() -> Result<(Bench, Control)> {
    let mut bench = Bench::start().await?;
    let plan = Plan::none().containing("\"sweeper\"").containing(&bench.deployment.control_table);
    let (config, calls) = FaultyHttp::wrap(bench.backend.config(), plan)?;
    bench.aws = Aws::new(&config, &bench.deployment);
    Ok((bench, calls))
}

#[tokio::test]
async fn the_dead_among_ten_thousand_workers_are_found() -> Result<()> {
    let bench = Bench::start().await?;
    let many = (0..9_990).map(one_of_many).collect::<Result<Vec<_>>>()?;
    let dead = (0..10).map(|n| worker(&format!("dead-{n}"))).collect::<Result<Vec<_>>>()?;
    let mut held = Vec::new();
    for worker in &dead {
        let task = bench.running(&format!("of-{worker}"), worker, bench.at(0)).await?;
        bench.beat(&heartbeat(worker, bench.at(0))).await?;
        bench.register(worker, std::slice::from_ref(&task)).await?;
        held.push(task);
    }
    let limits = Limits::default();
    assert_eq!(bench.sweeper().sweep(limits).await.workers_alive, 10);
    bench.pass_time(20);
    beat_together(&bench, &many, bench.at(0)).await?;
    let report = bench.sweeper().sweep(limits).await;
    assert_eq!((report.workers_alive, report.workers_dead, report.errors), (10_000, 0, 0));
    let stored = items(&bench).await?;
    assert!(stored.len().is_power_of_two() && stored.len() > 1, "{}", stored.len());
    for (sort, item) in &stored {
        assert!(item.to_string().len() < 300_000, "{sort}: {} bytes", item.to_string().len());
    }
    // A lease after the first sweep, and not yet one after the second.
    bench.pass_time(15);
    let report = bench.sweeper().sweep(limits).await;
    assert_eq!((report.workers_alive, report.workers_dead, report.rescued), (9_990, 10, 10), "{report:?}");
    assert_eq!(report.errors, 0);
    for task in &held {
        assert_eq!(bench.status(task).await?, Status::Pending, "{task}");
    }
    Ok(())
}

#[tokio::test]
async fn an_idle_deployment_reads_its_memory_and_writes_none_of_it() -> Result<()> {
    let (bench, calls) = counted().await?;
    let alive = worker("alive")?;
    let mut told = 0;
    let mut asked = || {
        let log = calls.log();
        let new: Vec<_> = log[told..].iter().map(|call| call.operation.clone()).collect();
        told = log.len();
        new
    };
    // How large the table is, which is new.
    bench.sweeper().sweep(Limits::default()).await;
    assert_eq!(asked(), ["Query", "PutItem"]);
    for _ in 0..2 {
        bench.pass_time(60);
        assert_eq!(bench.sweeper().sweep(Limits::default()).await.errors, 0);
        assert_eq!(asked(), ["Query"]);
    }
    // One that beats costs what it always has.
    for _ in 0..2 {
        bench.pass_time(60);
        bench.beat(&heartbeat(&alive, bench.at(0))).await?;
        bench.sweeper().sweep(Limits::default()).await;
        assert_eq!(asked(), ["Query", "PutItem"]);
    }
    assert_eq!(items(&bench).await?.keys().collect::<Vec<_>>(), ["memory"]);
    Ok(())
}

#[tokio::test]
async fn the_one_item_of_an_older_version_is_gone_on_from() -> Result<()> {
    let bench = Bench::start().await?;
    let silent = worker("silent")?;
    bench.beat(&heartbeat(&silent, bench.at(0))).await?;
    let held = bench.running("held", &silent, bench.at(0)).await?;
    bench.register(&silent, std::slice::from_ref(&held)).await?;
    let seen = json!({silent.as_str(): {"beat": bench.at(0).to_string(), "since": bench.at(0).to_string()}});
    let cursor = json!({"id": "held"});
    let old = json!({"pk": "sweeper", "sk": "memory", "observations": seen, "cursor": cursor});
    let put = bench.backend.dynamodb().put_item().table_name(&bench.deployment.control_table);
    put.set_item(Some(serde_dynamo::to_item(old)?)).send().await?;
    bench.pass_time(30);
    let report = bench.sweeper().sweep(Limits::default()).await;
    assert_eq!(
        (report.workers_dead, report.rescued, report.errors),
        (1, 1, 0),
        "with the first sweep: {report:?}"
    );
    assert_eq!(report.scanned, 0, "the scan goes on behind its cursor");
    Ok(())
}

#[tokio::test]
async fn a_sweeper_that_dies_between_two_items_of_its_memory_forgets_nobody() -> Result<()> {
    let bench = Bench::start().await?;
    let (begin, lease) = (At::from_millis(1_000_000), Lease::default());
    let later = begin.plus(lease.length());
    let (few, all) = (1_000, 10_000);
    let grown = |memory: &mut stageline::aws::SweepMemory, workers| -> Result<()> {
        for n in 0..workers {
            memory.observations.observe(&one_of_many(n)?, "a beat", begin, lease);
        }
        Ok(())
    };
    let mut dies_at = 0;
    loop {
        // From one item to many, of which only so many are written.
        let mut memory = bench.aws.sweep.load().await?;
        memory.observations.retain(|_| false);
        grown(&mut memory, few)?;
        bench.aws.sweep.save(&memory).await?;
        assert_eq!(items(&bench).await?.len(), 1, "what is too much is deleted");
        let plan = Plan::always(Fault::Denied).only("PutItem").calls(dies_at..u64::MAX);
        let (config, _calls) = FaultyHttp::wrap(bench.backend.config(), plan)?;
        let dying = Aws::new(&config, &bench.deployment);
        let mut memory = dying.sweep.load().await?;
        grown(&mut memory, all)?;
        let saved = dying.sweep.save(&memory).await;
        let mut left = bench.aws.sweep.load().await?;
        for n in 0..few {
            assert!(left.observations.observe(&one_of_many(n)?, "a beat", later, lease), "{dies_at}: {n}");
        }
        if saved.is_ok() {
            break;
        }
        assert!(dies_at < 64, "it is never all written: {saved:?}");
        dies_at += 1;
    }
    assert!(dies_at > 1, "it was more than one item");
    Ok(())
}
