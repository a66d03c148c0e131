//! A run from its beginning to its verdict.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use futures::future::try_join_all;
use serde_json::Value;
use stageline_local::pump::{MappingRules, Source, StartingPosition, StreamPump, aws_sdk_dynamodbstreams};
use stageline_worker::child::end_leftovers;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::effects::Effects;
use super::history::Seen;
use super::logs::{self, Told};
use super::outcome::{self, Outcome};
use super::post::{Field, Post};
use super::repairs::{Repaired, Repairs};
use super::stream::{self, Stream};
use super::verdict::judge;
use super::witness::{LAST, Testimony, Witness};
use super::workload::{self, Planned};
use super::{Options, client, schedule};
use crate::parts::Parts;

/// Longer than the witness needs for what it has not read yet.
const CATCHING_UP: Duration = Duration::from_secs(60);

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Whether things still go wrong.
    pub faults: bool,
    /// Tasks that have ended.
    pub ended: usize,
}

/// Runs it all; `look` is told of every change.
///
/// # Errors
/// The machine does not let the run be what it is meant to be. What the system does wrong is no error, but in
/// [`Outcome::problems`].
pub async fn run(options: Options, look: impl Fn(Moment)) -> Result<Outcome> {
    let witness = Arc::new(Witness::default());
    let mut changes = witness.changes();
    let begin = Instant::now();
    let end = begin + options.faults;
    let told = Arc::clone(&witness);
    let looking = async {
        loop {
            look(Moment { faults: Instant::now() < end, ended: told.tells(|seen| seen.ended) });
            // The sender is in `told`, so this cannot end by its loss.
            let _ = changes.changed().await;
        }
    };
    // On the heap: it is all that there is.
    let running = Box::pin(all(options, witness));
    tokio::select! {
        outcome = running => outcome,
        () = looking => Err(anyhow!("nobody looks any more")),
    }
}

async fn all(options: Options, witness: Arc<Witness>) -> Result<Outcome> {
    let parts = Parts::start(options.lease).await?;
    let mut posts = JoinSet::new();
    let through = Box::pin(through(&parts, &options, witness, &mut posts));
    let outcome = tokio::select! {
        outcome = through => outcome,
        interrupted = tokio::signal::ctrl_c() => {
            Err(interrupted.map_or_else(anyhow::Error::from, |()| anyhow!("interrupted")))
        }
    };
    // Whatever came of it. First the workers, also those that are stopped: dropped, they are killed.
    posts.shutdown().await;
    // Then processes of workers that were killed, some of them paused for ever.
    end_leftovers(parts.folder.path()).await;
    parts.local.shutdown().await;
    outcome
}

async fn through(
    parts: &Parts,
    options: &Options,
    witness: Arc<Witness>,
    posts: &mut JoinSet<Result<Post>>,
) -> Result<Outcome> {
    let tasks = workload::tasks(options.seed, options.tasks, options.mix, options.faults);
    let folder = parts.folder.path();
    let (program, effects) = (folder.join("work.sh"), folder.join("effects"));
    std::fs::write(&program, workload::PROGRAM)?;
    std::fs::create_dir(&effects)?;

    let watching = watch(parts, witness.clone()).await?;
    let stream = Stream::start(parts, options).await?;
    let repairs = Repairs::start(parts, options.seed, options.sweeper_ahead)?;

    let begin = Instant::now();
    let long: HashSet<String> =
        tasks.iter().filter(|task| task.is_long()).map(|task| task.id.clone()).collect();
    let field = Arc::new(Field {
        options: options.clone(),
        deployment: parts.deployment.clone(),
        witness: Arc::clone(&witness),
        is_long: Box::new(move |id| long.contains(id)),
        begin,
    });
    let endpoint = parts.local.endpoint();
    for number in 0..options.workers {
        let (field, folder, endpoint) = (Arc::clone(&field), folder.to_owned(), endpoint.clone());
        let planned = schedule::actions(options.seed, number, options.faults, options.lease);
        posts.spawn(async move {
            Post::occupy(number, field, &folder, &endpoint).await?.live_through(planned).await
        });
    }
    let living = async {
        let mut lived = Vec::new();
        while let Some(post) = posts.join_next().await {
            lived.push(post??);
        }
        anyhow::Ok(lived)
    };
    let purges = schedule::purges(options.faults);
    let healing = async {
        sleep_until(begin + options.faults).await;
        stream.heal();
        repairs.heal();
    };
    let (mut posts, purged, (), ()) = tokio::try_join!(
        living,
        client::purge(parts, begin, &purges),
        client::submit(parts, &tasks, begin, &program, &effects),
        async {
            healing.await;
            Ok(())
        },
    )?;

    let mut outcome = Outcome { seed: options.seed, ..Outcome::default() };
    let all_ended = |seen: &Testimony| seen.ended == tasks.len();
    if let Err(late) = witness.until("every task has ended", options.patience, all_ended).await {
        outcome.problems.push(late.to_string());
    }
    outcome.seconds = begin.elapsed().as_secs_f64();
    outcome.fault_seconds = options.faults.as_secs_f64();

    // What zombies still write, they write now: the judgement comes after it.
    try_join_all(posts.iter_mut().map(Post::leave)).await?;
    let repaired = repairs.end().await?;
    client::put_last(parts).await?;
    witness.until("the last record", CATCHING_UP, |seen| seen.complete).await?;
    watching.shutdown().await;
    let suffered = stream.end().await;

    outcome.queues = outcome::Queues { purges: purges.len(), messages: purged };
    add_workers(&mut outcome, &posts, options.logs.as_deref())?;
    add_stream(&mut outcome, suffered);
    add_sweeper(&mut outcome, repaired.clone());
    let requests = outcome.workers.requests + suffered.requests + total(repaired.calls);
    outcome.requests_per_task = requests as f64 / tasks.len().max(1) as f64;
    let records = records(parts, options.logs.as_deref()).await?;
    let testimony = witness.tells(Testimony::clone);
    judge_all(&mut outcome, &tasks, &testimony, &records, &effects)?;
    outcome.must_show_something(options);
    Ok(outcome)
}

