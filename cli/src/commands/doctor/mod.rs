//! `stageline doctor`: what of the system answers, what waits and for whom, and with `--repair` one whole pass
//! of the sweeper over the table first.

mod checks;
mod fleet;
mod look;
mod repair;
mod report;
mod show;
mod vigil;

use std::collections::BTreeSet;

use stageline::aws::AwsError;

use crate::connection::Connection;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Format;
use crate::progress::spinner;
use checks::{State, checks};
use look::look;

/// Repairs, if that was asked for, then checks; the exit code says whether something needs a person.
pub(super) async fn run(system: &Connection, with_repair: bool, format: Format) -> Result<Exit, Failure> {
    let repaired = match with_repair {
        true => Some(repair::run(system, format).await?),
        false => None,
    };
    let bar = spinner(format);
    bar.set_message("looking at tables, queues and workers");
    let beaten = repaired.as_ref().map_or_else(BTreeSet::new, |repaired| repaired.beaten.clone());
    let seen = Box::pin(look(system, beaten)).await;
    bar.finish_and_clear();
    // Nothing was seen at all: that is no finding about a system, but a command that could not do its work.
    if let Err(error @ (AwsError::Unreachable { .. } | AwsError::NoCredentials { .. })) = seen.tasks {
        return Err(error.into());
    }
    let checks = checks(&seen, system);
    let report = repaired.as_ref().map(|repaired| &repaired.report);
    show::show(&seen, &checks, report, format);
    let sound = checks.iter().all(|check| check.state != State::Problem);
    Ok(if sound && report.is_none_or(report::is_sound) { Exit::Success } else { Exit::Problem })
}
