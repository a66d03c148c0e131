//! What can happen next, and what each step does at the queue, the dispatcher and the sweeper; a worker's
//! own steps are in [`super::work`].

use stageline::task::{Event, Status};

use super::decisions::{self, Repair};
use super::state::{Fault, Hand, Life, Message, Phase, Sending, State, TASKS, WORKERS, Wish};
use super::work::Work;
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
    Worker(u8, Work),
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
            Action::Worker(_, work) => work.fault(),
            _ => None,
        }
    }
}

/// Everything that may be tried in a state; a step that changes nothing is dropped later.
pub fn possible(protocol: &Protocol, state: &State) -> Vec<Action> {
    let mut actions = Vec::new();
    for worker in 0..WORKERS {
        let free = state.worker(worker).hands.len() < protocol.slots;
        // One that lost its item learns so at its next beat. What it has received by then it may still claim.
        if state.worker(worker).life == Life::Beating && state.worker(worker).item && free {
            let visible = state.queue.iter().filter(|m| m.taker.is_none());
            actions.extend(visible.map(|m| Action::Receive(worker, *m)));
        }
        actions.extend(Work::possible(state.worker(worker)).into_iter().map(|w| Action::Worker(worker, w)));
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
    for task in 0..TASKS {
        actions.extend([Action::AskToCancel(task), Action::TakeFromSlow(task)]);
        if protocol.repair {
            actions.push(Action::Repair(task));
        }
    }
    actions.push(Action::Release(1));
    actions.retain(|action| action.fault().is_none_or(|fault| state.budget.allows(fault)));
    actions
}

/// Carries out a step; `None` when it changes nothing.
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
        Action::Worker(worker, work) => work.take(protocol, &mut state, worker),
        Action::Receive(worker, message) => {
            state.hand_over(message, Some(worker));
            let Message { task, attempt, .. } = message;
            let hand = Hand { task, command: attempt, attempt, phase: Phase::Received, message: true };
            state.worker_mut(worker).hands.push(hand);
        }
        Action::Reappear(message) => state.hand_over(message, None),
        Action::Lose(message) => state.delete(message),
        Action::Purge => state.queue.clear(),
        Action::Duplicate(message) => state.push(message.task, message.attempt),
        Action::Sweep(worker) => state.swept = Some((worker, state.worker(worker).registry)),
        Action::Remove(worker) => remove(&mut state, worker),
        Action::Repair(task) => repair(protocol, &mut state, task),
        Action::TakeFromSlow(task) => take_from_slow(&mut state, task),
        Action::AskToCancel(task) => state.ask_to_cancel(task),
    }
    if state == *before {
        return None;
    }
    if let Some(fault) = action.fault() {
        state.budget.spend(fault);
    }
    Some(state)
}

/// The dispatcher's part, which the repair scan uses too.
fn carry_out(protocol: &Protocol, state: &mut State, wish: Wish) {
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

fn mark(state: &mut State, sending: Sending) -> bool {
    let event = if sending.again { Event::SentAgain } else { Event::Sent };
    let condition = Condition { attempt: Some(sending.attempt), ..Condition::default() };
    state.write(sending.task, event, condition, |_| ())
}

fn remove(state: &mut State, worker: u8) {
    let Some((_, registry)) = state.swept.take() else { return };
    for task in (0..TASKS).filter(|task| registry & (1 << task) != 0) {
        state.rescue(task, worker);
    }
    let worker = state.worker_mut(worker);
    (worker.item, worker.registry) = (false, 0);
}

fn repair(protocol: &Protocol, state: &mut State, task: u8) {
    // It looks only at what the ordinary path has had time for. A look that comes too soon costs a
    // duplicate, which is a fault of its own here.
    let on_its_way =
        state.stream.iter().any(|w| w.task() == task) || state.halfway.iter().any(|s| s.task == task);
    match decisions::repair(state, task) {
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

fn take_from_slow(state: &mut State, task: u8) {
    let record = *state.task(task);
    let Some(worker) = record.worker.filter(|_| record.status == Status::Running) else { return };
    let holder = state.worker(worker);
    if holder.item && holder.life == Life::Beating && !holder.lists(task) && holder.runs(task, record.attempt)
    {
        state.rescue(task, worker);
    }
}
