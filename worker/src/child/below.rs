//! Files of the job folder that the worker itself writes and removes while the task may do there what it likes.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, ErrorKind, Write as _};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2, renameat};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};

/// Where a file is written before it gets its name.
const UNFINISHED: &str = ".stageline-new";

/// Writes a file of the job folder, whole or not at all: an engine may act on one as soon as it is there, and goes on
/// with the old one where the disk is full. The task may have put a link there: it is replaced itself, and what lies
/// outside the folder is not written to, though the worker could where the task's own processes cannot.
pub(super) fn write(job_dir: &Path, path: &Path, content: &str) -> io::Result<()> {
    place(job_dir, path, |file| file.write_all(content.as_bytes()))
}

fn place(job_dir: &Path, path: &Path, fill: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let (folder, name) = (folder_of(job_dir, path)?, name_of(path)?);
    unlink(&folder, UNFINISHED.as_ref())?;
    let how = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL;
    let mut file = open(&folder, UNFINISHED.as_ref(), how, Mode::from_bits_truncate(0o644))?;
    let named = fill(&mut file).and_then(|()| Ok(renameat(&folder, UNFINISHED, &folder, name)?));
    if named.is_err() {
        // Nobody looks for it under this name.
        let _stays = unlink(&folder, UNFINISHED.as_ref());
    }
    named
}

/// Removes a file of the job folder, if it is there; a link itself, not what it leads to.
pub(super) fn remove(job_dir: &Path, path: &Path) -> io::Result<()> {
    let name = name_of(path)?;
    match folder_of(job_dir, path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        folder => unlink(&folder?, name),
    }
}

fn name_of(path: &Path) -> io::Result<&OsStr> {
    path.file_name().ok_or_else(|| ErrorKind::InvalidInput.into())
}

/// The folder in which it is, or will be.
fn folder_of(job_dir: &Path, path: &Path) -> io::Result<File> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    open(&File::open(job_dir)?, parent, OFlag::O_RDONLY | OFlag::O_DIRECTORY, Mode::empty())
}

fn unlink(folder: &File, name: &OsStr) -> io::Result<()> {
    match unlinkat(folder, name, UnlinkatFlags::NoRemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn open(folder: &File, path: &Path, how: OFlag, mode: Mode) -> io::Result<File> {
    let how = OpenHow::new().flags(how | OFlag::O_CLOEXEC).mode(mode).resolve(ResolveFlag::RESOLVE_BENEATH);
    Ok(File::from(openat2(folder, path, how)?))
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
        for path in ["folder/precious", "folder/new", "../outside/precious"] {
            write(&job, Path::new(path), "stop").unwrap_err();
        }
        write(&job, Path::new("file"), "stop").unwrap();
        assert!(!job.join("file").is_symlink(), "the link itself was replaced");
        assert_eq!(std::fs::read_to_string(outside.join("precious")).unwrap(), "kept");
        std::fs::remove_file(job.join("file")).unwrap();
        std::os::unix::fs::symlink(outside.join("precious"), job.join("file")).unwrap();
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

    /// The names in a folder.
    fn names(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn what_cannot_be_written_whole_is_not_there_and_what_was_there_stays() {
        let job = tempfile::tempdir().unwrap();
        let full = |file: &mut File| {
            file.write_all(b"the begin")?;
            Err(ErrorKind::StorageFull.into())
        };
        let new = Path::new("x.EXIT");
        place(job.path(), new, full).unwrap_err();
        assert_eq!(names(job.path()), [""; 0]);
        write(job.path(), new, "old").unwrap();
        place(job.path(), new, full).unwrap_err();
        assert_eq!(names(job.path()), ["x.EXIT"]);
        assert_eq!(std::fs::read_to_string(job.path().join(new)).unwrap(), "old");

        std::fs::create_dir(job.path().join("folder")).unwrap();
        write(job.path(), Path::new("folder"), "stop").unwrap_err();
        assert_eq!(names(job.path()).len(), 2, "nothing is left under another name");
    }

    #[test]
    fn what_the_task_has_put_in_the_way_does_not_lead_out_either() {
        let root = tempfile::tempdir().unwrap();
        let job = root.path().join("job");
        std::fs::create_dir(&job).unwrap();
        std::os::unix::fs::symlink(root.path().join("new"), job.join(UNFINISHED)).unwrap();
        write(&job, Path::new("x.EXIT"), "stop").unwrap();
        assert_eq!(names(&job), ["x.EXIT"]);
        assert!(!root.path().join("new").exists());
    }
}
