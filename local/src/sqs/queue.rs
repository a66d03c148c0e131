//! One queue: which messages may be received at a given moment. Pure: no clock, no lock, no I/O; every
//! rule is decided by the `now` it is given. Called by [`super::broker::Broker`].
//!
//! Every message has one moment from which it may be received. A delay, a visibility timeout and a
//! released message are the same thing: another moment.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::clock::Millis;
use super::error::SqsError;
use super::message::{Message, Receipt};
use super::settings::Settings;

/// The longest time that a message may stay invisible after one receive: 12 hours.
pub(crate) const MAX_VISIBILITY: Duration = Duration::from_secs(43_200);

/// A queue of messages in memory.
#[derive(Debug)]
pub struct Queue {
    /// The queue's attributes.
    pub settings: Settings,
    incarnation: u64,
    next_sequence: u64,
    messages: BTreeMap<u64, Kept>,
    /// The same messages by the moment from which they may be received.
    schedule: BTreeSet<(Millis, u64)>,
}

#[derive(Debug)]
struct Kept {
    message: Message,
    available_at: Millis,
    /// The last receive, none while the message was only ever delayed in this queue.
    received_at: Option<Millis>,
}

/// A received message and its receipt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The message, its receive count already including this receive.
    pub message: Message,
    /// What deletes it, or changes its visibility.
    pub receipt: Receipt,
}

/// What one receive took from the queue.
#[derive(Debug, Default)]
pub struct Taken {
    /// For the receiver.
    pub delivered: Vec<Delivery>,
    /// For the dead-letter queue.
    pub dead: Vec<Message>,
}

/// How many messages a queue holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Depth {
    /// May be received now.
    pub visible: usize,
    /// Received and not yet deleted or visible again.
    pub in_flight: usize,
    /// Never received, not due yet.
    pub delayed: usize,
}

impl Queue {
    /// An empty queue. `incarnation` tells it from an earlier one of the same name.
    pub fn new(settings: Settings, incarnation: u64) -> Self {
        Self { settings, incarnation, next_sequence: 0, messages: BTreeMap::new(), schedule: BTreeSet::new() }
    }

    /// Keeps a message that may be received from `available_at` on.
    pub fn put(&mut self, message: Message, available_at: Millis) {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        self.schedule.insert((available_at, sequence));
        self.messages.insert(sequence, Kept { message, available_at, received_at: None });
    }

    /// Takes up to `max` messages and hides them for `visibility`. A message that was already received
    /// `dead_after` times is given up instead.
    pub fn receive(
        &mut self,
        now: Millis,
        max: usize,
        visibility: Duration,
        dead_after: Option<u32>,
    ) -> Taken {
        let mut taken = Taken::default();
        // Hidden only at the end: with a visibility timeout of zero the same message would be taken again.
        let mut hide = Vec::new();
        while taken.delivered.len() < max
            && let Some(&(at, sequence)) = self.schedule.first()
            && at <= now
        {
            self.schedule.pop_first();
            let Some(kept) = self.messages.get_mut(&sequence) else {
                continue;
            };
            let expired = now >= kept.message.sent_at + self.settings.retention;
            let dead = dead_after.is_some_and(|limit| kept.message.receives >= limit);
            if expired || dead {
                if let Some(kept) = self.messages.remove(&sequence)
                    && !expired
                {
                    taken.dead.push(kept.message);
                }
                continue;
            }
            kept.message.receives += 1;
            kept.message.first_received_at.get_or_insert(now);
            kept.received_at = Some(now);
            kept.available_at = now + visibility;
            hide.push((kept.available_at, sequence));
            taken.delivered.push(Delivery {
                message: kept.message.clone(),
                receipt: Receipt { incarnation: self.incarnation, sequence, receive: kept.message.receives },
            });
        }
        self.schedule.extend(hide);
        taken
    }

    /// When the next message that is hidden now may be received.
    pub fn next_due(&self, now: Millis) -> Option<Millis> {
        let after_now = (now, u64::MAX);
        self.schedule
            .range((std::ops::Bound::Excluded(after_now), std::ops::Bound::Unbounded))
            .next()
            .map(|(at, _)| *at)
    }

    /// Deletes a message. A stale receipt deletes nothing and is no error, as on AWS: whoever received the
    /// message later decides about it.
    pub fn delete(&mut self, receipt: &Receipt) {
        if self.find(receipt).is_some()
            && let Some(kept) = self.messages.remove(&receipt.sequence)
        {
            self.schedule.remove(&(kept.available_at, receipt.sequence));
        }
    }

    /// Hides a message in flight for `timeout` from now; zero releases it.
    pub fn change_visibility(
        &mut self,
        now: Millis,
        receipt: &Receipt,
        timeout: Duration,
    ) -> Result<(), SqsError> {
        let Some(kept) = self.find(receipt) else {
            return Err(SqsError::parameter(
                "ReceiptHandle",
                receipt,
                "Message does not exist or is not available for visibility timeout change.",
            ));
        };
        if kept.available_at <= now {
            return Err(SqsError::MessageNotInflight);
        }
        let received_at = kept.received_at.unwrap_or(now);
        if now + timeout > received_at + MAX_VISIBILITY {
            return Err(SqsError::parameter(
                "VisibilityTimeout",
                timeout.as_secs(),
                "Total VisibilityTimeout for the message is beyond the limit [43200 seconds]",
            ));
        }
        let before = std::mem::replace(&mut kept.available_at, now + timeout);
        self.schedule.remove(&(before, receipt.sequence));
        self.schedule.insert((now + timeout, receipt.sequence));
        Ok(())
    }

    /// The message of a receipt that is still the latest one.
    fn find(&mut self, receipt: &Receipt) -> Option<&mut Kept> {
        self.messages.get_mut(&receipt.sequence).filter(|kept| {
            receipt.incarnation == self.incarnation && receipt.receive == kept.message.receives
        })
    }

    /// Forgets every message.
    pub fn purge(&mut self) {
        self.messages.clear();
        self.schedule.clear();
    }

    /// Forgets the messages that are older than the retention period.
    pub fn expire(&mut self, now: Millis) {
        // In the order of arrival, which for all but dead letters is the order of age; those that this
        // leaves are dropped when their turn to be received comes.
        while let Some(first) = self.messages.first_entry()
            && now >= first.get().message.sent_at + self.settings.retention
        {
            let (sequence, kept) = first.remove_entry();
            self.schedule.remove(&(kept.available_at, sequence));
        }
    }

    /// How many messages there are, by what may be done with them.
    pub fn depth(&self, now: Millis) -> Depth {
        let mut depth = Depth::default();
        for kept in self.messages.values() {
            match kept.received_at {
                _ if kept.available_at <= now => depth.visible += 1,
                Some(_) => depth.in_flight += 1,
                None => depth.delayed += 1,
            }
        }
        depth
    }
}

#[cfg(test)]
mod tests;
