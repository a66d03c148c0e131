//! The sweeper against the embedded AWS, with a clock of the test's making and with nothing that would do its
//! work before it: no stream pump and no worker.

#[path = "sweeper/bench.rs"]
mod bench;
#[path = "sweeper/index.rs"]
mod index;
#[path = "sweeper/memory.rs"]
mod memory;

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use bench::{Bench, heartbeat, worker};
use serde_json::{Value, json};
use stageline::aws::{Aws, Beaten, Heartbeat, Request, Signal, Write};
use stageline::protocol::due::due_key;
use stageline::protocol::pace::Pace;
use stageline::task::{Lane, Status, Task, TaskId};
use stageline_sweeper::{InstanceEvent, Limits, Pages};

#[tokio::test]
async fn tasks_without_a_stream_are_queued_by_one_whole_sweep() -> Result<()> {
    let bench = Bench::start().await?;
    let mut ids = Vec::new();
    for n in 0..200 {
        let mut task = Task::new(format!("t{n}").parse()?);
        (task.command, task.created_at) = (Some("true".to_owned()), Some(bench.at(0)));
        assert!(bench.aws.tasks.put_new(&task).await?);
        ids.push(task.id);
    }
    assert_eq!(bench.sweeper().sweep_all(false).await.sent_again, 0, "the stream has had no time yet");
    bench.pass_time(120);
    let report = bench.sweeper().sweep_all(false).await;
    assert_eq!((report.scanned, report.sent_again, report.errors), (200, 200, 0));
    assert!(report.pass_complete && report.read_units > 0.0);
    for id in &ids {
        assert_eq!(bench.status(id).await?, Status::Queued, "{id}");
    }
    assert_eq!(bench.depth(Lane::Normal).await?.visible, 200);
    let history = bench.task(&ids[0]).await?.history.context("history")?;
    assert_eq!(history.last().map(|entry| entry.by.as_str()), Some("sweeper"));
    Ok(())
}

#[tokio::test]
async fn after_the_loss_of_all_queues_even_fresh_tasks_are_sent_and_each_once() -> Result<()> {
    let bench = Bench::start().await?;
    let fresh = json!({"updatedAt": bench.at(-1), "queuedAt": bench.at(-1)});
    let queued = bench.put("queued", "QUEUED", fresh.clone()).await?;
    let pending = bench.put("pending", "PENDING", fresh.clone()).await?;
    let retrying = bench.put("retrying", "RETRYING", fresh).await?;
    let due = json!({"notBefore": bench.at(30), "dueKey": due_key(&"due".parse()?)});
    let due = bench.put("due", "SCHEDULED", due).await?;
    // Sent since: its message is on the new queue.
    let now = bench.put("now", "QUEUED", json!({"updatedAt": bench.at(0), "queuedAt": bench.at(0)})).await?;
    let report = bench.sweeper().sweep_all(true).await;
    assert_eq!((report.sent_again, report.due, report.errors), (3, 1, 0));
    for id in [&queued, &pending, &retrying, &due, &now] {
        assert_eq!(bench.status(id).await?, Status::Queued, "{id}");
    }
    let depth = bench.depth(Lane::Normal).await?;
    assert_eq!((depth.visible, depth.delayed), (3, 1));
    Ok(())
}

