//! What of it is set.

use serde::{Deserialize, Serialize};

/// Whether the metadata service of EC2 is asked for notices of the machine's end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SpotNotices {
    /// On EC2, until it is plain that nobody answers.
    #[default]
    Auto,
    /// For ever.
    On,
    /// Never.
    Off,
}

/// What a recommendation to rebalance changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnRebalance {
    /// Nothing new is taken while another worker can, and checkpoints are stored at once.
    #[default]
    Yield,
    /// Checkpoints are stored at once, and nothing else.
    Ignore,
}
