//! A queue's attributes: their ranges, their defaults, and their form on the wire (every value a string).

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::error::SqsError;
use super::message::MAX_BYTES;
use super::queue::MAX_VISIBILITY;

/// The region in the queues' ARNs. It only has to be the one that clients sign for.
pub const REGION: &str = "us-east-1";
/// The account in the queues' ARNs and URLs.
pub const ACCOUNT: &str = "000000000000";

/// Attributes as a call carries them.
pub type AttributeMap = BTreeMap<String, String>;

/// The attributes of one queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// How long a received message stays hidden.
    pub visibility: Duration,
    /// How long a sent message stays hidden.
    pub delay: Duration,
    /// How long a receive waits for a message.
    pub wait: Duration,
    /// How long a message is kept at all.
    pub retention: Duration,
    /// The longest message in bytes.
    pub max_bytes: usize,
    /// Where messages go that nobody managed to handle.
    pub redrive: Option<Redrive>,
}

/// The redrive policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Redrive {
    /// The dead-letter queue.
    pub dead_letter_target_arn: String,
    /// How often a message may be received before it goes there.
    #[serde(deserialize_with = "number_or_text")]
    pub max_receive_count: u32,
}

/// CloudFormation and the AWS CLI send this number as text as well.
fn number_or_text<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let value = Value::deserialize(deserializer)?;
    let number = match &value {
        Value::String(text) => text.parse().ok(),
        other => other.as_u64().and_then(|n| u32::try_from(n).ok()),
    };
    number
        .filter(|n| (1..=1000).contains(n))
        .ok_or_else(|| serde::de::Error::custom("maxReceiveCount must be between 1 and 1000"))
}

impl Redrive {
    /// The name of the dead-letter queue.
    pub fn target(&self) -> &str {
        let arn = &self.dead_letter_target_arn;
        arn.rsplit(':').next().unwrap_or(arn)
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            visibility: Duration::from_secs(30),
            delay: Duration::ZERO,
            wait: Duration::ZERO,
            retention: Duration::from_secs(345_600),
            max_bytes: MAX_BYTES,
            redrive: None,
        }
    }
}

impl Settings {
    /// Takes over the attributes that are given and leaves the others.
    pub fn apply(&mut self, attributes: &AttributeMap) -> Result<(), SqsError> {
        for (name, value) in attributes {
            let invalid = || SqsError::InvalidAttributeValue(name.clone());
            let within = |low: u64, high: u64| {
                let number: u64 = value.parse().map_err(|_| invalid())?;
                if (low..=high).contains(&number) { Ok(number) } else { Err(invalid()) }
            };
            let seconds = |low, high| within(low, high).map(Duration::from_secs);
            match name.as_str() {
                "VisibilityTimeout" => self.visibility = seconds(0, MAX_VISIBILITY.as_secs())?,
                "DelaySeconds" => self.delay = seconds(0, 900)?,
                "ReceiveMessageWaitTimeSeconds" => self.wait = seconds(0, 20)?,
                "MessageRetentionPeriod" => self.retention = seconds(60, 1_209_600)?,
                "MaximumMessageSize" => {
                    let bytes = within(1024, MAX_BYTES as u64)?;
                    self.max_bytes = usize::try_from(bytes).map_err(|_| invalid())?;
                }
                "RedrivePolicy" if value.is_empty() => self.redrive = None,
                "RedrivePolicy" => {
                    self.redrive = Some(serde_json::from_str(value).map_err(|_| invalid())?);
                }
                _ => return Err(SqsError::InvalidAttributeName(name.clone())),
            }
        }
        Ok(())
    }

    /// The attributes as GetQueueAttributes gives them.
    pub fn render(&self) -> Vec<(&'static str, String)> {
        let seconds = |d: Duration| d.as_secs().to_string();
        let mut all = vec![
            ("VisibilityTimeout", seconds(self.visibility)),
            ("DelaySeconds", seconds(self.delay)),
            ("ReceiveMessageWaitTimeSeconds", seconds(self.wait)),
            ("MessageRetentionPeriod", seconds(self.retention)),
            ("MaximumMessageSize", self.max_bytes.to_string()),
        ];
        if let Some(redrive) = &self.redrive {
            all.push(("RedrivePolicy", json!(redrive).to_string()));
        }
        all
    }

    /// The first attribute in which two settings differ.
    pub fn difference(&self, other: &Self) -> Option<&'static str> {
        let theirs = other.render();
        let ours = self.render();
        ours.iter()
            .chain(&theirs)
            .find(|attribute| !(ours.contains(attribute) && theirs.contains(attribute)))
            .map(|(name, _)| *name)
    }
}

/// The ARN of the queue with that name.
pub fn queue_arn(name: &str) -> String {
    format!("arn:aws:sqs:{REGION}:{ACCOUNT}:{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attributes(name: &str, value: &str) -> AttributeMap {
        AttributeMap::from([(name.to_owned(), value.to_owned())])
    }

    #[test]
    fn attributes_outside_their_range_are_refused() {
        let cases = [
            ("VisibilityTimeout", "43200", true),
            ("VisibilityTimeout", "43201", false),
            ("VisibilityTimeout", "-1", false),
            ("DelaySeconds", "900", true),
            ("DelaySeconds", "901", false),
            ("ReceiveMessageWaitTimeSeconds", "21", false),
            ("MessageRetentionPeriod", "59", false),
            ("RedrivePolicy", r#"{"deadLetterTargetArn":"a:b","maxReceiveCount":"3"}"#, true),
            ("RedrivePolicy", r#"{"deadLetterTargetArn":"a:b","maxReceiveCount":0}"#, false),
            ("RedrivePolicy", "not json", false),
        ];
        for (name, value, accepted) in cases {
            let outcome = Settings::default().apply(&attributes(name, value));
            assert_eq!(outcome.is_ok(), accepted, "{name} = {value}: {outcome:?}");
        }
        assert_eq!(
            Settings::default().apply(&attributes("Colour", "red")),
            Err(SqsError::InvalidAttributeName("Colour".to_owned()))
        );
    }

    #[test]
    fn a_redrive_policy_survives_the_way_through_its_text() {
        let mut settings = Settings::default();
        let policy =
            r#"{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:000000000000:dead","maxReceiveCount":"7"}"#;
        settings.apply(&attributes("RedrivePolicy", policy)).unwrap();
        let rendered: AttributeMap =
            settings.render().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let mut again = Settings::default();
        again.apply(&rendered).unwrap();
        assert_eq!(again, settings);
        assert_eq!(again.redrive.as_ref().map(Redrive::target), Some("dead"));
        assert_eq!(settings.difference(&Settings::default()), Some("RedrivePolicy"));
        assert_eq!(settings.difference(&again), None);
    }
}
