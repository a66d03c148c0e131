//! The queues: commands out, commands in, acknowledgements, always in batches of ten.

use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{
    ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry, Message,
    MessageSystemAttributeName, QueueAttributeName, SendMessageBatchRequestEntry,
};

use super::AwsError;
use crate::At;
use crate::protocol::command::Command;

/// Entries SQS takes in one batch.
pub const BATCH_ITEMS: usize = 10;

/// A message from a queue.
#[derive(Clone, Debug)]
pub struct ReceivedCommand {
    /// Its body, which may be no command at all.
    pub body: String,
    /// What deletes it.
    pub receipt_handle: String,
    /// When it was sent, by SQS's clock.
    pub sent_at: Option<At>,
    /// How often it was received, this time included. SQS counts a message as a dead letter by it.
    pub receives: u32,
}

/// A command on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// The command.
    pub command: Command,
    /// How long SQS holds it back, in whole seconds, at most 900.
    pub delay: Duration,
}

/// How many messages SQS counts on a queue, approximately.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// Those that can be received.
    pub visible: u64,
    /// Those that somebody has received and not deleted yet.
    pub in_flight: u64,
    /// Those that are held back.
    pub delayed: u64,
}

impl Depth {
    /// Whether there is none at all.
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }
}

/// What became of a batch of sends.
#[derive(Debug)]
pub struct SentBatch {
    /// For each command in order: nothing, or why it was not sent.
    pub failures: Vec<Option<String>>,
}

/// The queues, by address.
#[derive(Clone, Debug)]
pub struct WorkQueues {
    client: Client,
}

impl WorkQueues {
    pub(super) fn new(client: Client) -> Self {
        Self { client }
    }

    /// Sends at most ten commands to one queue. A failed call fails each of them.
    pub async fn send(&self, queue_url: &str, commands: &[Outgoing]) -> SentBatch {
        debug_assert!(commands.len() <= BATCH_ITEMS);
        let entry = |(index, outgoing): (usize, &Outgoing)| {
            let delay = i32::try_from(outgoing.delay.as_secs()).ok().filter(|seconds| *seconds > 0);
            SendMessageBatchRequestEntry::builder()
                .id(index.to_string())
                .message_body(outgoing.command.to_body())
                .set_delay_seconds(delay)
                .build()
                .map_err(|e| AwsError::Unreadable { call: SEND, reason: e.to_string() })
        };
        let entries = commands.iter().enumerate().map(entry).collect::<Result<Vec<_>, _>>();
        let sent = match entries {
            Ok(entries) => self
                .client
                .send_message_batch()
                .queue_url(queue_url)
                .set_entries(Some(entries))
                .send()
                .await
                .map_err(|e| AwsError::from_sdk(SEND, e)),
            Err(error) => Err(error),
        };
        let failures = match sent {
            Ok(output) => {
                let done = output.successful().iter().map(|entry| entry.id());
                let failed = output.failed().iter().map(|entry| {
                    (entry.id(), format!("{}: {}", entry.code(), entry.message().unwrap_or("no message")))
                });
                per_command(commands.len(), done, failed)
            }
            Err(error) => vec![Some(error.to_string()); commands.len()],
        };
        SentBatch { failures }
    }

