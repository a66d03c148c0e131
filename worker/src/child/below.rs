//! Files of the job folder that the worker itself writes and removes while the task may do there what it likes.

use std::fs::File;
use std::io::{self, ErrorKind, Write as _};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};

/// Writes a file of the job folder. The task may have put a link there: what lies outside the folder is not
/// written to, though the worker could where the task's own processes cannot.
pub(super) fn write(job_dir: &Path, path: &Path, content: &str) -> io::Result<()> {
    // Not to wait for the other end, if the task has put a pipe there.
    let how = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC | OFlag::O_NONBLOCK;
    let mut file = open(job_dir, path, how, Mode::from_bits_truncate(0o644))?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "it is no regular file"));
    }
    file.write_all(content.as_bytes())
}

/// Removes a file of the job folder, if it is there; a link itself, not what it leads to.
pub(super) fn remove(job_dir: &Path, path: &Path) -> io::Result<()> {
    let name = path.file_name().ok_or(ErrorKind::InvalidInput)?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = match open(job_dir, parent, OFlag::O_RDONLY | OFlag::O_DIRECTORY, Mode::empty()) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        folder => folder?,
    };
    match unlinkat(&folder, name, UnlinkatFlags::NoRemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn open(job_dir: &Path, path: &Path, how: OFlag, mode: Mode) -> io::Result<File> {
    let folder = File::open(job_dir)?;
    let how = OpenHow::new().flags(how | OFlag::O_CLOEXEC).mode(mode).resolve(ResolveFlag::RESOLVE_BENEATH);
    Ok(File::from(openat2(&folder, path, how)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_in_the_job_folder_does_not_lead_the_worker_out_of_it() {
        let root = tempfile::tempdir().unwrap();
        let (job, outside) = (root.path().join("job"), root.path().join("outside"));
        for folder in [&job, &outside] {
            std::fs::create_dir(folder).unwrap();
        }
        std::fs::write(outside.join("precious"), "kept").unwrap();
        std::os::unix::fs::symlink(outside.join("precious"), job.join("file")).unwrap();
        std::os::unix::fs::symlink(&outside, job.join("folder")).unwrap();
        for path in ["file", "folder/precious", "folder/new", "../outside/precious"] {
            write(&job, Path::new(path), "stop").unwrap_err();
        }
        for path in ["folder/precious", "../outside/precious"] {
            remove(&job, Path::new(path)).unwrap_err();
        }
        remove(&job, Path::new("file")).unwrap();
        assert!(!job.join("file").is_symlink());
        assert_eq!(std::fs::read_to_string(outside.join("precious")).unwrap(), "kept");
        assert!(!outside.join("new").exists());

        std::fs::create_dir(job.join("out")).unwrap();
        for content in ["a longer text", "stop"] {
            write(&job, Path::new("out/x.EXIT"), content).unwrap();
        }
        assert_eq!(std::fs::read_to_string(job.join("out/x.EXIT")).unwrap(), "stop");
        for path in ["out/x.EXIT", "out/x.EXIT", "nowhere/x.EXIT"] {
            remove(&job, Path::new(path)).unwrap();
        }
        assert!(!job.join("out/x.EXIT").exists());
    }
}