#[tokio::test]
async fn a_dead_workers_tasks_are_rescued_a_lease_after_its_last_beat_whatever_its_clock_says() -> Result<()>
{
    for skew in [-120, 0, 120] {
        let bench = Bench::start().await?;
        let (dead, alive) = (worker("dead")?, worker("alive")?);
        let started = bench.at(skew);
        let mut tasks = Vec::new();
        for n in 0..3 {
            tasks.push(bench.running(&format!("t{n}"), &dead, started).await?);
        }
        let cancelled = bench.running("cancelled", &dead, started).await?;
        let asked = bench.aws.tasks.ask(&cancelled, Request::Cancel, bench.at(0)).await?;
        assert_eq!(asked, Write::Applied);
        let other = bench.running("other", &alive, started).await?;
        bench.beat(&heartbeat(&dead, bench.at(skew))).await?;
        let listed: Vec<_> = tasks.iter().cloned().chain([cancelled.clone(), other.clone()]).collect();
        bench.register(&dead, &listed).await?;
        bench.register(&alive, std::slice::from_ref(&other)).await?;
        for (wait, rescued) in [(0, 0), (29, 0), (1, 4), (60, 0)] {
            bench.pass_time(wait);
            bench.beat(&heartbeat(&alive, bench.at(skew))).await?;
            let report = bench.sweeper().sweep(Limits::default()).await;
            assert_eq!(
                (report.rescued, report.errors),
                (rescued, 0),
                "skew {skew}, after {wait} s: {report:?}"
            );
            if rescued > 0 {
                for id in &tasks {
                    let task = bench.task(id).await?;
                    assert_eq!((task.status, task.interruptions), (Status::Pending, Some(1)));
                    assert_eq!((task.worker_node_id, task.failures), (None, None));
                }
            }
        }
        assert_eq!(bench.status(&cancelled).await?, Status::Cancelled);
        assert_eq!(bench.status(&other).await?, Status::Running, "the registry is no proof, the record is");
        assert!(!bench.aws.workers.all().await?.contains_key(&dead));
        assert!(bench.aws.workers.registered(&dead).await?.is_empty());
        let again = bench.aws.workers.beat(&heartbeat(&dead, bench.at(0)), &[], false).await?;
        assert!(matches!(again, Beaten::Gone), "it finds out if it lives after all");
    }
    Ok(())
}

#[tokio::test]
async fn a_dead_worker_with_more_tasks_than_a_call_may_rescue_stays_until_all_are_taken() -> Result<()> {
    let bench = Bench::start().await?;
    let dead = worker("dead")?;
    let mut tasks = Vec::new();
    for n in 0..5 {
        tasks.push(bench.running(&format!("t{n}"), &dead, bench.at(0)).await?);
    }
    bench.beat(&heartbeat(&dead, bench.at(0))).await?;
    bench.register(&dead, &tasks).await?;
    let limits = Limits { rescues: 2, scan_pages: Pages::Exactly(0), ..Limits::default() };
    bench.sweeper().sweep(limits).await;
    bench.pass_time(60);
    for (rescued, stays) in [(2, true), (2, true), (1, false)] {
        let report = bench.sweeper().sweep(limits).await;
        assert_eq!((report.rescued, report.workers_dead, report.errors), (rescued, 1, 0));
        assert_eq!(bench.aws.workers.all().await?.contains_key(&dead), stays);
    }
    Ok(())
}

#[tokio::test]
async fn the_scan_rescues_only_from_workers_that_cannot_have_the_task() -> Result<()> {
    let bench = Bench::start().await?;
    let (alive, gone) = (worker("alive")?, worker("gone")?);
    bench.beat(&heartbeat(&alive, bench.at(0))).await?;
    let under_nobody = bench.running("under-nobody", &gone, bench.at(-1)).await?;
    let listed = bench.running("listed", &alive, bench.at(-300)).await?;
    let forgotten = bench.running("forgotten", &alive, bench.at(-300)).await?;
    let young = bench.running("young", &alive, bench.at(-10)).await?;
    let asked = json!({
        "attempt": 1, "workerNodeId": alive, "startedAt": bench.at(-300), "pauseRequested": true, "history": [],
    });
    let asked = bench.put("asked", "RUNNING", asked).await?;
    bench.register(&alive, &[listed.clone(), asked.clone()]).await?;
    let report = bench.sweeper().sweep(Limits::default()).await;
    assert_eq!((report.rescued, report.signals, report.errors), (2, 1, 0), "{report:?}");
    for (id, status) in [
        (&under_nobody, Status::Pending),
        (&listed, Status::Running),
        (&forgotten, Status::Pending),
        (&young, Status::Running),
        (&asked, Status::Running),
    ] {
        assert_eq!(bench.status(id).await?, status, "{id}");
    }
    let signals = bench.beat(&heartbeat(&alive, bench.at(1))).await?;
    assert!(matches!(&signals[..], [Signal::Look { id, .. }] if *id == asked), "{signals:?}");
    Ok(())
}

