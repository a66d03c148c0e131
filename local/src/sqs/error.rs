//! What the endpoint answers when it refuses, in both of the forms that clients map: the JSON
//! protocol's `__type` and the older query protocol's code in a header (which boto3 reads).

use serde_json::json;
use thiserror::Error;

/// A refused call, or a refused entry of a batch.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SqsError {
    /// No queue has that name.
    #[error("The specified queue does not exist.")]
    QueueDoesNotExist,
    /// CreateQueue named an existing queue and another value for one of its attributes.
    #[error("A queue already exists with the same name and a different value for attribute {0}")]
    QueueNameExists(&'static str),
    /// An attribute name that a queue does not have.
    #[error("Unknown Attribute {0}.")]
    InvalidAttributeName(String),
    /// An attribute value that is out of its range or not of its form.
    #[error("Invalid value for the parameter {0}.")]
    InvalidAttributeValue(String),
    /// A parameter is out of its range.
    #[error("Value {value} for parameter {parameter} is invalid. Reason: {reason}")]
    InvalidParameterValue {
        /// The parameter's name.
        parameter: &'static str,
        /// What was sent.
        value: String,
        /// The rule that it breaks.
        reason: String,
    },
    /// A parameter that the call needs is absent.
    #[error("The request must contain the parameter {0}.")]
    MissingParameter(&'static str),
    /// The body holds a character that XML, and so SQS, cannot carry.
    #[error(
        "Invalid characters found. Valid unicode characters are #x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF"
    )]
    InvalidMessageContents,
    /// The receipt handle is not one that an endpoint ever gave.
    #[error("The input receipt handle is invalid.")]
    ReceiptHandleIsInvalid,
    /// The message has become visible again.
    #[error("The specified message isn't in flight.")]
    MessageNotInflight,
    /// A batch without entries.
    #[error("There should be at least one entry in the request.")]
    EmptyBatchRequest,
    /// A batch of more than ten.
    #[error("Maximum number of entries per request are 10. You have sent {0}.")]
    TooManyEntriesInBatchRequest(usize),
    /// Two entries carry the same id.
    #[error("Id {0} repeated.")]
    BatchEntryIdsNotDistinct(String),
    /// An entry's id is not of the allowed form.
    #[error(
        "A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be at most 80 letters long."
    )]
    InvalidBatchEntryId,
    /// The entries together are too long.
    #[error("Batch requests cannot be longer than 1048576 bytes. You have sent {0} bytes.")]
    BatchRequestTooLong(usize),
    /// The body is not the JSON that the call expects.
    #[error("{0}")]
    Serialization(String),
    /// A call that this endpoint does not have.
    #[error("The operation {0} is not supported by this endpoint.")]
    UnknownOperation(String),
}

impl SqsError {
    /// A parameter outside its range, in AWS's words.
    pub(crate) fn parameter(
        parameter: &'static str,
        value: impl ToString,
        reason: impl Into<String>,
    ) -> Self {
        Self::InvalidParameterValue { parameter, value: value.to_string(), reason: reason.into() }
    }

    /// The shape's namespace and name in the JSON protocol, and its code in the query protocol.
    fn names(&self) -> (&'static str, &'static str, &'static str) {
        const SQS: &str = "com.amazonaws.sqs";
        const CORAL: &str = "com.amazon.coral.service";
        match self {
            Self::QueueDoesNotExist => (SQS, "QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue"),
            Self::QueueNameExists(_) => (SQS, "QueueNameExists", "QueueAlreadyExists"),
            Self::InvalidAttributeName(_) => (SQS, "InvalidAttributeName", "InvalidAttributeName"),
            Self::InvalidAttributeValue(_) => (SQS, "InvalidAttributeValue", "InvalidAttributeValue"),
            Self::InvalidParameterValue { .. } => {
                (SQS, "InvalidParameterValueException", "InvalidParameterValue")
            }
            Self::MissingParameter(_) => (SQS, "MissingRequiredParameterException", "MissingParameter"),
            Self::InvalidMessageContents => (SQS, "InvalidMessageContents", "InvalidMessageContents"),
            Self::ReceiptHandleIsInvalid => (SQS, "ReceiptHandleIsInvalid", "ReceiptHandleIsInvalid"),
            Self::MessageNotInflight => {
                (SQS, "MessageNotInflight", "AWS.SimpleQueueService.MessageNotInflight")
            }
            Self::EmptyBatchRequest => (SQS, "EmptyBatchRequest", "AWS.SimpleQueueService.EmptyBatchRequest"),
            Self::TooManyEntriesInBatchRequest(_) => {
                (SQS, "TooManyEntriesInBatchRequest", "AWS.SimpleQueueService.TooManyEntriesInBatchRequest")
            }
            Self::BatchEntryIdsNotDistinct(_) => {
                (SQS, "BatchEntryIdsNotDistinct", "AWS.SimpleQueueService.BatchEntryIdsNotDistinct")
            }
            Self::InvalidBatchEntryId => {
                (SQS, "InvalidBatchEntryId", "AWS.SimpleQueueService.InvalidBatchEntryId")
            }
            Self::BatchRequestTooLong(_) => {
                (SQS, "BatchRequestTooLong", "AWS.SimpleQueueService.BatchRequestTooLong")
            }
            Self::Serialization(_) => (CORAL, "SerializationException", "SerializationException"),
            Self::UnknownOperation(_) => (CORAL, "UnknownOperationException", "UnknownOperationException"),
        }
    }

    /// The code of a failed batch entry.
    pub fn entry_code(&self) -> &'static str {
        self.names().2
    }

    /// The header `x-amzn-query-error`. Every error here is the sender's.
    pub fn query_error(&self) -> String {
        format!("{};Sender", self.names().2)
    }

    /// The response body.
    pub fn body(&self) -> serde_json::Value {
        let (namespace, shape, _) = self.names();
        json!({ "__type": format!("{namespace}#{shape}"), "message": self.to_string() })
    }
}
