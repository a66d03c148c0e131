//! What can happen next, and what each step does at the queue, the dispatcher and the sweeper; a worker's
//! own steps are in [`super::work`].

use stageline::task::{Event, Status};

use super::budget::Fault;
use super::decisions::{self, End, Repair};
use super::merge::merged;
use super::state::{Life, Message, Registry, Sending, State, TASKS, WORKERS, Wish, Worker};
use super::work::{self, Work};
use super::writes::Condition;
use super::{Mutation, Protocol};

/// One step of one part of the system. Those that spend a [`Fault`] are no part of a recovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The dispatcher gets a stream record; a command is sent, the mark is a step of its own.
    Deliver(Wish),
    /// The dispatcher or the repair scan marks as QUEUED what it sent.
    Mark(Sending),
    /// The dispatcher crashes before that, and its record is delivered again.
    Crash(Sending),
    DropRecord(Wish),
    /// The last dependency is done (a stub of the dependency protocol).
    Release(u8),
    Work(u8, Work),
    /// A worker takes a message from the queue.
    Receive(u8, Message),
    /// A message's visibility runs out.
    Reappear(Message),
    Lose(Message),
    Purge,
    Duplicate(Message),
    /// The sweeper finds a worker dead and reads its registry.
    Sweep(u8),
    /// It rescues the tasks that it read, then removes the worker.
    Remove(u8),
    /// The repair scan looks at a record.
    Repair(u8),
    /// A task is taken from a living worker that did not list it in time.
    TakeFromSlow(u8),
    AskToCancel(u8),
    /// A write that its worker had given up comes to the table.
    Arrive,
}

impl Action {
    /// What it takes from the budget.
    pub fn fault(self) -> Option<Fault> {
        match self {
            Action::Crash(_) => Some(Fault::Crash),
            Action::DropRecord(_) => Some(Fault::Drop),
            Action::Lose(_) | Action::Purge => Some(Fault::Loss),
            Action::Duplicate(_) => Some(Fault::Duplicate),
            Action::TakeFromSlow(_) => Some(Fault::Slow),
            Action::AskToCancel(_) => Some(Fault::Cancel),
            Action::Work(_, work) => work.fault(),
            _ => None,
        }
    }
}

/// Everything that may be tried in a state; a step that changes nothing is dropped later.
pub fn possible(protocol: &Protocol, state: &State) -> Vec<Action> {
    let mut actions = Vec::new();
    for worker in 0..WORKERS {
        // One that lost its item learns so at its next beat. What it has received by then it may still claim.
        let Worker { life, item, hands, .. } = state.worker(worker);
        if *life == Life::Beating && *item {
            let free = |task: u8| hands.len() < protocol.slots || hands.iter().any(|hand| hand.task == task);
            let visible = state.queue.iter().filter(|m| m.taker.is_none() && free(m.task));
            actions.extend(visible.map(|m| Action::Receive(worker, *m)));
        }
        actions.extend(Work::possible(state.worker(worker)).into_iter().map(|w| Action::Work(worker, w)));
        if state.swept.is_none() && state.worker(worker).item && state.worker(worker).life != Life::Beating {
            actions.push(Action::Sweep(worker));
        }
    }
    for wish in &state.stream {
        actions.extend([Action::Deliver(*wish), Action::DropRecord(*wish)]);
    }
    for sending in &state.halfway {
        actions.extend([Action::Mark(*sending), Action::Crash(*sending)]);
    }
    for (index, message) in state.queue.iter().enumerate() {
        if index > 0 && state.queue[index - 1] == *message {
            continue;
        }
        match message.taker {
            Some(_) => actions.push(Action::Reappear(*message)),
            None => actions.extend([Action::Lose(*message), Action::Duplicate(*message)]),
        }
    }
    actions.push(Action::Purge);
    if let Some((worker, _)) = state.swept {
        actions.push(Action::Remove(worker));
    }
    if state.late.is_some() {
        actions.push(Action::Arrive);
    }
    for task in 0..TASKS {
        actions.extend([Action::AskToCancel(task), Action::TakeFromSlow(task)]);
        if protocol.repair {
            actions.push(Action::Repair(task));
        }
    }
    if state.task(1).status == Status::Waiting {
        actions.push(Action::Release(1));
    }
    actions.retain(|action| action.fault().is_none_or(|fault| state.budget.allows(fault)));
    actions
}

