//! The moments at which a worker is killed.

use stageline::task::Status;
use stageline_tests::faults::Trigger;

/// One moment, and how the world has to look right after it: else the kill was not in the gap.
pub struct Gap {
    pub name: &'static str,
    pub work: Work,
    pub aim: Aim,
    pub left: Left,
    /// Who completes the task.
    pub completed_by: By,
}

impl Gap {
    /// Whether the attempt has certainly started a process, which lives on without its worker.
    pub fn leaves_processes(&self) -> bool {
        self.work == Work::Stuck && self.left.listed && !matches!(self.aim, Aim::Stopping(_))
    }
}

/// What the task does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// It ends at once, before it is worth listing.
    Short,
    /// It runs until its worker is killed, and on; a later attempt ends at once.
    Stuck,
    /// It succeeds when it is let, which is once it is listed and its message is deleted.
    Long,
}

/// Which request is the worker's last.
pub enum Aim {
    /// The first such request at all.
    First(Trigger),
    /// The first such one after the task is listed and its message is deleted.
    Running(Trigger),
    /// The same, and the worker is told to stop right then.
    Stopping(Trigger),
}

/// What the dead worker leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// The state of the record.
    pub status: Status,
    /// Whether its registry lists the attempt.
    pub listed: bool,
    /// The task's message.
    pub message: Message,
}

/// Where a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// On its queue: nobody has received it.
    Unseen,
    /// Received and not deleted: it comes back.
    InFlight,
    Deleted,
}

/// Which attempt completes the task.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// The first, of the killed worker itself.
    TheKilled,
    /// The first, of another worker.
    FirstAttempt,
    /// The second, of another worker.
    SecondAttempt,
}

const TASKS: &str = "\"parts-tasks\"";
const CONTROL: &str = "\"parts-control\"";
const COMPLETED: &str = "\"COMPLETED\"";
const REGISTRY: &str = "#tasks#";
const LANE: &str = "parts-default-normal";

/// All of them, in the order of a task's life.
pub fn all() -> Vec<Gap> {
    use Aim::{First, Running, Stopping};
    use By::{FirstAttempt, SecondAttempt, TheKilled};
    use Message::{Deleted, InFlight, Unseen};
    use Status::{Completed, Queued, Running as Runs};
    use Work::{Long, Short, Stuck};
    let (before, after) = (Trigger::before, Trigger::after);
    let claim = |trigger: Trigger| trigger.containing(TASKS);
    let end = |trigger: Trigger| trigger.containing(TASKS).containing(COMPLETED);
    let beat = |trigger: Trigger| trigger.containing(CONTROL);
    let page = |trigger: Trigger| trigger.containing(CONTROL).containing(REGISTRY);
    let gap = |name, work, aim, (status, listed, message), completed_by| {
        let left = Left { status, listed, message };
        Gap { name, work, aim, left, completed_by }
    };
    vec![
        gap(
            "first heartbeat written, nothing received",
            Stuck,
            First(beat(after("UpdateItem"))),
            (Queued, false, Unseen),
            FirstAttempt,
        ),
        gap(
            "message received, the answer never seen",
            Stuck,
            First(after("ReceiveMessage").containing(LANE)),
            (Queued, false, InFlight),
            FirstAttempt,
        ),
        gap(
            "message received, claim not applied",
            Stuck,
            First(claim(before("UpdateItem"))),
            (Queued, false, InFlight),
            FirstAttempt,
        ),
        gap(
            "claim applied, the answer never seen",
            Stuck,
            First(claim(after("UpdateItem"))),
            (Runs, false, InFlight),
            SecondAttempt,
        ),
        gap(
            "claimed, registry not written",
            Stuck,
            First(page(before("PutItem"))),
            (Runs, false, InFlight),
            SecondAttempt,
        ),
        gap(
            "registry written, the answer never seen",
            Stuck,
            First(page(after("PutItem"))),
            (Runs, true, InFlight),
            SecondAttempt,
        ),
        gap(
            "listed, message not deleted",
            Stuck,
            First(before("DeleteMessageBatch")),
            (Runs, true, InFlight),
            SecondAttempt,
        ),
        gap(
            "message deleted, task running",
            Stuck,
            First(after("DeleteMessageBatch")),
            (Runs, true, Deleted),
            SecondAttempt,
        ),
        gap(
            "a heartbeat of the running task not written",
            Stuck,
            Running(beat(before("UpdateItem"))),
            (Runs, true, Deleted),
            SecondAttempt,
        ),
        gap(
            "told to stop, task not handed back",
            Stuck,
            Stopping(claim(before("UpdateItem"))),
            (Runs, true, Deleted),
            SecondAttempt,
        ),
        gap(
            "short task, completion not applied",
            Short,
            First(end(before("UpdateItem"))),
            (Runs, false, InFlight),
            SecondAttempt,
        ),
        gap(
            "short task, completion applied, the answer never seen",
            Short,
            First(end(after("UpdateItem"))),
            (Completed, false, InFlight),
            TheKilled,
        ),
        gap(
            "short task, completed, message not deleted",
            Short,
            First(before("DeleteMessageBatch")),
            (Completed, false, InFlight),
            TheKilled,
        ),
        gap(
            "long task, completion not applied",
            Long,
            Running(end(before("UpdateItem"))),
            (Runs, true, Deleted),
            SecondAttempt,
        ),
        gap(
            "long task, completion applied, the answer never seen",
            Long,
            Running(end(after("UpdateItem"))),
            (Completed, true, Deleted),
            TheKilled,
        ),
    ]
}
