//! What of it is set.

use serde::{Deserialize, Serialize};

/// Whether the worker keeps its machine from being taken away by a scale-in while it has tasks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ScaleInProtection {
    /// In a task of ECS, whose agent says where it is.
    #[default]
    Auto,
    /// Never.
    Off,
}
