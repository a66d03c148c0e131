//! Every write of the `tasks` table, each with the condition that the real one has and with the answer that
//! its writer gets. What changes a record also puts it on the stream.

use stageline::task::Event;

use super::Mutation;
use super::decisions::{End, on_change, on_end};
use super::state::{Hand, Record, State};

/// What a write's condition asks for beside the states of [`Event::sources`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Condition {
    pub attempt: Option<u8>,
    pub worker: Option<u8>,
    pub cancel: Option<bool>,
}

impl State {
    /// Writes `event` if its condition holds; whether it was applied.
    pub fn write(
        &mut self,
        task: u8,
        event: Event,
        condition: Condition,
        change: impl FnOnce(&mut Record),
    ) -> bool {
        let old = *self.task(task);
        let Ok(status) = old.status.next(event) else { return false };
        let met = condition.attempt.is_none_or(|attempt| attempt == old.attempt)
            && condition.worker.is_none_or(|worker| old.worker == Some(worker))
            && condition.cancel.is_none_or(|cancel| cancel == old.cancel);
        if !met {
            return false;
        }
        let mut new = Record { status, ..old };
        change(&mut new);
        self.seen.ended_twice |= old.status.is_terminal();
        self.seen.started_although_cancelled |= event == Event::Claimed && old.cancel;
        self.replace(task, old, new);
        true
    }

    /// A person asks for the task's end, unless it has ended.
    pub fn ask_to_cancel(&mut self, task: u8) {
        let old = *self.task(task);
        if !old.status.is_terminal() {
            self.replace(task, old, Record { cancel: true, ..old });
        }
    }

    fn replace(&mut self, task: u8, old: Record, new: Record) {
        self.tasks[task as usize] = new;
        if let Some(wish) = on_change(task, Some(old), new) {
            self.wish(wish);
        }
    }

    pub fn claim(&mut self, hand: Hand, worker: u8, mutation: Option<Mutation>) -> bool {
        let cancel = (mutation != Some(Mutation::CancelNotInTheClaim)).then_some(false);
        let condition = Condition { attempt: Some(hand.attempt), cancel, worker: None };
        self.write(hand.task, Event::Claimed, condition, |record| {
            record.attempt += 1;
            record.worker = Some(worker);
            record.holder = Some((worker, record.attempt));
        })
    }

    /// A worker's word on an attempt in its hands: what it writes, and whether it is told that this holds, by
    /// this write or by an earlier one of its own (`Write::Applied` and `Write::AlreadyApplied`).
    pub fn end_attempt(
        &mut self,
        hand: Hand,
        worker: u8,
        end: End,
        mutation: Option<Mutation>,
    ) -> (Event, bool) {
        let holder = self.task(hand.task).holder;
        let condition = match mutation {
            Some(Mutation::AttemptNotInCondition | Mutation::AttemptNotChecked) => {
                Condition { worker: Some(worker), ..Condition::default() }
            }
            Some(Mutation::OnlyTheStateChecked) => Condition::default(),
            _ => Condition { attempt: Some(hand.attempt), worker: Some(worker), cancel: None },
        };
        // It decides by the record as its claim returned it, which no cancellation was asked of.
        let claimed = Record { cancel: false, ..*self.task(hand.task) };
        let (event, applied) = self.end(hand.task, &claimed, condition, end);
        if applied && holder != Some((worker, hand.attempt)) {
            self.seen.fence_broken = true;
        }
        if applied && event == Event::Completed {
            self.note_completion(hand, worker);
        }
        (event, applied || self.is_taken_for_applied(hand, event, mutation))
    }

    /// What a refusal means, as `TasksTable::moved` has it: by the state and the attempt.
    fn is_taken_for_applied(&self, hand: Hand, event: Event, mutation: Option<Mutation>) -> bool {
        let record = self.task(hand.task);
        let any_attempt = mutation == Some(Mutation::AttemptNotChecked);
        record.status == event.target() && (any_attempt || record.attempt == hand.attempt)
    }

    /// This execution's completion was written, or it was told so.
    pub fn note_completion(&mut self, hand: Hand, worker: u8) {
        let execution = (worker, hand.attempt);
        let first = *self.tasks[hand.task as usize].completed_by.get_or_insert(execution);
        self.seen.completed_twice |= first != execution;
    }

    /// Takes a task away from a worker that is not heard of any more.
    pub fn rescue(&mut self, task: u8, from: u8) {
        let read = *self.task(task);
        let condition = Condition { attempt: Some(read.attempt), worker: Some(from), cancel: None };
        self.end(task, &read, condition, End::Lost);
    }

    fn end(&mut self, task: u8, known: &Record, condition: Condition, end: End) -> (Event, bool) {
        let (event, failures) = on_end(task, *known, end);
        let applied = self.write(task, event, condition, |record| {
            record.failures = failures;
            record.holder = None;
            if !record.status.is_terminal() {
                record.worker = None;
            }
        });
        (event, applied)
    }
}
