//! Reads the top level of an OpenFOAM dictionary without running anything of it.
//!
//! Only what stands there in plain words is known. An included file may say anything, so what comes before
//! it is forgotten; a value with a variable or a calculation has no word; after a conditional nothing is
//! known at all. Case files come from whoever may write a task: the work is linear and nothing panics.

use std::collections::BTreeMap;

/// A longer dictionary is not read.
pub const LONGEST_DICTIONARY: usize = 4 << 20;

/// The entries of a dictionary's top level.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dictionary {
    /// A value of one plain word; `None` for every other one.
    entries: BTreeMap<String, Option<String>>,
    /// Whether something that cannot be looked into may define more.
    open: bool,
}

/// What is known of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known<'a> {
    /// It has this value.
    Word(&'a str),
    /// It has none.
    Absent,
    /// Only OpenFOAM can tell.
    Unknown,
}

impl Dictionary {
    /// Reads `text`.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        if text.len() > LONGEST_DICTIONARY {
            return Self { open: true, ..Self::default() };
        }
        let mut dictionary = Self::default();
        let mut tokens = Tokens { rest: text };
        while let Some(token) = tokens.next() {
            match token {
                Token::Directive(name) if is_include(name) => {
                    tokens.skip_line();
                    dictionary.forget();
                }
                // `$name;` puts another dictionary's entries here.
                Token::Word(word) if word.starts_with('$') => {
                    tokens.value();
                    dictionary.forget();
                }
                // Conditionals, `#remove`, `#inputMode`: what holds then is not worth guessing.
                Token::Directive(_) => return Self { open: true, ..Self::default() },
                Token::Word(key) => {
                    let value = tokens.value();
                    dictionary.entries.insert(key.to_owned(), value.map(str::to_owned));
                }
                Token::Text | Token::Mark(_) => {}
            }
        }
        dictionary
    }

    /// What is known of `key`.
    #[must_use]
    pub fn get(&self, key: &str) -> Known<'_> {
        match self.entries.get(key) {
            Some(Some(word)) => Known::Word(word),
            None if !self.open => Known::Absent,
            _ => Known::Unknown,
        }
    }

    fn forget(&mut self) {
        self.entries.clear();
        self.open = true;
    }
}

fn is_include(name: &str) -> bool {
    ["include", "sinclude", "includeIfPresent", "includeEtc", "includeFunc", "sincludeEtc"].contains(&name)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token<'a> {
    Word(&'a str),
    /// After `#`, without it.
    Directive(&'a str),
    /// A quoted text or verbatim code.
    Text,
    /// One of `{}()[];`.
    Mark(char),
}

struct Tokens<'a> {
    rest: &'a str,
}

impl<'a> Tokens<'a> {
    /// The value of a key that was just read, up to its end: one plain word, or `None`.
    fn value(&mut self) -> Option<&'a str> {
        let mut word = None;
        let mut plain = true;
        let mut depth = 0_usize;
        while let Some(token) = self.next() {
            match token {
                Token::Mark(';') if depth == 0 => break,
                Token::Mark('{' | '(' | '[') => {
                    depth += 1;
                    plain = false;
                }
                Token::Mark(close) => {
                    depth = depth.saturating_sub(1);
                    // A block needs no semicolon.
                    if depth == 0 && close == '}' {
                        break;
                    }
                }
                Token::Word(_) if depth > 0 => {}
                Token::Word(text) if word.is_none() && !text.contains('$') => word = Some(text),
                Token::Word(_) | Token::Text | Token::Directive(_) => plain = false,
            }
        }
        word.filter(|_| plain)
    }

    fn skip_line(&mut self) {
        self.rest = self.rest.find('\n').map_or("", |end| &self.rest[end..]);
    }

    fn next(&mut self) -> Option<Token<'a>> {
        self.skip_blanks();
        let first = self.rest.chars().next()?;
        match first {
            '{' | '}' | '(' | ')' | '[' | ']' | ';' => {
                self.rest = &self.rest[1..];
                Some(Token::Mark(first))
            }
            '"' => {
                self.rest = after_quote(&self.rest[1..]);
                Some(Token::Text)
            }
            '#' if self.rest.starts_with("#{") => {
                self.rest = self.rest.find("#}").map_or("", |end| &self.rest[end + 2..]);
                Some(Token::Text)
            }
            '#' => {
                self.rest = &self.rest[1..];
                Some(Token::Directive(self.word()))
            }
            _ => Some(Token::Word(self.word())),
        }
    }

    fn word(&mut self) -> &'a str {
        let ends = |c: char| c.is_whitespace() || "{}()[];\"".contains(c);
        let end = self.rest.find(ends).unwrap_or(self.rest.len());
        // A comment may follow without a blank.
        let end = [self.rest.find("//"), self.rest.find("/*")].into_iter().flatten().fold(end, usize::min);
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    fn skip_blanks(&mut self) {
        loop {
            self.rest = self.rest.trim_start();
            if self.rest.starts_with("//") {
                self.skip_line();
            } else if let Some(comment) = self.rest.strip_prefix("/*") {
                self.rest = comment.find("*/").map_or("", |end| &comment[end + 2..]);
            } else {
                return;
            }
        }
    }
}

