//! How urgent a task is: a word or a number, and the queue lane it rides in.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{Code, Rejection};

/// 0 (whenever) to 20 (now). The words LOW, MEDIUM, HIGH and CRITICAL are 5, 10, 15 and 20.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Priority(u8);

impl Priority {
    const HIGHEST: u8 = 20;
    const WORDS: [(&'static str, u8); 4] = [("LOW", 5), ("MEDIUM", 10), ("HIGH", 15), ("CRITICAL", 20)];

    /// The priority of this number, if it is 0 to 20.
    pub fn from_number(number: u64) -> Option<Self> {
        u8::try_from(number).ok().filter(|n| *n <= Self::HIGHEST).map(Self)
    }

    /// The queue lane: SQS has no priorities, so each lane is a queue.
    pub fn lane(self) -> Lane {
        match self.0 {
            0..=5 => Lane::Low,
            6..=14 => Lane::Normal,
            _ => Lane::High,
        }
    }
}

impl Default for Priority {
    fn default() -> Self {
        Self(10)
    }
}

impl FromStr for Priority {
    type Err = Rejection;
    fn from_str(text: &str) -> Result<Self, Rejection> {
        let word = Self::WORDS.iter().find(|(word, _)| text.eq_ignore_ascii_case(word));
        word.map(|(_, number)| Self(*number))
            .or_else(|| text.parse().ok().and_then(Self::from_number))
            .ok_or_else(|| {
                Rejection::new(
                    Code::RecordMalformed,
                    format!("priority {text:?} is neither LOW, MEDIUM, HIGH, CRITICAL nor 0 to 20"),
                )
            })
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Self::WORDS.iter().find(|(_, number)| *number == self.0) {
            Some((word, _)) => f.write_str(word),
            None => self.0.fmt(f),
        }
    }
}

impl Serialize for Priority {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match Self::WORDS.iter().find(|(_, number)| *number == self.0) {
            Some((word, _)) => serializer.serialize_str(word),
            None => serializer.serialize_u8(self.0),
        }
    }
}

impl<'de> Deserialize<'de> for Priority {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct WordOrNumber;
        impl de::Visitor<'_> for WordOrNumber {
            type Value = Priority;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("LOW, MEDIUM, HIGH, CRITICAL or a number from 0 to 20")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Priority, E> {
                text.parse().map_err(|r: Rejection| E::custom(r.message))
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Priority, E> {
                Priority::from_number(number)
                    .ok_or_else(|| E::invalid_value(de::Unexpected::Unsigned(number), &self))
            }
        }
        deserializer.deserialize_any(WordOrNumber)
    }
}

/// One SQS queue of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Lane {
    /// HIGH and CRITICAL.
    High,
    /// MEDIUM.
    Normal,
    /// LOW.
    Low,
}

impl Lane {
    /// All lanes, most urgent first.
    pub const ALL: [Lane; 3] = [Lane::High, Lane::Normal, Lane::Low];

    /// The lane's name in queue names and configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Lane::High => "high",
            Lane::Normal => "normal",
            Lane::Low => "low",
        }
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_numbers_mean_the_same() {
        for (text, lane) in [
            ("\"LOW\"", Lane::Low),
            ("\"medium\"", Lane::Normal),
            ("\"HIGH\"", Lane::High),
            ("\"CRITICAL\"", Lane::High),
            ("0", Lane::Low),
            ("10", Lane::Normal),
            ("20", Lane::High),
            ("\"7\"", Lane::Normal),
        ] {
            assert_eq!(serde_json::from_str::<Priority>(text).unwrap().lane(), lane, "{text}");
        }
    }

    #[test]
    fn what_is_no_priority_says_what_one_is() {
        for bad in ["21", "-1", "\"URGENT\"", "true", "1.5"] {
            let error = serde_json::from_str::<Priority>(bad).unwrap_err().to_string();
            assert!(error.contains("LOW, MEDIUM, HIGH"), "{bad}: {error}");
        }
    }
}
