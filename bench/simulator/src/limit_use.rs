//! How much of each limit a run used, and what to do about it.

use serde::Serialize;

use crate::calendar::SECOND;
use crate::month::{MEMORY_BYTES, Setup};
use crate::outcome::Outcome;
use crate::parameters::Parameters;

/// The sweeper's memory lies in so many items at most, of so many KB.
const MEMORY_ITEMS: f64 = 64.0;
const MEMORY_ITEM_KB: f64 = 244.0;

/// Whose limit it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// AWS raises it when asked.
    Quota,
    /// AWS does not.
    Fixed,
    /// The design's own, or a setting.
    Design,
    /// AWS moves it by itself, after minutes.
    Adaptive,
}

/// One limit and its use at the peak.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LimitUse {
    /// The limit.
    pub limit: &'static str,
    /// Whose it is.
    pub kind: Kind,
    /// The most that was used.
    pub used: f64,
    /// What there is.
    pub of: f64,
    /// Their ratio.
    pub share: f64,
    /// What to do before it is reached.
    pub remedy: &'static str,
}

/// Every limit, the fullest first.
pub fn uses(outcome: &Outcome, parameters: &Parameters, setup: &Setup) -> Vec<LimitUse> {
    let (limits, peaks) = (&parameters.limits, &outcome.peaks);
    let partition = limits.dynamodb.partition_write_units;
    let workers = f64::from(peaks.workers);
    let a_day = outcome.tasks as f64 / outcome.seconds * crate::load::DAY;
    // Pages a minute with which the repair scan passes the table once a day.
    let pages = a_day * setup.kept_days * 1.2 / 1_024.0 / 1_440.0;
    let used = |limit, kind, used: f64, of: f64, remedy| LimitUse {
        limit,
        kind,
        used,
        of,
        share: used / of,
        remedy,
    };
    let mut all = vec![
        used(
            "`tasks`: write units a second of the table",
            Kind::Quota,
            peaks.tasks_units,
            limits.dynamodb.table_write_units,
            "ask for a higher table write quota",
        ),
        used(
            "`tasks`: write units a second of one partition",
            Kind::Adaptive,
            peaks.tasks_partition_units,
            partition,
            "pre-warm the table (`WarmThroughput`) before a jump in load; it splits by itself in minutes",
        ),
        used(
            "`byAccount`: write units a second of one `accountId`",
            Kind::Fixed,
            peaks.account_units,
            partition,
            "spread tasks over more values of `accountId`: the sort key grows with time, so its range is \
             not split",
        ),
        used(
            "`stages`: write units a second of the table",
            Kind::Quota,
            peaks.stages_units,
            limits.dynamodb.table_write_units,
            "ask for a higher table write quota, or write progress less often",
        ),
        used(
            "`control`: write units a second of one of eight worker keys",
            Kind::Fixed,
            peaks.control_units,
            partition,
            "more slots a worker; more keys than `workers#0` to `#7`",
        ),
        used(
            "SQS: messages in flight",
            Kind::Quota,
            peaks.in_flight as f64,
            limits.sqs.in_flight as f64,
            "ask for more; or more pools",
        ),
        used(
            "Lambda: calls at once",
            Kind::Quota,
            f64::from(peaks.calls),
            f64::from(limits.lambda.concurrency),
            "ask for more concurrency",
        ),
        used(
            "dispatcher: records a second of one shard",
            Kind::Design,
            peaks.arrivals / peaks.tasks_partitions.max(1) as f64,
            shard_records(parameters),
            "`ParallelizationFactor` up to 10, or more memory",
        ),
        used(
            "sweeper: KB of its memory, in up to 64 items",
            Kind::Design,
            workers * MEMORY_BYTES / 1_024.0,
            MEMORY_ITEMS * MEMORY_ITEM_KB.min(limits.dynamodb.item_kb),
            "more slots a worker; more items",
        ),
        used(
            "sweeper: pages a minute for a repair pass a day",
            Kind::Design,
            pages,
            setup.most_sweep_pages,
            "set `SweepPages`; let records expire sooner",
        ),
        used(
            "Fargate: launches a second",
            Kind::Quota,
            peaks.launches,
            limits.compute.launches_a_second,
            "ask for a higher launch rate; more slots a worker; scale ahead of the day",
        ),
        used(
            "Fargate: vCPUs",
            Kind::Quota,
            workers * setup.vcpus,
            limits.compute.vcpus,
            "ask for as many; or EC2, where the quota is another one",
        ),
    ];
    all.sort_by(|a, b| b.share.total_cmp(&a.share));
    all
}

/// Records a second that the calls of one shard take when every batch is full.
fn shard_records(parameters: &Parameters) -> f64 {
    let dispatcher = &parameters.dispatcher;
    let batch = u64::from(dispatcher.batch);
    let call = dispatcher.invoke + dispatcher.record * batch + dispatcher.send + dispatcher.mark;
    (batch * u64::from(dispatcher.parallel)) as f64 * SECOND as f64 / call.max(1) as f64
}

/// The first limit of AWS that a growing load reaches, machines to run on aside: those are asked for in any case.
pub fn first(uses: &[LimitUse]) -> Option<&LimitUse> {
    let is_asked = |one: &&LimitUse| matches!(one.kind, Kind::Quota | Kind::Fixed);
    uses.iter().filter(is_asked).find(|one| !one.limit.starts_with("Fargate"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::RunTime;

    #[test]
    fn the_fullest_limit_comes_first_and_a_machine_is_no_bottleneck() {
        let parameters = Parameters::day(10_000.0, RunTime::Exponential(60.0));
        let outcome = crate::run(&parameters);
        let uses = uses(&outcome, &parameters, &Setup::of_slots(8));
        assert!(uses.is_sorted_by(|a, b| a.share >= b.share));
        assert!(uses.iter().all(|one| one.share.is_finite() && one.of > 0.0), "{uses:#?}");
        assert!(!first(&uses).unwrap().limit.starts_with("Fargate"));
    }
}
