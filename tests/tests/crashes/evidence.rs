//! How a task came to its end, from what was written down: its record's history, the heir's log, what the
//! sweeper reports.

use anyhow::{Result, bail};
use serde_json::Value;
use stageline::task::{HistoryEntry, Status, Task, WorkerId};
use stageline_tests::process::Log;

use crate::gaps::{Left, Message};
use crate::scene::Swept;

pub struct Evidence<'a> {
    /// The record at its end.
    pub task: &'a Task,
    pub killed: &'a WorkerId,
    /// What the dead worker left.
    pub left: Left,
    pub heir: &'a Log,
    pub swept: Swept,
}

/// One way of recovery, and nothing that contradicts it.
pub fn recovered_by(seen: &Evidence<'_>) -> Result<String> {
    let history = seen.task.history.as_deref().unwrap_or_default();
    let lost: Vec<_> =
        history.iter().filter(|entry| entry.reason.as_deref() == Some("WORKER_LOST")).collect();
    let by = match &lost[..] {
        [entry] => rescued_by(seen, entry)?,
        [] if seen.task.worker_node_id.as_ref() == Some(seen.killed) => ended_before(seen),
        [] if seen.left.message == Message::Unseen => {
            "nothing to recover; the message was never received".to_owned()
        }
        [] => "the message, received again".to_owned(),
        more => bail!("lost more than once: {more:#?}"),
    };
    // A message comes back by itself: the repair scan sent none.
    let by_sweeper = lost.iter().filter(|entry| entry.by == "sweeper").count();
    if (seen.swept.rescued, seen.swept.sent_again) != (by_sweeper, 0) {
        bail!("the sweeper reports {:?} of {:#?}", seen.swept, seen.task);
    }
    Ok(by)
}

fn rescued_by(seen: &Evidence<'_>, entry: &HistoryEntry) -> Result<String> {
    assert_eq!(entry.status, Status::Pending);
    if entry.by == "sweeper" {
        let how = if seen.left.listed { "the dead worker's registry" } else { "its repair scan" };
        return Ok(format!("sweeper, by {how}"));
    }
    let rescues: Vec<_> = seen.heir.lines().into_iter().filter(|line| is_rescue(line, seen)).collect();
    match &rescues[..] {
        // Within an attempt it was a message that led to the task.
        [line] if line["span"]["name"] == "attempt" => {
            Ok("the message, received again; rescued at its claim".to_owned())
        }
        [_] if is_former_self(seen) => Ok("former self's registry, at the start".to_owned()),
        other => bail!("{} has rescued it, and says {other:#?}", entry.by),
    }
}

fn is_rescue(line: &Value, seen: &Evidence<'_>) -> bool {
    line["message"] == "rescued"
        && line["task.id"] == seen.task.id.as_str()
        && line["lost.by"] == seen.killed.as_str()
}

fn is_former_self(seen: &Evidence<'_>) -> bool {
    seen.heir.count(|line| {
        line["message"] == "a former self died on this host" && line["worker.id"] == seen.killed.as_str()
    }) == 1
}

/// The dead worker itself had written the end.
fn ended_before(seen: &Evidence<'_>) -> String {
    let dropped = seen.heir.count(|line| {
        line["message"] == "claim refused, message deleted" && line["why"] == "the task has ended"
    });
    match dropped {
        0 => "nothing to recover".to_owned(),
        _ => "nothing to recover; the message, received again, is dropped".to_owned(),
    }
}
