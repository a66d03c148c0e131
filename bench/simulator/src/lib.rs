//! A discrete-event model of a deployment: arrivals, the table's capacity, the stream and the dispatcher, the
//! queue, workers with slots, autoscaling and Spot. It answers how long tasks wait, how many workers that
//! takes, what it costs, and which limit of AWS is reached first. `docs/scale.md` has the model in words.
//!
//! Nothing here does I/O but the command line: a run is a function of its [`Parameters`].

mod calendar;
mod capacity;
pub mod command;
mod fleet;
mod histogram;
mod limit_use;
mod limits;
mod load;
pub mod month;
mod outcome;
mod parameters;
mod prices;
mod progress;
mod queue;
pub mod report;
mod scaling;
mod simulation;
mod stream;
pub mod study;
pub mod watched;
mod worker;
mod workers;

pub use calendar::{Micros, SECOND, seconds};
pub use histogram::Histogram;
pub use limit_use::{Kind, LimitUse, first, uses};
pub use limits::Limits;
pub use load::{Arrivals, DAY, RunTime};
pub use outcome::{Outcome, Peaks, Requests, Waits};
pub use parameters::{Dispatcher, FUNCTION_GB, Fleet, Parameters, Scaling, Worker};
pub use prices::Prices;
pub use progress::{Counters, Progress};
pub use scaling::{Step, step};
pub use simulation::run;