/// What follows a quoted text's end.
fn after_quote(text: &str) -> &str {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return &text[at + 1..],
            _ => {}
        }
    }
    ""
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn get(text: &str, key: &str) -> String {
        format!("{:?}", Dictionary::parse(text).get(key))
    }

    #[test]
    fn plain_entries_are_known_and_the_last_one_counts() {
        let text = "/* endTime 9; */ FoamFile { version 2; endTime 8; }\nendTime 7; // endTime 6;\nendTime\t0.5;\n\
                    functions { a { endTime 3; } }\nlibs (\"lib;x.so\" other);dims [0 1 -1];writeFormat\nascii;last 1";
        for (key, expected) in [
            ("endTime", "Word(\"0.5\")"),
            ("writeFormat", "Word(\"ascii\")"),
            ("last", "Word(\"1\")"),
            ("version", "Absent"),
            ("libs", "Unknown"),
            ("dims", "Unknown"),
            ("functions", "Unknown"),
            ("deltaT", "Absent"),
        ] {
            assert_eq!(get(text, key), expected, "{key}");
        }
    }

    #[test]
    fn what_only_openfoam_can_tell_is_unknown() {
        assert_eq!(get("endTime $end;", "endTime"), "Unknown");
        assert_eq!(get("endTime ${end};", "endTime"), "Unknown");
        assert_eq!(get("endTime #calc \"2*$x\";", "endTime"), "Unknown");
        assert_eq!(get("endTime #eval{ 2 + 3 };", "endTime"), "Unknown");
        assert_eq!(get("endTime 1 2;", "endTime"), "Unknown");
        assert_eq!(get("endTime 1;\n#include \"more\"\ndeltaT 2;", "endTime"), "Unknown");
        assert_eq!(get("endTime 1;\n#include \"more\"\ndeltaT 2;", "deltaT"), "Word(\"2\")");
        assert_eq!(get("$defaults;\ndeltaT 2;", "endTime"), "Unknown");
        assert_eq!(get("#ifeq 1 2\nendTime 1;\n#endif\n", "endTime"), "Unknown");
        assert_eq!(
            get("x #codeStream { code #{ endTime 3; } \" #}; };\nendTime 1;", "endTime"),
            "Word(\"1\")"
        );
        assert_eq!(get(&"x".repeat(LONGEST_DICTIONARY + 1), "endTime"), "Unknown");
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[a-z0-9 \\n{}()\\[\\];\"\\\\#$/*é]{0,200}", any in ".{0,100}") {
            let _ = (Dictionary::parse(&text), Dictionary::parse(&any));
        }

        #[test]
        fn an_entry_is_found_behind_any_block(block in "[a-z0-9 \\n;$]{0,60}", end in 1u32..1000) {
            let text = format!("skipped {{ {block} }}\nendTime {end};\n");
            let dictionary = Dictionary::parse(&text);
            prop_assert_eq!(dictionary.get("endTime"), Known::Word(&end.to_string()));
        }
    }
}
