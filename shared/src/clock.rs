//! Time as the records write it, and the clock as an argument.

use std::{fmt, sync::Arc, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// A moment in UTC with millisecond precision, written `2026-11-21T09:25:00.123Z`.
///
/// The fixed width makes the strings sort as the moments do, which DynamoDB's range keys rely on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct At(Timestamp);

impl At {
    /// The moment `milliseconds` after 1970-01-01T00:00:00Z; what lies outside the years −9999 to 9999
    /// becomes the nearest representable moment.
    pub fn from_millis(milliseconds: i64) -> Self {
        Self(Timestamp::from_millisecond(milliseconds).unwrap_or(if milliseconds < 0 {
            Timestamp::MIN
        } else {
            Timestamp::MAX
        }))
    }

    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub fn millis(self) -> i64 {
        self.0.as_millisecond()
    }

    /// Reads an ISO-8601 moment with an offset, such as Amplify writes.
    pub fn parse(text: &str) -> Option<Self> {
        let parsed: Timestamp = text.trim().parse().ok()?;
        Some(Self::from_millis(parsed.as_millisecond()))
    }

    /// Time from `earlier` to this moment; zero when `earlier` is later.
    pub fn since(self, earlier: At) -> Duration {
        u64::try_from(self.millis().saturating_sub(earlier.millis()))
            .map_or(Duration::ZERO, Duration::from_millis)
    }

    /// This moment plus `duration`.
    pub fn plus(self, duration: Duration) -> Self {
        let added = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self::from_millis(self.millis().saturating_add(added))
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}", self.0)
    }
}

impl Serialize for At {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for At {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        At::parse(&text).ok_or_else(|| {
            D::Error::custom(format_args!(
                "{text:?} is not an ISO-8601 time such as 2026-11-21T09:25:00.000Z"
            ))
        })
    }
}

/// Where the present comes from. Decisions take an [`At`]; only the edges hold a `Clock`.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> At + Send + Sync>);

impl Clock {
    /// The machine's own clock.
    pub fn system() -> Self {
        Self(Arc::new(|| At::from_millis(Timestamp::now().as_millisecond())))
    }

    /// A clock of the caller's making, for tests that live through hours in a moment.
    pub fn of(now: impl Fn() -> At + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// The present.
    pub fn now(&self) -> At {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Clock").field(&self.now()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_written_with_exactly_three_decimals() {
        assert_eq!(At::from_millis(0).to_string(), "1970-01-01T00:00:00.000Z");
        assert_eq!(
            At::parse("2026-11-21T10:25:00.1234+01:00").map(|at| at.to_string()),
            Some("2026-11-21T09:25:00.123Z".to_owned())
        );
    }

    #[test]
    fn text_order_is_time_order() {
        let moments = [0, 1, 999, 1_000, 1_795_000_000_000].map(At::from_millis);
        assert!(moments.windows(2).all(|pair| pair[0].to_string() < pair[1].to_string()));
    }

    #[test]
    fn absurd_durations_saturate() {
        let end = At::from_millis(i64::MAX);
        assert_eq!(end.plus(Duration::MAX), end);
        assert_eq!(At::from_millis(5).since(end), Duration::ZERO);
    }
}
