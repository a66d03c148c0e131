//! The data directory: that it can be written, and that only one process has it.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use crate::error::LocalError;

/// An open data directory. The lock ends with this value, or with the process, however it ends.
#[derive(Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Creates the directory if need be and locks it.
    pub fn open(path: &Path) -> Result<Self, LocalError> {
        let not_writable = |error: std::io::Error| LocalError::DirectoryNotWritable {
            path: path.to_owned(),
            reason: error.to_string(),
        };
        fs::create_dir_all(path).map_err(not_writable)?;
        // Opening for writing is also the proof that the directory can be written.
        let lock = File::create(path.join("lock")).map_err(not_writable)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(LocalError::DirectoryInUse { path: path.to_owned() }),
            Err(TryLockError::Error(error)) => Err(not_writable(error)),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}
