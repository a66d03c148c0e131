//! States that differ in nothing that matters are made one. Each rule says why nothing is lost by it;
//! [`super::comparison::merging_loses_nothing`] compares with a search that does not merge.

use std::cmp::Ordering;

use stageline::task::Status;

use super::Protocol;
use super::actions::{arrive, carry_out, mark};
use super::budget::Fault;
use super::decisions::{AfterRefusal, after_refusal};
use super::state::{Hand, Life, Message, Phase, Record, Registry, Sending, State, TASKS, WORKERS};

/// The state that stands for this one.
pub fn merged(protocol: &Protocol, mut state: State) -> State {
    if protocol.merge {
        forget(protocol, &mut state);
        (0..TASKS).for_each(|task| renumber(&mut state, task));
        state = in_order(protocol, state);
    }
    state
}

/// Does what is bound to happen unseen, and forgets what nobody asks for any more.
fn forget(protocol: &Protocol, state: &mut State) {
    for task in 0..TASKS {
        // A mark for an earlier attempt is refused whenever it is tried.
        let overtaken = |s: &Sending, r: &Record| s.task == task && s.attempt != r.attempt;
        if !state.budget.allows(Fault::Crash) {
            let record = *state.task(task);
            while let Some(index) = state.halfway.iter().position(|s| overtaken(s, &record)) {
                let sending = state.halfway.remove(index);
                mark(state, sending);
            }
        }
        if state.task(task).status.is_terminal() {
            clear_away(protocol, state, task);
        }
    }
    for index in 0..state.queue.len() {
        // A message that whoever received it has forgotten becomes visible again, and until then does nothing.
        let message = state.queue[index];
        let in_hand = |taker: u8| {
            let mut hands = state.worker(taker).hands.iter();
            hands.any(|hand| hand.message && hand.message_of(taker) == message)
                // Only one of two equal ones is: a worker has a task in hand once.
                && !state.queue[..index].contains(&message)
        };
        if message.taker.is_some_and(|taker| !in_hand(taker)) {
            state.queue[index].taker = None;
        }
    }
    state.queue.sort_unstable();
    for worker in 0..WORKERS {
        for index in 0..state.worker(worker).hands.len() {
            // A receipt that is out of date deletes nothing.
            let hand = state.worker(worker).hands[index];
            let there = state.queue.contains(&hand.message_of(worker));
            state.worker_mut(worker).hands[index].message &= there;
        }
        state.worker_mut(worker).hands.sort_unstable();
        // Nobody looks for the registry of a worker that has no item, and a dead one makes no new item.
        if state.worker(worker).life == Life::Dead && !state.worker(worker).item {
            state.worker_mut(worker).registry = Registry::default();
        }
    }
}

/// Of an ended task only those who still run it are left: its records and marks are refused, and its
/// messages deleted, whenever that is tried.
fn clear_away(protocol: &Protocol, state: &mut State, task: u8) {
    while let Some(index) = state.stream.iter().position(|wish| wish.task() == task) {
        let wish = state.stream.remove(index);
        carry_out(protocol, state, wish);
    }
    while let Some(index) = state.halfway.iter().position(|sending| sending.task == task) {
        let sending = state.halfway.remove(index);
        mark(state, sending);
    }
    let record = *state.task(task);
    let unneeded = |message: &Message| {
        let Message { task, attempt, .. } = *message;
        let hand = Hand { task, command: attempt, attempt, phase: Phase::Received, message: true };
        message.task == task && after_refusal(&record, hand, 0) == AfterRefusal::Delete
    };
    state.queue.retain(|message| message.task != task || !unneeded(message));
    if state.late.is_some_and(|(_, hand)| hand.task == task) {
        arrive(protocol, state);
    }
    let received = |hand: &Hand| hand.task == task && hand.phase == Phase::Received;
    for worker in &mut state.workers {
        worker.hands.retain(|hand| !received(hand));
    }
    // Whatever it was, it stays: what is left of the record answers those who still run it.
    let record = &mut state.tasks[task as usize];
    (record.cancel, record.failures, record.worker) = (false, 0, None);
    if !state.workers.iter().any(|worker| worker.hands.iter().any(|hand| hand.task == task)) {
        *record = Record::new(Status::Completed);
        for worker in &mut state.workers {
            worker.registry[task as usize] = None;
        }
        if let Some((_, registry)) = &mut state.swept {
            registry[task as usize] = None;
        }
    }
}

