//! One stream record, as the decision wants it.

use aws_lambda_events::event::dynamodb::EventRecord;
use serde_json::Value;
use stageline::protocol::dispatch::{Cause, Rules, Triage, triage};
use stageline::{At, Code, Rejection};

/// Decides about one stream record.
pub(crate) fn decide(record: EventRecord, rules: Rules<'_>, now: At) -> Triage {
    let key = record.change.keys.get("id").and_then(|id| match id {
        serde_dynamo::AttributeValue::S(text) => Some(text.clone()),
        _ => None,
    });
    let Some(key) = key else {
        return Triage::Leave("it is not a record of the tasks table");
    };
    let json = |item| serde_dynamo::from_item::<_, Value>(item);
    let image = match json(record.change.new_image) {
        Ok(image) => image,
        Err(error) => {
            let message = format!("the item cannot be read: {error}");
            let rejection = Rejection::new(Code::RecordMalformed, message);
            return Triage::Reject { id: key, rejection, seen: Value::Null };
        }
    };
    match record.event_name.as_str() {
        "INSERT" => triage(&key, image, Cause::Insert, rules, now),
        "MODIFY" => {
            // An old image that cannot be read differs from any new one.
            let old = json(record.change.old_image).unwrap_or(Value::Null);
            triage(&key, image, Cause::Modify { old: &old }, rules, now)
        }
        _ => Triage::Leave("a removed record needs nothing"),
    }
}
