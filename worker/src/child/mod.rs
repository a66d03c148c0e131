//! Children: an engine's process in a folder, an environment and a process tree of its own. Nothing of it
//! survives the task, whatever it does.

mod capture;
mod environment;
mod folder;
mod leftovers;
mod run;
mod tree;

pub(crate) use folder::job_dir;
pub use leftovers::end_leftovers;
pub(crate) use run::run;
pub use tree::Custody;
