//! Fortran namelists: `&group name = value, … /`. Says which values stand in them, and where.
//!
//! Inputs come from whoever may write a task: one pass over the text, nothing panics, and what is not
//! understood is left out.

use std::ops::Range;

/// One `&group … /`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its name in lower case.
    pub name: String,
    /// Where in the text its name ends.
    pub begins: usize,
    /// Its assignments, in order.
    pub assignments: Vec<Assignment>,
}

/// One `name = value`; of several values the first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// In lower case, with its index, if it has one.
    pub name: String,
    /// Without quotes.
    pub value: String,
    /// Where in the text the value stands, with its quotes.
    pub span: Range<usize>,
}

impl Group {
    /// The value of `name`; the last assignment counts, as it does in Fortran.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.assignments.iter().rfind(|one| one.name == name).map(|one| one.value.as_str())
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word,
    Quoted(String),
    Equals,
}

/// Every group of `text`.
pub fn groups(text: &str) -> Vec<Group> {
    let mut groups = Vec::new();
    let mut at = 0;
    // Cards follow the namelists, and a line of theirs may hold anything; a group begins a line.
    for line in text.split_inclusive('\n') {
        let begins = at;
        at += line.len();
        let indent = line.len() - line.trim_start().len();
        let inside = groups.last().is_some_and(|(_, end): &(Group, usize)| *end > begins);
        if inside || !line.trim_start().starts_with('&') {
            continue;
        }
        let name_at = begins + indent + 1;
        let name: String = text[name_at..].chars().take_while(|c| is_name(*c)).collect();
        let body = name_at + name.len();
        let (tokens, end) = tokens(text, body);
        let name = name.to_ascii_lowercase();
        groups.push((Group { name, begins: body, assignments: assignments(text, &tokens) }, end));
    }
    groups.into_iter().map(|(group, _)| group).collect()
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// The tokens from `start` to the end of the group, and where that is.
fn tokens(text: &str, start: usize) -> (Vec<(Token, Range<usize>)>, usize) {
    let mut found = Vec::new();
    let mut rest = text[start..].char_indices().map(|(at, c)| (start + at, c)).peekable();
    while let Some((at, c)) = rest.next() {
        match c {
            '/' | '&' => return (found, at),
            '!' => while rest.next_if(|(_, c)| *c != '\n').is_some() {},
            '=' => found.push((Token::Equals, at..at + 1)),
            '\'' | '"' => {
                let mut value = String::new();
                let mut end = None;
                while let Some((at, next)) = rest.next() {
                    if next != c {
                        value.push(next);
                    } else if rest.next_if(|(_, after)| *after == c).is_some() {
                        value.push(c);
                    } else {
                        end = Some(at + 1);
                        break;
                    }
                }
                // An open quote swallows the rest.
                let Some(end) = end else { return (found, text.len()) };
                found.push((Token::Quoted(value), at..end));
            }
            ',' => {}
            c if c.is_whitespace() => {}
            c => {
                let mut depth = u32::from(c == '(');
                let mut end = at + c.len_utf8();
                // The comma of an index does not separate.
                while let Some((at, c)) = rest.next_if(|(_, c)| continues(*c, depth)) {
                    match c {
                        '(' => depth += 1,
                        ')' => depth = depth.saturating_sub(1),
                        _ => {}
                    }
                    end = at + c.len_utf8();
                }
                found.push((Token::Word, at..end));
            }
        }
    }
    (found, text.len())
}

fn continues(c: char, depth: u32) -> bool {
    match c {
        '\n' | '/' | '&' | '!' | '=' | '\'' | '"' => false,
        ',' => depth > 0,
        c => depth > 0 || !c.is_whitespace(),
    }
}

fn assignments(text: &str, tokens: &[(Token, Range<usize>)]) -> Vec<Assignment> {
    let one = |window: &[(Token, Range<usize>)]| match window {
        [(Token::Word, name), (Token::Equals, _), (value, span)] if *value != Token::Equals => {
            let shown = match value {
                Token::Quoted(value) => value.clone(),
                _ => text[span.clone()].to_owned(),
            };
            let name = text[name.clone()].to_ascii_lowercase();
            Some(Assignment { name, value: shown, span: span.clone() })
        }
        _ => None,
    };
    tokens.windows(3).filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value(text: &str, name: &str) -> Option<String> {
        groups(text).first().and_then(|group| group.value(name).map(str::to_owned))
    }

    #[test]
    fn values_are_found_whatever_their_case_quotes_and_separators() {
        let text = "&CONTROL Calculation = 'vc-relax', PREFIX=\"it's\"\n outdir='o''ut' ! prefix='no'\n \
                    nstep=3,a(1, 2) = 4 /\nATOMIC_POSITIONS\n prefix = 'card'\n";
        for (name, expected) in [
            ("calculation", "vc-relax"),
            ("prefix", "it's"),
            ("outdir", "o'ut"),
            ("nstep", "3"),
            ("a(1, 2)", "4"),
        ] {
            assert_eq!(value(text, name).as_deref(), Some(expected), "{name}");
        }
    }

    #[test]
    fn groups_end_where_they_end_and_are_told_apart() {
        let found = groups("title\n&one\n a=1\n/\n b=2\n&Two\n c='x/y & z' &end\n d=3\n");
        assert_eq!(found.iter().map(|group| group.name.as_str()).collect::<Vec<_>>(), ["one", "two"]);
        assert_eq!((found[0].value("a"), found[0].value("b")), (Some("1"), None));
        assert_eq!((found[1].value("c"), found[1].value("d")), (Some("x/y & z"), None));
    }

    #[test]
    fn an_open_quote_assigns_nothing_more() {
        assert_eq!(value("&control prefix = 'a\n outdir = b /\n", "outdir"), None);
        assert_eq!(value("&control prefix = 'a\n", "prefix"), None);
    }

    proptest! {
        #[test]
        fn spans_hold_their_values_and_nothing_panics(text in "[&a-c=/!'\",() \né1]{0,120}") {
            for one in groups(&text).iter().flat_map(|group| &group.assignments) {
                prop_assert!(text.get(one.span.clone()).is_some());
            }
        }

        #[test]
        fn any_text_is_taken(text in any::<String>()) {
            let _ = (groups(&text), groups(&format!("&control {text}")));
        }
    }
}
