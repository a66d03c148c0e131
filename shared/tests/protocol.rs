//! The protocol as a whole: its table of states is the documented one, and a model checker visits every
//! state that two workers and two tasks can get into. Run with
//! `cargo test -p stageline --test protocol`.
#![allow(missing_docs, clippy::print_stdout, clippy::unwrap_used, clippy::expect_used)]

mod document;
mod model;

use libtest_mimic::{Arguments, Failed, Trial};
use stageline::task::Status;

use model::budget::{Budget, Fault};
use model::check::{breaks, holds, holds_at_first};
use model::comparison::merging_loses_nothing;
use model::{CAN_END, FENCED, Mutation, NOT_STARTED, ONCE, Protocol};

fn main() {
    let mut arguments = Arguments::from_args();
    // One after another, so that what they print stays in order.
    arguments.test_threads = Some(1);
    let trial = |name: &str, run: fn() -> Result<(), Failed>| Trial::test(name, run);
    let trials = vec![
        trial("the_table_of_states_is_the_documented_one", document::is_as_committed),
        trial("merging_states_loses_nothing", merging),
        trial("each_fault", each_fault),
        trial("each_fault_without_the_repair_scan", each_fault_without_repair),
        trial("any_two_faults", any_two_faults),
        trial("any_two_faults_without_the_repair_scan", any_two_faults_without_repair),
        trial("a_task_that_waits_for_another", dependent_tasks),
        trial("two_tasks_at_once", two_slots),
        trial("all_faults_bounded", all_faults),
        trial("what_only_the_repair_scan_finds", only_repair),
        trial("mutant_attempt_not_in_the_condition", attempt_not_in_the_condition),
        trial("mutant_attempt_not_checked", attempt_not_checked),
        trial("mutant_only_the_state_checked", only_the_state_checked),
        trial("mutant_listed_without_the_attempt", listed_without_the_attempt),
        trial("mutant_message_deleted_at_the_claim", deleted_at_the_claim),
        trial("mutant_marked_before_sent", marked_before_sent),
        trial("mutant_cancel_not_in_the_claim", cancel_not_in_the_claim),
    ];
    libtest_mimic::run(&arguments, trials).exit();
}

use Fault::{Answer, Cancel, Crash, Death, Drop, Duplicate, Failure, Late, Loss, Pause, Slow};

const ONE_TASK: [Status; 2] = [Status::Pending, Status::Cancelled];

/// What the system survives without looking at every record now and then.
fn survived_without_repair() -> impl Iterator<Item = Fault> {
    Fault::ALL.into_iter().filter(|fault| !matches!(fault, Loss | Drop))
}

fn merging() -> Result<(), Failed> {
    let one_task = |total, faults: &'static [Fault]| {
        move || Protocol { tasks: ONE_TASK, ..Protocol::new(Budget::of(total, faults)) }
    };
    let first = merging_loses_nothing("2 workers x 1 task, one of 11 faults", one_task(1, &Fault::ALL))?;
    let two_tasks = || Protocol::new(Budget::of(1, &[Loss, Duplicate, Drop, Crash]));
    merging_loses_nothing("2 workers x 2 tasks, one of 4 faults", two_tasks)?;
    let third = merging_loses_nothing("2 workers x 1 task, Slow and Failure", one_task(2, &[Slow, Failure]))?;
    // Else nothing would be said about old holders and still older messages.
    for met in [first, third] {
        if met.attempts < 3 || !met.zombies.contains(&2) {
            return Err(format!("too little was met: {met:?}").into());
        }
    }
    Ok(())
}

fn each_fault() -> Result<(), Failed> {
    for fault in Fault::ALL {
        holds(&format!("2 workers x 2 tasks, {fault:?}"), Protocol::new(Budget::each(&[fault])))?;
    }
    Ok(())
}

fn each_fault_without_repair() -> Result<(), Failed> {
    for fault in survived_without_repair() {
        let protocol = Protocol { repair: false, ..Protocol::new(Budget::each(&[fault])) };
        holds(&format!("2 workers x 2 tasks, no repair scan, {fault:?}"), protocol)?;
    }
    Ok(())
}

fn any_two_faults() -> Result<(), Failed> {
    holds("2 workers x 2 tasks, any two of 11 faults", Protocol::new(Budget::of(2, &Fault::ALL)))
}

