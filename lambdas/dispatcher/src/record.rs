//! One stream record, as the decision wants it.

use aws_lambda_events::event::dynamodb::EventRecord;
use stageline::At;
use stageline::protocol::dispatch::{Cause, Rules, Triage, triage};
use stageline::task::json_of;

/// Decides about one stream record.
pub(crate) fn decide(record: EventRecord, rules: Rules<'_>, now: At) -> Triage {
    let key = record.change.keys.get("id").and_then(|id| match id {
        serde_dynamo::AttributeValue::S(text) => Some(text.clone()),
        _ => None,
    });
    let Some(key) = key else {
        return Triage::Leave("it is not a record of the tasks table");
    };
    let image = json_of(record.change.new_image.into_inner());
    match record.event_name.as_str() {
        "INSERT" => triage(&key, image, Cause::Insert, rules, now),
        "MODIFY" => {
            let old = json_of(record.change.old_image.into_inner());
            triage(&key, image, Cause::Modify { old: &old }, rules, now)
        }
        _ => Triage::Leave("a removed record needs nothing"),
    }
}
