//! Texts of records as they may be shown at a terminal: what a program printed, or what a client wrote into a
//! record, must not move the cursor, set the window's title or pretend to be a line of ours.

use std::borrow::Cow;

/// What stands in the place of a character that is not shown.
const INSTEAD: char = '\u{FFFD}';

/// The text without control characters but line feeds and tabs. A carriage return ends a line, as a line feed
/// does.
pub fn plain(text: &str) -> Cow<'_, str> {
    if !text.contains(is_harmful) {
        return Cow::Borrowed(text);
    }
    let text = text.replace("\r\n", "\n");
    Cow::Owned(text.chars().map(|c| if c == '\r' { '\n' } else { shown(c) }).collect())
}

/// The same on one line.
pub fn plain_line(text: &str) -> Cow<'_, str> {
    match plain(text) {
        text if text.contains(['\n', '\t']) => Cow::Owned(text.replace(['\n', '\t'], " ")),
        text => text,
    }
}

/// A JSON text in which none of them is left: JSON itself demands that only of C0. The value is the same.
pub fn escaped(json: String) -> String {
    if !json.contains(is_harmful) {
        return json;
    }
    let escape = |c: char| if is_harmful(c) { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() };
    json.chars().map(escape).collect()
}

fn shown(c: char) -> char {
    if is_harmful(c) { INSTEAD } else { c }
}

/// C0, DEL and C1, and what turns the direction of writing: a text could then read as another one.
fn is_harmful(c: char) -> bool {
    let turns = matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}');
    turns || c.is_control() && !matches!(c, '\n' | '\t')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_control_character_but_line_feed_and_tab_is_left() {
        for c in (0..=0x9f).filter_map(char::from_u32) {
            let text = format!("a{c}b");
            let expected = match c {
                '\n' | '\r' => "a\nb".to_owned(),
                '\t' | ' '..='~' => text.clone(),
                _ => "a\u{FFFD}b".to_owned(),
            };
            assert_eq!(plain(&text), expected, "{c:?}");
            assert!(!plain_line(&text).contains(char::is_control), "{c:?}");
        }
        assert_eq!(plain("\u{1b}]0;title\u{7}\u{9b}2J"), "\u{FFFD}]0;title\u{FFFD}\u{FFFD}2J");
    }

    #[test]
    fn text_of_any_language_stays_as_it_is() {
        for text in ["", "größer", "数値 🙂", "a\n\tb", "\u{FFFD}", "\u{a0}"] {
            assert!(matches!(plain(text), Cow::Borrowed(same) if same == text), "{text}");
        }
    }

    #[test]
    fn json_with_more_escapes_is_the_same_value() {
        let value = serde_json::json!({"\u{9b}2J": "\u{1b}[2J\u{7f}\u{202e}\n\r\tä🙂"});
        let text = escaped(value.to_string());
        assert_eq!(text, r#"{"\u009b2J":"\u001b[2J\u007f\u202e\n\r\tä🙂"}"#);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
    }

    #[test]
    fn a_carriage_return_ends_a_line_once() {
        assert_eq!(plain("one\r\ntwo\rthree\r"), "one\ntwo\nthree\n");
        assert_eq!(plain_line("one\r\ntwo\tthree"), "one two three");
    }

    #[test]
    fn the_direction_of_writing_cannot_be_turned() {
        assert_eq!(plain("exe.\u{202e}fdp"), "exe.\u{FFFD}fdp");
        assert_eq!(plain("\u{2066}x\u{2069}"), "\u{FFFD}x\u{FFFD}");
    }
}
