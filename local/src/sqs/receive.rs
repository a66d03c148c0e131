//! ReceiveMessage without its waiting: the checked request, and a delivery as the caller asked to see it.

use std::time::Duration;

use super::broker::{seconds_within, visibility};
use super::digest;
use super::error::SqsError;
use super::message::Attributes;
use super::queue::Delivery;
use super::settings::{ACCOUNT, AttributeMap};
use super::wire::{Incoming, ReceiveMessage};

/// A ReceiveMessage whose numbers are in their ranges.
#[derive(Debug)]
pub(crate) struct Receive {
    pub queue: String,
    pub max: usize,
    pub visibility: Option<Duration>,
    /// None: the queue's own waiting time.
    pub wait: Option<Duration>,
    system: Vec<String>,
    attributes: Vec<String>,
}

impl Receive {
    pub fn new(request: ReceiveMessage) -> Result<Self, SqsError> {
        let asked = request.max_number_of_messages.unwrap_or(1);
        let max = usize::try_from(asked).ok().filter(|max| (1..=10).contains(max)).ok_or_else(|| {
            let reason = "Must be between 1 and 10, if provided.";
            SqsError::parameter("MaxNumberOfMessages", asked, reason)
        })?;
        let wait = |seconds| seconds_within("WaitTimeSeconds", seconds, 20);
        let mut system = request.message_system_attribute_names;
        system.extend(request.attribute_names);
        Ok(Self {
            queue: super::calls::queue_name(&request.queue_url).to_owned(),
            max,
            visibility: request.visibility_timeout.map(visibility).transpose()?,
            wait: request.wait_time_seconds.map(wait).transpose()?,
            system,
            attributes: request.message_attribute_names,
        })
    }

    /// The delivery with the attributes that were asked for.
    pub fn show(&self, delivery: Delivery) -> Incoming {
        let Delivery { message, receipt } = delivery;
        let mut all: Vec<(&str, String)> = vec![
            ("SenderId", ACCOUNT.to_owned()),
            ("SentTimestamp", message.sent_at.to_string()),
            ("ApproximateReceiveCount", message.receives.to_string()),
        ];
        if let Some(at) = message.first_received_at {
            all.push(("ApproximateFirstReceiveTimestamp", at.to_string()));
        }
        if let Some(source) = message.dead_letter_source {
            all.push(("DeadLetterQueueSourceArn", source));
        }
        for (name, value) in &message.draft.system_attributes {
            all.push((name, value.string_value.clone().unwrap_or_default()));
        }
        let system_attributes: AttributeMap = all
            .into_iter()
            .filter(|(name, _)| self.system.iter().any(|asked| asked == "All" || asked == name))
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        let attributes: Attributes = message
            .draft
            .attributes
            .into_iter()
            .filter(|(name, _)| self.attributes.iter().any(|asked| selects(asked, name)))
            .collect();
        Incoming {
            message_id: message.id,
            receipt_handle: receipt.to_string(),
            md5_of_body: digest::of_text(&message.draft.body),
            body: message.draft.body,
            system_attributes,
            md5_of_attributes: digest::of_attributes(&attributes),
            attributes,
        }
    }
}

/// `All`, `.*`, a prefix such as `trace.*`, or a name.
fn selects(asked: &str, name: &str) -> bool {
    asked == "All" || asked == name || asked.strip_suffix(".*").is_some_and(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attribute_names_select_by_name_prefix_or_all() {
        let cases = [
            ("All", "x", true),
            (".*", "x", true),
            ("tr.*", "trace", true),
            ("tr.*", "retry", false),
            ("trace", "trace", true),
            ("trace", "tracer", false),
        ];
        for (asked, name, expected) in cases {
            assert_eq!(selects(asked, name), expected, "{asked} {name}");
        }
    }
}
