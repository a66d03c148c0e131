//! Every write of the `tasks` table, each with the condition that the real one has. What changes a record
//! also puts it on the stream.

use stageline::task::Event;

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
        if event == Event::Completed {
            new.completions += 1;
        }
        if status.is_terminal() && old.ended.is_none() {
            new.ended = Some(status);
        }
        self.replace(task, old, new);
        true
    }

    /// A person asks for the task's end, unless it has ended.
    pub fn ask_to_cancel(&mut self, task: u8) {
        let old = *self.task(task);
        if !old.status.is_terminal() {
            let new = Record { cancel: true, cancelled_first: old.attempt == 0, ..old };
            self.replace(task, old, new);
        }
    }

    fn replace(&mut self, task: u8, old: Record, new: Record) {
        self.tasks[task as usize] = new;
        // The onlooker's part is not on the record, so it must not make a question of its own.
        let plain =
            |r: Record| Record { holder: None, completions: 0, cancelled_first: false, ended: None, ..r };
        if let Some(wish) = on_change(task, Some(plain(old)), plain(new)) {
            self.wish(wish);
        }
    }

    pub fn claim(&mut self, hand: Hand, worker: u8) -> bool {
        let condition = Condition { attempt: Some(hand.attempt), cancel: Some(false), worker: None };
        self.write(hand.task, Event::Claimed, condition, |record| {
            record.attempt += 1;
            record.worker = Some(worker);
            record.holder = Some((worker, record.attempt));
        })
    }

    /// A worker's word on an attempt in its hands. With `any_attempt` the attempt is left out of the
    /// condition, which no real write does.
    pub fn end_attempt(&mut self, hand: Hand, worker: u8, end: End, any_attempt: bool) {
        let holder = self.task(hand.task).holder;
        let attempt = (!any_attempt).then_some(hand.attempt);
        if self.end(hand.task, worker, attempt, end) && holder != Some((worker, hand.attempt)) {
            self.fence_broken = true;
        }
    }

    /// Takes a task away from a worker that is not heard of any more.
    pub fn rescue(&mut self, task: u8, from: u8) {
        let attempt = self.task(task).attempt;
        self.end(task, from, Some(attempt), End::Lost);
    }

    fn end(&mut self, task: u8, worker: u8, attempt: Option<u8>, end: End) -> bool {
        let (event, failures) = on_end(task, *self.task(task), end);
        let condition = Condition { attempt, worker: Some(worker), cancel: None };
        self.write(task, event, condition, |record| {
            record.failures = failures;
            record.holder = None;
            if !record.status.is_terminal() {
                record.worker = None;
            }
        })
    }
}
