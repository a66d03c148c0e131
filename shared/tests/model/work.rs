//! What a worker does, and what happens to it.

use stageline::protocol::lease::Turn;
use stageline::protocol::review::Review;
use stageline::task::Event;

use super::budget::Fault;
use super::decisions::{AfterRefusal, End, after_refusal, on_look, turn_with};
use super::state::{Hand, Life, Message, Phase, Registry, State, Worker};
use super::{Mutation, Protocol};

/// One step of a worker; the number is the place in its hands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    Claim(usize),
    /// The claim is applied, but its answer is lost: the worker does not know that it holds the task.
    ClaimUnanswered(usize),
    /// The registry is written when what it should list has changed, and the messages of what it lists are
    /// deleted. A crash between the two leaves what a message leaves that became visible before.
    List,
    /// The end of an attempt is written, and its message is deleted; of a crash between the two the same holds.
    Succeed(usize),
    /// The end is applied, but its answer is lost: it is written again.
    SucceedUnanswered(usize),
    /// The end is sent and the call given up: it is written again, and the first write may come any time.
    SucceedLate(usize),
    Fail(usize),
    /// The record is read again, for a signal or once a minute.
    Look(usize),
    /// Told to stop: hands its tasks back and gives up its lease.
    Drain,
    Die,
    Pause,
    /// Goes on as if nothing had been.
    Resume,
    /// Goes on, finds that its lease has run out, and stops all that it runs.
    ResumeFenced,
    /// Its beat is refused, since its item is gone: it begins anew, and looks at all it has in hand.
    BeginAnew,
}

impl Work {
    pub fn fault(self) -> Option<Fault> {
        match self {
            Work::ClaimUnanswered(_) | Work::SucceedUnanswered(_) => Some(Fault::Answer),
            Work::SucceedLate(_) => Some(Fault::Late),
            Work::Fail(_) => Some(Fault::Failure),
            Work::Drain | Work::Die => Some(Fault::Death),
            Work::Pause => Some(Fault::Pause),
            _ => None,
        }
    }

    /// What a worker may try in its state.
    pub fn possible(worker: &Worker) -> Vec<Work> {
        match worker.life {
            Life::Dead => return Vec::new(),
            // A paused worker that dies is one that died at once.
            Life::Silent => return vec![Work::Resume, Work::ResumeFenced],
            Life::Beating => {}
        }
        let mut works = vec![Work::Drain, Work::Die, Work::Pause];
        if !worker.item {
            works.push(Work::BeginAnew);
        }
        if worker.registry != worker.running() {
            works.push(Work::List);
        }
        for (index, hand) in worker.hands.iter().enumerate() {
            match hand.phase {
                Phase::Received => works.extend([Work::Claim(index), Work::ClaimUnanswered(index)]),
                Phase::Running => works.extend([
                    Work::Succeed(index),
                    Work::SucceedUnanswered(index),
                    Work::SucceedLate(index),
                    Work::Fail(index),
                    Work::Look(index),
                ]),
            }
        }
        works
    }

    pub fn take(self, protocol: &Protocol, state: &mut State, me: u8) {
        match self {
            Work::Claim(index) => claim(protocol, state, me, index),
            Work::ClaimUnanswered(index) => {
                let hand = state.worker_mut(me).hands.remove(index);
                if !state.claim(hand, me, protocol.mutation) {
                    state.worker_mut(me).hands.insert(index, hand);
                }
            }
            Work::List => list(protocol, state, me),
            Work::Succeed(index) => end(protocol, state, me, index, End::Succeeded),
            Work::SucceedUnanswered(index) => {
                let hand = state.worker(me).hands[index];
                let _unheard = state.end_attempt(hand, me, End::Succeeded, protocol.mutation);
            }
            Work::SucceedLate(index) => {
                // Its message is the worker's business.
                let hand = Hand { message: false, ..state.worker(me).hands[index] };
                state.late = Some((me, hand));
            }
            Work::Fail(index) => end(protocol, state, me, index, End::Failed),
            Work::Look(index) => look(protocol, state, me, index),
            Work::Drain => drain(protocol, state, me),
            Work::Die => {
                let worker = state.worker_mut(me);
                worker.life = Life::Dead;
                worker.hands.clear();
            }
            Work::Pause => state.worker_mut(me).life = Life::Silent,
            Work::Resume => state.worker_mut(me).life = Life::Beating,
            Work::ResumeFenced => {
                state.worker_mut(me).life = Life::Beating;
                interrupt_all(protocol, state, me);
            }
            Work::BeginAnew => {
                let worker = state.worker_mut(me);
                (worker.item, worker.registry) = (true, Registry::default());
                for index in (0..state.worker(me).hands.len()).rev() {
                    if state.worker(me).hands[index].phase == Phase::Running {
                        look(protocol, state, me, index);
                    }
                }
            }
        }
    }
}

