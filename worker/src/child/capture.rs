//! What a child prints: bounded lines for the engine's reader, a bounded tail for the record, and the
//! whole as a file up to a limit. However much a child prints, memory stays the same. Lines of the progress contract
//! are not in the tail: what they say is shown already, and each KB of the record is a write unit.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::Mode;
use stageline::task::Artifact;
use tracing::warn;

use crate::progress::contract::{self, MARK};

/// Bytes of each stream on the record.
const TAIL_BYTES: usize = 4 * 1024;
/// Stands for what comes before the tail.
const CUT: &str = "…\n";
/// Blanks before a line of the contract. With more it is in the tail.
const LONGEST_INDENT_BYTES: usize = 64;
/// A longer line is cut for the reader. No engine's own lines come near it, but a script's result may: a line of
/// the progress contract has a bound of its own.
const LONGEST_LINE_BYTES: usize = 128 * 1024;

/// One stream of one child.
pub(crate) struct Capture {
    path: PathBuf,
    /// The folder as it is before a process of the task runs, whatever lies at its path later.
    folder: io::Result<OwnedFd>,
    file: Option<File>,
    file_failed: bool,
    limit: u64,
    seen: u64,
    tail: Vec<u8>,
    /// Bytes that were put into the tail.
    told: u64,
    line: Vec<u8>,
    /// The line is not in the tail, since it is one of the contract or may become one.
    held: bool,
    /// Whether there are such lines.
    has_contract: bool,
    /// The last line was ended by a carriage return: a line feed right after it belongs to that end.
    returned: bool,
}

impl Capture {
    /// Keeps at most `limit` bytes in the file, which is made with the first byte.
    pub fn new(path: PathBuf, limit: u64) -> Self {
        let (tail, line) = (Vec::new(), Vec::new());
        let folder = path.parent().unwrap_or(Path::new("."));
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let folder = open(folder, flags, Mode::empty()).map_err(io::Error::from);
        Self {
            path,
            folder,
            file: None,
            file_failed: false,
            limit,
            seen: 0,
            tail,
            told: 0,
            line,
            held: false,
            has_contract: false,
            returned: false,
        }
    }

    /// The same of a stream on which a program may speak by the progress contract.
    pub fn with_contract(self) -> Self {
        Self { has_contract: true, held: true, ..self }
    }

    /// Takes what was read, and gives each line that it completes. A carriage return ends a line too, since
    /// progress bars draw over themselves with it; nothing between two of them is no line.
    pub fn take(&mut self, bytes: &[u8], mut each_line: impl FnMut(&str)) {
        self.store(bytes);
        for part in bytes.split_inclusive(|byte| matches!(byte, b'\n' | b'\r')) {
            let (text, end) = match part {
                [text @ .., end @ (b'\n' | b'\r')] => (text, Some(*end)),
                text => (text, None),
            };
            let before = self.line.len();
            self.line.extend_from_slice(&text[..text.len().min(self.room(text))]);
            self.keep(before, text, end);
            let is_blank = self.line.is_empty();
            match end {
                Some(b'\n') if is_blank && self.returned => self.returned = false,
                Some(b'\n') => {
                    self.end_line(&mut each_line);
                    self.returned = false;
                }
                Some(_) if is_blank => {}
                Some(_) => {
                    self.end_line(&mut each_line);
                    self.returned = true;
                }
                None => {}
            }
        }
    }

    /// The stream has ended: gives a last line without an end.
    pub fn end(&mut self, mut each_line: impl FnMut(&str)) {
        if !self.line.is_empty() {
            self.keep(self.line.len(), &[], None);
            if self.held && !self.is_contract() {
                let held = self.line.clone();
                self.tell(&held);
            }
            self.end_line(&mut each_line);
        }
    }

    /// Puts `text`, which was added to a line of `before` bytes, and the line's end into the tail.
    fn keep(&mut self, before: usize, text: &[u8], end: Option<u8>) {
        if self.held {
            let begin = self.line.trim_ascii_start();
            let may_be = MARK.as_bytes().starts_with(begin) && self.line.len() <= LONGEST_INDENT_BYTES;
            if !self.is_contract() && (!may_be || end.is_some()) {
                self.held = false;
                let held = self.line[..before].to_vec();
                self.tell(&held);
            }
        }
        if !self.held {
            self.tell(text);
            self.tell(end.as_slice());
        }
        if end.is_some() {
            self.held = self.has_contract;
        }
    }

    fn is_contract(&self) -> bool {
        self.line.trim_ascii_start().starts_with(MARK.as_bytes())
    }

