//! What was measured, beside its targets and the peers, as a table for people and JSON for programs.

mod figure;
mod machine;
mod markdown;

pub use figure::{Figure, Target, Verdict};
pub use machine::Machine;
pub use markdown::{markdown, number};

use serde::Serialize;

/// One subject.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Section {
    /// Its heading.
    pub title: String,
    /// How it was measured, in sentences.
    pub how: Vec<String>,
    /// What came out.
    pub figures: Vec<Figure>,
    /// Further tables: a heading of each column, and the rows.
    pub tables: Vec<Table>,
    /// Why (a part of) it could not be measured.
    pub failures: Vec<String>,
}

/// A table beside the figures.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Table {
    /// What it shows.
    pub caption: String,
    /// The headings of its columns.
    pub columns: Vec<String>,
    /// Its rows.
    pub rows: Vec<Vec<String>>,
}

/// Everything that was measured.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Results {
    /// When, UTC.
    pub date: String,
    /// Whether it was the short form.
    pub quick: bool,
    /// Where.
    pub machine: Machine,
    /// The prices' date and region.
    pub prices: String,
    /// The subjects.
    pub sections: Vec<Section>,
}

impl Section {
    /// An empty one.
    pub fn new(title: &str) -> Self {
        Self { title: title.to_owned(), ..Self::default() }
    }

    /// Says how it is measured.
    pub fn how(mut self, sentence: &str) -> Self {
        self.how.push(sentence.to_owned());
        self
    }

    /// Takes what a measurement came to, or why it came to nothing.
    pub fn take(&mut self, what: &str, measured: anyhow::Result<Vec<Figure>>) {
        match measured {
            Ok(figures) => {
                for figure in &figures {
                    let value = figure.value().map_or("–".to_owned(), number);
                    crate::say(&format!("  {}: {value} {}", figure.name, figure.unit));
                }
                self.figures.extend(figures);
            }
            Err(error) => {
                crate::say(&format!("  {what}: not measured: {error:#}"));
                self.failures.push(format!("{what}: not measured: {error:#}"));
            }
        }
    }

    /// The median of a figure.
    pub fn value(&self, name: &str) -> Option<f64> {
        self.figures.iter().find(|figure| figure.name == name)?.value()
    }
}

impl Results {
    /// How many figures have missed their targets.
    pub fn misses(&self) -> usize {
        let all = self.sections.iter().flat_map(|section| &section.figures);
        all.filter(|figure| figure.verdict() == Verdict::Miss).count()
    }

    /// Whether something could not be measured at all.
    pub fn has_failures(&self) -> bool {
        self.sections.iter().any(|section| !section.failures.is_empty())
    }
}
