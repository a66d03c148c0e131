//! How much one call does at most.

use std::time::Duration;

use stageline::protocol::pace::Pace;

/// How much one call does at most. What is left is for the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Pages of the tasks table, of 1 MB each.
    pub scan_pages: Pages,
    /// How long further pages are begun: the Lambda is stopped after two minutes, and what a page asks for takes
    /// its time.
    pub scan_time: Duration,
    /// Tasks taken from dead workers, or from nobody.
    pub rescues: usize,
    /// Due tasks of each partition of their index.
    pub due: u32,
    /// Dead letters of each queue.
    pub dead_letters: u32,
}

/// How many pages a call reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pages {
    /// As many as a pass within the hour takes, within bounds.
    #[default]
    Auto,
    /// As many as these.
    Exactly(u32),
}

impl Pages {
    /// The number, of a table of which that much is known.
    pub fn of(self, pace: Pace) -> u32 {
        match self {
            Self::Auto => pace.pages(),
            Self::Exactly(pages) => pages,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            scan_pages: Pages::Auto,
            scan_time: Duration::from_secs(45),
            rescues: 1_000,
            due: 500,
            dead_letters: 100,
        }
    }
}

/// `STAGELINE_SWEEP_PAGES` is no number of pages.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("STAGELINE_SWEEP_PAGES is {0:?}; it must be `auto` or a whole number of pages, 0 for no repair scan")]
pub struct InvalidLimit(String);

impl Limits {
    /// No limits but the end of everything.
    pub const NONE: Self = Self {
        scan_pages: Pages::Exactly(u32::MAX),
        scan_time: Duration::MAX,
        rescues: usize::MAX,
        due: u32::MAX,
        dead_letters: u32::MAX,
    };

    /// The default, with the pages of `STAGELINE_SWEEP_PAGES` where that is set.
    ///
    /// # Errors
    /// [`InvalidLimit`] when it is neither `auto` nor a number.
    pub fn from_env(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, InvalidLimit> {
        let default = Self::default();
        match lookup("STAGELINE_SWEEP_PAGES").filter(|text| !text.is_empty() && text != "auto") {
            Some(text) => match text.parse() {
                Ok(pages) => Ok(Self { scan_pages: Pages::Exactly(pages), ..default }),
                Err(_) => Err(InvalidLimit(text)),
            },
            None => Ok(default),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pages_come_from_the_environment() {
        let with = |text: &str| {
            let text = text.to_owned();
            Limits::from_env(move |_| Some(text.clone()))
        };
        assert_eq!(Limits::from_env(|_| None), Ok(Limits::default()));
        assert_eq!(with(""), Ok(Limits::default()));
        assert_eq!(with("auto"), Ok(Limits::default()));
        assert_eq!(with("7").map(|limits| limits.scan_pages), Ok(Pages::Exactly(7)));
        assert!(with("-1").unwrap_err().to_string().contains("STAGELINE_SWEEP_PAGES"));
    }
}
