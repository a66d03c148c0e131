//! Containers that a killed worker left behind: they are the daemon's, so they live on without it.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use stageline::task::WorkerId;
use tokio::process::Command;
use tokio::time::{Instant, timeout_at};
use tracing::{info, warn};

use super::arguments::{WORKER_LABEL, remove_all};
use super::{is_podman, runtime, settings};
use crate::Config;
use crate::engines::Site;

/// For all of it: the tasks of the killed worker wait meanwhile.
const LIMIT: Duration = Duration::from_secs(20);
/// On one command line.
const AT_ONCE: usize = 100;

/// Ends and removes the containers of `worker`, which does not live any more. Where there is no docker and no
/// podman, there is nothing to do.
pub(crate) async fn remove_containers_of(worker: &WorkerId, config: &Config) {
    let site = Site { config, job_dir: Path::new("/"), resume: None };
    let Ok(program) = runtime(&site) else { return };
    let until = Instant::now() + LIMIT;
    let ask = |args: Vec<std::ffi::OsString>| {
        let mut command = Command::new(&program);
        command
            .args(args)
            .env_clear()
            .env("PATH", &config.path)
            .env("LANG", "C.UTF-8")
            .envs(settings(|name| std::env::var(name).ok()))
            .stdin(Stdio::null())
            .kill_on_drop(true);
        async move { timeout_at(until, command.output()).await }
    };
    let label = format!("label={WORKER_LABEL}={worker}");
    let list = ["ps", "--all", "--quiet", "--no-trunc", "--filter", &label].map(Into::into);
    let listed = match ask(list.into()).await {
        Ok(Ok(listed)) if listed.status.success() => listed.stdout,
        // Docker is installed and its daemon does not run: ordinary where no task is a container.
        Ok(ended) => return info!(?ended, "whether a former self left containers is not known"),
        Err(_elapsed) => return warn!(limit = ?LIMIT, "whether a former self left containers is not known"),
    };
    let ids = ids(&String::from_utf8_lossy(&listed));
    if !ids.is_empty() {
        info!(containers = ?ids, worker.id = %worker, "a former self left these containers; they are removed");
    }
    for ids in ids.chunks(AT_ONCE) {
        match ask(remove_all(ids, is_podman(&program))).await {
            Ok(Ok(removed)) if removed.status.success() => {}
            ended => warn!(?ended, "containers of a former self are not removed"),
        }
    }
}

/// The ids that were printed, one a line; what is none could be an option.
fn ids(text: &str) -> Vec<String> {
    let is_id =
        |line: &&str| (12..=64).contains(&line.len()) && line.bytes().all(|byte| byte.is_ascii_hexdigit());
    text.lines().map(str::trim).filter(is_id).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ids_are_taken_from_what_is_printed() {
        let id = "0123456789abcdef";
        assert_eq!(ids(&format!("{id}\n\n--all\nWARNING: old\nabc\n {id} \n")), [id, id]);
        assert!(ids(&"a".repeat(65)).is_empty() && ids("").is_empty());
    }

    #[tokio::test]
    async fn without_a_runtime_nothing_happens() {
        let config = Config { path: "/nowhere".into(), ..Config::default() };
        remove_containers_of(&WorkerId::fresh("host"), &config).await;
    }
}