/// Carries out a step, and what follows from it unseen; `None` when it changes nothing.
pub fn take(protocol: &Protocol, before: &State, action: Action) -> Option<State> {
    let mut state = before.clone();
    match action {
        Action::Deliver(wish) => {
            state.stream.retain(|w| *w != wish);
            carry_out(protocol, &mut state, wish);
        }
        Action::Mark(sending) => {
            state.halfway.retain(|s| *s != sending);
            match protocol.mutation {
                Some(Mutation::MarkedBeforeSent) => state.push(sending.task, sending.attempt),
                _ => drop(mark(&mut state, sending)),
            }
        }
        Action::Crash(sending) => {
            state.halfway.retain(|s| *s != sending);
            state.wish(Wish::Send(sending));
        }
        Action::DropRecord(wish) => state.stream.retain(|w| *w != wish),
        Action::Release(task) => {
            if state.task(0).status.is_terminal() {
                state.write(task, Event::Released, Condition::default(), |_| ());
            }
        }
        Action::Work(worker, work) => work.take(protocol, &mut state, worker),
        Action::Receive(worker, message) => work::receive(protocol, &mut state, worker, message),
        Action::Reappear(message) => state.hand_over(message, None),
        Action::Lose(message) => state.delete(message),
        Action::Purge => state.queue.clear(),
        Action::Duplicate(message) => state.push(message.task, message.attempt),
        Action::Sweep(worker) => state.swept = Some((worker, state.worker(worker).registry)),
        Action::Remove(worker) => remove(&mut state, worker),
        Action::Repair(task) => repair(protocol, &mut state, task),
        Action::TakeFromSlow(task) => take_from_slow(protocol, &mut state, task),
        Action::AskToCancel(task) => state.ask_to_cancel(task),
        Action::Arrive => arrive(protocol, &mut state),
    }
    if state == *before {
        return None;
    }
    if let Some(fault) = action.fault() {
        // Before the merging, which depends on what can still go wrong.
        state.budget.spend(fault);
    }
    let budget = state.budget;
    let mut state = merged(protocol, state);
    // A fault without a consequence is no step either.
    state.budget = before.budget;
    if state == *before {
        return None;
    }
    state.budget = budget;
    Some(state)
}

/// The dispatcher's part, which the repair scan uses too.
pub fn carry_out(protocol: &Protocol, state: &mut State, wish: Wish) {
    match wish {
        Wish::Send(sending) if protocol.mutation == Some(Mutation::MarkedBeforeSent) => {
            if mark(state, sending) {
                state.begin_sending(sending);
            }
        }
        Wish::Send(sending) => {
            state.push(sending.task, sending.attempt);
            state.begin_sending(sending);
        }
        Wish::Cancel { task, attempt } => {
            let condition = Condition { attempt: Some(attempt), cancel: Some(true), worker: None };
            state.write(task, Event::Cancelled, condition, |record| record.holder = None);
        }
    }
}

pub fn mark(state: &mut State, sending: Sending) -> bool {
    let event = if sending.again { Event::SentAgain } else { Event::Sent };
    let condition = Condition { attempt: Some(sending.attempt), ..Condition::default() };
    state.write(sending.task, event, condition, |_| ())
}

fn remove(state: &mut State, worker: u8) {
    let Some((_, registry)) = state.swept.take() else { return };
    // Whatever attempt is listed: the worker is dead.
    for task in (0..TASKS).filter(|task| registry[*task as usize].is_some()) {
        state.rescue(task, worker);
    }
    let worker = state.worker_mut(worker);
    (worker.item, worker.registry) = (false, Registry::default());
}

fn repair(protocol: &Protocol, state: &mut State, task: u8) {
    // It looks only at what the ordinary path has had time for. A look that comes too soon costs a
    // duplicate, which is a fault of its own here.
    let on_its_way =
        state.stream.iter().any(|w| w.task() == task) || state.halfway.iter().any(|s| s.task == task);
    match decisions::repair(protocol, state, task) {
        Repair::Overdue(wish) if !on_its_way => carry_out(protocol, state, wish),
        Repair::SendAgain(sending) if !on_its_way => carry_out(protocol, state, Wish::Send(sending)),
        Repair::Nothing | Repair::Overdue(_) | Repair::SendAgain(_) => {}
        Repair::Rescue => {
            if let Some(worker) = state.task(task).worker {
                state.rescue(task, worker);
            }
        }
    }
}

pub fn arrive(protocol: &Protocol, state: &mut State) {
    if let Some((worker, hand)) = state.late.take() {
        // Nobody hears the answer; what counts is what the table did.
        let _unheard = state.end_attempt(hand, worker, End::Succeeded, protocol.mutation);
    }
}

fn take_from_slow(protocol: &Protocol, state: &mut State, task: u8) {
    let record = *state.task(task);
    let Some(worker) = record.worker.filter(|_| record.status == Status::Running) else { return };
    let holder = state.worker(worker);
    let lists = protocol.lists(holder, task, record.attempt);
    if holder.item && holder.life == Life::Beating && !lists && holder.runs(task, record.attempt) {
        state.rescue(task, worker);
    }
}
