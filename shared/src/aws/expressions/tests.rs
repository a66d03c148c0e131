use aws_sdk_dynamodb::types::AttributeValue;

use super::update::Assigned;
use super::*;
use crate::protocol::command::Queued;
use crate::task::{Attempt, Event, HISTORY_ITEMS, Item, Task};
use crate::{Code, Rejection};

#[test]
fn a_claims_condition_holds_exactly_the_states_of_the_table() {
    let update = claim(Attempt(2), None, &"w".parse().unwrap(), At::from_millis(0)).expression();
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
    let first = claim(Attempt(0), None, &worker, At::from_millis(0)).expression().condition;
    let second = claim(Attempt(1), None, &worker, At::from_millis(0)).expression().condition;
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
    let update = claim(Attempt(0), None, &"w".parse().unwrap(), At::from_millis(0));
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

/// `update` of a record that has nothing but an id, as far as it sets values.
fn applied(update: &Update) -> Item {
    let sets = update.sets.iter().map(|(attribute, assigned)| match assigned {
        Assigned::To(value) | Assigned::IfAbsent(value) | Assigned::IfAbsentAsFirst(value) => {
            (attribute.clone(), value.clone())
        }
        Assigned::Appended(appended) => (attribute.clone(), appended.anew()),
    });
    sets.chain([("id".to_owned(), text("t"))]).collect()
}

#[test]
fn a_claim_knows_the_mark_of_its_commands_sender_and_no_other() {
    let task = Task::new("t".parse().unwrap());
    let queued = Queued { at: At::from_millis(7), by: "dispatcher".to_owned() };
    let claim = claim(Attempt(0), Some(&queued), &"w".parse().unwrap(), At::from_millis(9));
    let is_first = claim.sets.iter().find_map(|(_, assigned)| match assigned {
        Assigned::Appended(appended) => appended.is_first.clone(),
        _ => None,
    });
    let is_first = is_first.unwrap();
    let marked = |by: &str, at: i64| applied(&mark_queued(&task, by, At::from_millis(at)));
    let mark = marked(&queued.by, 7);
    assert!(is_first.holds(&mark));
    assert!(!is_first.holds(&marked(&queued.by, 8)) && !is_first.holds(&Item::new()));
    assert_eq!(applied(&claim)["queuedAt"], mark["queuedAt"]);
    let history = |item: &Item| -> Vec<HistoryEntry> {
        serde_dynamo::from_attribute_value(item["history"].clone()).unwrap()
    };
    assert_eq!(history(&applied(&claim))[..1], history(&mark));
}

#[test]
fn a_condition_holds_of_an_item_as_dynamodb_says() {
    use Condition::{Absent, AbsentOrNull, All, Any, AtMost, Is, Not, OneOf, Present};
    let name = |name: &str| name.to_owned();
    let item: Item = [("t", text("b")), ("n", number(10)), ("z", AttributeValue::Null(true))]
        .map(|(k, v)| (name(k), v))
        .into();
    let is = |attribute, value| Is(name(attribute), text(value));
    for (condition, expected) in [
        (is("t", "b"), true),
        (is("t", "c"), false),
        (is("absent", "b"), false),
        // However they are written.
        (Is(name("n"), AttributeValue::N("1e1".to_owned())), true),
        (AtMost(name("t"), text("b")), true),
        (AtMost(name("t"), text("a")), false),
        (AtMost(name("n"), number(10)), true),
        // As numbers, not as texts.
        (AtMost(name("n"), number(9)), false),
        (AtMost(name("n"), text("9")), false),
        (AtMost(name("absent"), number(9)), false),
        (OneOf(name("t"), vec![text("a"), text("b")]), true),
        (OneOf(name("absent"), vec![text("a")]), false),
        (Absent(name("absent")), true),
        (Absent(name("z")), false),
        (AbsentOrNull(name("z")), true),
        (AbsentOrNull(name("absent")), true),
        (AbsentOrNull(name("t")), false),
        (Present(name("z")), true),
        (Not(Box::new(is("absent", "b"))), true),
        (Any(vec![is("t", "a"), is("t", "b")]), true),
        (All(vec![is("t", "a"), is("t", "b")]), false),
        (All(vec![Present(name("n")), is("t", "b")]), true),
    ] {
        assert_eq!(condition.holds(&item), expected, "{condition:?}");
    }
}

#[test]
fn an_image_without_a_history_writes_over_no_history() {
    let task = Task::new("t".parse().unwrap());
    let update = mark_queued(&task, "dispatcher", At::from_millis(0));
    let mut item: Item = [("id".to_owned(), text("t"))].into();
    assert!(update.holds(&item));
    item.insert("history".to_owned(), AttributeValue::Null(true));
    assert!(update.holds(&item));
    item.insert("history".to_owned(), AttributeValue::L(vec![]));
    assert!(!update.holds(&item));
}
