//! Traces: who did what for a task, from its submission to its engine, as OpenTelemetry has it.
//!
//! A task's trace begins where its record says (`traceparent`, W3C), or else has an id that follows from the
//! task's own: so dispatcher, sweeper and workers write into the same trace without a write to the record, and
//! the span of each attempt can be named by whoever comes later. Without a collector nothing is recorded, and a
//! trace that a client began is handed on as it is.

mod context;
mod export;
mod settings;
mod span;

pub use context::TraceContext;
pub use settings::{Settings, SettingsError};
pub use span::{Current, Kind, Span, Tracer, current, step};
