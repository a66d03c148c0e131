//! Takes commands from the pool's queues: slots first, then messages.
//!
//! Each lane has at most one long poll open. A poll is opened only while a slot is held for what it may
//! bring; what comes beyond the held slots (two lanes that answer at the same moment) goes back at once.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use stageline::aws::{AwsError, BATCH_ITEMS, ReceivedCommand};
use stageline::protocol::command::{Command, UnreadableCommand};
use stageline::protocol::pools::Queues;
use stageline::task::Lane;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, warn};

use crate::acknowledge::{Acknowledger, Handle};
use crate::attempt;
use crate::context::Context;

/// How long open polls are waited for when the worker drains: what they bring is handed back.
const LAST_ANSWERS: Duration = Duration::from_secs(2);
/// A message that came this often and found no slot is passed round by the open polls of busy workers. SQS
/// counts each receive, so it then rests between them.
const PASSED_ROUND: u32 = 20;
const REST: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(20);

pub(crate) struct Poller {
    pub context: Arc<Context>,
    pub queues: Queues,
    pub slots: Arc<Semaphore>,
    pub attempts: TaskTracker,
    pub acknowledger: Acknowledger,
}

struct Answer {
    lane: Lane,
    asked: usize,
    received: Result<Vec<ReceivedCommand>, AwsError>,
}

#[derive(Clone, Copy)]
struct LaneState {
    open: bool,
    /// Its last poll brought all it was asked for: there is more.
    hot: bool,
    failures: u32,
}

impl Poller {
    /// Polls until `drain`.
    pub async fn run(self, drain: CancellationToken) {
        let mut fenced = self.context.running.fenced();
        let mut noticed = self.context.notices.subscribe();
        let mut lanes = [LaneState { open: false, hot: false, failures: 0 }; Lane::ALL.len()];
        let mut held: Vec<OwnedSemaphorePermit> = Vec::new();
        let mut polls: FuturesUnordered<BoxFuture<'static, Answer>> = FuturesUnordered::new();
        loop {
            while held.len() < BATCH_ITEMS
                && let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned()
            {
                held.push(slot);
            }
            // Nothing new for a worker that cannot say that it lives, or leaves it to others.
            let may_take = !*fenced.borrow_and_update() && !noticed.borrow_and_update().yields;
            if may_take && !held.is_empty() {
                for (index, lane) in Lane::ALL.into_iter().enumerate() {
                    let outranked = lanes[..index].iter().any(|higher| higher.hot);
                    if !lanes[index].open && !outranked {
                        lanes[index].open = true;
                        polls.push(self.poll(lane, held.len(), lanes[index]));
                    }
                }
            }
            self.context.polls.open(polls.len());
            tokio::select! {
                () = drain.cancelled() => break,
                Ok(()) = fenced.changed() => {}
                Ok(()) = noticed.changed() => {}
                slot = Arc::clone(&self.slots).acquire_owned(), if held.is_empty() => held.extend(slot),
                Some(answer) = polls.next() => {
                    let state = &mut lanes[Lane::ALL.iter().position(|l| *l == answer.lane).unwrap_or_default()];
                    state.open = false;
                    self.take(answer, state, &mut held).await;
                }
            }
        }
        drop(held);
        self.context.polls.open(0);
        let last = tokio::time::sleep(LAST_ANSWERS);
        tokio::pin!(last);
        loop {
            tokio::select! {
                () = &mut last => break,
                answer = polls.next() => match answer {
                    Some(Answer { lane, received: Ok(messages), .. }) => self.hand_back(lane, messages).await,
                    Some(_) => {}
                    None => break,
                },
            }
        }
    }

    fn poll(&self, lane: Lane, most: usize, state: LaneState) -> BoxFuture<'static, Answer> {
        let (queues, queue_url) = (self.context.aws.queues.clone(), self.queues.url(lane).to_owned());
        let cold = Duration::from_secs(self.context.config.poll_wait_seconds);
        let wait = if state.hot { Duration::ZERO } else { cold };
        let pause = match state.failures {
            0 => Duration::ZERO,
            n => (FIRST_PAUSE * 2u32.saturating_pow(n.min(10) - 1)).min(LONGEST_PAUSE),
        };
        // How long a message is away from the queue before somebody else may try it: many times what a
        // claim takes, and the registry lists a task within a heartbeat.
        let visibility = self.context.lease.invisible();
        async move {
            tokio::time::sleep(pause).await;
            let received = queues.receive(&queue_url, most, wait, visibility).await;
            Answer { lane, asked: most.min(BATCH_ITEMS), received }
        }
        .boxed()
    }

    async fn take(&self, answer: Answer, state: &mut LaneState, held: &mut Vec<OwnedSemaphorePermit>) {
        let messages = match answer.received {
            Ok(messages) => messages,
            Err(error) => {
                state.failures = state.failures.saturating_add(1);
                state.hot = false;
                self.context.meters.poll_failures.one();
                self.context.polls.failed(answer.lane, error.to_string());
                warn!(%error, lane = %answer.lane, failures = state.failures, "queue not read");
                return;
            }
        };
        state.failures = 0;
        self.context.polls.answered(answer.lane);
        if !messages.is_empty() {
            self.context.meters.received(answer.lane, messages.len());
        }
        state.hot = messages.len() >= answer.asked;
        if *self.context.running.fenced().borrow() || self.context.notices.yields() {
            return self.hand_back(answer.lane, messages).await;
        }
        let mut too_many = Vec::new();
        for message in messages {
            match held.pop().or_else(|| Arc::clone(&self.slots).try_acquire_owned().ok()) {
                Some(slot) => self.start(answer.lane, message, slot).await,
                None => too_many.push(message),
            }
        }
        self.hand_back(answer.lane, too_many).await;
    }

    async fn start(&self, lane: Lane, message: ReceivedCommand, slot: OwnedSemaphorePermit) {
        self.context.received.note(lane, message.sent_at);
        let handle =
            Handle { queue_url: self.queues.url(lane).to_owned(), receipt_handle: message.receipt_handle };
        match Command::from_body(&message.body) {
            Ok(command) => {
                let (context, acknowledger) = (Arc::clone(&self.context), self.acknowledger.clone());
                self.attempts.spawn(async move {
                    attempt::run(context, command, handle, acknowledger).await;
                    drop(slot);
                });
            }
            Err(UnreadableCommand::Malformed(error)) => {
                error!(%error, body = %message.body.chars().take(200).collect::<String>(), "message is no command; deleted");
                self.acknowledger.delete(handle);
            }
            // A newer worker may read it; the queue is only a hint, so nothing is lost if none does.
            Err(error @ UnreadableCommand::Newer(_)) => warn!(%error, "message left on the queue"),
        }
    }

    async fn hand_back(&self, lane: Lane, messages: Vec<ReceivedCommand>) {
        let (tired, fresh): (Vec<_>, Vec<_>) =
            messages.into_iter().partition(|message| message.receives >= PASSED_ROUND);
        for (messages, rest) in [(fresh, Duration::ZERO), (tired, REST)] {
            let handles: Vec<_> = messages.into_iter().map(|message| message.receipt_handle).collect();
            for batch in handles.chunks(BATCH_ITEMS) {
                match self.context.aws.queues.hand_back(self.queues.url(lane), batch, rest).await {
                    Ok(()) => self.context.meters.handed_back.add(batch.len() as f64),
                    Err(error) => {
                        warn!(%error, lane = %lane, "messages not handed back; they come back by themselves");
                    }
                }
            }
        }
    }
}
