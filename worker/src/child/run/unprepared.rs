//! What a job folder that cannot be prepared is: the task's fault, or the machine's.

use std::io::{self, ErrorKind};
use std::path::Path;

use stageline::Code;
use stageline::protocol::outcome::Failure;

/// Why a job folder was not made. Names that cannot be beside each other, or nowhere, are the task's own.
pub(super) fn unprepared(job_dir: &Path, work_dir: &Path, error: &io::Error) -> Failure {
    let message = format!("the job folder {} cannot be prepared: {error}", job_dir.display());
    let of_the_task = matches!(
        error.kind(),
        ErrorKind::AlreadyExists
            | ErrorKind::NotADirectory
            | ErrorKind::IsADirectory
            | ErrorKind::InvalidFilename
            | ErrorKind::DirectoryNotEmpty
    );
    if of_the_task && work_dir.is_dir() {
        let why = "a name among the task's files is too long, or a file of one name and a folder of the same are wanted";
        return Failure::fatal(Code::EngineInputInvalid, format!("{message} ({why})"));
    }
    Failure::of_the_worker(message)
}

#[cfg(test)]
mod tests {
    use super::super::JobFolder;
    use super::*;
    use crate::engines::{Content, Placed};

    #[test]
    fn names_that_no_folder_can_hold_are_the_tasks_and_not_the_machines() {
        let root = tempfile::tempdir().unwrap();
        let failed = |work_dir: &Path, names: &[&str]| {
            let placed = |name: &&str| Placed { to: name.into(), content: Content::Text(String::new()) };
            let files: Vec<_> = names.iter().map(placed).collect();
            let job_dir = work_dir.join("t/1");
            let error = JobFolder::create(&job_dir, &files).err().unwrap();
            unprepared(&job_dir, work_dir, &error).code
        };
        for names in [&["a", "a/b"][..], &["a/b", "a"], &[&"x".repeat(256)], &["a", "a/b/c"]] {
            assert_eq!(failed(root.path(), names), Code::EngineInputInvalid, "{names:?}");
        }
        let no_folder = root.path().join("file");
        std::fs::write(&no_folder, "").unwrap();
        assert_eq!(failed(&no_folder, &["a"]), Code::WorkerFault);
        let missing = io::Error::from(ErrorKind::PermissionDenied);
        assert_eq!(unprepared(Path::new("/j/t/1"), root.path(), &missing).code, Code::WorkerFault);
    }
}
