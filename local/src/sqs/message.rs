//! A message, and the receipt that a receive gives for it.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::clock::Millis;
use super::error::SqsError;

/// The longest message and the longest batch, attributes included: 1 MiB.
pub(crate) const MAX_BYTES: usize = 1_048_576;

/// A typed attribute that travels beside the body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct AttributeValue {
    /// `String`, `Number` or `Binary`, with an optional suffix such as `Number.int`.
    pub data_type: String,
    /// The value of a string or a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub string_value: Option<String>,
    /// The value of a binary, in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binary_value: Option<String>,
}

/// Attributes by name, in the order in which their digest is taken.
pub type Attributes = BTreeMap<String, AttributeValue>;

/// What a sender gives.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Draft {
    /// The text.
    pub body: String,
    /// The sender's own attributes.
    pub attributes: Attributes,
    /// `AWSTraceHeader`, the one system attribute that a sender may set.
    pub system_attributes: Attributes,
}

impl Draft {
    /// Refuses what SQS refuses: an empty or too long message, or one that XML cannot carry.
    pub fn check(&self, max_bytes: usize) -> Result<(), SqsError> {
        if self.body.is_empty() {
            return Err(SqsError::MissingParameter("MessageBody"));
        }
        if !self.body.chars().all(is_allowed) {
            return Err(SqsError::InvalidMessageContents);
        }
        if size(&self.body, &self.attributes) > max_bytes {
            return Err(SqsError::parameter(
                "MessageBody",
                "(omitted)",
                format!("Message must be shorter than {max_bytes} bytes."),
            ));
        }
        for (name, value) in &self.attributes {
            let payload = match value.data_type.split('.').next() {
                Some("String" | "Number") => value.string_value.as_ref(),
                Some("Binary") => value.binary_value.as_ref(),
                _ => None,
            };
            if payload.is_none_or(String::is_empty) {
                return Err(SqsError::parameter(
                    "MessageAttributes",
                    name,
                    "The attribute must contain a non-empty value of its type.",
                ));
            }
        }
        match self.system_attributes.keys().find(|name| *name != "AWSTraceHeader") {
            Some(name) => {
                Err(SqsError::parameter("MessageSystemAttributes", name, "Only AWSTraceHeader is supported."))
            }
            None => Ok(()),
        }
    }
}

/// The length that counts against the limits.
pub(crate) fn size(body: &str, attributes: &Attributes) -> usize {
    let of = |(name, value): (&String, &AttributeValue)| {
        let text = value.string_value.as_ref().map_or(0, String::len);
        // Three bytes are four letters of base64.
        let bytes = value.binary_value.as_ref().map_or(0, |b| b.len() / 4 * 3);
        name.len() + value.data_type.len() + text + bytes
    };
    body.len() + attributes.iter().map(of).sum::<usize>()
}

fn is_allowed(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..)
}

/// A message as a queue keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The id that the sender was told.
    pub id: String,
    /// What was sent.
    pub draft: Draft,
    /// When it was sent, to its first queue.
    pub sent_at: Millis,
    /// When it was first received.
    pub first_received_at: Option<Millis>,
    /// How often it has been received.
    pub receives: u32,
    /// The ARN of the queue that gave it up, on a dead letter.
    pub dead_letter_source: Option<String>,
}

/// A receipt: which message of which queue, and which of its receives. A later receive makes it stale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// The queue's incarnation, so that a receipt from before a restart touches nothing.
    pub incarnation: u64,
    /// The message's place in its queue.
    pub sequence: u64,
    /// The receive that gave this receipt.
    pub receive: u32,
}

impl fmt::Display for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{:016x}-{:08x}", self.incarnation, self.sequence, self.receive)
    }
}

impl FromStr for Receipt {
    type Err = SqsError;

    fn from_str(text: &str) -> Result<Self, SqsError> {
        let mut parts = text.split('-').map(|part| u64::from_str_radix(part, 16));
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(Ok(incarnation)), Some(Ok(sequence)), Some(Ok(receive)), None) => Ok(Self {
                incarnation,
                sequence,
                receive: u32::try_from(receive).map_err(|_| SqsError::ReceiptHandleIsInvalid)?,
            }),
            _ => Err(SqsError::ReceiptHandleIsInvalid),
        }
    }
}