    /// Waits up to `wait` (20 s at most) for up to `most` messages, which stay invisible for `visibility`.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn receive(
        &self,
        queue_url: &str,
        most: usize,
        wait: Duration,
        visibility: Duration,
    ) -> Result<Vec<ReceivedCommand>, AwsError> {
        let seconds = |duration: Duration| i32::try_from(duration.as_secs()).unwrap_or(i32::MAX);
        let output = self
            .client
            .receive_message()
            .queue_url(queue_url)
            .max_number_of_messages(i32::try_from(most.clamp(1, BATCH_ITEMS)).unwrap_or(1))
            .wait_time_seconds(seconds(wait).min(20))
            .visibility_timeout(seconds(visibility))
            .message_system_attribute_names(MessageSystemAttributeName::SentTimestamp)
            .message_system_attribute_names(MessageSystemAttributeName::ApproximateReceiveCount)
            .send()
            .await
            .map_err(|e| AwsError::from_sdk("ReceiveMessage", e))?;
        let messages = output.messages.unwrap_or_default();
        let number = |message: &Message, name| message.attributes.as_ref()?.get(&name)?.parse::<i64>().ok();
        let read = |message: Message| {
            let sent_at = number(&message, MessageSystemAttributeName::SentTimestamp).map(At::from_millis);
            let receives = number(&message, MessageSystemAttributeName::ApproximateReceiveCount);
            let receives = receives.and_then(|count| u32::try_from(count).ok()).unwrap_or(1);
            let (body, receipt_handle) = (message.body?, message.receipt_handle?);
            Some(ReceivedCommand { body, receipt_handle, sent_at, receives })
        };
        Ok(messages.into_iter().filter_map(read).collect())
    }

    /// Deletes at most ten messages. What fails comes back and is dropped by its claim.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn delete(&self, queue_url: &str, handles: &[String]) -> Result<(), AwsError> {
        const CALL: &str = "DeleteMessageBatch";
        let entry = |(index, handle): (usize, &String)| {
            DeleteMessageBatchRequestEntry::builder().id(index.to_string()).receipt_handle(handle).build()
        };
        let entries = handles.iter().enumerate().map(entry).collect::<Result<Vec<_>, _>>();
        let entries = entries.map_err(|e| AwsError::Unreadable { call: CALL, reason: e.to_string() })?;
        let sent = self.client.delete_message_batch().queue_url(queue_url).set_entries(Some(entries));
        Box::pin(sent.send()).await.map(drop).map_err(|e| AwsError::from_sdk(CALL, e))
    }

    /// How many messages SQS counts on a queue, approximately.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn depth(&self, queue_url: &str) -> Result<Depth, AwsError> {
        use QueueAttributeName::{
            ApproximateNumberOfMessages as Visible, ApproximateNumberOfMessagesDelayed as Delayed,
            ApproximateNumberOfMessagesNotVisible as InFlight,
        };
        let output = self
            .client
            .get_queue_attributes()
            .queue_url(queue_url)
            .set_attribute_names(Some(vec![Visible, InFlight, Delayed]))
            .send()
            .await
            .map_err(|e| AwsError::from_sdk("GetQueueAttributes", e))?;
        let count = |name| {
            let text = output.attributes().and_then(|all| all.get(&name));
            // A count that is missing is no proof of an empty queue.
            text.and_then(|text| text.parse().ok()).unwrap_or(1)
        };
        Ok(Depth { visible: count(Visible), in_flight: count(InFlight), delayed: count(Delayed) })
    }

    /// Hands at most ten messages back: others can take them after `later`, in whole seconds (12 h at most).
    ///
    /// # Errors
    /// When the call fails.
    pub async fn hand_back(
        &self,
        queue_url: &str,
        handles: &[String],
        later: Duration,
    ) -> Result<(), AwsError> {
        const CALL: &str = "ChangeMessageVisibilityBatch";
        let entry = |(index, handle): (usize, &String)| {
            ChangeMessageVisibilityBatchRequestEntry::builder()
                .id(index.to_string())
                .receipt_handle(handle)
                .visibility_timeout(i32::try_from(later.as_millis().div_ceil(1_000)).unwrap_or(i32::MAX))
                .build()
        };
        let entries = handles.iter().enumerate().map(entry).collect::<Result<Vec<_>, _>>();
        let entries = entries.map_err(|e| AwsError::Unreadable { call: CALL, reason: e.to_string() })?;
        let sent =
            self.client.change_message_visibility_batch().queue_url(queue_url).set_entries(Some(entries));
        Box::pin(sent.send()).await.map(drop).map_err(|e| AwsError::from_sdk(CALL, e))
    }
}

const SEND: &str = "SendMessageBatch";

/// For each of `count` commands why it was not sent, from an answer that names entries by number.
fn per_command<'a>(
    count: usize,
    done: impl Iterator<Item = &'a str>,
    failed: impl Iterator<Item = (&'a str, String)>,
) -> Vec<Option<String>> {
    let mut failures = vec![Some("SQS did not answer for this entry".to_owned()); count];
    for (id, failure) in done.map(|id| (id, None)).chain(failed.map(|(id, why)| (id, Some(why)))) {
        if let Some(slot) = id.parse::<usize>().ok().and_then(|index| failures.get_mut(index)) {
            *slot = failure;
        }
    }
    failures
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_sqs_confirms_counts_as_sent() {
        let failed = [("1", "Throttled: slow down".to_owned()), ("9", "out of range".to_owned())];
        let failures = per_command(4, ["0", "x"].into_iter(), failed.into_iter());
        assert_eq!(failures[0], None);
        assert_eq!(failures[1].as_deref(), Some("Throttled: slow down"));
        assert!(failures[2].is_some() && failures[3].is_some(), "no answer is no success");
    }
}
