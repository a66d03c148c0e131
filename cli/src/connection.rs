//! Which system a command talks to: the one that the environment names, or else the `stageline dev` of
//! this folder.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use stageline::aws::{Aws, Deployment, sdk_config};
use std::collections::BTreeMap;

use crate::failure::Failure;

/// The variable that names the artifact store.
pub const ARTIFACTS_URL: &str = "STAGELINE_ARTIFACTS_URL";
/// Where the worker of `stageline dev` has its job folders, below the folder of that.
pub const JOBS: &str = "jobs";

/// What `stageline dev` leaves for other commands while it runs.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DevFile {
    /// The endpoint of every service.
    pub endpoint: String,
    /// The process.
    pub pid: u32,
    /// The deployment's variables.
    pub environment: BTreeMap<String, String>,
}

impl DevFile {
    /// Where it lies.
    pub fn path(dir: &Path) -> PathBuf {
        dir.join("dev.json")
    }

    /// Reads it, if it is there.
    pub fn read(dir: &Path) -> Result<Option<Self>, Failure> {
        let path = Self::path(dir);
        let failed = |reason: String| Failure::DevFile { path: path.clone(), reason };
        match std::fs::read_to_string(&path) {
            Ok(text) => serde_json::from_str(&text).map(Some).map_err(|e| failed(e.to_string())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(error.to_string())),
        }
    }

    /// Writes it whole or not at all.
    pub fn write(&self, dir: &Path) -> std::io::Result<()> {
        let (path, new) = (Self::path(dir), dir.join("dev.json.new"));
        std::fs::write(&new, serde_json::to_vec_pretty(self)?)?;
        std::fs::rename(new, path)
    }
}

/// A system, and how it was found.
#[derive(Debug)]
pub struct Connection {
    /// Its tables and queues.
    pub aws: Aws,
    /// What they are called, and the rules.
    pub deployment: Deployment,
    /// Which system it is, for people.
    pub system: String,
    /// Whether it is a `stageline dev`.
    pub is_dev: bool,
    /// The artifact store of the worker of a `stageline dev`.
    pub artifacts: Option<String>,
    /// The job folders of that worker.
    pub jobs: Option<PathBuf>,
    /// The variables of the deployment that nobody has set: a default was taken for them.
    pub missing: Vec<&'static str>,
}

/// The tables and queues to talk to.
pub async fn connect(dir: &Path) -> Result<Aws, Failure> {
    connection(dir).await.map(|connection| connection.aws)
}

/// The same, with all that is known of the system.
pub async fn connection(dir: &Path) -> Result<Connection, Failure> {
    let env = |name: &str| std::env::var(name).ok();
    let set = |name: &str| env(name).filter(|value| !value.is_empty());
    let endpoint = set("AWS_ENDPOINT_URL");
    let named = endpoint.is_some() || set("STAGELINE_TASKS_TABLE").is_some();
    if !named && let Some(file) = DevFile::read(dir)? {
        let path = DevFile::path(dir);
        if !stageline_local::process::is_running(&file.pid.to_string()) {
            return Err(Failure::DevNotRunning { path, pid: file.pid });
        }
        let lookup = |name: &str| file.environment.get(name).cloned();
        let deployment = Deployment::from_env(lookup)?;
        return Ok(Connection {
            aws: Aws::new(&stageline_local::sdk_config(&file.endpoint), &deployment),
            deployment,
            system: format!("the `stageline dev` of {} at {}", path.display(), file.endpoint),
            is_dev: true,
            artifacts: lookup(ARTIFACTS_URL),
            jobs: Some(dir.join(JOBS)),
            missing: missing(lookup),
        });
    }
    let deployment = Deployment::from_env(env)?;
    let config = sdk_config().await;
    let region = config.region().map(ToString::to_string).unwrap_or_default();
    let system = match endpoint {
        Some(endpoint) => format!("AWS_ENDPOINT_URL {endpoint}, region {region}"),
        None => format!("AWS, region {region}"),
    };
    let aws = Aws::new(&config, &deployment);
    Ok(Connection {
        aws,
        deployment,
        system,
        is_dev: false,
        artifacts: None,
        jobs: None,
        missing: missing(env),
    })
}

fn missing(lookup: impl Fn(&str) -> Option<String>) -> Vec<&'static str> {
    // A deployment may well have no foreign modes, and then says so.
    let may_be_empty = |name: &str| name == "STAGELINE_FOREIGN_DISPATCH_MODES";
    let is_set = |name: &str| lookup(name).is_some_and(|value| !value.is_empty() || may_be_empty(name));
    Deployment::VARIABLES.into_iter().filter(|name| !is_set(name)).collect()
}
