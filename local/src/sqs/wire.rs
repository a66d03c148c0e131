//! The requests and responses of the JSON protocol, field by field as AWS names them.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use super::message::Attributes;
use super::settings::AttributeMap;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct CreateQueue {
    pub queue_name: String,
    #[serde(default)]
    pub attributes: AttributeMap,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct GetQueueUrl {
    pub queue_name: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ListQueues {
    #[serde(default)]
    pub queue_name_prefix: String,
    pub max_results: Option<usize>,
    pub next_token: Option<String>,
}

/// DeleteQueue and PurgeQueue.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct OnQueue {
    pub queue_url: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct GetQueueAttributes {
    pub queue_url: String,
    #[serde(default)]
    pub attribute_names: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct SetQueueAttributes {
    pub queue_url: String,
    pub attributes: AttributeMap,
}

/// What SendMessage and an entry of SendMessageBatch share.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Outgoing {
    #[serde(default)]
    pub message_body: String,
    pub delay_seconds: Option<i64>,
    #[serde(default)]
    pub message_attributes: Attributes,
    #[serde(default)]
    pub message_system_attributes: Attributes,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct SendMessage {
    pub queue_url: String,
    #[serde(flatten)]
    pub message: Outgoing,
}

/// A batch of any of the three calls that have one.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Batch<E> {
    pub queue_url: String,
    #[serde(default = "Vec::new")]
    pub entries: Vec<Entry<E>>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Entry<E> {
    #[serde(rename = "Id", default)]
    pub id: String,
    #[serde(flatten)]
    pub call: E,
}

/// What DeleteMessage needs beside the queue.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Handle {
    #[serde(default)]
    pub receipt_handle: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DeleteMessage {
    pub queue_url: String,
    #[serde(flatten)]
    pub handle: Handle,
}

/// What ChangeMessageVisibility needs beside the queue.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Visibility {
    #[serde(default)]
    pub receipt_handle: String,
    pub visibility_timeout: Option<i64>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ChangeMessageVisibility {
    pub queue_url: String,
    #[serde(flatten)]
    pub change: Visibility,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ReceiveMessage {
    pub queue_url: String,
    pub max_number_of_messages: Option<i64>,
    pub visibility_timeout: Option<i64>,
    pub wait_time_seconds: Option<i64>,
    /// The older name of `message_system_attribute_names`; clients send either.
    #[serde(default)]
    pub attribute_names: Vec<String>,
    #[serde(default)]
    pub message_system_attribute_names: Vec<String>,
    #[serde(default)]
    pub message_attribute_names: Vec<String>,
}

/// A sent message. The batch adds the entry's id.
#[derive(Debug, Serialize)]
pub(crate) struct Sent {
    #[serde(rename = "MessageId")]
    pub message_id: String,
    #[serde(rename = "MD5OfMessageBody")]
    pub md5_of_body: String,
    #[serde(rename = "MD5OfMessageAttributes", skip_serializing_if = "Option::is_none")]
    pub md5_of_attributes: Option<String>,
    #[serde(rename = "MD5OfMessageSystemAttributes", skip_serializing_if = "Option::is_none")]
    pub md5_of_system_attributes: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct BatchAnswer<T> {
    pub successful: Vec<Succeeded<T>>,
    pub failed: Vec<Failed>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Succeeded<T> {
    #[serde(rename = "Id")]
    pub id: String,
    #[serde(flatten)]
    pub answer: T,
}

/// The answer of an entry that has nothing to say beside its id.
#[derive(Debug, Serialize)]
pub(crate) struct Nothing {}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Failed {
    pub id: String,
    pub sender_fault: bool,
    pub code: &'static str,
    pub message: String,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Received {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub messages: Vec<Incoming>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Incoming {
    #[serde(rename = "MessageId")]
    pub message_id: String,
    #[serde(rename = "ReceiptHandle")]
    pub receipt_handle: String,
    #[serde(rename = "Body")]
    pub body: String,
    #[serde(rename = "MD5OfBody")]
    pub md5_of_body: String,
    #[serde(rename = "Attributes", skip_serializing_if = "BTreeMap::is_empty")]
    pub system_attributes: AttributeMap,
    #[serde(rename = "MessageAttributes", skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: Attributes,
    #[serde(rename = "MD5OfMessageAttributes", skip_serializing_if = "Option::is_none")]
    pub md5_of_attributes: Option<String>,
}
