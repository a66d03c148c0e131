//! What a worker does, and what happens to it.

use stageline::protocol::lease::Turn;
use stageline::protocol::review::Review;

use super::decisions::{AfterRefusal, End, after_refusal, on_look, turn_with};
use super::state::{Fault, Hand, Life, Message, Phase, State, Worker};
use super::{Mutation, Protocol};

/// One step of a worker; the number is the place in its hands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    Claim(usize),
    /// The claim is applied, but its answer is lost: the worker does not know that it holds the task.
    ClaimUnanswered(usize),
    /// The registry is written when what it should list has changed.
    List,
    /// A message that is not needed any more is deleted: its task is listed or has ended.
    Acknowledge(usize),
    Succeed(usize),
    Fail(usize),
    /// The record is read again, for a signal or once a minute.
    Look(usize),
    /// Told to stop: hands its tasks back and gives up its lease.
    Drain,
    Die,
    Pause,
    Resume,
    /// Its beat is refused, since its item is gone: it stops all it runs and begins anew.
    LoseLease,
}

impl Work {
    pub fn fault(self) -> Option<Fault> {
        match self {
            Work::ClaimUnanswered(_) => Some(Fault::Answer),
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
            Life::Silent => return vec![Work::Resume],
            Life::Beating => {}
        }
        let mut works = vec![Work::Drain, Work::Die, Work::Pause];
        if !worker.item {
            works.push(Work::LoseLease);
        }
        if worker.registry != worker.running() {
            works.push(Work::List);
        }
        for (index, hand) in worker.hands.iter().enumerate() {
            match hand.phase {
                Phase::Received => works.extend([Work::Claim(index), Work::ClaimUnanswered(index)]),
                Phase::Running => {
                    works.extend([Work::Succeed(index), Work::Fail(index), Work::Look(index)]);
                    if hand.message && worker.lists(hand.task) {
                        works.push(Work::Acknowledge(index));
                    }
                }
                Phase::Ended => works.push(Work::Acknowledge(index)),
            }
        }
        works
    }

    pub fn take(self, protocol: &Protocol, state: &mut State, me: u8) {
        match self {
            Work::Claim(index) => claim(protocol, state, me, index),
            Work::ClaimUnanswered(index) => {
                let hand = state.worker_mut(me).hands.remove(index);
                if !state.claim(hand, me) {
                    state.worker_mut(me).hands.insert(index, hand);
                }
            }
            Work::List => state.worker_mut(me).registry = state.worker(me).running(),
            Work::Acknowledge(index) => acknowledge(state, me, index),
            Work::Succeed(index) => end(protocol, state, me, index, End::Succeeded),
            Work::Fail(index) => end(protocol, state, me, index, End::Failed),
            Work::Look(index) => look(protocol, state, me, index),
            Work::Drain => {
                drain(protocol, state, me);
            }
            Work::Die => {
                let worker = state.worker_mut(me);
                worker.life = Life::Dead;
                worker.hands.clear();
            }
            Work::Pause => state.worker_mut(me).life = Life::Silent,
            Work::Resume => state.worker_mut(me).life = Life::Beating,
            Work::LoseLease => {
                let worker = state.worker_mut(me);
                worker.hands.clear();
                (worker.item, worker.registry) = (true, 0);
            }
        }
    }
}

fn message_of(hand: Hand, me: u8) -> Message {
    Message { task: hand.task, attempt: hand.command, taker: Some(me) }
}

fn claim(protocol: &Protocol, state: &mut State, me: u8, index: usize) {
    let mut hand = state.worker(me).hands[index];
    if state.claim(hand, me) {
        hand.attempt += 1;
        hand.phase = Phase::Running;
        if protocol.mutation == Some(Mutation::DeletedAtTheClaim) {
            state.delete(message_of(hand, me));
            hand.message = false;
        }
        state.worker_mut(me).hands[index] = hand;
        return;
    }
    let record = *state.task(hand.task);
    let delete = match after_refusal(&record, hand, me) {
        AfterRefusal::Delete => true,
        AfterRefusal::Leave => false,
        AfterRefusal::Adopt if state.worker(me).runs(hand.task, record.attempt) => false,
        AfterRefusal::Adopt => {
            let adopted = Hand { attempt: record.attempt, phase: Phase::Running, ..hand };
            state.worker_mut(me).hands[index] = adopted;
            return;
        }
        AfterRefusal::RunsUnder(worker) => match turn_with(state, hand.task, worker) {
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
        state.delete(message_of(hand, me));
    }
    state.worker_mut(me).hands.remove(index);
}

fn acknowledge(state: &mut State, me: u8, index: usize) {
    let hand = state.worker(me).hands[index];
    if hand.message {
        state.delete(message_of(hand, me));
    }
    match hand.phase {
        Phase::Ended => drop(state.worker_mut(me).hands.remove(index)),
        Phase::Received | Phase::Running => state.worker_mut(me).hands[index].message = false,
    }
}

/// Writes how an attempt ended. Whether that was applied or fenced, the worker is done with it.
fn end(protocol: &Protocol, state: &mut State, me: u8, index: usize, how: End) {
    let hand = state.worker(me).hands[index];
    state.end_attempt(hand, me, how, protocol.mutation == Some(Mutation::AttemptNotChecked));
    if hand.message {
        state.worker_mut(me).hands[index].phase = Phase::Ended;
    } else {
        state.worker_mut(me).hands.remove(index);
    }
}

fn look(protocol: &Protocol, state: &mut State, me: u8, index: usize) {
    let hand = state.worker(me).hands[index];
    match on_look(state.task(hand.task), hand, me) {
        Review::Keep => {}
        Review::Cancel => end(protocol, state, me, index, End::Cancelled),
        Review::Abandon(_) => drop(state.worker_mut(me).hands.remove(index)),
        Review::Pause | Review::Continue => panic!("nothing in the model is paused"),
    }
}

fn drain(protocol: &Protocol, state: &mut State, me: u8) {
    while let Some(hand) = state.worker(me).hands.first().copied() {
        if hand.phase == Phase::Running {
            end(protocol, state, me, 0, End::Interrupted);
        }
        if hand.phase != Phase::Received {
            state.delete(message_of(hand, me));
        }
        let hands = &mut state.worker_mut(me).hands;
        hands.retain(|h| (h.task, h.attempt) != (hand.task, hand.attempt));
    }
    let worker = state.worker_mut(me);
    (worker.life, worker.item, worker.registry) = (Life::Dead, false, 0);
}
