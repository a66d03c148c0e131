//! `stageline logs`: what an attempt has printed, from the best place there is.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;
use stageline::task::{Attempt, Task};
use stageline_worker::{Artifacts, Log};

use crate::args::{LogStream, LogsArgs};
use crate::connection::Connection;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{self, Format};
use crate::plain::{plain, plain_line};

const PERIOD: Duration = Duration::from_secs(1);
/// Read and written at a time.
const PIECE_BYTES: u64 = 256 * 1024;

pub(super) async fn run(
    connection: &Connection,
    store: Option<Artifacts>,
    args: &LogsArgs,
    format: Format,
) -> Result<Exit, Failure> {
    let mut out = Out::new(args, format);
    loop {
        let task = connection.aws.tasks.get(&args.id).await?;
        let task = task.ok_or_else(|| Failure::NotFound(args.id.clone()))?;
        let wanted = args.attempt.map_or(task.attempt, Attempt);
        if wanted > task.attempt {
            let message = format!("--attempt {wanted}: task {} has had {} so far", task.id, task.attempt);
            return Err(Failure::Argument(message));
        }
        let over = !args.follow || task.status.is_terminal() || wanted < task.attempt;
        if out.attempt != wanted {
            if out.attempt != Attempt::default() {
                // What it has printed last, before the next one.
                show(&task, connection, store.as_ref(), &mut out, true).await?;
                out.end();
                note(&task, &format!("attempt {wanted}"));
            }
            out.begin(wanted);
        }
        show(&task, connection, store.as_ref(), &mut out, over).await?;
        if over {
            out.end();
            return Ok(Exit::Success);
        }
        tokio::time::sleep(PERIOD).await;
    }
}

/// Shows what is new of the attempt's log; `last` says that nothing is waited for.
async fn show(
    task: &Task,
    connection: &Connection,
    store: Option<&Artifacts>,
    out: &mut Out,
    last: bool,
) -> Result<(), Failure> {
    let found = match out.attempt {
        Attempt(0) => None,
        attempt => find(task, attempt, connection, store, out).await,
    };
    if let Some((log, source)) = found {
        out.say(task, source, &format!("{}, {} bytes", source.words(), log.bytes));
        return out.log(&log, source).await;
    }
    if !last || out.offset > 0 {
        return Ok(());
    }
    let own = out.attempt == task.attempt && out.attempt != Attempt::default();
    let tail = if out.stream == LogStream::Stdout { &task.stdout } else { &task.stderr };
    match tail.as_ref().filter(|_| own) {
        Some(tail) => {
            out.say(task, Source::Tail, Source::Tail.words());
            out.write(tail.as_bytes().to_vec(), Source::Tail);
        }
        None if out.attempt == Attempt::default() => note(task, "it has not run yet"),
        None if store.is_none() && !task.status.is_terminal() => note(
            task,
            "nothing of its log is known here; name the store of its workers: --artifacts URL, or \
             STAGELINE_ARTIFACTS_URL",
        ),
        None => note(task, &format!("nothing is known of attempt {}'s {}", out.attempt, out.stream.name())),
    }
    Ok(())
}

/// The best log there is: a whole one, or one that is written on this machine, or what is stored so far. What does
/// not answer is said, and passed over.
async fn find(
    task: &Task,
    attempt: Attempt,
    connection: &Connection,
    store: Option<&Artifacts>,
    out: &mut Out,
) -> Option<(Log, Source)> {
    let name = out.stream.name();
    let mut so_far = None;
    if let Some(store) = store {
        match store.log(&task.id, attempt, name).await {
            Ok(Some(log)) if log.is_whole => return Some((log, Source::Whole)),
            Ok(log) => so_far = log.map(|log| (log, Source::Parts)),
            Err(error) => out.trouble(task, &format!("the store: {error}")),
        }
    }
    let named = task.artifacts.iter().flatten().find(|artifact| artifact.name == name);
    if let Some(artifact) = named.filter(|_| attempt == task.attempt) {
        match Log::of_artifact(artifact, &task.id, attempt, &connection.aws.sdk).await {
            Ok(Some(log)) => return Some((log, Source::Whole)),
            Ok(None) => out.trouble(task, &format!("{} is not where its log would be", artifact.uri)),
            Err(error) => out.trouble(task, &format!("{}: {error}", artifact.uri)),
        }
    }
    // A task that has printed nothing yet has no file.
    let here =
        connection.jobs.as_ref().and_then(|jobs| Log::of_file(file(jobs, task, attempt, name), false).ok());
    here.map(|log| (log, Source::JobFolder)).or(so_far)
}

/// As the worker calls it.
fn file(jobs: &std::path::Path, task: &Task, attempt: Attempt, name: &str) -> PathBuf {
    jobs.join(task.id.as_str().replace(':', "~")).join(attempt.to_string()).join(name)
}

fn note(task: &Task, text: &str) {
    eprintln!("{}", plain_line(&format!("{}: {text}", task.id)));
}

