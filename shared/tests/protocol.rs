//! The protocol as a whole: its table of states is the documented one, and a model checker visits every
//! state that two workers and two tasks can get into. Run with
//! `cargo test -p stageline --test protocol`.
#![allow(missing_docs, clippy::print_stdout, clippy::unwrap_used, clippy::expect_used)]

mod document;
mod model;

use libtest_mimic::{Arguments, Failed, Trial};
use stageline::task::Status;

use model::check::{breaks, holds};
use model::state::{Budget, Fault};
use model::{CAN_END, FENCED, Mutation, Protocol};

fn main() {
    let mut arguments = Arguments::from_args();
    // One after another, so that what they print stays in order.
    arguments.test_threads = Some(1);
    let trial = |name: &str, run: fn() -> Result<(), Failed>| Trial::test(name, run);
    let trials = vec![
        trial("the_table_of_states_is_the_documented_one", document::is_as_committed),
        trial("two_workers_and_two_tasks", two_tasks),
        trial("a_task_that_waits_for_another", dependent_tasks),
        trial("one_task", one_task),
        trial("without_the_repair_scan", without_repair),
        trial("known_a_stale_listing_needs_the_repair_scan", stale_listing),
        trial("mutant_attempt_not_checked", attempt_not_checked),
        trial("mutant_message_deleted_at_the_claim", deleted_at_the_claim),
        trial("mutant_marked_before_sent", marked_before_sent),
    ];
    libtest_mimic::run(&arguments, trials).exit();
}

use Fault::{Answer, Cancel, Crash, Death, Drop, Duplicate, Failure, Loss, Pause, Slow};

const ALL: [Fault; 10] = [Death, Pause, Loss, Duplicate, Drop, Crash, Answer, Slow, Failure, Cancel];
/// What the system survives without looking at every record now and then: whatever it is told of.
const TOLD: [Fault; 6] = [Death, Duplicate, Crash, Slow, Failure, Cancel];
const NO_TASK: Status = Status::Cancelled;

fn two_tasks() -> Result<(), Failed> {
    holds("2 workers x 2 tasks, 1 fault", false, Protocol::new(Budget::of(1, &ALL)))
}

fn dependent_tasks() -> Result<(), Failed> {
    let tasks = [Status::Pending, Status::Waiting];
    let protocol = Protocol { tasks, ..Protocol::new(Budget::of(1, &ALL)) };
    holds("2 workers x 2 tasks, one after the other, 1 fault", false, protocol)
}

fn one_task() -> Result<(), Failed> {
    let tasks = [Status::Pending, NO_TASK];
    let protocol = Protocol { tasks, ..Protocol::new(Budget::of(1, &ALL)) };
    holds("2 workers x 1 task, 1 fault", false, protocol)
}

fn without_repair() -> Result<(), Failed> {
    let tasks = [Status::Pending, NO_TASK];
    let protocol = Protocol { tasks, repair: false, ..Protocol::new(Budget::of(1, &TOLD)) };
    holds("2 workers x 1 task, 1 fault, no repair scan", true, protocol)
}

/// The registry lists tasks, not attempts: after a retry at the same worker the former attempt's entry
/// speaks for the next one, and the last message is deleted for it. Only the repair scan finds the task then.
fn stale_listing() -> Result<(), Failed> {
    let tasks = [Status::Pending, NO_TASK];
    let protocol = Protocol { tasks, repair: false, ..Protocol::new(Budget::of(2, &[Answer, Failure])) };
    breaks("a lost answer to the claim of a retry, no repair scan", CAN_END, protocol)
}

fn attempt_not_checked() -> Result<(), Failed> {
    let tasks = [Status::Pending, NO_TASK];
    let mutation = Some(Mutation::AttemptNotChecked);
    let protocol = Protocol { tasks, slots: 2, mutation, ..Protocol::new(Budget::of(2, &ALL)) };
    breaks("the attempt is not checked", FENCED, protocol)
}

fn deleted_at_the_claim() -> Result<(), Failed> {
    let (tasks, mutation) = ([Status::Pending, NO_TASK], Some(Mutation::DeletedAtTheClaim));
    let protocol = Protocol { tasks, repair: false, mutation, ..Protocol::new(Budget::of(1, &[Death])) };
    breaks("the message is deleted at the claim", CAN_END, protocol)
}

fn marked_before_sent() -> Result<(), Failed> {
    let (tasks, mutation) = ([Status::Pending, NO_TASK], Some(Mutation::MarkedBeforeSent));
    let protocol = Protocol { tasks, repair: false, mutation, ..Protocol::new(Budget::of(1, &[Crash])) };
    breaks("QUEUED is written before sending", CAN_END, protocol)
}