/// All pairs but one, which [`only_repair`] has.
fn any_two_faults_without_repair() -> Result<(), Failed> {
    for never in [Pause, Death] {
        let faults: Vec<_> = survived_without_repair().filter(|fault| *fault != never).collect();
        let protocol = Protocol { repair: false, ..Protocol::new(Budget::of(2, &faults)) };
        let name =
            format!("2 workers x 2 tasks, no repair scan, any two of {} faults, not {never:?}", faults.len());
        holds(&name, protocol)?;
    }
    Ok(())
}

fn dependent_tasks() -> Result<(), Failed> {
    let tasks = [Status::Pending, Status::Waiting];
    let protocol = Protocol { tasks, ..Protocol::new(Budget::of(1, &Fault::ALL)) };
    holds("2 workers x 2 tasks, the second waits for the first, one of 11 faults", protocol)
}

fn two_slots() -> Result<(), Failed> {
    let faults: Vec<_> = Fault::ALL.into_iter().filter(|fault| *fault != Pause).collect();
    let protocol = Protocol { slots: 2, ..Protocol::new(Budget::of(1, &faults)) };
    holds("2 workers with 2 slots x 2 tasks, one of 10 faults, not Pause", protocol)
}

fn all_faults() -> Result<(), Failed> {
    holds_at_first("2 workers x 2 tasks, all 11 faults", Protocol::new(Budget::each(&Fault::ALL)))
}

fn only_repair() -> Result<(), Failed> {
    for faults in [&[Loss][..], &[Drop], &[Pause, Death]] {
        let protocol = Protocol { tasks: ONE_TASK, repair: false, ..Protocol::new(Budget::each(faults)) };
        breaks(&format!("no repair scan, {faults:?}"), CAN_END, protocol)?;
    }
    Ok(())
}

fn mutant(mutation: Mutation, repair: bool, faults: &[Fault]) -> Protocol {
    Protocol { tasks: ONE_TASK, repair, mutation: Some(mutation), ..Protocol::new(Budget::each(faults)) }
}

/// Only a late write needs it: else the worker's id stands in for the attempt.
fn attempt_not_in_the_condition() -> Result<(), Failed> {
    let others: Vec<_> = Fault::ALL.into_iter().filter(|fault| *fault != Late).collect();
    let without_late =
        Protocol { budget: Budget::of(2, &others), ..mutant(Mutation::AttemptNotInCondition, true, &[]) };
    holds(
        "2 workers x 1 task, the attempt is not in the condition, any two of 10 faults, not Late",
        without_late,
    )?;
    let protocol = mutant(Mutation::AttemptNotInCondition, true, &[Late, Slow]);
    breaks("mutant, the attempt is not in the condition", ONCE, protocol)
}

fn attempt_not_checked() -> Result<(), Failed> {
    breaks("mutant, the attempt is not checked", ONCE, mutant(Mutation::AttemptNotChecked, true, &[Pause]))
}

fn only_the_state_checked() -> Result<(), Failed> {
    let protocol = || mutant(Mutation::OnlyTheStateChecked, true, &[Pause]);
    breaks("mutant, neither the worker nor the attempt is checked", FENCED, protocol())?;
    breaks("mutant, neither the worker nor the attempt is checked", ONCE, protocol())
}

fn listed_without_the_attempt() -> Result<(), Failed> {
    let protocol = mutant(Mutation::ListedWithoutAttempt, false, &[Answer, Failure]);
    breaks("mutant, no repair scan, the registry lists tasks without attempts", CAN_END, protocol)
}

fn deleted_at_the_claim() -> Result<(), Failed> {
    let protocol = mutant(Mutation::DeletedAtTheClaim, false, &[Death]);
    breaks("mutant, no repair scan, the message is deleted at the claim", CAN_END, protocol)
}

fn marked_before_sent() -> Result<(), Failed> {
    let protocol = mutant(Mutation::MarkedBeforeSent, false, &[Crash]);
    breaks("mutant, no repair scan, QUEUED is written before sending", CAN_END, protocol)
}

fn cancel_not_in_the_claim() -> Result<(), Failed> {
    let protocol = mutant(Mutation::CancelNotInTheClaim, true, &[Cancel]);
    breaks("mutant, the claim does not ask for a cancellation", NOT_STARTED, protocol)
}