/// Where a log comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Whole,
    JobFolder,
    Parts,
    Tail,
}

impl Source {
    fn name(self) -> &'static str {
        match self {
            Source::Whole => "whole",
            Source::JobFolder => "jobFolder",
            Source::Parts => "parts",
            Source::Tail => "tail",
        }
    }

    fn words(self) -> &'static str {
        match self {
            Source::Whole => "the whole log",
            Source::JobFolder => "the log so far, in the job folder",
            Source::Parts => "the log so far, as stored while it ran",
            Source::Tail => "only the end, which is on the record; the log itself is not found here",
        }
    }
}

/// What is shown, and how far it is.
struct Out {
    args: LogsArgs,
    format: Format,
    stream: LogStream,
    attempt: Attempt,
    offset: u64,
    said: Option<Source>,
    troubled: bool,
    /// The beginning of a character whose end is in the next piece.
    cut: Vec<u8>,
}

impl Out {
    fn new(args: &LogsArgs, format: Format) -> Self {
        Self {
            args: args.clone(),
            format,
            stream: args.stream,
            attempt: Attempt::default(),
            offset: 0,
            said: None,
            troubled: false,
            cut: Vec::new(),
        }
    }

    fn begin(&mut self, attempt: Attempt) {
        (self.attempt, self.offset, self.said) = (attempt, 0, None);
        self.cut.clear();
    }

    /// Says where it comes from, once.
    fn say(&mut self, task: &Task, source: Source, text: &str) {
        if self.said != Some(source) {
            note(task, text);
            self.said = Some(source);
        }
    }

    /// Says what is wrong, once: it is looked for again and again.
    fn trouble(&mut self, task: &Task, text: &str) {
        if !self.troubled {
            note(task, text);
            self.troubled = true;
        }
    }

    async fn log(&mut self, log: &Log, source: Source) -> Result<(), Failure> {
        while self.offset < log.bytes {
            let piece = log.read(self.offset, PIECE_BYTES).await?;
            if piece.is_empty() {
                break;
            }
            self.write(piece, source);
        }
        Ok(())
    }

    fn write(&mut self, piece: Vec<u8>, source: Source) {
        let begins = self.offset - self.cut.len() as u64;
        self.offset += piece.len() as u64;
        if self.format == Format::Text && !std::io::stdout().is_terminal() {
            return output::raw(&piece);
        }
        let text = readable(&mut self.cut, piece);
        self.text(&text, begins, source);
    }

    /// What is left of a character that was cut by the end of all.
    fn end(&mut self) {
        let left = std::mem::take(&mut self.cut);
        if let Some(source) = self.said.filter(|_| !left.is_empty()) {
            let begins = self.offset - left.len() as u64;
            self.text(&String::from_utf8_lossy(&left), begins, source);
        }
    }

    fn text(&self, text: &str, begins: u64, source: Source) {
        match self.format {
            Format::Text => output::raw(plain(text).as_bytes()),
            Format::Json => output::json(&json!({
                "id": self.args.id, "attempt": self.attempt, "stream": self.stream.stream(), "source": source.name(),
                "offset": begins, "text": text,
            })),
        }
    }
}

/// The whole characters of what was cut before and this piece; a cut one at the end waits for the next.
fn readable(cut: &mut Vec<u8>, piece: Vec<u8>) -> String {
    let mut bytes = std::mem::take(cut);
    bytes.extend(piece);
    *cut = bytes.split_off(whole_characters(&bytes));
    String::from_utf8_lossy(&bytes).into_owned()
}

/// How many bytes there are up to the end of the last whole character; what is no UTF-8 at all counts as whole.
fn whole_characters(bytes: &[u8]) -> usize {
    let last = &bytes[bytes.len().saturating_sub(3)..];
    // Where a character begins that wants more bytes than there are.
    let begins = last.iter().rposition(|byte| *byte >= 0xc0).filter(|at| {
        std::str::from_utf8(&last[*at..])
            .is_err_and(|error| error.valid_up_to() == 0 && error.error_len().is_none())
    });
    bytes.len() - begins.map_or(0, |at| last.len() - at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_is_not_cut_wherever_the_pieces_are() {
        let text = "aä数🙂é\n".repeat(3);
        for cut in 0..=text.len() {
            let whole = whole_characters(&text.as_bytes()[..cut]);
            assert!(whole <= cut && cut - whole < 4 && text.is_char_boundary(whole), "{cut}");
            assert!(!text.is_char_boundary(cut) || whole == cut, "{cut}");
        }
        let mut cut = Vec::new();
        let pieces: String = text.bytes().map(|byte| readable(&mut cut, vec![byte])).collect();
        assert_eq!((pieces.as_str(), cut.len()), (text.as_str(), 0));
        for bytes in [&b"\x80\x80\x80\x80"[..], b"\xff\x41", b"", b"\xc3\xa4"] {
            assert_eq!(whole_characters(bytes), bytes.len(), "{bytes:?}");
        }
    }
}
