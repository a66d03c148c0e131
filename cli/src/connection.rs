//! Which system a command talks to: the one that the environment names, or else the `stageline dev` of
//! this folder.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use stageline::aws::{Aws, Deployment, sdk_config};
use std::collections::BTreeMap;

use crate::failure::Failure;

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

/// The tables and queues to talk to.
pub async fn connect(dir: &Path) -> Result<Aws, Failure> {
    let env = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let named = env("AWS_ENDPOINT_URL").is_some() || env("STAGELINE_TASKS_TABLE").is_some();
    if !named && let Some(file) = DevFile::read(dir)? {
        if !stageline_local::process::is_running(&file.pid.to_string()) {
            return Err(Failure::DevNotRunning { path: DevFile::path(dir), pid: file.pid });
        }
        let deployment = Deployment::from_env(|name| file.environment.get(name).cloned())?;
        return Ok(Aws::new(&stageline_local::sdk_config(&file.endpoint), &deployment));
    }
    let deployment = Deployment::from_env(env)?;
    Ok(Aws::new(&sdk_config().await, &deployment))
}
