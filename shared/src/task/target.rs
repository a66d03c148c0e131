//! Where a task wants to run (`domain/subdomain`), and the patterns by which a pool takes it.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{Code, Rejection};

const MOST_SEGMENTS: usize = 5;
const LONGEST_SEGMENT_BYTES: usize = 128;

fn is_segment(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= LONGEST_SEGMENT_BYTES
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

/// A task's target: one to five segments of letters, digits, `-`, `_` and `.`, joined by `/`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Target(String);

impl Target {
    /// The target's segments, in order.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }
}

impl Default for Target {
    fn default() -> Self {
        Self("default/default".to_owned())
    }
}

impl TryFrom<String> for Target {
    type Error = Rejection;
    fn try_from(text: String) -> Result<Self, Rejection> {
        let count = text.split('/').count();
        if count > MOST_SEGMENTS || !text.split('/').all(is_segment) {
            return Err(Rejection::new(
                Code::TargetInvalid,
                format!(
                    "target {text:?} is not one to five segments of letters, digits, '-', '_' and '.', \
                     such as \"training/gpu-required\""
                ),
            ));
        }
        Ok(Self(text))
    }
}

impl FromStr for Target {
    type Err = Rejection;
    fn from_str(text: &str) -> Result<Self, Rejection> {
        Self::try_from(text.to_owned())
    }
}

impl From<Target> for String {
    fn from(target: Target) -> String {
        target.0
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Exactly(String),
    OneOf(Vec<String>),
    Any,
}

/// A pool's claim on targets: segments, `*` for any one segment, `[a,b]` for alternatives, and a last
/// `**` for any number of further segments (also none).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TargetPattern {
    text: String,
    parts: Vec<Part>,
    open: bool,
}

impl TargetPattern {
    /// Whether the pattern takes `target`.
    pub fn matches(&self, target: &Target) -> bool {
        let mut segments = target.segments();
        let all_parts = self.parts.iter().all(|part| {
            segments.next().is_some_and(|segment| match part {
                Part::Exactly(text) => text == segment,
                Part::OneOf(texts) => texts.iter().any(|text| text == segment),
                Part::Any => true,
            })
        });
        all_parts && (self.open || segments.next().is_none())
    }

    /// How narrow the pattern is; of several that match, the narrowest decides.
    pub fn specificity(&self) -> usize {
        let parts = self.parts.iter().map(|part| match part {
            Part::Exactly(_) => 4,
            Part::OneOf(_) => 3,
            Part::Any => 1,
        });
        parts.sum::<usize>() * 2 + usize::from(!self.open)
    }
}

impl TryFrom<String> for TargetPattern {
    type Error = Rejection;
    fn try_from(text: String) -> Result<Self, Rejection> {
        let reject = || {
            Rejection::new(
                Code::TargetInvalid,
                format!(
                    "target pattern {text:?} is not made of segments, '*', '[a,b]' and a last '**', \
                     such as \"[datasets,training]/*\""
                ),
            )
        };
        let (closed, open) = match text.strip_suffix("**") {
            Some("") => ("", true),
            Some(rest) => (rest.strip_suffix('/').ok_or_else(reject)?, true),
            None => (text.as_str(), false),
        };
        let parts = if closed.is_empty() && open {
            Vec::new()
        } else {
            let part = |segment: &str| match segment {
                "*" => Some(Part::Any),
                _ if is_segment(segment) => Some(Part::Exactly(segment.to_owned())),
                _ => {
                    let list = segment.strip_prefix('[')?.strip_suffix(']')?;
                    let texts: Vec<_> = list.split(',').map(|t| t.trim().to_owned()).collect();
                    texts.iter().all(|t| is_segment(t)).then_some(Part::OneOf(texts))
                }
            };
            closed.split('/').map(part).collect::<Option<Vec<_>>>().ok_or_else(reject)?
        };
        if parts.len() > MOST_SEGMENTS {
            return Err(reject());
        }
        Ok(Self { text, parts, open })
    }
}

impl FromStr for TargetPattern {
    type Err = Rejection;
    fn from_str(text: &str) -> Result<Self, Rejection> {
        Self::try_from(text.to_owned())
    }
}

impl From<TargetPattern> for String {
    fn from(pattern: TargetPattern) -> String {
        pattern.text
    }
}

impl fmt::Display for TargetPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn takes(pattern: &str, target: &str) -> bool {
        pattern.parse::<TargetPattern>().unwrap().matches(&target.parse().unwrap())
    }

    #[test]
    fn targets_have_one_to_five_plain_segments() {
        for good in ["a", "default/default", "procedure/run/p-1", "a/b/c/d/e", "gpu-required/x_1.2"] {
            assert!(good.parse::<Target>().is_ok(), "{good}");
        }
        for bad in ["", "/", "a/", "/a", "a//b", "a/b/c/d/e/f", "a b", "a/*", "../x\n", "ä"] {
            assert_eq!(bad.parse::<Target>().map_err(|r| r.code), Err(Code::TargetInvalid), "{bad:?}");
        }
    }

    #[test]
    fn patterns_take_what_they_say() {
        let table = [
            ("datasets/call-criteria", "datasets/call-criteria", true),
            ("datasets/call-criteria", "datasets/other", false),
            ("[datasets,training]/call-criteria", "training/call-criteria", true),
            ("[datasets, training]/call-criteria", "reports/call-criteria", false),
            ("*/gpu-required", "training/gpu-required", true),
            ("*/gpu-required", "gpu-required", false),
            ("default/*", "default/a/b", false),
            ("default/**", "default/a/b", true),
            ("default/**", "default", true),
            ("**", "anything/at/all", true),
        ];
        for (pattern, target, expected) in table {
            assert_eq!(takes(pattern, target), expected, "{pattern} on {target}");
        }
    }

    #[test]
    fn broken_patterns_are_refused() {
        for bad in ["", "a**", "**/a", "[a,]/b", "[a/b", "a//b", "a/b/c/d/e/f"] {
            assert!(bad.parse::<TargetPattern>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_narrower_pattern_is_more_specific() {
        let order = ["**", "a/**", "a/*", "a/[b,c]", "a/b"];
        let scores = order.map(|p| p.parse::<TargetPattern>().unwrap().specificity());
        assert!(scores.is_sorted() && scores.windows(2).all(|w| w[0] < w[1]), "{scores:?}");
    }
}
