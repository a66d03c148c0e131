//! The bridge to the real code: builds the record that a pure function wants from the model's few bits, and
//! brings its decision back. Answers are remembered, since the model asks the same few thousand questions
//! over and over.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::LazyLock;

use serde_json::Value;
use stageline::protocol::claim::{Current, Refused, refused};
use stageline::protocol::dispatch::{Cause, Rules, Triage, triage};
use stageline::protocol::lease::{Holder, Turn, turn};
use stageline::protocol::outcome::{Failure, Outcome, decide};
use stageline::protocol::pools::Pools;
use stageline::protocol::repair::{Finding, QueueView, View, inspect, is_message_gone};
use stageline::protocol::review::{InHand, Review, review};
use stageline::task::{Attempt, Event, RetryPolicy, RetryStrategy, Task, WorkerId};
use stageline::{At, Code};

use super::Protocol;
use super::packed::Mixing;
use super::state::{Hand, Life, Record, Sending, State, WORKERS, Wish};

static POOLS: LazyLock<Pools> = LazyLock::new(|| {
    let queues = r#"{"high":"q","normal":"q","low":"q"}"#;
    Pools::from_json(&format!(r#"[{{"name":"p","targets":["default/default"],"queues":{queues}}}]"#)).unwrap()
});

fn rules() -> Rules<'static> {
    Rules { pools: &POOLS, foreign_modes: &[] }
}

/// Long after everything in the records.
fn now() -> At {
    At::from_millis(3_600_000)
}

fn worker_id(worker: u8) -> WorkerId {
    format!("w{worker}:1:a").parse().unwrap()
}

fn worker_of(id: &WorkerId) -> u8 {
    (0..WORKERS).find(|worker| worker_id(*worker) == *id).unwrap()
}

fn key(task: u8) -> String {
    format!("t{task}")
}

/// The record as the real code reads it.
fn task(number: u8, record: &Record) -> Task {
    let mut task = Task::new(key(number).parse().unwrap());
    task.status = record.status;
    task.attempt = Attempt(u32::from(record.attempt));
    task.worker_node_id = record.worker.map(worker_id);
    task.cancel_requested = record.cancel.then_some(true);
    task.failures = (record.failures > 0).then_some(u32::from(record.failures));
    task.command = Some("true".to_owned());
    task.retry =
        Some(RetryPolicy { strategy: RetryStrategy::Immediate, max_retries: 1, ..RetryPolicy::default() });
    task.created_at = Some(At::from_millis(0));
    // One of our writes has touched every record but a new one, and the model's new ones are ours too.
    task.queued_at = Some(At::from_millis(0));
    task
}

fn image(number: u8, record: &Record) -> Value {
    serde_json::to_value(task(number, record)).unwrap()
}

type Answers<Q, A> = HashMap<Q, A, Mixing>;

fn remembered<Q: Hash + Eq, A: Clone>(
    answers: &RefCell<Answers<Q, A>>,
    question: Q,
    ask: impl FnOnce(&Q) -> A,
) -> A {
    if let Some(answer) = answers.borrow().get(&question) {
        return answer.clone();
    }
    let answer = ask(&question);
    answers.borrow_mut().insert(question, answer.clone());
    answer
}

fn wish_of(number: u8, decided: Triage) -> Option<Wish> {
    match decided {
        // A signal only wakes a worker, which looks at its records by itself now and then.
        Triage::Leave(_) | Triage::Signal { .. } => None,
        Triage::Send(dispatch) => Some(Wish::Send(sending(number, &dispatch.task))),
        Triage::Cancel(task) => Some(Wish::Cancel { task: number, attempt: attempt(&task) }),
        other => panic!("not in the model: {other:?}"),
    }
}

fn sending(number: u8, task: &Task) -> Sending {
    let again = task.status.next(Event::SentAgain).is_ok();
    Sending { task: number, attempt: attempt(task), again }
}

fn attempt(task: &Task) -> u8 {
    u8::try_from(task.attempt.0).unwrap()
}

/// A record without the onlooker's part, which must not make a question of its own.
fn plain(record: Record) -> Record {
    Record { holder: None, completed_by: None, ..record }
}

/// What the dispatcher will do about a change; `None` as the old image is an insert.
pub fn on_change(number: u8, old: Option<Record>, new: Record) -> Option<Wish> {
    type Change = (u8, Option<Record>, Record);
    thread_local!(static ANSWERS: RefCell<Answers<Change, Option<Wish>>> = RefCell::default());
    let question = (number, old.map(plain), plain(new));
    ANSWERS.with(|answers| {
        remembered(answers, question, |(number, old, new)| {
            let old = old.map(|old| image(*number, &old));
            let cause = old.as_ref().map_or(Cause::Insert, |old| Cause::Modify { old });
            wish_of(*number, triage(&key(*number), image(*number, new), cause, rules(), now()))
        })
    })
}

/// What the repair scan does about a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repair {
    Nothing,
    Overdue(Wish),
    SendAgain(Sending),
    Rescue,
}