/// What matters of attempts is their order and which are the same: those that nothing names any more are left
/// out of the count. To count all that are older than the record's as one would be too much, since an old
/// holder deletes still older messages, and is one of two when both are told that they have completed the task.
fn renumber(state: &mut State, task: u8) {
    let now = state.task(task).attempt;
    if now < 2 {
        return;
    }
    let mut named = 0_u32;
    for_each_attempt(state, task, |attempt| named |= 1 << *attempt);
    let older = |than: u8| u8::try_from((named & ((1 << than) - 1)).count_ones()).unwrap();
    // A record that ran before is told from one that did not.
    for_each_attempt(state, task, |attempt| match *attempt {
        it if it == now => *attempt = (older(it) + 1).max(2),
        it => *attempt = older(it) + 1,
    });
    state.workers.iter_mut().for_each(|worker| worker.hands.sort_unstable());
    state.queue.sort_unstable();
    state.stream.sort_unstable();
    state.halfway.sort_unstable();
}

/// Every place in which an attempt of this task is named.
fn for_each_attempt(state: &mut State, task: u8, mut visit: impl FnMut(&mut u8)) {
    use super::state::Wish::{Cancel, Send};
    let mine = task as usize;
    let record = &mut state.tasks[mine];
    visit(&mut record.attempt);
    for (_, attempt) in [&mut record.holder, &mut record.completed_by].into_iter().flatten() {
        visit(attempt);
    }
    for worker in &mut state.workers {
        worker.registry[mine].iter_mut().for_each(&mut visit);
        for hand in worker.hands.iter_mut().filter(|hand| hand.task == task) {
            visit(&mut hand.command);
            visit(&mut hand.attempt);
        }
    }
    if let Some((_, registry)) = &mut state.swept {
        registry[mine].iter_mut().for_each(&mut visit);
    }
    if let Some((_, hand)) = state.late.as_mut().filter(|(_, hand)| hand.task == task) {
        visit(&mut hand.command);
        visit(&mut hand.attempt);
    }
    state.queue.iter_mut().filter(|m| m.task == task).for_each(|m| visit(&mut m.attempt));
    for wish in state.stream.iter_mut().filter(|w| w.task() == task) {
        match wish {
            Send(sending) => visit(&mut sending.attempt),
            Cancel { attempt, .. } => visit(attempt),
        }
    }
    state.halfway.iter_mut().filter(|s| s.task == task).for_each(|s| visit(&mut s.attempt));
}

/// Workers have no names that matter, and neither have tasks that began alike.
fn in_order(protocol: &Protocol, state: State) -> State {
    let state = first_of_workers(state);
    // What does not name a worker mostly decides already.
    let key = |task: usize| {
        let record = &state.tasks[task];
        (record.status as u8, record.attempt, record.cancel, record.failures)
    };
    match key(0).cmp(&key(1)) {
        _ if protocol.tasks[0] != protocol.tasks[1] => state,
        Ordering::Less => state,
        Ordering::Greater => first_of_workers(exchange_tasks(&state)),
        Ordering::Equal => {
            let other = first_of_workers(exchange_tasks(&state));
            state.min(other)
        }
    }
}

fn first_of_workers(state: State) -> State {
    match state.workers[0].cmp(&state.workers[1]) {
        Ordering::Less => state,
        Ordering::Greater => exchange_workers(&state),
        Ordering::Equal => {
            let other = exchange_workers(&state);
            state.min(other)
        }
    }
}

fn exchange_workers(state: &State) -> State {
    let mut state = state.clone();
    let exchange = |worker: &mut u8| *worker = 1 - *worker;
    state.workers.swap(0, 1);
    for record in &mut state.tasks {
        record.worker.iter_mut().for_each(exchange);
        for (worker, _) in [&mut record.holder, &mut record.completed_by].into_iter().flatten() {
            exchange(worker);
        }
    }
    state.queue.iter_mut().for_each(|m| m.taker.iter_mut().for_each(exchange));
    state.queue.sort_unstable();
    state.swept.iter_mut().for_each(|(worker, _)| exchange(worker));
    state.late.iter_mut().for_each(|(worker, _)| exchange(worker));
    state
}

fn exchange_tasks(state: &State) -> State {
    use super::state::Wish::{Cancel, Send};
    let mut state = state.clone();
    let exchange = |task: &mut u8| *task = 1 - *task;
    state.tasks.swap(0, 1);
    for worker in &mut state.workers {
        worker.registry.swap(0, 1);
        worker.hands.iter_mut().for_each(|hand| exchange(&mut hand.task));
        worker.hands.sort_unstable();
    }
    state.swept.iter_mut().for_each(|(_, registry)| registry.swap(0, 1));
    state.late.iter_mut().for_each(|(_, hand)| exchange(&mut hand.task));
    state.queue.iter_mut().for_each(|m| exchange(&mut m.task));
    state.queue.sort_unstable();
    for wish in &mut state.stream {
        match wish {
            Send(sending) => exchange(&mut sending.task),
            Cancel { task, .. } => exchange(task),
        }
    }
    state.stream.sort_unstable();
    state.halfway.iter_mut().for_each(|s| exchange(&mut s.task));
    state.halfway.sort_unstable();
    state
}
