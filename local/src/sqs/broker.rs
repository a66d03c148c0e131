//! All queues by name, and what concerns more than one of them: dead letters. Pure like
//! `super::queue::Queue`. Called by `super::calls` under the endpoint's lock.

use std::collections::BTreeMap;
use std::time::Duration;

use super::clock::Millis;
use super::error::SqsError;
use super::message::{Draft, Message};
use super::queue::{Delivery, MAX_VISIBILITY, Queue};
use super::settings::{AttributeMap, Redrive, Settings, queue_arn};

/// The queues of one endpoint.
#[derive(Debug, Default)]
pub struct Broker {
    queues: BTreeMap<String, Named>,
}

/// A queue and its dates.
#[derive(Debug)]
pub struct Named {
    /// The queue.
    pub queue: Queue,
    /// When it was created.
    pub created_at: Millis,
    /// When its attributes last changed.
    pub modified_at: Millis,
}

/// What a receive did.
#[derive(Debug)]
pub struct Received {
    /// For the receiver.
    pub deliveries: Vec<Delivery>,
    /// Whether a message went to the dead-letter queue, where somebody may be waiting for it.
    pub gave_up: bool,
}

impl Broker {
    /// Creates a queue. The same name again is the same queue, unless the call asks for other attributes.
    pub fn create(
        &mut self,
        now: Millis,
        name: &str,
        attributes: &AttributeMap,
        incarnation: u64,
    ) -> Result<(), SqsError> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.is_empty() || name.len() > 80 || !name.chars().all(allowed) {
            return Err(SqsError::parameter(
                "QueueName",
                name,
                "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length",
            ));
        }
        if let Some(existing) = self.queues.get(name) {
            let mut wanted = existing.queue.settings.clone();
            wanted.apply(attributes)?;
            return match existing.queue.settings.difference(&wanted) {
                Some(attribute) => Err(SqsError::QueueNameExists(attribute)),
                None => Ok(()),
            };
        }
        let mut settings = Settings::default();
        settings.apply(attributes)?;
        self.check_target(&settings)?;
        let named = Named { queue: Queue::new(settings, incarnation), created_at: now, modified_at: now };
        self.queues.insert(name.to_owned(), named);
        Ok(())
    }

    fn check_target(&self, settings: &Settings) -> Result<(), SqsError> {
        match &settings.redrive {
            Some(redrive) if !self.queues.contains_key(redrive.target()) => Err(SqsError::parameter(
                "RedrivePolicy",
                &redrive.dead_letter_target_arn,
                "Dead letter target does not exist.",
            )),
            _ => Ok(()),
        }
    }

    /// Changes a queue's attributes, all of them or none.
    pub fn configure(&mut self, now: Millis, name: &str, attributes: &AttributeMap) -> Result<(), SqsError> {
        let mut settings = self.named(name)?.queue.settings.clone();
        settings.apply(attributes)?;
        self.check_target(&settings)?;
        let named = self.named(name)?;
        named.queue.settings = settings;
        named.modified_at = now;
        Ok(())
    }

    /// The queue of that name.
    pub fn named(&mut self, name: &str) -> Result<&mut Named, SqsError> {
        self.queues.get_mut(name).ok_or(SqsError::QueueDoesNotExist)
    }

    /// The queues whose names begin so, in order.
    pub fn names<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a str> {
        self.queues.keys().map(String::as_str).filter(move |name| name.starts_with(prefix))
    }

    /// Deletes a queue and its messages.
    pub fn delete(&mut self, name: &str) -> Result<(), SqsError> {
        let removed = self.queues.remove(name);
        removed.map(drop).ok_or(SqsError::QueueDoesNotExist)
    }

    /// Sends a message, with its own delay or the queue's.
    pub fn send(
        &mut self,
        now: Millis,
        name: &str,
        draft: Draft,
        delay: Option<i64>,
        id: String,
    ) -> Result<(), SqsError> {
        let queue = &mut self.named(name)?.queue;
        draft.check(queue.settings.max_bytes)?;
        let delay = match delay {
            Some(seconds) => seconds_within("DelaySeconds", seconds, 900)?,
            None => queue.settings.delay,
        };
        let message = Message {
            id,
            draft,
            sent_at: now,
            first_received_at: None,
            receives: 0,
            dead_letter_source: None,
        };
        queue.put(message, now + delay);
        Ok(())
    }

    /// Takes messages, and moves those that were received too often to the dead-letter queue.
    pub fn receive(
        &mut self,
        now: Millis,
        name: &str,
        max: usize,
        visibility: Option<Duration>,
    ) -> Result<Received, SqsError> {
        let redrive = self.named(name)?.queue.settings.redrive.clone();
        // While the dead-letter queue is missing nothing is given up: it would be lost.
        let redrive = redrive.filter(|redrive| self.queues.contains_key(redrive.target()));
        let dead_after = redrive.as_ref().map(|redrive| redrive.max_receive_count);
        let queue = &mut self.named(name)?.queue;
        let visibility = visibility.unwrap_or(queue.settings.visibility);
        let taken = queue.receive(now, max, visibility, dead_after);
        let gave_up = !taken.dead.is_empty();
        if let Some(target) = redrive.as_ref().map(Redrive::target)
            && let Ok(target) = self.named(target)
        {
            for mut message in taken.dead {
                message.dead_letter_source = Some(queue_arn(name));
                target.queue.put(message, now);
            }
        }
        Ok(Received { deliveries: taken.delivered, gave_up })
    }
}

/// A visibility timeout as a call gives it.
pub(crate) fn visibility(seconds: i64) -> Result<Duration, SqsError> {
    seconds_within("VisibilityTimeout", seconds, MAX_VISIBILITY.as_secs())
}

/// A time in seconds as a call gives it, from zero up to `high`.
pub(crate) fn seconds_within(parameter: &'static str, seconds: i64, high: u64) -> Result<Duration, SqsError> {
    match u64::try_from(seconds) {
        Ok(value) if value <= high => Ok(Duration::from_secs(value)),
        _ => Err(SqsError::parameter(parameter, seconds, format!("Must be between 0 and {high}."))),
    }
}

#[cfg(test)]
mod tests;
