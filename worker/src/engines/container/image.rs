//! References to images: what one looks like, and which of them a worker runs.

use std::fmt;

/// Docker's own limit for the name.
const LONGEST_NAME_BYTES: usize = 255;
const LONGEST_TAG_BYTES: usize = 128;

/// A reference that fulfils the grammar `[registry[:port]/]name[/name…][:tag][@sha256:digest]`. It begins
/// with a letter or a digit, so a command line cannot take it for an option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Image(String);

impl Image {
    /// Reads a reference.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let (named, digest) = match text.split_once('@') {
            Some((named, digest)) => (named, Some(digest)),
            None => (text, None),
        };
        if digest.is_some_and(|digest| !is_digest(digest)) {
            return Err("has a digest that is not `sha256:` and 64 digits of 0-9a-f");
        }
        // A colon before a slash is that of a registry's port.
        let (name, tag) = match named.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (named, None),
        };
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err("has a tag that is not 1 to 128 letters, digits, `_`, `.` and `-`");
        }
        if name.len() > LONGEST_NAME_BYTES {
            return Err("has a name of more than 255 bytes");
        }
        let path = match name.split_once('/') {
            Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => {
                if !is_registry(first) {
                    return Err(
                        "has a registry that is no host name with an optional port, in small letters",
                    );
                }
                rest
            }
            _ => name,
        };
        if !path.split('/').all(is_part) {
            return Err(
                "has a name that is not small letters and digits, with single `.`, `_` and `-` between them",
            );
        }
        Ok(Self(text.to_owned()))
    }

    /// The reference.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a worker's list has it: an entry is a name, which stands for all of its tags, a name with its
    /// tag, or the beginning of names, which ends in `/`.
    pub fn is_among(&self, allowed: &[String]) -> bool {
        allowed.iter().any(|entry| match self.0.strip_prefix(entry.as_str()) {
            _ if entry.is_empty() => false,
            Some("") => true,
            Some(rest) if entry.ends_with('/') => !rest.is_empty(),
            // A digest counts alone: the tag before it says nothing about what runs.
            Some(rest) if rest.starts_with('@') && has_tag(entry) => false,
            // A slash behind the colon makes the entry a registry, and the image anybody's on it.
            Some(rest) => rest.starts_with([':', '@']) && !rest.contains('/'),
            None => false,
        })
    }
}

fn has_tag(entry: &str) -> bool {
    entry.rsplit('/').next().is_some_and(|last| last.contains(':'))
}

impl fmt::Display for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_digest(text: &str) -> bool {
    let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    text.strip_prefix("sha256:").is_some_and(|hex| hex.len() == 64 && hex.bytes().all(is_hex))
}

fn is_tag(text: &str) -> bool {
    let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'));
    plain && (1..=LONGEST_TAG_BYTES).contains(&text.len()) && !text.starts_with(['.', '-'])
}

fn is_small(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

fn is_registry(text: &str) -> bool {
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    };
    let is_label = |label: &str| {
        let plain = label.bytes().all(|byte| is_small(byte) || byte == b'-');
        plain && !label.is_empty() && !label.starts_with('-') && !label.ends_with('-')
    };
    host.split('.').all(is_label)
        && port.is_none_or(|port| {
            (1..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit())
        })
}

/// One part of a name: words of small letters and digits, with one dot, one or two underscores, or dashes
/// between them.
fn is_part(text: &str) -> bool {
    let inner = text.bytes().all(|byte| is_small(byte) || matches!(byte, b'.' | b'_' | b'-'));
    let separators = text.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    let ends = |end: Option<u8>| end.is_some_and(is_small);
    inner
        && ends(text.bytes().next())
        && ends(text.bytes().last())
        && separators.into_iter().all(|between| {
            matches!(between, "" | "." | "_" | "__") || between.bytes().all(|byte| byte == b'-')
        })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn references_are_taken_as_docker_takes_them() {
        let digest = format!("python@{DIGEST}");
        let both = format!("localhost:5000/a/b:1.0@{DIGEST}");
        for good in [
            "python",
            "python:3.12-slim",
            "library/python",
            "ghcr.io/team/solver:v1.2_rc",
            "registry.example.com:5000/team/solver",
            "localhost/solver",
            "a--b__c/d.e:T",
            &digest,
            &both,
        ] {
            assert_eq!(Image::parse(good).map(|image| image.to_string()).as_deref(), Ok(good));
        }
    }

    #[test]
    fn nothing_else_is_taken_for_a_reference() {
        let long = "a".repeat(256);
        let long_tag = format!("a:{}", "t".repeat(129));
        for bad in [
            "",
            " ",
            "-",
            "--privileged",
            "-v/:/host",
            "a b",
            "a\nb",
            "a\n",
            "a\0",
            "Python",
            "a/B",
            "../a",
            "a/../b",
            "./a",
            "/a",
            "a/",
            "a//b",
            "a:",
            ":a",
            "a:-x",
            "a:b:c",
            "a:b/c:",
            "a@",
            "a@sha256:12",
            "a@md5:0",
            "a;b",
            "$(a)",
            "`a`",
            "a|b",
            "a___b",
            "a..b",
            ".a",
            "a.",
            "_a",
            "é",
            "HTTP://a/b",
            "http://a.b/c",
            "a.b:/c",
            "a.b:123456/c",
            "-a.b/c",
            "a-.b/c",
            "GHCR.io/a",
            "a,b",
            "a=b",
            "{a}",
            "a*",
            &long,
            &long_tag,
        ] {
            assert!(Image::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_entry_of_the_list_allows_one_image_or_what_is_below_it() {
        let among = |image: &str, entry: &str| Image::parse(image).unwrap().is_among(&[entry.to_owned()]);
        let pinned = format!("python:3.12@{DIGEST}");
        for (image, entry) in [
            ("python", "python"),
            ("python:3.12", "python"),
            (pinned.as_str(), "python"),
            ("ghcr.io/team/a:1", "ghcr.io/team/"),
            ("ghcr.io/team/deep/a", "ghcr.io/team/"),
        ] {
            assert!(among(image, entry), "{image} {entry}");
        }
        for (image, entry) in [
            (pinned.as_str(), "python:3.12"),
            ("python", ""),
            ("python", "/"),
            ("pythonic", "python"),
            ("python/evil", "python"),
            ("python:3.13", "python:3.12"),
            ("python:3.12-evil", "python:3.12"),
            ("localhost:5000/evil", "localhost"),
            ("ghcr.io/teams/a", "ghcr.io/team"),
            ("ghcr.io/team/a", "ghcr.io/team"),
            ("evil.io/ghcr.io/team/a", "ghcr.io/team/"),
        ] {
            assert!(!among(image, entry), "{image} {entry}");
        }
        assert!(!Image::parse("python").unwrap().is_among(&[]));
    }

    proptest! {
        #[test]
        fn a_reference_can_be_no_option_and_no_path(text in "[-a-zA-Z0-9_./:@ \n]{0,40}") {
            if Image::parse(&text).is_ok() {
                prop_assert!(text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit()));
                prop_assert!(!text.contains("..") && !text.contains("//") && !text.contains(char::is_whitespace));
            }
        }

        #[test]
        fn any_text_is_read_without_a_panic(text in ".{0,80}") {
            let _read = Image::parse(&text);
        }
    }
}
