//! Pools: which queues a target's tasks go to.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::task::{Lane, Priority, Target, TargetPattern};
use crate::{Code, Rejection};

/// A set of workers that share queues.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// Its name.
    pub name: String,
    /// The targets it takes.
    pub targets: Vec<TargetPattern>,
    /// One queue address a lane.
    pub queues: Queues,
}

/// The queue address of each lane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queues {
    /// HIGH and CRITICAL.
    pub high: String,
    /// MEDIUM.
    pub normal: String,
    /// LOW.
    pub low: String,
    /// The dead-letter queue of the three, which the sweeper drains.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead: Option<String>,
}

impl Queues {
    /// The address of one lane's queue.
    pub fn url(&self, lane: Lane) -> &str {
        match lane {
            Lane::High => &self.high,
            Lane::Normal => &self.normal,
            Lane::Low => &self.low,
        }
    }
}

/// All pools of a deployment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pools(BTreeMap<String, Pool>);

/// Where a task goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route<'a> {
    /// The pool that takes it.
    pub pool: &'a str,
    /// The address of the queue.
    pub queue_url: &'a str,
}

impl Pools {
    /// The pools of this list; of two with one name, the later.
    pub fn new(pools: impl IntoIterator<Item = Pool>) -> Self {
        Self(pools.into_iter().map(|pool| (pool.name.clone(), pool)).collect())
    }

    /// Reads the JSON of a list of pools, as `STAGELINE_POOLS` holds it.
    ///
    /// # Errors
    /// When it is not such a list; the message says where.
    pub fn from_json(json: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str::<Vec<Pool>>(json).map(Self::new)
    }

    /// The JSON that [`Pools::from_json`] reads.
    pub fn to_json(&self) -> String {
        let pools: Vec<_> = self.0.values().collect();
        // Strings and lists of strings always have a JSON text.
        serde_json::to_string(&pools).unwrap_or_default()
    }

    /// The pool of this name.
    pub fn get(&self, name: &str) -> Option<&Pool> {
        self.0.get(name)
    }

    /// All pools, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Pool> {
        self.0.values()
    }

    /// Where a task goes: to the pool with the narrowest pattern that takes its target; of equals, the
    /// first by name.
    ///
    /// # Errors
    /// [`Code::TargetUnroutable`], naming the patterns there are.
    pub fn route(&self, target: &Target, priority: Priority) -> Result<Route<'_>, Rejection> {
        let narrowest = |pool: &Pool| {
            pool.targets.iter().filter(|p| p.matches(target)).map(TargetPattern::specificity).max()
        };
        let mut best: Option<(usize, &Pool)> = None;
        for pool in self.0.values() {
            if let Some(score) = narrowest(pool)
                && best.is_none_or(|(best_score, _)| score > best_score)
            {
                best = Some((score, pool));
            }
        }
        let (_, pool) = best.ok_or_else(|| self.unroutable(target))?;
        Ok(Route { pool: &pool.name, queue_url: pool.queues.url(priority.lane()) })
    }

    fn unroutable(&self, target: &Target) -> Rejection {
        let patterns: Vec<_> = self
            .0
            .values()
            .flat_map(|pool| pool.targets.iter().map(move |p| format!("{p} ({})", pool.name)))
            .collect();
        Rejection::new(
            Code::TargetUnroutable,
            format!(
                "no pool takes target \"{target}\"; the pools take {}. Change the target, or add it to a pool",
                if patterns.is_empty() { "nothing".to_owned() } else { patterns.join(", ") }
            ),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pools() -> Pools {
        let pool = |name: &str, targets: &str| {
            format!(
                r#"{{"name":"{name}","targets":{targets},"queues":{{"high":"{name}-h","normal":"{name}-n","low":"{name}-l"}}}}"#
            )
        };
        let json = [
            pool("default", r#"["default/*"]"#),
            pool("gpu", r#"["*/gpu-required"]"#),
            pool("train", r#"["[datasets,training]/*", "training/gpu-required"]"#),
        ];
        Pools::from_json(&format!("[{}]", json.join(","))).unwrap()
    }

    #[test]
    fn a_task_goes_to_the_narrowest_pool_and_its_lane() {
        let pools = pools();
        for (target, priority, queue) in [
            ("default/default", "MEDIUM", "default-n"),
            ("default/x", "LOW", "default-l"),
            ("training/gpu-required", "CRITICAL", "train-h"),
            ("reports/gpu-required", "10", "gpu-n"),
            ("datasets/a", "0", "train-l"),
        ] {
            let route = pools.route(&target.parse().unwrap(), priority.parse().unwrap());
            assert_eq!(route.unwrap().queue_url, queue, "{target}");
        }
    }

    #[test]
    fn a_target_that_no_pool_takes_is_told_which_ones_are() {
        let rejection = pools().route(&"nowhere/at/all".parse().unwrap(), Priority::default()).unwrap_err();
        assert_eq!(rejection.code, Code::TargetUnroutable);
        assert!(rejection.message.contains("default/* (default)"), "{rejection}");
    }

    #[test]
    fn pools_survive_their_json() {
        assert_eq!(Pools::from_json(&pools().to_json()).unwrap(), pools());
    }
}
