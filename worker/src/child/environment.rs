//! The environment of a child: built up from nothing, so that no secret of the worker is in it.

use std::path::Path;

use stageline::task::{Task, WorkerId};

use crate::Config;

/// The variable by which a process is known to belong to an attempt, wherever it moves in the tree.
pub(crate) const MARKER: &str = "STAGELINE_EXECUTION";

/// The variable that names the worker, by which a crashed one's processes are found.
pub(crate) const WORKER_ID: &str = "STAGELINE_WORKER_ID";

/// The variable that names the job folder.
pub(crate) const JOB_DIR: &str = "STAGELINE_JOB_DIR";

/// Names and values. What the plan adds comes last and may not touch our own.
pub(crate) fn scrubbed(
    task: &Task,
    config: &Config,
    worker: &WorkerId,
    job_dir: &Path,
    marker: &str,
    added: &[(String, String)],
) -> Vec<(String, String)> {
    let dir = job_dir.to_string_lossy().into_owned();
    let mut env: Vec<(String, String)> = config
        .pass_environment
        .iter()
        .filter_map(|name| Some((name.clone(), std::env::var(name).ok()?)))
        .chain(added.iter().cloned())
        .filter(|(name, _)| !name.starts_with("AWS_") && !name.starts_with("STAGELINE_"))
        .collect();
    let ours = [
        ("PATH", config.path.clone()),
        ("HOME", dir.clone()),
        ("TMPDIR", dir.clone()),
        ("LANG", "C.UTF-8".to_owned()),
        ("PYTHONUNBUFFERED", "1".to_owned()),
        ("STAGELINE_TASK_ID", task.id.to_string()),
        ("STAGELINE_ATTEMPT", task.attempt.to_string()),
        (WORKER_ID, worker.to_string()),
        (JOB_DIR, dir),
        (MARKER, marker.to_owned()),
    ];
    env.extend(ours.map(|(name, value)| (name.to_owned(), value)));
    env
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_aws_nor_our_own_variables_can_be_added() {
        let task = Task::new("t".parse().unwrap());
        let added = [
            ("AWS_SECRET_ACCESS_KEY".to_owned(), "s".to_owned()),
            ("STAGELINE_TASK_ID".to_owned(), "other".to_owned()),
            ("OMP_NUM_THREADS".to_owned(), "2".to_owned()),
        ];
        let worker = "w:1:a".parse().unwrap();
        let env = scrubbed(&task, &Config::default(), &worker, Path::new("/job"), "m", &added);
        assert!(env.iter().all(|(name, _)| !name.starts_with("AWS_")));
        assert_eq!(env.iter().filter(|(name, _)| name == "STAGELINE_TASK_ID").count(), 1);
        assert!(env.contains(&("OMP_NUM_THREADS".to_owned(), "2".to_owned())));
    }
}