/// Looks at a record as the repair scan does.
pub fn repair(protocol: &Protocol, state: &State, number: u8) -> Repair {
    let items: u8 = (0..WORKERS).filter(|w| state.worker(*w).item).fold(0, |bits, w| bits | 1 << w);
    let record = plain(*state.task(number));
    thread_local!(static ANSWERS: RefCell<Answers<(u8, Record, u8), Finding>> = RefCell::default());
    let finding = ANSWERS.with(|answers| {
        remembered(answers, (number, record, items), |(number, record, items)| {
            let with_item = (0..WORKERS).filter(|w| items & (1 << w) != 0);
            let workers: BTreeMap<_, _> = with_item.map(|w| (worker_id(w), Some(now()))).collect();
            let view = View { rules: rules(), workers: &workers, now: now() };
            inspect(&key(*number), image(*number, record), view)
        })
    });
    match finding {
        Finding::Fine => Repair::Nothing,
        Finding::Overdue(decided) => wish_of(number, decided).map_or(Repair::Nothing, Repair::Overdue),
        Finding::Queued(dispatch) => {
            let mine = state.queue.iter().any(|m| (m.task, m.attempt) == (number, record.attempt));
            // Once it is gone, later messages are received in time.
            let received_until = (!mine).then(now);
            let gone =
                is_message_gone(&dispatch.task, QueueView { empty: state.queue.is_empty(), received_until });
            if gone { Repair::SendAgain(sending(number, &dispatch.task)) } else { Repair::Nothing }
        }
        Finding::UnderNobody(..) => Repair::Rescue,
        Finding::Held(_, holder) => match turn_with(protocol, state, number, worker_of(&holder)) {
            Turn::Rescue => Repair::Rescue,
            Turn::Remembered | Turn::Unsure => Repair::Nothing,
        },
        Finding::Impossible(why) => panic!("the repair scan finds the impossible: {why}"),
    }
}

/// Whose turn it is with a task that the record gives to `worker`.
pub fn turn_with(protocol: &Protocol, state: &State, task: u8, worker: u8) -> Turn {
    let (holder, attempt) = (state.worker(worker), state.task(task).attempt);
    turn(match (holder.item, holder.life) {
        (false, _) => Holder::Gone,
        (true, Life::Silent | Life::Dead) => Holder::Dead,
        // A worker that runs the task lists it in time, unless it is slow, which is a fault of its own.
        (true, Life::Beating) => Holder::Alive {
            lists: protocol.lists(holder, task, attempt),
            had_time: !holder.runs(task, attempt),
        },
    })
}

/// What a worker does about a claim that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterRefusal {
    Delete,
    Leave,
    Adopt,
    RunsUnder(u8),
}

/// Decides about a refused claim.
pub fn after_refusal(record: &Record, hand: Hand, me: u8) -> AfterRefusal {
    type Claim = (u8, u8, u8, Record);
    thread_local!(static ANSWERS: RefCell<Answers<Claim, AfterRefusal>> = RefCell::default());
    let question = (me, hand.task, hand.attempt, plain(*record));
    ANSWERS.with(|answers| {
        remembered(answers, question, |(me, number, attempt, record)| {
            let current = Current::Task(Box::new(task(*number, record)));
            match refused(&current, Attempt(u32::from(*attempt)), &worker_id(*me), now()) {
                Refused::Delete(_) => AfterRefusal::Delete,
                Refused::Leave(_) => AfterRefusal::Leave,
                Refused::Adopt => AfterRefusal::Adopt,
                Refused::RunsUnder(worker) => AfterRefusal::RunsUnder(worker_of(&worker)),
                Refused::Later(_) => panic!("nothing in the model waits for its time"),
            }
        })
    })
}

/// How an attempt ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    Succeeded,
    Failed,
    Cancelled,
    Interrupted,
    Lost,
}

/// The event that is written about the end of an attempt, and the failures that it leaves on the record.
pub fn on_end(number: u8, record: Record, end: End) -> (Event, u8) {
    type Ended = (u8, Record, End);
    thread_local!(static ANSWERS: RefCell<Answers<Ended, (Event, u8)>> = RefCell::default());
    ANSWERS.with(|answers| {
        remembered(answers, (number, plain(record), end), |(number, record, end)| {
            let outcome = match end {
                End::Succeeded => Outcome::Succeeded { result: Value::Null },
                End::Failed => Outcome::Failed(Failure::of_the_worker(Code::WorkerFault.as_str())),
                End::Cancelled => Outcome::Cancelled,
                End::Interrupted => Outcome::Interrupted,
                End::Lost => Outcome::Lost,
            };
            let decision = decide(outcome, &task(*number, record), now());
            let failures = decision.failures.map_or(record.failures, |n| u8::try_from(n).unwrap());
            (decision.event, failures)
        })
    })
}

/// What a worker does with a task in its hands when it looks at the record again.
pub fn on_look(record: &Record, hand: Hand, me: u8) -> Review {
    type Look = (u8, u8, u8, Record);
    thread_local!(static ANSWERS: RefCell<Answers<Look, Review>> = RefCell::default());
    let question = (me, hand.task, hand.attempt, plain(*record));
    ANSWERS.with(|answers| {
        remembered(answers, question, |(me, number, attempt, record)| {
            let worker = worker_id(*me);
            let in_hand = InHand { worker: &worker, attempt: Attempt(u32::from(*attempt)), paused: false };
            review(in_hand, Some(&task(*number, record)))
        })
    })
}
