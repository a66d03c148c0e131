//! Files of a checkpoint that are held open, so that what is stored is what was looked at, whatever becomes of
//! their names.

use std::fs::{File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::times;
use crate::engines::Pick;
use crate::store::beneath;

/// One of them.
#[derive(Debug)]
pub(super) struct Held {
    pub path: String,
    file: File,
    first: Mark,
}

/// By which it is known whether a file was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    path: String,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
}

impl Mark {
    fn of(path: &str, about: &Metadata) -> Self {
        let modified = (about.mtime(), about.mtime_nsec());
        Self { path: path.to_owned(), inode: about.ino(), bytes: about.len(), modified }
    }
}

impl Held {
    /// Opens it.
    pub fn open(job_dir: &Path, path: String) -> io::Result<Self> {
        let file = beneath::open(job_dir, &path)?;
        let first = Mark::of(&path, &file.metadata()?);
        Ok(Self { path, file, first })
    }

    /// What it was when it was opened.
    pub fn mark(&self) -> Mark {
        self.first.clone()
    }

    /// Whether nobody has written to it since.
    pub fn is_quiet(&self) -> bool {
        self.file.metadata().is_ok_and(|about| Mark::of(&self.path, &about) == self.first)
    }

    /// The file, from its beginning.
    pub fn content(&self) -> io::Result<File> {
        let mut file = self.file.try_clone()?;
        file.rewind()?;
        Ok(file)
    }

    /// How large it was then.
    pub fn bytes(&self) -> u64 {
        self.first.bytes
    }

    /// When it was last written, in milliseconds since 1970.
    pub fn modified(&self) -> u64 {
        let (seconds, nanos) = self.first.modified;
        u64::try_from(seconds.saturating_mul(1000).saturating_add(nanos / 1_000_000)).unwrap_or(0)
    }

    fn ends_with(&self, bytes: &[u8]) -> io::Result<bool> {
        Ok(self.end(bytes.len() as u64)?.ends_with(bytes))
    }

    /// The same, but for blanks and line ends after it.
    fn ends_with_word(&self, bytes: &[u8]) -> io::Result<bool> {
        Ok(self.end(64)?.trim_ascii_end().ends_with(bytes))
    }

    /// Its last so many bytes, or all.
    fn end(&self, most: u64) -> io::Result<Vec<u8>> {
        let mut file = self.content()?;
        file.seek(SeekFrom::Start(self.first.bytes.saturating_sub(most)))?;
        let mut end = Vec::new();
        file.take(most).read_to_end(&mut end)?;
        Ok(end)
    }
}

/// What of the files is a checkpoint; nothing while it is being written.
pub(super) fn choose(held: Vec<Held>, pick: Pick) -> io::Result<Vec<Held>> {
    match pick {
        Pick::All => Ok(if held.iter().all(Held::is_quiet) { held } else { Vec::new() }),
        Pick::Newest { ends_with } => {
            let mut whole = Vec::new();
            for one in held {
                if one.is_quiet() && one.ends_with(ends_with)? {
                    whole.push(one);
                }
            }
            Ok(whole.into_iter().max_by_key(|one| one.first.modified).into_iter().collect())
        }
        Pick::LatestTime => {
            for one in &held {
                if !one.is_quiet() || !one.ends_with_word(times::ENDS_WITH)? {
                    return Ok(Vec::new());
                }
            }
            Ok(held)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::{Duration, SystemTime};

    use super::*;

    fn held(dir: &Path, path: &str, text: &str, age: u64) -> Held {
        let file = dir.join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, text).unwrap();
        let when = SystemTime::now() - Duration::from_secs(age);
        File::options().write(true).open(&file).unwrap().set_modified(when).unwrap();
        Held::open(dir, path.to_owned()).unwrap()
    }

    fn chosen(held: Vec<Held>, pick: Pick) -> Vec<String> {
        choose(held, pick).unwrap().into_iter().map(|one| one.path).collect()
    }

    #[test]
    fn what_is_written_meanwhile_is_no_checkpoint_and_what_is_replaced_is() {
        let dir = tempfile::tempdir().unwrap();
        let both = || vec![held(dir.path(), "a", "1", 9), held(dir.path(), "b", "2", 9)];
        assert_eq!(chosen(both(), Pick::All), ["a", "b"]);
        let opened = both();
        fs::write(dir.path().join("b"), "33").unwrap();
        assert!(chosen(opened, Pick::All).is_empty());
        let opened = both();
        fs::write(dir.path().join("new"), "33").unwrap();
        fs::rename(dir.path().join("new"), dir.path().join("b")).unwrap();
        let mut text = String::new();
        opened[1].content().unwrap().read_to_string(&mut text).unwrap();
        assert_eq!((chosen(opened, Pick::All).len(), text.as_str()), (2, "2"));
    }

    #[test]
    fn of_alternating_files_the_newest_whole_one_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let pick = Pick::Newest { ends_with: b"END" };
        let [old, torn, newest] = [("a", "xEND", 20), ("b", "xEN", 5), ("c", "yEND", 10)]
            .map(|(path, text, age)| held(dir.path(), path, text, age));
        assert_eq!(chosen(vec![old, torn, newest], pick), ["c"]);
        assert!(chosen(vec![held(dir.path(), "d", "E", 1)], pick).is_empty());
    }

    #[test]
    fn a_time_is_whole_when_each_of_its_files_has_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let all = |end: &str| {
            let end = format!("x\n// *** //{end}");
            vec![held(dir.path(), "1/U", "// ** //\n\n", 9), held(dir.path(), "1/p", &end, 9)]
        };
        assert_eq!(chosen(all("\n"), Pick::LatestTime), ["1/U", "1/p"]);
        assert!(chosen(all("\n0.5"), Pick::LatestTime).is_empty());
        assert!(chosen(vec![held(dir.path(), "1/q", "", 9)], Pick::LatestTime).is_empty());
    }
}