#[tokio::test]
async fn a_heartbeat_of_an_older_version_is_a_living_workers() -> Result<()> {
    let bench = Bench::start().await?;
    let old = worker("old")?;
    bench.beat(&heartbeat(&old, bench.at(0))).await?;
    // What the oldest versions wrote, and nothing more.
    let table = &bench.deployment.control_table;
    let items = bench.backend.dynamodb().scan().table_name(table).send().await?.items.context("items")?;
    let mut item = items.into_iter().next().context("an item")?;
    item.retain(|name, _| ["pk", "sk", "workerId", "heartbeatAt"].contains(&name.as_str()));
    bench.backend.dynamodb().put_item().table_name(table).set_item(Some(item)).send().await?;
    let held = bench.running("held", &old, bench.at(-10)).await?;
    let report = bench.sweeper().sweep(Limits::default()).await;
    assert_eq!((report.workers_alive, report.workers_dead, report.rescued, report.errors), (1, 0, 0, 0));
    assert_eq!(bench.status(&held).await?, Status::Running);
    Ok(())
}

#[tokio::test]
async fn impossible_records_are_reported_and_left_as_they_are() -> Result<()> {
    let bench = Bench::start().await?;
    bench.put("no-state", "RUNING", json!({"attempt": 1})).await?;
    bench.put("no-worker", "RUNNING", json!({"attempt": 1})).await?;
    bench.put("no-claim", "RUNNING", json!({"attempt": 0, "workerNodeId": "w:1:a"})).await?;
    // Somebody else's, which says nothing that we would have to understand.
    let foreign = json!({"metadata": {"dispatch_mode": "local"}});
    bench.put("foreign", "RUNING", foreign).await?;
    let ids = ["no-claim", "no-state", "no-worker"];
    let mut before = Vec::new();
    for id in ids {
        before.push(bench.item(id).await?);
    }
    let report = bench.sweeper().sweep_all(false).await;
    let mut named: Vec<_> = report.impossible.iter().map(|impossible| impossible.id.as_str()).collect();
    named.sort_unstable();
    assert_eq!((named.as_slice(), report.impossible_count, report.errors), (ids.as_slice(), 3, 0));
    for (id, before) in ids.into_iter().zip(before) {
        assert_eq!(bench.item(id).await?, before, "{id}");
    }
    Ok(())
}

#[tokio::test]
async fn a_due_task_in_the_table_is_sent_with_the_rest_of_its_delay() -> Result<()> {
    let bench = Bench::start().await?;
    let waits = |id: &str, seconds: i64| -> Result<Value> {
        Ok(json!({"notBefore": bench.at(seconds), "dueKey": due_key(&id.parse()?)}))
    };
    let soon = bench.put("soon", "SCHEDULED", waits("soon", 90)?).await?;
    let over = bench.put("over", "RETRYING", waits("over", -5)?).await?;
    let later = bench.put("later", "SCHEDULED", waits("later", 3_600)?).await?;
    let mut cancelled = waits("cancelled", 60)?;
    cancelled["cancelRequested"] = json!(true);
    let cancelled = bench.put("cancelled", "SCHEDULED", cancelled).await?;
    let report = bench.sweeper().sweep(Limits::default()).await;
    assert_eq!((report.due, report.sent_again, report.errors), (3, 0, 0), "{report:?}");
    for (id, status) in [
        (&soon, Status::Queued),
        (&over, Status::Queued),
        (&later, Status::Scheduled),
        (&cancelled, Status::Cancelled),
    ] {
        assert_eq!(bench.status(id).await?, status, "{id}");
    }
    assert!(!bench.task(&soon).await?.waits_in_table(), "its message remembers it now");
    let depth = bench.depth(Lane::Normal).await?;
    assert_eq!((depth.visible, depth.delayed), (1, 1));
    Ok(())
}

