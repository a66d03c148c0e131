//! Logs on standard error: JSON lines for machines, short lines for a person at a terminal.

use std::io::IsTerminal;

use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::SubscriberInitExt;

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line (Lambdas, services).
    Json,
    /// Text for a person.
    Text,
}

/// Installs the process's log subscriber. `RUST_LOG` overrides `default_filter`.
///
/// A second call in one process does nothing, so that tests can call it freely.
pub fn init(format: LogFormat, default_filter: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default_filter));
    let installed = match format {
        LogFormat::Json => json(filter, std::io::stderr).try_init(),
        LogFormat::Text => {
            let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
            builder.with_ansi(std::io::stderr().is_terminal()).compact().finish().try_init()
        }
    };
    // The only failure is that a subscriber is already there, which is what was asked for.
    let _already_installed = installed;
}

/// The subscriber of [`LogFormat::Json`]. A line names its span once: no span of ours is within another, and log lines
/// are paid for by their size.
pub fn json<W>(filter: EnvFilter, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    builder.json().flatten_event(true).with_current_span(true).with_span_list(false).finish()
}
