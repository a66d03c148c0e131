//! A stream record in the form in which a Lambda gets it.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use aws_lambda_events::event::dynamodb::EventRecord;
use aws_sdk_dynamodbstreams::types::{AttributeValue, Record};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

/// A record of the stream, ready for the filter and for the function.
#[derive(Debug, Clone)]
pub(crate) struct StreamRecord {
    /// Its place in the shard.
    pub sequence: String,
    /// When the item was written, to the second.
    pub written_at: Option<SystemTime>,
    /// What the filter looks at.
    pub json: Value,
}

impl StreamRecord {
    /// The record as `source` delivers it.
    pub fn new(record: &Record, source: &str) -> Self {
        let change = record.dynamodb();
        let sequence = change.and_then(|change| change.sequence_number());
        let written = change.and_then(|change| change.approximate_creation_date_time());
        Self {
            sequence: sequence.unwrap_or_default().to_owned(),
            written_at: written.and_then(|at| SystemTime::try_from(*at).ok()),
            json: render(record, source),
        }
    }

    /// Whether it was written longer than `age` ago.
    pub fn is_older_than(&self, age: Duration, now: SystemTime) -> bool {
        self.written_at.and_then(|at| now.duration_since(at).ok()).is_some_and(|since| since > age)
    }

    /// The record as the function's type.
    pub fn event(&self) -> Result<EventRecord, serde_json::Error> {
        serde_json::from_value(self.json.clone())
    }
}

fn render(record: &Record, source: &str) -> Value {
    let mut change = Map::new();
    if let Some(stream) = record.dynamodb() {
        let mut put = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                change.insert(name.to_owned(), value);
            }
        };
        let created = stream.approximate_creation_date_time();
        put("ApproximateCreationDateTime", created.map(|at| json!(at.as_secs_f64())));
        put("Keys", stream.keys().map(item));
        put("NewImage", stream.new_image().map(item));
        put("OldImage", stream.old_image().map(item));
        put("SequenceNumber", stream.sequence_number().map(Value::from));
        put("SizeBytes", Some(json!(stream.size_bytes().unwrap_or(0))));
        let view = stream.stream_view_type();
        put("StreamViewType", view.map(|view| json!(view.as_str())));
    }
    let mut event = json!({
        "eventID": record.event_id().unwrap_or_default(),
        "eventName": record.event_name().map_or("", |name| name.as_str()),
        "eventVersion": record.event_version().unwrap_or("1.1"),
        "eventSource": record.event_source().unwrap_or("aws:dynamodb"),
        "awsRegion": record.aws_region().unwrap_or_default(),
        "eventSourceARN": source,
        "dynamodb": change,
    });
    if let Some(identity) = record.user_identity() {
        event["userIdentity"] = json!({
            "type": identity.r#type(),
            "principalId": identity.principal_id(),
        });
    }
    event
}

fn item(attributes: &HashMap<String, AttributeValue>) -> Value {
    let pairs = attributes.iter();
    Value::Object(pairs.map(|(name, value)| (name.clone(), attribute(value))).collect())
}

fn attribute(value: &AttributeValue) -> Value {
    let base64 = |bytes: &[u8]| STANDARD.encode(bytes);
    match value {
        AttributeValue::S(text) => json!({ "S": text }),
        AttributeValue::N(number) => json!({ "N": number }),
        AttributeValue::Bool(value) => json!({ "BOOL": value }),
        AttributeValue::Null(value) => json!({ "NULL": value }),
        AttributeValue::B(bytes) => json!({ "B": base64(bytes.as_ref()) }),
        AttributeValue::Ss(texts) => json!({ "SS": texts }),
        AttributeValue::Ns(numbers) => json!({ "NS": numbers }),
        AttributeValue::Bs(blobs) => {
            let blobs: Vec<String> = blobs.iter().map(|blob| base64(blob.as_ref())).collect();
            json!({ "BS": blobs })
        }
        AttributeValue::L(values) => {
            let values: Vec<Value> = values.iter().map(attribute).collect();
            json!({ "L": values })
        }
        AttributeValue::M(fields) => json!({ "M": item(fields) }),
        // A type that DynamoDB gains later: shown as null rather than dropping the record.
        _ => json!({ "NULL": true }),
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodbstreams::primitives::{Blob, DateTime};
    use aws_sdk_dynamodbstreams::types::{Identity, OperationType, StreamViewType};

    use super::*;

    fn record() -> Record {
        let image = HashMap::from([
            ("text".to_owned(), AttributeValue::S("x".to_owned())),
            ("number".to_owned(), AttributeValue::N("1.50".to_owned())),
            ("bytes".to_owned(), AttributeValue::B(Blob::new("hi"))),
            ("set".to_owned(), AttributeValue::Ss(vec!["a".to_owned()])),
            ("blobs".to_owned(), AttributeValue::Bs(vec![Blob::new("hi")])),
            (
                "list".to_owned(),
                AttributeValue::L(vec![AttributeValue::Bool(true), AttributeValue::Null(true)]),
            ),
            (
                "map".to_owned(),
                AttributeValue::M(HashMap::from([(
                    "n".to_owned(),
                    AttributeValue::Ns(vec!["1".to_owned()]),
                )])),
            ),
        ]);
        let change = aws_sdk_dynamodbstreams::types::StreamRecord::builder()
            .approximate_creation_date_time(DateTime::from_secs(1_700_000_000))
            .keys("id", AttributeValue::S("t".to_owned()))
            .set_new_image(Some(image))
            .sequence_number("100000000000000000001")
            .size_bytes(12)
            .stream_view_type(StreamViewType::NewAndOldImages)
            .build();
        let identity = Identity::builder().r#type("Service").principal_id("dynamodb.amazonaws.com").build();
        Record::builder()
            .event_id("e")
            .event_name(OperationType::Remove)
            .aws_region("r")
            .dynamodb(change)
            .user_identity(identity)
            .build()
    }

    #[test]
    fn a_record_reaches_the_function_with_every_kind_of_value() {
        let record = StreamRecord::new(&record(), "arn:stream");
        let image = &record.json["dynamodb"]["NewImage"];
        assert_eq!(image["bytes"], json!({ "B": "aGk=" }));
        assert_eq!(image["map"], json!({ "M": { "n": { "NS": ["1"] } } }));
        let event = record.event().unwrap();
        assert_eq!(event.event_name, "REMOVE");
        assert_eq!(event.event_source_arn.as_deref(), Some("arn:stream"));
        assert_eq!(event.change.sequence_number.as_deref(), Some("100000000000000000001"));
        assert_eq!(event.change.approximate_creation_date_time.timestamp(), 1_700_000_000);
        assert_eq!(event.change.new_image.len(), 7);
        assert_eq!(event.change.keys.len(), 1);
        let identity = event.user_identity.unwrap();
        assert_eq!(identity.principal_id, "dynamodb.amazonaws.com");
    }

    #[test]
    fn an_absent_image_stays_absent_for_the_filter() {
        let record = StreamRecord::new(&record(), "arn:stream");
        assert!(record.json["dynamodb"].get("OldImage").is_none());
    }

    #[test]
    fn a_record_is_too_old_only_after_its_age() {
        let record = StreamRecord::new(&record(), "arn:stream");
        let written = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let age = Duration::from_secs(60);
        assert!(!record.is_older_than(age, written + age));
        assert!(record.is_older_than(age, written + age * 2));
        assert!(!record.is_older_than(age, SystemTime::UNIX_EPOCH));
    }
}