/// The witness's own place in the stream.
async fn watch(parts: &Parts, witness: Arc<Witness>) -> Result<StreamPump> {
    let source = Source {
        streams: aws_sdk_dynamodbstreams::Client::new(&parts.local.sdk_config()),
        table: parts.deployment.tasks_table.clone(),
        start: StartingPosition::Latest,
        // It is in no hurry, and a read after each write is half the work of the machine.
        writes: None,
    };
    let rules = MappingRules { batch_size: 1_000, max_retries: u32::MAX, ..MappingRules::default() };
    // It never fails, so nothing is given up.
    let (failures, _failed) = mpsc::channel(1);
    Ok(StreamPump::start(source, rules, witness, failures).await?)
}

fn judge_all(
    outcome: &mut Outcome,
    tasks: &[Planned],
    testimony: &Testimony,
    records: &BTreeMap<String, Seen>,
    effects: &Path,
) -> Result<()> {
    judge(outcome, tasks, testimony, records, |id| {
        Effects::read(effects, id).with_context(|| format!("the effects of {id}"))
    })
}

/// Every record, read from the table, and kept beside the logs.
async fn records(parts: &Parts, logs: Option<&Path>) -> Result<BTreeMap<String, Seen>> {
    let dynamodb = aws_sdk_dynamodb::Client::new(&parts.local.sdk_config());
    let scan = dynamodb.scan().table_name(&parts.deployment.tasks_table).consistent_read(true);
    let mut pages = scan.into_paginator().items().send();
    let (mut records, mut whole) = (BTreeMap::new(), Vec::new());
    while let Some(item) = pages.next().await {
        let item = item?;
        let id = item.get("id").and_then(|id| id.as_s().ok()).context("a record has an id")?.clone();
        if id != LAST {
            whole.push(serde_dynamo::from_item::<_, Value>(item.clone())?);
            let seen = Seen::of(&item.into()).map_err(|unreadable| anyhow!("{id}: {}", unreadable.0))?;
            records.insert(id, seen);
        }
    }
    if let Some(folder) = logs {
        logs::save(folder, "records", &whole)?;
    }
    Ok(records)
}

fn add_workers(outcome: &mut Outcome, posts: &[Post], logs: Option<&Path>) -> Result<()> {
    let mut told = Told::default();
    let workers = &mut outcome.workers;
    for post in posts {
        let counts = post.control().counts();
        workers.requests += total(counts);
        workers.faults += counts.faults();
        workers.kills_same_folder += post.suffered.kills_same_folder;
        workers.kills_new_folder += post.suffered.kills_new_folder;
        workers.stops += post.suffered.stops;
        workers.cut_offs += post.suffered.cut_offs;
        workers.failed_starts += post.suffered.failed_starts;
        let suffered = [
            (post.suffered.ended_by_themselves, "workers ended though nobody had done anything to them"),
            (post.suffered.bad_stops, "workers that were asked to stop did not, or not with exit status 0"),
        ];
        let suffered = suffered.into_iter().filter(|(count, _)| *count > 0);
        outcome.problems.extend(suffered.map(|(count, what)| format!("{count} {what}")));
        for (name, log) in &post.logs {
            let lines = log.lines();
            told.add(&lines);
            if let Some(folder) = logs {
                logs::save(folder, name, &lines)?;
            }
        }
    }
    workers.self_fences = told.self_fences;
    workers.taken_for_dead = told.taken_for_dead;
    workers.abandoned = told.abandoned;
    outcome.fenced = outcome::Fenced { outcomes: told.fenced_outcomes, stages: told.fenced_stages };
    outcome.rescues.at_claims = told.rescued_at_claims;
    outcome.rescues.at_starts = told.rescued_at_starts;
    Ok(())
}

fn add_stream(outcome: &mut Outcome, suffered: stream::Suffered) {
    let stream::Suffered { stream, calls, requests: _, given_up } = suffered;
    outcome.stream = outcome::Stream {
        calls: stream.calls,
        failed: stream.failed + stream.panicked,
        dropped: stream.dropped,
        duplicated: stream.duplicated,
        reordered: stream.reordered,
        given_up,
        requests: total(calls),
        faults: calls.faults(),
    };
}

fn add_sweeper(outcome: &mut Outcome, repaired: Repaired) {
    let Repaired { rounds, sent_again, due, signals, errors, impossible, .. } = repaired;
    outcome.sweeper = outcome::Sweeps { rounds, sent_again, due, signals, errors };
    outcome.problems.extend(impossible.into_iter().map(|found| format!("an impossible record: {found}")));
}

fn total(counts: crate::faults::Counts) -> u64 {
    counts.passed + counts.faults()
}
