//! What a Task record is: its attributes, their types and what is valid.

mod attempt_ref;
mod event;
mod fields;
mod ids;
mod outcome;
mod priority;
mod record;
mod reference;
mod resources;
mod stage;
mod status;
mod target;
mod validate;

pub use attempt_ref::{AttemptRef, NoAttemptRef};
pub use event::{Event, IllegalTransition};
pub use fields::{
    Artifact, DependencyFailure, HISTORY_ITEMS, HISTORY_MESSAGE_BYTES, HistoryEntry, Input, RetryPolicy,
    RetryStrategy, StatusReason,
};
pub use ids::{Attempt, LONGEST_ID_BYTES, TaskId, WorkerId};
pub use outcome::{ErrorDetails, ErrorKind};
pub use priority::{Lane, Priority};
pub use record::{Item, Task, json_of};
pub use reference::{LARGEST_INLINE_BYTES, LARGEST_REFERENCED_BYTES, Reference, without_the_key};
pub use resources::Resources;
pub use stage::{Stage, StageStatus};
pub use status::{DispatchStatus, Status};
pub use target::{Target, TargetPattern};
pub use validate::{ENGINES, parse_argv, relative_path};