    fn tell(&mut self, bytes: &[u8]) {
        self.told = self.told.saturating_add(bytes.len() as u64);
        self.tail.extend_from_slice(bytes);
        if self.tail.len() > 2 * TAIL_BYTES {
            self.tail.drain(..self.tail.len() - TAIL_BYTES);
        }
    }

    /// How many bytes of `more` the line still takes.
    fn room(&self, more: &[u8]) -> usize {
        let room = LONGEST_LINE_BYTES.saturating_sub(self.line.len());
        let begin = if self.line.is_empty() { more } else { &self.line };
        let may_be_longer = more.len() > room && begin.trim_ascii_start().starts_with(MARK.as_bytes());
        if may_be_longer { contract::LONGEST_LINE_BYTES.saturating_sub(self.line.len()) } else { room }
    }

    fn end_line(&mut self, each_line: &mut impl FnMut(&str)) {
        let text = String::from_utf8_lossy(&self.line);
        each_line(&text);
        self.line.clear();
        self.line.shrink_to(LONGEST_LINE_BYTES);
    }

    // Page-cache writes of at most 64 KiB: they do not hold up the runtime.
    fn store(&mut self, bytes: &[u8]) {
        let room = usize::try_from(self.limit.saturating_sub(self.seen)).unwrap_or(usize::MAX);
        self.seen = self.seen.saturating_add(bytes.len() as u64);
        let kept = &bytes[..bytes.len().min(room)];
        if kept.is_empty() || self.file_failed {
            return;
        }
        let stored = match &mut self.file {
            Some(file) => file.write_all(kept),
            None => self.create().and_then(|mut file| {
                file.write_all(kept)?;
                self.file = Some(file);
                Ok(())
            }),
        };
        if let Err(error) = stored {
            // A full disk must not end the simulation; the tail still reaches the record.
            warn!(%error, file = %self.path.display(), "log file not written any further");
            self.file_failed = true;
        }
    }

    /// A new file: a link or a pipe that a container has put there leads where it could not write itself.
    fn create(&self) -> io::Result<File> {
        let folder = self.folder.as_ref().map_err(|error| io::Error::new(error.kind(), error.to_string()))?;
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let mode = Mode::from_bits_truncate(0o666);
        Ok(File::from(openat(folder, self.path.file_name().unwrap_or_default(), flags, mode)?))
    }

    /// The end of what was printed.
    pub fn tail(&self) -> String {
        let cut = self.told > TAIL_BYTES as u64;
        // Room for the mark, which may be longer than the part of a line that it stands for.
        let room = if cut { TAIL_BYTES - CUT.len() } else { TAIL_BYTES };
        let mut text =
            String::from_utf8_lossy(&self.tail[self.tail.len().saturating_sub(room)..]).into_owned();
        // Replacement characters take three bytes for one.
        if text.len() > room {
            text.drain(..text.ceil_char_boundary(text.len() - room));
        }
        if cut && let Some(first_line) = text.find('\n').filter(|end| *end < TAIL_BYTES / 2) {
            text.replace_range(..=first_line, CUT);
        }
        text
    }

    /// The file, if anything was printed.
    pub fn artifact(&self) -> Option<Artifact> {
        self.file.as_ref()?;
        Some(file_artifact(&self.path, self.seen.min(self.limit)))
    }
}

