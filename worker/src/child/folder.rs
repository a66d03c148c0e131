//! The job folder: one an attempt, with the files the plan wants in it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use stageline::task::Task;

use crate::Config;
use crate::engines::{Content, Placed};

/// The folder of one attempt, below the worker's.
pub(crate) fn job_dir(config: &Config, task: &Task) -> PathBuf {
    // Ids are parsed: no separators, no leading dot. A colon would end a path in PATH-like variables; the
    // tilde is no character of ids, so two ids never share a folder.
    let folder = task.id.as_str().replace(':', "~");
    config.work_dir.join(folder).join(task.attempt.to_string())
}

/// A folder that exists; removed again when nothing was left in it.
pub(crate) struct JobFolder(PathBuf);

impl JobFolder {
    /// Makes the folder anew and puts `files` into it.
    pub fn create(path: &Path, files: &[Placed]) -> io::Result<Self> {
        if path.exists() {
            // Left by a former incarnation that counted the same attempt on another table.
            fs::remove_dir_all(path)?;
        }
        fs::create_dir_all(path)?;
        let folder = Self(path.to_path_buf());
        for Placed { to, content } in files {
            let to = path.join(to);
            if let Some(parent) = to.parent() {
                fs::create_dir_all(parent)?;
            }
            match content {
                Content::CopyOf(from) => fs::copy(from, to).map(drop)?,
                Content::Text(text) => fs::write(to, text)?,
                Content::Moved(from) => fs::rename(from, to)?,
                Content::Fetched(_) => {}
            }
        }
        Ok(folder)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for JobFolder {
    fn drop(&mut self) {
        // `remove_dir` refuses a folder with anything in it, which is what is wanted here.
        if fs::remove_dir(&self.0).is_ok()
            && let Some(task_folder) = self.0.parent()
        {
            let _has_other_attempts = fs::remove_dir(task_folder);
        }
    }
}
