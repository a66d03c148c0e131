//! Whether another worker of the pool may be able to run what this one cannot. A hint, by the heartbeats:
//! nothing but a delay or a counted interruption depends on it.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use stageline::aws::{Heartbeat, WorkerItem};
use stageline::task::WorkerId;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tracing::warn;

use crate::context::Context;

/// What the workers that are not known to be dead last said of themselves.
#[derive(Default)]
pub(crate) struct Fleet(Mutex<Option<(Instant, Vec<Heartbeat>)>>);

/// Whether a worker other than this one serves its pool, has `engine`, and does not say that it is broken.
pub(crate) async fn another_may_run(context: &Context, engine: &str) -> bool {
    let pool = context.config.pool.as_str();
    any_other(context, |beat| may_run(beat, &context.id, pool, engine)).await
}

/// Whether another worker of the pool runs all that this one runs, and was told nothing of its machine's end.
pub(crate) async fn another_may_take_over(context: &Context) -> bool {
    let engines: Vec<_> = context.engines.names().filter(|name| context.config.runs(name)).collect();
    let pool = context.config.pool.as_str();
    any_other(context, |beat| may_take_over(beat, &context.id, pool, &engines)).await
}

async fn any_other(context: &Context, is_one: impl Fn(&Heartbeat) -> bool) -> bool {
    let mut known = context.fleet.0.lock().await;
    // A worker that hands one task after the other back does not read all heartbeats each time.
    if known.as_ref().is_none_or(|(read, _)| read.elapsed() > context.lease.busy()) {
        match context.aws.workers.all().await {
            Ok(items) => *known = Some((Instant::now(), alive(context, items))),
            Err(error) => warn!(%error, "the other workers' heartbeats cannot be read"),
        }
    }
    known.iter().flat_map(|(_, beats)| beats).any(is_one)
}

fn alive(context: &Context, items: BTreeMap<WorkerId, WorkerItem>) -> Vec<Heartbeat> {
    let now = context.clock.now();
    let mut seen = context.observations.lock().unwrap_or_else(PoisonError::into_inner);
    let alive =
        items.into_values().filter(|item| !seen.observe(&item.worker, &item.beat, now, context.lease));
    alive.filter_map(|item| item.heartbeat).collect()
}

fn may_run(beat: &Heartbeat, me: &WorkerId, pool: &str, engine: &str) -> bool {
    beat.worker_id != *me
        && beat.pool == pool
        && !beat.draining
        && beat.engines.iter().any(|carried| carried == engine)
        && !beat.broken.contains_key(engine)
}

fn may_take_over(beat: &Heartbeat, me: &WorkerId, pool: &str, engines: &[&str]) -> bool {
    beat.notice.is_none() && engines.iter().all(|engine| may_run(beat, me, pool, engine))
}

#[cfg(test)]
mod tests {
    use stageline::At;
    use stageline::aws::Notice;

    use super::*;

    #[test]
    fn only_a_worker_of_the_pool_that_has_the_engine_and_serves_may_run_a_task() {
        let me: WorkerId = "me:1:a".parse().unwrap();
        let other = Heartbeat {
            worker_id: "other:1:a".parse().unwrap(),
            heartbeat_at: At::from_millis(0),
            pool: "default".to_owned(),
            slots: 1,
            running: 1,
            engines: vec!["lammps".to_owned()],
            version: String::new(),
            draining: false,
            instance: None,
            received_until: BTreeMap::new(),
            broken: BTreeMap::from([("vasp".to_owned(), At::from_millis(0))]),
            notice: None,
        };
        let may = |change: fn(&mut Heartbeat)| {
            let mut beat = other.clone();
            change(&mut beat);
            may_run(&beat, &me, "default", "lammps")
        };
        assert!(may(|_| {}));
        assert!(may(|beat| beat.running = 1_000), "one that is busy will be free again");
        assert!(!may(|beat| beat.worker_id = "me:1:a".parse().unwrap()));
        assert!(!may(|beat| beat.pool = "gpu".to_owned()));
        assert!(!may(|beat| beat.engines.clear()));
        assert!(!may(|beat| beat.draining = true));
        assert!(!may(|beat| {
            beat.broken.insert("lammps".to_owned(), At::from_millis(9));
        }));

        let takes_over = |beat: &Heartbeat, engines: &[&str]| may_take_over(beat, &me, "default", engines);
        assert!(takes_over(&other, &["lammps"]));
        assert!(!takes_over(&other, &["lammps", "python"]), "it has not got all of them");
        let notice = Some(Notice { what: "rebalance".to_owned(), at: None });
        assert!(!takes_over(&Heartbeat { notice, ..other.clone() }, &["lammps"]), "it is no better off");
    }
}
