//! What one deployment's tables, queues and rules are called; the same variables for every binary.

use std::time::Duration;

use crate::protocol::dispatch::Rules;
use crate::protocol::lease::Lease;
use crate::protocol::pools::Pools;

/// The names of one deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deployment {
    /// The `tasks` table.
    pub tasks_table: String,
    /// The index of `tasks` by `accountId`, for lists. A table that a dashboard owns has its own.
    pub account_index: String,
    /// The `stages` table.
    pub stages_table: String,
    /// The `control` table.
    pub control_table: String,
    /// The pools and their queues.
    pub pools: Pools,
    /// Values of `metadata.dispatch_mode` that mean that somebody else runs the task.
    pub foreign_dispatch_modes: Vec<String>,
    /// The workers' lease. Every part of a deployment must use the same.
    pub lease: Lease,
}

/// A variable that does not hold what it should.
#[derive(Debug, thiserror::Error)]
pub enum DeploymentError {
    /// `STAGELINE_POOLS` is not the JSON of a list of pools.
    #[error("STAGELINE_POOLS is not a list of pools: {0}")]
    Pools(#[from] serde_json::Error),
    /// `STAGELINE_LEASE_SECONDS` is no sensible number.
    #[error("STAGELINE_LEASE_SECONDS is {0:?}; it must be a whole number of seconds from 1 to 3600")]
    Lease(String),
}

impl Deployment {
    /// The variables that [`Deployment::from_env`] reads and [`Deployment::to_env`] gives.
    pub const VARIABLES: [&str; 6] = [
        "STAGELINE_TASKS_TABLE",
        "STAGELINE_STAGES_TABLE",
        "STAGELINE_CONTROL_TABLE",
        "STAGELINE_POOLS",
        "STAGELINE_FOREIGN_DISPATCH_MODES",
        "STAGELINE_LEASE_SECONDS",
    ];

    /// One more of those, which has a default that fits every table of ours.
    const ACCOUNT_INDEX: &str = "STAGELINE_ACCOUNT_INDEX";

    /// What its names begin with, by that of the control table, which is always its own.
    pub fn prefix(&self) -> &str {
        self.control_table.strip_suffix("-control").unwrap_or(&self.control_table)
    }

    /// What a decision about a record needs of it.
    pub fn rules(&self) -> Rules<'_> {
        Rules { pools: &self.pools, foreign_modes: &self.foreign_dispatch_modes }
    }

    /// The names that the template and the embedded stack give with this prefix, without pools.
    pub fn with_prefix(prefix: &str) -> Self {
        Self {
            tasks_table: format!("{prefix}-tasks"),
            account_index: "byAccount".to_owned(),
            stages_table: format!("{prefix}-stages"),
            control_table: format!("{prefix}-control"),
            pools: Pools::default(),
            foreign_dispatch_modes: vec!["local".to_owned()],
            lease: Lease::default(),
        }
    }

    /// Reads the variables through `lookup`; what is absent is as with the prefix `stageline`.
    ///
    /// # Errors
    /// [`DeploymentError`] when a variable cannot be read.
    pub fn from_env(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, DeploymentError> {
        let lookup = |name: &str| lookup(name).filter(|value| !value.is_empty());
        let default = Self::with_prefix("stageline");
        Ok(Self {
            tasks_table: lookup("STAGELINE_TASKS_TABLE").unwrap_or(default.tasks_table),
            account_index: lookup(Self::ACCOUNT_INDEX).unwrap_or(default.account_index),
            stages_table: lookup("STAGELINE_STAGES_TABLE").unwrap_or(default.stages_table),
            control_table: lookup("STAGELINE_CONTROL_TABLE").unwrap_or(default.control_table),
            pools: match lookup("STAGELINE_POOLS") {
                Some(json) => Pools::from_json(&json)?,
                None => Pools::default(),
            },
            foreign_dispatch_modes: match lookup("STAGELINE_FOREIGN_DISPATCH_MODES") {
                Some(list) => list.split(',').map(|mode| mode.trim().to_owned()).collect(),
                None => default.foreign_dispatch_modes,
            },
            lease: match lookup("STAGELINE_LEASE_SECONDS") {
                Some(text) => match text.parse() {
                    Ok(seconds) if (1..=3600).contains(&seconds) => Lease::of(Duration::from_secs(seconds)),
                    _ => return Err(DeploymentError::Lease(text)),
                },
                None => default.lease,
            },
        })
    }

    /// The variables and values that [`Deployment::from_env`] reads back as this deployment.
    pub fn to_env(&self) -> Vec<(&'static str, String)> {
        let [tasks, stages, control, pools, modes, lease] = Self::VARIABLES;
        vec![
            (tasks, self.tasks_table.clone()),
            (stages, self.stages_table.clone()),
            (control, self.control_table.clone()),
            (pools, self.pools.to_json()),
            (modes, self.foreign_dispatch_modes.join(",")),
            (lease, self.lease.length().as_secs().to_string()),
            (Self::ACCOUNT_INDEX, self.account_index.clone()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deployment_survives_its_environment() {
        let mut deployment = Deployment::with_prefix("x");
        deployment.pools = Pools::from_json(
            r#"[{"name":"p","targets":["a/*"],"queues":{"high":"h","normal":"n","low":"l"}}]"#,
        )
        .unwrap();
        deployment.account_index = "tasksByAccountId".into();
        deployment.foreign_dispatch_modes = vec!["local".into(), "laptop".into()];
        deployment.lease = Lease::of(Duration::from_secs(7));
        let env: std::collections::HashMap<_, _> = deployment.to_env().into_iter().collect();
        assert_eq!(Deployment::from_env(|name| env.get(name).cloned()).unwrap(), deployment);
    }

    #[test]
    fn broken_pools_are_named_by_their_variable() {
        let error = Deployment::from_env(|name| (name == "STAGELINE_POOLS").then(|| "[{".into()));
        assert!(error.unwrap_err().to_string().contains("STAGELINE_POOLS"));
    }
}
