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

/// The variable that says that the folder holds what an earlier attempt saved.
pub(crate) const RESUME: &str = "STAGELINE_RESUME";

/// The variable that says which graphics processors a program may use.
const GPUS: &str = "CUDA_VISIBLE_DEVICES";

/// Names and values. What the plan adds may not touch our own, but for `HOME`: a program that is trusted more than its
/// task has its settings there, and the job folder is the task's.
pub(crate) fn scrubbed(
    task: &Task,
    config: &Config,
    worker: &WorkerId,
    job_dir: &Path,
    marker: &str,
    added: &[(String, String)],
) -> Vec<(String, String)> {
    let dir = job_dir.to_string_lossy().into_owned();
    // So many threads as it has cores, where nobody says otherwise: libraries would take those of all tasks.
    let threads = task.resources.as_ref().and_then(|resources| resources.cpus).unwrap_or(1);
    let passed = |name: &String| Some((name.clone(), std::env::var(name).ok()?));
    let mut env: Vec<(String, String)> = std::iter::once(("OMP_NUM_THREADS".to_owned(), threads.to_string()))
        .chain(config.pass_environment.iter().filter_map(passed))
        .chain(added.iter().cloned())
        .filter(|(name, _)| !name.starts_with("AWS_") && !name.starts_with("STAGELINE_"))
        .collect();
    let home = added.iter().find(|(name, _)| name == "HOME").map_or(&dir, |(_, value)| value);
    let ours = [
        ("PATH", config.path.clone()),
        ("HOME", home.clone()),
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

/// The variable of the devices that an attempt was given, which comes after all others. Empty for one that was
/// given none: the others' devices are not to be taken.
pub(crate) fn devices(gpus: &[String]) -> (String, String) {
    (GPUS.to_owned(), gpus.join(","))
}

#[cfg(test)]
mod tests {
    use stageline::task::Resources;

    use super::*;

    #[test]
    fn neither_aws_nor_our_own_variables_can_be_added() {
        let task = Task::new("t".parse().unwrap());
        let added = [
            ("AWS_SECRET_ACCESS_KEY".to_owned(), "s".to_owned()),
            ("STAGELINE_TASK_ID".to_owned(), "other".to_owned()),
            ("OMP_NUM_THREADS".to_owned(), "2".to_owned()),
            ("PATH".to_owned(), "/elsewhere".to_owned()),
            ("HOME".to_owned(), "/root".to_owned()),
        ];
        let worker = "w:1:a".parse().unwrap();
        let env = scrubbed(&task, &Config::default(), &worker, Path::new("/job"), "m", &added);
        assert!(env.iter().all(|(name, _)| !name.starts_with("AWS_")));
        assert_eq!(env.iter().filter(|(name, _)| name == "STAGELINE_TASK_ID").count(), 1);
        assert!(env.contains(&("OMP_NUM_THREADS".to_owned(), "2".to_owned())));
        let last =
            |wanted: &str| env.iter().rfind(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
        assert_eq!((last("HOME"), last("PATH")), (Some("/root"), Some(Config::default().path.as_str())));
    }

    #[test]
    fn threads_and_devices_are_those_of_the_task_unless_its_engine_knows_better() {
        let mut task = Task::new("t".parse().unwrap());
        let worker = "w:1:a".parse().unwrap();
        let threads = |task: &Task, added: &[(String, String)]| {
            let env = scrubbed(task, &Config::default(), &worker, Path::new("/job"), "m", added);
            env.into_iter().rfind(|(name, _)| name == "OMP_NUM_THREADS").map(|(_, value)| value)
        };
        assert_eq!(threads(&task, &[]).as_deref(), Some("1"));
        task.resources = Some(Resources { cpus: Some(3), ..Resources::default() });
        assert_eq!(threads(&task, &[]).as_deref(), Some("3"));
        let of_the_engine = [("OMP_NUM_THREADS".to_owned(), "1".to_owned())];
        assert_eq!(threads(&task, &of_the_engine).as_deref(), Some("1"));

        assert_eq!(devices(&["2".to_owned(), "3".to_owned()]).1, "2,3");
        assert_eq!(devices(&[]).1, "");
    }
}
