//! Children: an engine's process in a folder, an environment and a process tree of its own. Nothing of it
//! survives the task, whatever it does.

mod aside;
mod below;
mod capture;
mod confine;
mod disk;
mod environment;
mod folder;
mod follow;
mod leftovers;
mod limits;
mod memory;
mod out_of_memory;
mod reached;
mod run;
mod sandbox;
mod time_limits;
mod tree;
mod turn;

pub(crate) use confine::Confiner;
pub(crate) use environment::scrubbed;
pub(crate) use folder::job_dir;
pub(crate) use leftovers::end_children_of;
pub use leftovers::end_leftovers;
pub(crate) use run::run;
pub(crate) use time_limits::TimeLimits;
pub use tree::{Custody, Tree};
