//! From a script's text to its statements and words, by LAMMPS' own rules: a trailing `&` joins
//! lines before comments are looked at, and quotes protect blanks, `#` and `$`.

/// One command as LAMMPS sees it, after joining continued lines.
pub(super) struct Statement {
    /// The line it starts on, from 1.
    pub(super) line: usize,
    /// Its text without the comment.
    pub(super) text: String,
}

/// Joins the script's lines into statements; blank ones and mere comments are left out.
pub(super) fn statements(script: &str) -> Vec<Statement> {
    let mut found = Vec::new();
    let mut lines = script.lines().enumerate();
    while let Some((index, first)) = lines.next() {
        let mut text = first.trim_end().to_owned();
        let mut triples = text.matches(TRIPLE).count();
        loop {
            if text.ends_with('&') {
                text.pop();
            } else if triples % 2 == 1 {
                text.push('\n');
            } else {
                break;
            }
            let Some((_, next)) = lines.next() else { break };
            triples += next.matches(TRIPLE).count();
            text.push_str(next.trim_end());
        }
        text.truncate(comment_start(&text));
        if !text.trim().is_empty() {
            found.push(Statement { line: index + 1, text });
        }
    }
    found
}

const TRIPLE: &str = "\"\"\"";

/// Follows the quotes through a text: feed it each position in turn.
#[derive(Default)]
pub(super) struct Quotes<'a> {
    open: Option<&'a str>,
}

impl<'a> Quotes<'a> {
    /// If `rest` begins with a quote that opens or closes, its length.
    pub(super) fn step(&mut self, rest: &'a str) -> Option<usize> {
        if let Some(mark) = self.open {
            let closes = rest.starts_with(mark);
            if closes {
                self.open = None;
            }
            return closes.then_some(mark.len());
        }
        let length = match rest.as_bytes().first() {
            Some(b'"') if rest.starts_with(TRIPLE) => TRIPLE.len(),
            Some(b'"' | b'\'') => 1,
            _ => return None,
        };
        self.open = rest.get(..length);
        Some(length)
    }

    /// Whether the position is inside quotes.
    pub(super) fn inside(&self) -> bool {
        self.open.is_some()
    }
}

fn comment_start(text: &str) -> usize {
    let mut quotes = Quotes::default();
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        if let Some(length) = quotes.step(rest) {
            at += length;
        } else if rest.starts_with('#') && !quotes.inside() {
            return at;
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// The words of a statement, their quotes removed. `None` when a quote is not closed or is not
/// followed by a blank, which LAMMPS refuses too.
pub(super) fn words(text: &str) -> Option<Vec<&str>> {
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let mut quotes = Quotes::default();
        let word = if let Some(mark) = quotes.step(rest).and_then(|length| rest.get(..length)) {
            let (word, after) = rest.get(mark.len()..)?.split_once(mark)?;
            if after.chars().next().is_some_and(|next| !next.is_whitespace()) {
                return None;
            }
            rest = after;
            word
        } else {
            let (word, after) = rest.split_at(rest.find(char::is_whitespace).unwrap_or(rest.len()));
            rest = after;
            word
        };
        found.push(word);
        rest = rest.trim_start();
    }
    Some(found)
}

/// The text with every run of blanks made one, to compare a statement with LAMMPS' echo of it.
pub(super) fn normalised(text: &str) -> String {
    let uncommented = text.get(..comment_start(text)).unwrap_or(text);
    uncommented.split_whitespace().collect::<Vec<_>>().join(" ")
}
