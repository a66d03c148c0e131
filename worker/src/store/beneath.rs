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

use super::deadline::Deadline;
use super::glob::{Pattern, Reached};

/// Folders in folders.
const DEEPEST: usize = 32;
/// Entries of folders that are looked at.
const MOST_NAMES: usize = 200_000;

/// What a search has found.
#[derive(Debug)]
pub(super) struct Found {
    /// The files, by their paths, in order. One more than were asked for says that there are too many, and that
    /// the search ended there.
    pub paths: Vec<String>,
    /// For each pattern, whether one of these has its form.
    pub matched: Vec<bool>,
}

/// The regular files below `root` that have the form of one of `patterns`; at most `most + 1`.
pub(super) fn find(root: &Path, patterns: &[String], most: usize, deadline: &Deadline) -> io::Result<Found> {
    let patterns: Vec<_> = patterns.iter().map(|text| Pattern::of(text)).collect();
    let reached: Vec<_> = patterns.iter().map(Pattern::begin).collect();
    let found = Found { paths: Vec::new(), matched: vec![false; patterns.len()] };
    let mut search = Search { patterns: &patterns, most, deadline, most_names: MOST_NAMES, found, names: 0 };
    search.folder(folder(root)?, "", &reached, 0)?;
    search.found.paths.sort();
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
    patterns: &'a [Pattern],
    most: usize,
    deadline: &'a Deadline,
    most_names: usize,
    found: Found,
    names: usize,
}

impl Search<'_> {
    /// `reached` says how far the patterns have come on the way to this folder.
    fn folder(&mut self, fd: OwnedFd, path: &str, reached: &[Reached], depth: usize) -> io::Result<()> {
        let mut dir = Dir::from_fd(fd)?;
        let mut folders = Vec::new();
        for entry in dir.iter() {
            let entry = entry?;
            self.deadline.check()?;
            if matches!(entry.file_name().to_bytes(), b"." | b"..") {
                continue;
            }
            self.names += 1;
            if self.names > self.most_names {
                return Err(io::Error::other(format!("there are more than {} names", self.most_names)));
            }
            // What is not UTF-8 can be named by no pattern.
            let Ok(name) = entry.file_name().to_str() else { continue };
            let below = if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
            let reached = self.step(reached, name);
            // A file system that does not tell is asked by opening.
            let kind = entry.file_type();
            let may_be = |wanted| kind.is_none_or(|kind| kind == wanted);
            if may_be(Type::File) && self.is_sought(&reached) {
                self.found.paths.push(below.clone());
                if self.is_full() {
                    return Ok(());
                }
            }
            if may_be(Type::Directory)
                && depth < DEEPEST
                && self.patterns.iter().zip(&reached).any(|(pattern, reached)| pattern.leads_on(reached))
            {
                folders.push((name.to_owned(), below));
            }
        }
        for (name, below) in folders {
            match openat(&dir, name.as_str(), FOLDER, Mode::empty()) {
                // How far they are is found anew: kept for every folder it would be much.
                Ok(fd) => self.folder(fd, &below, &self.step(reached, &name), depth + 1)?,
                // Gone meanwhile, or no folder.
                Err(nix::Error::ENOENT | nix::Error::ENOTDIR | nix::Error::ELOOP) => {}
                Err(error) => return Err(error.into()),
            }
            if self.is_full() {
                break;
            }
        }
        Ok(())
    }

    fn step(&self, reached: &[Reached], name: &str) -> Vec<Reached> {
        self.patterns.iter().zip(reached).map(|(pattern, from)| pattern.step(from, name)).collect()
    }

    /// Whether a path has the form of a pattern; notes of which.
    fn is_sought(&mut self, reached: &[Reached]) -> bool {
        let mut any = false;
        for ((pattern, reached), matched) in self.patterns.iter().zip(reached).zip(&mut self.found.matched) {
            let whole = pattern.is_whole(reached);
            *matched |= whole;
            any |= whole;
        }
        any
    }

    fn is_full(&self) -> bool {
        self.found.paths.len() > self.most
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn all(root: &Path, pattern: &str) -> Vec<String> {
        find(root, &[pattern.to_owned()], 100, &Deadline::never()).unwrap().paths
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
        assert!(find(&outside.path().join("root"), &["**".to_owned()], 1, &Deadline::never()).is_err());
    }

    #[test]
    fn too_many_are_told_by_one_more() {
        let dir = tempfile::tempdir().unwrap();
        for index in 0..5 {
            fs::write(dir.path().join(format!("{index}.txt")), "").unwrap();
        }
        assert_eq!(find(dir.path(), &["*.txt".to_owned()], 2, &Deadline::never()).unwrap().paths.len(), 3);
        assert_eq!(all(dir.path(), "[0].txt"), Vec::<String>::new());
    }
    #[test]
    fn each_pattern_is_told_whether_something_has_its_form() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("out/deep")).unwrap();
        fs::write(dir.path().join("out/deep/x.dat"), "").unwrap();
        let patterns = ["out/*.dat", "out/**/*.dat", "**", "out/deep"].map(str::to_owned);
        let found = find(dir.path(), &patterns, 9, &Deadline::never()).unwrap();
        assert_eq!(found.paths, ["out/deep/x.dat"]);
        assert_eq!(found.matched, [false, true, true, false]);
    }

    #[test]
    fn a_search_ends_with_its_time_and_with_the_names_it_may_look_at() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("a")).unwrap();
        let not_utf8 = <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"a/\xff");
        fs::write(dir.path().join(not_utf8), "").unwrap();
        fs::write(dir.path().join("a/b"), "").unwrap();
        let error = find(dir.path(), &["**".to_owned()], 9, &Deadline::over()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        let (patterns, deadline) = ([Pattern::of("**")], Deadline::never());
        let reached = [patterns[0].begin()];
        for (most_names, ends) in [(3, true), (2, false)] {
            let found = Found { paths: Vec::new(), matched: vec![false] };
            let mut search =
                Search { patterns: &patterns, most: 9, deadline: &deadline, most_names, found, names: 0 };
            let root = folder(dir.path()).unwrap();
            assert_eq!(search.folder(root, "", &reached, 0).is_ok(), ends, "{most_names}");
        }
    }
}
