//! Finding programs and input files, inside the bounds that the worker's configuration sets.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use stageline::Code;
use stageline::protocol::outcome::Failure;
use stageline::task::{Task, relative_path};

use super::Site;

/// The absolute path of `program`: itself when it is one, below the job folder when it has a slash,
/// otherwise the first of its name on the worker's path.
pub(crate) fn find(program: &str, site: &Site<'_>) -> Option<PathBuf> {
    let path = Path::new(program);
    if path.is_absolute() {
        return is_executable(path).then(|| path.to_path_buf());
    }
    if program.contains('/') {
        // Staged there before the process starts, so it cannot be looked at yet.
        let below = relative_path("command", program).ok()?;
        return Some(site.job_dir.join(below));
    }
    std::env::split_paths(&site.config.path)
        .filter(|dir| dir.is_absolute())
        .map(|dir| dir.join(program))
        .find(|candidate| is_executable(candidate))
}

fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// A file below the inputs folder; symbolic links do not lead out of it.
pub(crate) fn input(attribute: &str, text: &str, site: &Site<'_>) -> Result<PathBuf, Failure> {
    let root = &site.config.inputs_dir;
    let relative = relative_path(attribute, text).map_err(|r| Failure::fatal(r.code, r.message))?;
    let path = root.join(relative).canonicalize().map_err(|error| {
        let message = format!(
            "`{attribute}` {text:?} cannot be read in the worker's inputs folder {}: {error}",
            root.display()
        );
        Failure::fatal(Code::InputMissing, message)
    })?;
    if !path.starts_with(root) {
        let message = format!("`{attribute}` {text:?} leads out of the inputs folder through a link");
        return Err(Failure::fatal(Code::PathUnsafe, message));
    }
    if !path.is_file() {
        return Err(Failure::fatal(Code::InputMissing, format!("`{attribute}` {text:?} is not a file")));
    }
    Ok(path)
}

/// The task's `inputs`, as files to copy into the job folder.
pub(crate) fn staged_inputs(task: &Task, site: &Site<'_>) -> Result<Vec<(PathBuf, PathBuf)>, Failure> {
    let inputs = task.inputs.iter().flatten();
    inputs
        .map(|one| {
            if one.source().contains("://") {
                let message = format!("`inputs` {:?}: addresses are not fetched yet", one.source());
                return Err(Failure::fatal(Code::EngineInputInvalid, message));
            }
            let to = relative_path("inputs", one.path()).map_err(|r| Failure::fatal(r.code, r.message))?;
            Ok((input("inputs", one.source(), site)?, to))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;

    #[test]
    fn inputs_do_not_leave_their_folder() {
        let root = tempfile::tempdir().unwrap();
        let outside = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(root.path().join("in"), "x").unwrap();
        std::os::unix::fs::symlink(outside.path(), root.path().join("link")).unwrap();
        let config = Config { inputs_dir: root.path().canonicalize().unwrap(), ..Config::default() };
        let site = Site { config: &config, job_dir: Path::new("/job") };
        assert!(input("script", "./in", &site).is_ok());
        let code = |text: &str| input("script", text, &site).unwrap_err().code;
        assert_eq!(code("link"), Code::PathUnsafe);
        assert_eq!(code("../in"), Code::PathUnsafe);
        assert_eq!(code("/etc/passwd"), Code::PathUnsafe);
        assert_eq!(code("absent"), Code::InputMissing);
        assert_eq!(code("in/below"), Code::InputMissing);
    }

    #[test]
    fn programs_are_found_on_the_workers_path_only() {
        let config = Config { path: "/bin:relative".into(), ..Config::default() };
        let site = Site { config: &config, job_dir: Path::new("/job") };
        assert_eq!(find("sh", &site), Some("/bin/sh".into()));
        assert_eq!(find("no-such-program", &site), None);
        assert_eq!(find("/bin", &site), None);
        assert_eq!(find("./run", &site), Some("/job/run".into()));
        assert_eq!(find("../run", &site), None);
    }
}
