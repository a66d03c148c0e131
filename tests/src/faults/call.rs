//! Which AWS call a request is.

/// A call by its service and operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// SQS names its errors differently from DynamoDB and its streams.
    pub is_sqs: bool,
    /// Such as `UpdateItem`; empty when the request does not say.
    pub operation: String,
}

impl Call {
    /// Reads the header `x-amz-target`, such as `DynamoDB_20120810.UpdateItem`.
    pub fn of(target: Option<&str>) -> Self {
        let (service, operation) = target.and_then(|target| target.split_once('.')).unwrap_or_default();
        Self { is_sqs: service == "AmazonSQS", operation: operation.to_owned() }
    }
}

/// Whether a request's body holds every one of these texts.
pub(super) fn holds_all(body: &[u8], texts: &[String]) -> bool {
    if texts.is_empty() {
        return true;
    }
    let body = String::from_utf8_lossy(body);
    texts.iter().all(|text| body.contains(text))
}