#[tokio::test]
async fn a_queued_task_is_sent_again_only_when_its_message_is_gone() -> Result<()> {
    let bench = Bench::start().await?;
    let queue = bench.backend.queues().normal.clone();
    let on_empty = bench.put("low", "QUEUED", json!({"priority": "LOW"})).await?;
    let on_full = bench.put("normal", "QUEUED", json!({})).await?;
    bench.send(&queue, &on_full, 0).await?;
    let report = bench.sweeper().sweep(Limits::default()).await;
    assert_eq!((report.sent_again, report.errors), (1, 0));
    assert_eq!(bench.depth(Lane::Low).await?.visible, 1);
    assert_eq!(bench.depth(Lane::Normal).await?.visible, 1);
    for id in [&on_empty, &on_full] {
        assert_eq!(bench.status(id).await?, Status::Queued);
    }
    // Workers of the pool have received what was sent much later: the queue is not empty, and still the
    // message is gone.
    let mut beat = heartbeat(&worker("alive")?, bench.at(0));
    beat.received_until = BTreeMap::from([(Lane::Normal, bench.at(-3_000))]);
    bench.beat(&beat).await?;
    assert_eq!(bench.sweeper().sweep(Limits::default()).await.sent_again, 1);
    assert_eq!(bench.depth(Lane::Normal).await?.visible, 2);
    assert_eq!(bench.sweeper().sweep(Limits::default()).await.sent_again, 0, "it was sent just now");
    Ok(())
}