fn file_artifact(path: &Path, size: u64) -> Artifact {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Artifact { name, uri: format!("file://{}", path.display()), size_bytes: Some(size), sha256: None }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn capture(limit: u64) -> (tempfile::TempDir, Capture) {
        let dir = tempfile::tempdir().unwrap();
        let capture = Capture::new(dir.path().join("stdout.log"), limit);
        (dir, capture)
    }

    #[test]
    fn silence_leaves_no_file() {
        let (dir, mut capture) = capture(100);
        capture.end(|_| panic!("no line"));
        assert!(capture.artifact().is_none() && capture.tail().is_empty());
        assert_eq!(dir.path().read_dir().unwrap().count(), 0);
    }

    #[test]
    fn a_flood_is_bounded_in_memory_and_on_disk() {
        let (dir, mut capture) = capture(10_000);
        for _ in 0..10_000 {
            capture.take(&[b'x'; 1_000], |_| {});
        }
        assert!(capture.tail.len() + capture.line.len() < 256 * 1024);
        assert_eq!(capture.tail().len(), TAIL_BYTES - CUT.len());
        assert_eq!(dir.path().join("stdout.log").metadata().unwrap().len(), 10_000);
        assert_eq!(capture.artifact().unwrap().size_bytes, Some(10_000));
    }

    #[test]
    fn a_line_of_the_contract_may_be_longer_than_others_and_leaves_no_room_behind() {
        let (_dir, mut capture) = capture(0);
        let mut lengths = Vec::new();
        for begin in ["::stageline {", " ::stageline {", "plain "] {
            for chunk in [begin.as_bytes(), &[b'x'; 900_000], b"\n"] {
                capture.take(chunk, |line| lengths.push(line.len()));
            }
        }
        for _ in 0..20 {
            capture.take(format!("::stageline {}", "x".repeat(64 * 1024)).as_bytes(), |_| {});
        }
        capture.end(|line| lengths.push(line.len()));
        assert_eq!(lengths, [900_013, 900_014, LONGEST_LINE_BYTES, contract::LONGEST_LINE_BYTES]);
        assert!(capture.line.capacity() <= LONGEST_LINE_BYTES);
    }

    #[test]
    fn lines_of_the_contract_are_read_and_kept_as_a_file_but_not_in_the_tail() {
        let (dir, capture) = capture(u64::MAX);
        let mut capture = capture.with_contract();
        let (mut lines, mut all) = (Vec::new(), String::new());
        for chunk in [
            "begin\n::stage",
            "line {\"done\": 1}\nnext\n  ::stageline {}\r\n",
            "::stage fright\n",
            "::",
            "st",
            "\n\n::stageline {\"a\":",
            " 2}",
            "\n",
            "last ::stageline {}\n::",
        ] {
            all.push_str(chunk);
            capture.take(chunk.as_bytes(), |line| lines.push(line.to_owned()));
        }
        capture.end(|line| lines.push(line.to_owned()));
        assert_eq!(capture.tail(), "begin\nnext\n\n::stage fright\n::st\n\nlast ::stageline {}\n::");
        assert_eq!(lines.iter().filter(|line| line.trim_start().starts_with(MARK)).count(), 3);
        assert_eq!(std::fs::read_to_string(dir.path().join("stdout.log")).unwrap(), all);
    }

    #[test]
    fn a_cut_tail_begins_with_a_whole_line() {
        let (_dir, mut capture) = capture(u64::MAX);
        for n in 0..10_000 {
            capture.take(format!("line {n}\n").as_bytes(), |_| {});
        }
        assert!(capture.tail().starts_with("…\nline ") && capture.tail().ends_with("line 9999\n"));
    }

    #[test]
    fn the_mark_of_a_cut_tail_is_within_its_bound() {
        let (_dir, mut capture) = capture(u64::MAX);
        capture.take("y\n".repeat(10_000).as_bytes(), |_| {});
        let tail = capture.tail();
        assert!(tail.starts_with("…\ny\n") && tail.len() <= TAIL_BYTES, "{}", tail.len());
    }

    /// What a reader gets of `text`, which ends with its only line feed or has none.
    fn as_lines(text: &str) -> Vec<String> {
        let drawn: Vec<_> = text.split(['\r', '\n']).filter(|part| !part.is_empty()).collect();
        match drawn.as_slice() {
            [] if text.ends_with('\n') => vec![String::new()],
            _ => drawn.into_iter().map(str::to_owned).collect(),
        }
    }

    #[test]
    fn a_bar_that_draws_over_itself_is_a_line_each_time() {
        let (_dir, mut capture) = capture(u64::MAX);
        let mut lines = Vec::new();
        for chunk in ["\r  0%|  | 0/2", "\r 50%|▌ | 1/2\r100", "%|█ | 2/2\r", "\nnext\r\n", "\r\nlast"] {
            capture.take(chunk.as_bytes(), |line| lines.push(line.to_owned()));
        }
        capture.end(|line| lines.push(line.to_owned()));
        assert_eq!(lines, ["  0%|  | 0/2", " 50%|▌ | 1/2", "100%|█ | 2/2", "next", "", "last"]);
    }

    proptest! {
        #[test]
        fn lines_do_not_depend_on_how_the_pipe_cuts_them(text in "[ab\n\r]{0,200}", cut in 1usize..20) {
            let (_dir, capture) = capture(u64::MAX);
            let mut capture = capture.with_contract();
            let mut lines = Vec::new();
            for chunk in text.as_bytes().chunks(cut) {
                capture.take(chunk, |line| lines.push(line.to_owned()));
            }
            capture.end(|line| lines.push(line.to_owned()));
            let expected: Vec<_> = text.split_inclusive('\n').flat_map(as_lines).collect();
            prop_assert_eq!(lines, expected);
            prop_assert_eq!(capture.tail(), text);
        }
    }
}
