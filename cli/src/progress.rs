//! Progress bars on standard error, only at a terminal and only for people.

use std::io::Write;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tracing_subscriber::EnvFilter;

use crate::output::Format;

/// Templates are constants of this program, so a broken one shows in the first test; then the default serves.
pub fn style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    style.progress_chars("━╸─").tick_chars("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏ ")
}

/// Something that turns, with a message. It shows nothing where there is no terminal, or nobody to look at it.
pub fn spinner(format: Format) -> ProgressBar {
    let target = match format {
        // Hides itself without a terminal.
        Format::Text => ProgressDrawTarget::stderr(),
        Format::Json => ProgressDrawTarget::hidden(),
    };
    let bar = ProgressBar::with_draw_target(None, target);
    bar.set_style(style("{spinner:.cyan} {msg}"));
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

/// Writes the log lines of what runs below this bar above it. `RUST_LOG` overrides `default_filter`.
pub fn log_above(bar: &ProgressBar, format: Format, default_filter: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default_filter));
    let bar = bar.clone();
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(move || Above(bar.clone()));
    let installed = match format {
        Format::Json => lines.json().flatten_event(true).try_init(),
        Format::Text => lines.without_time().with_target(false).with_ansi(false).compact().try_init(),
    };
    // A command installs one, and only one command runs in a process.
    let _installed = installed;
}

struct Above(ProgressBar);

impl Write for Above {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.suspend(|| std::io::stderr().write_all(bytes))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
