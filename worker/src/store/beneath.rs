//! Files of a folder that somebody hostile may have written: found and opened without following a single link,
//! part by part of their paths, so that nothing outside of the folder is ever read.
//!
//! A hard link cannot be told from a file; whoever can make one to a file could read that file anyway.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use nix::dir::{Dir, Type};
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

use super::glob;

/// Folders in folders.
const DEEPEST: usize = 32;
/// Names that are looked at.
const MOST_NAMES: usize = 200_000;

/// The regular files below `root` that have the form of one of `patterns`, by their paths, in order. At most
/// `most + 1`: one more says that there are too many.
pub(super) fn find(root: &Path, patterns: &[String], most: usize) -> io::Result<Vec<String>> {
    let mut search = Search { patterns, most, found: Vec::new(), names: 0 };
    search.folder(folder(root)?, "", 0)?;
    search.found.sort();
    Ok(search.found)
}

/// Opens a regular file below `root`.
pub(super) fn open(root: &Path, relative: &str) -> io::Result<File> {
    let parts: Vec<_> = relative.split('/').filter(|part| !part.is_empty()).collect();
    let Some((name, folders)) = parts.split_last().filter(|_| !parts.contains(&"..")) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "no path below the folder"));
    };
    let mut at = folder(root)?;
    for part in folders {
        at = openat(&at, *part, FOLDER, Mode::empty())?;
    }
    // Not to wait for the other end of a pipe.
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let file = File::from(openat(&at, *name, flags, Mode::empty())?);
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")),
    }
}

const FOLDER: OFlag =
    OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

fn folder(path: &Path) -> io::Result<OwnedFd> {
    Ok(nix::fcntl::open(path, FOLDER, Mode::empty())?)
}

struct Search<'a> {
    patterns: &'a [String],
    most: usize,
    found: Vec<String>,
    names: usize,
}

impl Search<'_> {
    fn folder(&mut self, fd: OwnedFd, path: &str, depth: usize) -> io::Result<()> {
        let mut dir = Dir::from_fd(fd)?;
        let mut folders = Vec::new();
        for entry in dir.iter() {
            let entry = entry?;
            // What is not UTF-8 can be named by no pattern.
            let Some(name) = entry.file_name().to_str().ok().filter(|name| !matches!(*name, "." | ".."))
            else {
                continue;
            };
            self.names += 1;
            if self.names > MOST_NAMES {
                return Err(io::Error::other(format!("there are more than {MOST_NAMES} names")));
            }
            let below = if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
            // A file system that does not tell is asked by opening.
            let kind = entry.file_type();
            let may_be = |wanted| kind.is_none_or(|kind| kind == wanted);
            if may_be(Type::File)
                && self.found.len() <= self.most
                && self.patterns.iter().any(|pattern| glob::matches(pattern, &below))
            {
                self.found.push(below.clone());
            }
            if may_be(Type::Directory)
                && depth < DEEPEST
                && self.patterns.iter().any(|pattern| glob::leads_into(pattern, &below))
            {
                folders.push((name.to_owned(), below));
            }
        }
        for (name, below) in folders {
            match openat(&dir, name.as_str(), FOLDER, Mode::empty()) {
                Ok(fd) => self.folder(fd, &below, depth + 1)?,
                // Gone meanwhile, or no folder.
                Err(nix::Error::ENOENT | nix::Error::ENOTDIR | nix::Error::ELOOP) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn all(root: &Path, pattern: &str) -> Vec<String> {
        find(root, &[pattern.to_owned()], 100).unwrap()
    }

    #[test]
    fn links_are_neither_found_nor_opened_wherever_they_stand() {
        let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let root = dir.path();
        fs::write(outside.path().join("secret"), "s").unwrap();
        fs::create_dir_all(root.join("real/deep")).unwrap();
        fs::write(root.join("real/deep/x"), "x").unwrap();
        symlink(outside.path(), root.join("leads-out")).unwrap();
        symlink(outside.path().join("secret"), root.join("leak")).unwrap();
        symlink("real/deep/x", root.join("inside")).unwrap();
        nix::unistd::mkfifo(&root.join("pipe"), Mode::from_bits_truncate(0o600)).unwrap();
        assert_eq!(all(root, "**"), ["real/deep/x"]);
        assert!(open(root, "real/deep/x").is_ok());
        for path in ["leads-out/secret", "leak", "inside", "pipe", "real", "../x", "real/../leak", "", "none"]
        {
            assert!(open(root, path).is_err(), "{path}");
        }
        fs::rename(root.join("real"), root.join("moved")).unwrap();
        symlink("moved", root.join("real")).unwrap();
        assert!(open(root, "real/deep/x").is_err());
        symlink(root, outside.path().join("root")).unwrap();
        assert!(find(&outside.path().join("root"), &["**".to_owned()], 1).is_err());
    }

    #[test]
    fn too_many_are_told_by_one_more() {
        let dir = tempfile::tempdir().unwrap();
        for index in 0..5 {
            fs::write(dir.path().join(format!("{index}.txt")), "").unwrap();
        }
        assert_eq!(find(dir.path(), &["*.txt".to_owned()], 2).unwrap().len(), 3);
        assert_eq!(all(dir.path(), "[0].txt"), Vec::<String>::new());
    }
}