#[tokio::test]
async fn a_dead_letter_fails_its_task_once_and_others_are_dropped() -> Result<()> {
    let bench = Bench::start().await?;
    let dead = bench.backend.queues().dead.clone();
    let poison = bench.put("poison", "QUEUED", json!({"attempt": 1})).await?;
    let further = bench.put("further", "QUEUED", json!({"attempt": 2})).await?;
    let missing: TaskId = "missing".parse()?;
    for (id, attempt) in [(&poison, 1), (&poison, 1), (&further, 1), (&missing, 0)] {
        bench.send(&dead, id, attempt).await?;
    }
    let sqs = bench.backend.sqs();
    sqs.send_message().queue_url(&dead).message_body("no command").send().await?;
    let limits = Limits { scan_pages: Pages::Exactly(0), ..Limits::default() };
    let report = bench.sweeper().sweep(limits).await;
    assert_eq!(
        (report.dead_letters_failed, report.dead_letters_dropped, report.errors),
        (1, 4, 0),
        "{report:?}"
    );
    let task = bench.task(&poison).await?;
    assert_eq!(task.status, Status::Failed);
    assert_eq!(task.status_reason.context("reason")?.code, "DEAD_LETTERED");
    assert_eq!(bench.status(&further).await?, Status::Queued);
    assert!(bench.aws.queues.depth(&dead).await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_call_takes_no_more_dead_letters_than_it_may() -> Result<()> {
    let bench = Bench::start().await?;
    let dead = bench.backend.queues().dead.clone();
    for n in 0..15 {
        bench.send(&dead, &format!("missing{n}").parse()?, 0).await?;
    }
    let limits = Limits { scan_pages: Pages::Exactly(0), dead_letters: 12, ..Limits::default() };
    assert_eq!(bench.sweeper().sweep(limits).await.dead_letters_dropped, 12);
    assert_eq!(bench.aws.queues.depth(&dead).await?.visible, 3);
    Ok(())
}

#[tokio::test]
async fn an_instance_that_stops_gives_back_its_tasks_at_once_and_a_warned_one_drains() -> Result<()> {
    let bench = Bench::start().await?;
    let (here, there) = (worker("here")?, worker("there")?);
    for (worker, instance) in [(&here, "i-here"), (&there, "i-there")] {
        let beat = heartbeat(worker, bench.at(0));
        bench.beat(&Heartbeat { instance: Some(instance.to_owned()), ..beat }).await?;
    }
    // One that does not say where it is.
    bench.beat(&heartbeat(&worker("laptop")?, bench.at(0))).await?;
    let held = bench.running("held", &here, bench.at(0)).await?;
    let other = bench.running("other", &there, bench.at(0)).await?;
    bench.register(&here, std::slice::from_ref(&held)).await?;
    bench.register(&there, std::slice::from_ref(&other)).await?;

    let warned = InstanceEvent::Warned { instance: "i-here".to_owned() };
    let report = bench.sweeper().instance_event(warned).await;
    assert_eq!((report.signals, report.rescued, report.errors), (1, 0, 0));
    let beat = Heartbeat { instance: Some("i-here".to_owned()), ..heartbeat(&here, bench.at(1)) };
    assert_eq!(bench.beat(&beat).await?, [Signal::Drain]);
    let at_risk = InstanceEvent::AtRisk { instance: "i-here".to_owned() };
    assert_eq!(bench.sweeper().instance_event(at_risk).await.signals, 1);
    let told = bench.beat(&beat).await?;
    assert!(told.contains(&Signal::Rebalance) && told.len() == 2, "{told:?}");

    let stopped = InstanceEvent::Stopped { instance: "i-here".to_owned() };
    let report = bench.sweeper().instance_event(stopped.clone()).await;
    assert_eq!((report.workers_dead, report.workers_alive, report.rescued, report.errors), (1, 2, 1, 0));
    assert_eq!(bench.status(&held).await?, Status::Pending);
    assert_eq!(bench.status(&other).await?, Status::Running);
    assert!(!bench.aws.workers.all().await?.contains_key(&here));
    assert_eq!(bench.sweeper().instance_event(stopped).await.workers_dead, 0, "events come twice");
    Ok(())
}

#[tokio::test]
async fn a_call_reads_its_pages_and_the_next_goes_on_from_there() -> Result<()> {
    let bench = Bench::start().await?;
    // Four records a page of 1 MB.
    let large = "x".repeat(300_000);
    for n in 0..20 {
        bench.put(&format!("t{n}"), "PENDING", json!({"description": large})).await?;
    }
    let (mut scanned, mut calls) = (Vec::new(), 0);
    loop {
        let report = bench.sweeper().sweep(Limits::default()).await;
        assert_eq!((report.errors, report.sent_again), (0, report.scanned), "each record is met once");
        scanned.push(report.scanned);
        calls += 1;
        let saved = bench.aws.sweep.load().await?.cursor;
        assert_eq!(saved.is_none(), report.pass_complete);
        if report.pass_complete {
            break;
        }
        assert!(calls < 20, "the cursor does not move");
    }
    assert_eq!(scanned.iter().sum::<usize>(), 20);
    assert!(calls >= 2 && scanned.iter().all(|count| *count <= 8), "{scanned:?}");
    // From the beginning again.
    assert!(
        bench.sweeper().sweep(Limits { scan_pages: Pages::Exactly(1), ..Limits::default() }).await.scanned
            > 0
    );
    // As fast as a table of five hours at the usual pace asks for.
    let mut memory = bench.aws.sweep.load().await?;
    (memory.cursor, memory.pace) = (None, Pace { read: 0, whole: 600 });
    bench.aws.sweep.save(&memory).await?;
    let report = bench.sweeper().sweep(Limits::default()).await;
    assert_eq!((report.scanned, report.pass_complete), (20, true));
    let pace = bench.aws.sweep.load().await?.pace;
    assert!(pace.read == 0 && (4..=20).contains(&pace.whole), "{pace:?}");
    Ok(())
}

#[tokio::test]
async fn a_part_that_fails_keeps_no_other_from_its_work() -> Result<()> {
    let mut bench = Bench::start().await?;
    let pending = bench.put("pending", "PENDING", json!({})).await?;
    let held = bench.running("held", &worker("unknown")?, bench.at(-300)).await?;
    bench.deployment.control_table = "no-such-table".to_owned();
    bench.aws = Aws::new(bench.backend.config(), &bench.deployment);
    let report = bench.sweeper().sweep(Limits::default()).await;
    assert!(report.errors >= 2, "{report:?}");
    assert_eq!((report.sent_again, report.rescued), (1, 0));
    assert_eq!(bench.status(&pending).await?, Status::Queued);
    assert_eq!(bench.status(&held).await?, Status::Running, "workers that cannot be read are not absent");
    Ok(())
}