/// A message is taken in hand, unless its task is in hand already. That is `Running::begin`, but for one
/// thing: there, an attempt is remembered once its own message was released, here while the registry lists it.
/// They differ after [`Work::BeginAnew`], until the registry is written again.
pub fn receive(protocol: &Protocol, state: &mut State, me: u8, message: Message) {
    let worker = state.worker(me);
    match worker.hands.iter().find(|hand| hand.task == message.task) {
        None if worker.hands.len() < protocol.slots => {
            state.hand_over(message, Some(me));
            let Message { task, attempt, .. } = message;
            let hand = Hand { task, command: attempt, attempt, phase: Phase::Received, message: true };
            state.worker_mut(me).hands.push(hand);
        }
        // No place is free.
        None => {}
        // The registry remembers it.
        Some(hand)
            if hand.phase == Phase::Running
                && message.attempt < hand.attempt
                && protocol.lists(worker, hand.task, hand.attempt) =>
        {
            state.delete(message);
        }
        // Left, or handed back, until the one in hand is listed or has ended.
        Some(_) => {}
    }
}

fn claim(protocol: &Protocol, state: &mut State, me: u8, index: usize) {
    let mut hand = state.worker(me).hands[index];
    if state.claim(hand, me, protocol.mutation) {
        hand.attempt += 1;
        hand.phase = Phase::Running;
        if protocol.mutation == Some(Mutation::DeletedAtTheClaim) {
            state.delete(hand.message_of(me));
            hand.message = false;
        }
        state.worker_mut(me).hands[index] = hand;
        return;
    }
    let record = *state.task(hand.task);
    let delete = match after_refusal(&record, hand, me) {
        AfterRefusal::Delete => true,
        AfterRefusal::Leave => false,
        AfterRefusal::Adopt => {
            let adopted = Hand { attempt: record.attempt, phase: Phase::Running, ..hand };
            state.worker_mut(me).hands[index] = adopted;
            return;
        }
        AfterRefusal::RunsUnder(worker) => match turn_with(protocol, state, hand.task, worker) {
            Turn::Remembered => true,
            Turn::Unsure => false,
            // Rescue, then claim.
            Turn::Rescue => {
                state.rescue(hand.task, worker);
                state.worker_mut(me).hands[index].attempt = record.attempt;
                return;
            }
        },
    };
    if delete {
        state.delete(hand.message_of(me));
    }
    state.worker_mut(me).hands.remove(index);
}

fn list(protocol: &Protocol, state: &mut State, me: u8) {
    let registry = state.worker(me).running();
    state.worker_mut(me).registry = registry;
    for index in 0..state.worker(me).hands.len() {
        let hand = state.worker(me).hands[index];
        if hand.message && protocol.lists(state.worker(me), hand.task, hand.attempt) {
            state.delete(hand.message_of(me));
            state.worker_mut(me).hands[index].message = false;
        }
    }
}

/// Writes how an attempt ended. Whether that was applied or fenced, the worker is done with it.
fn end(protocol: &Protocol, state: &mut State, me: u8, index: usize, how: End) {
    let hand = state.worker_mut(me).hands.remove(index);
    if let (Event::Completed, true) = state.end_attempt(hand, me, how, protocol.mutation) {
        state.note_completion(hand, me);
    }
    if hand.message {
        state.delete(hand.message_of(me));
    }
}

fn look(protocol: &Protocol, state: &mut State, me: u8, index: usize) {
    let hand = state.worker(me).hands[index];
    match on_look(state.task(hand.task), hand, me) {
        Review::Keep => {}
        Review::Cancel => end(protocol, state, me, index, End::Cancelled),
        Review::Abandon(_) => {
            state.worker_mut(me).hands.remove(index);
            if hand.message {
                state.delete(hand.message_of(me));
            }
        }
        Review::Pause | Review::Continue => panic!("nothing in the model is paused"),
    }
}

fn interrupt_all(protocol: &Protocol, state: &mut State, me: u8) {
    for index in (0..state.worker(me).hands.len()).rev() {
        if state.worker(me).hands[index].phase == Phase::Running {
            end(protocol, state, me, index, End::Interrupted);
        }
    }
}

/// What is only received stays on the queue.
fn drain(protocol: &Protocol, state: &mut State, me: u8) {
    interrupt_all(protocol, state, me);
    let worker = state.worker_mut(me);
    worker.hands.clear();
    (worker.life, worker.item, worker.registry) = (Life::Dead, false, Registry::default());
}
