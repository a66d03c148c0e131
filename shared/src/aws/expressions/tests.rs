use aws_sdk_dynamodb::types::AttributeValue;

use super::update::Assigned;
use super::*;
use crate::task::{Attempt, Event, HISTORY_ITEMS, Task};
use crate::{Code, Rejection};

#[test]
fn a_claims_condition_holds_exactly_the_states_of_the_table() {
    let update = claim(Attempt(2), &"w".parse().unwrap(), At::from_millis(0)).expression();
    let named: Vec<_> = Status::ALL
        .into_iter()
        .filter(|status| {
            let list = update.condition.split(" IN (").nth(1).unwrap().split(')').next().unwrap();
            list.split(", ").any(|p| update.values[p] == AttributeValue::S(status.as_str().into()))
        })
        .collect();
    let mut allowed = Event::Claimed.sources().to_vec();
    allowed.sort_by_key(|status| Status::ALL.iter().position(|s| s == status));
    assert_eq!(named, allowed);
}

#[test]
fn only_the_first_attempt_may_be_absent() {
    let worker = "w".parse().unwrap();
    let first = claim(Attempt(0), &worker, At::from_millis(0)).expression().condition;
    let second = claim(Attempt(1), &worker, At::from_millis(0)).expression().condition;
    assert!(first.contains("attribute_not_exists(#attempt)"), "{first}");
    assert!(!second.contains("attribute_not_exists(#attempt)"), "{second}");
}

#[test]
fn a_full_history_loses_its_oldest_entry() {
    let mut task = Task::new("t".parse().unwrap());
    let entries = |from: i64| (from..from + 50).map(|n| entry(At::from_millis(n), Status::Queued, "x", None));
    task.history = Some(entries(0).collect());
    let update = mark_queued(&task, "dispatcher", At::from_millis(50));
    let history = update.sets.iter().find(|(attribute, _)| attribute == "history");
    let Some((_, Assigned::To(history))) = history else { panic!("{history:?}") };
    let history: Vec<HistoryEntry> = serde_dynamo::from_attribute_value(history.clone()).unwrap();
    assert_eq!(history.len(), HISTORY_ITEMS);
    assert_eq!((history[0].at, history[49].at), (At::from_millis(1), At::from_millis(50)));
}

#[test]
fn a_history_that_is_no_list_begins_anew_and_leaves_no_value_unused() {
    let update = claim(Attempt(0), &"w".parse().unwrap(), At::from_millis(0));
    let appending = update.clone().expression();
    assert!(appending.update.contains("list_append"));
    let update = update.with_new_history().unwrap();
    let anew = update.clone().expression();
    // DynamoDB refuses values that no expression uses.
    assert!(!anew.update.contains("list_append") && anew.values.len() == appending.values.len() - 1);
    assert!(update.with_new_history().is_none());
}

#[test]
fn nothing_of_a_record_is_part_of_an_expressions_text() {
    let rejection = Rejection::new(Code::RecordMalformed, "SET x = :evil");
    let update = reject(&rejection, &serde_json::json!("= :evil"), "dispatcher", At::from_millis(0));
    let statement = update.statement("tasks", "id", "evil", true).unwrap();
    let update = update.expression();
    assert!(![update.update, update.condition, statement.text].iter().any(|text| text.contains("evil")));
}
