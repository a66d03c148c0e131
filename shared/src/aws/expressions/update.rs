//! An update with its condition, before it is any text.

use aws_sdk_dynamodb::types::AttributeValue;
use serde::Serialize;
use serde_json::Value;

use super::entry;
use crate::At;
use crate::protocol::command::Queued;
use crate::task::{Attempt, Event, HISTORY_ITEMS, HistoryEntry, Item, Status, Task, WorkerId};

/// An update of one item, with its condition.
#[derive(Clone, Debug, Default)]
pub(in crate::aws) struct Update {
    pub(super) sets: Vec<(String, Assigned)>,
    pub(super) removes: Vec<String>,
    pub(super) adds: Vec<(String, AttributeValue)>,
    pub(super) deletes: Vec<(String, AttributeValue)>,
    pub(super) conditions: Vec<Condition>,
}

/// What an attribute becomes.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Assigned {
    /// This value.
    To(AttributeValue),
    /// This value, unless the item has one.
    IfAbsent(AttributeValue),
    /// The same; a statement sets it. Where the [`Appended::is_first`] of the same update holds, the item has this
    /// very value.
    IfAbsentAsFirst(AttributeValue),
    /// The list that it is, with another behind it.
    Appended(Appended),
}

/// What is put behind a list.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Appended {
    /// How the list begins where there is none.
    pub first: Vec<AttributeValue>,
    /// What comes behind it.
    pub then: Vec<AttributeValue>,
    /// Where this holds, the list is exactly `first`. `None` where nothing is known of how the list begins.
    pub is_first: Option<Condition>,
}

impl Appended {
    /// The list where there was none.
    pub fn anew(&self) -> AttributeValue {
        AttributeValue::L(self.first.iter().chain(&self.then).cloned().collect())
    }
}

/// What has to be true of the item.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Condition {
    /// The attribute has this value.
    Is(String, AttributeValue),
    /// It is there, and not greater.
    AtMost(String, AttributeValue),
    /// It has one of these values.
    OneOf(String, Vec<AttributeValue>),
    /// There is none; a null is one.
    Absent(String),
    /// There is none, or a null: AppSync writes one for what was not given.
    AbsentOrNull(String),
    /// There is one.
    Present(String),
    /// The other is not true; of an attribute that is not there, nothing is.
    Not(Box<Condition>),
    /// One of them is true.
    Any(Vec<Condition>),
    /// They are all true.
    All(Vec<Condition>),
}

impl Condition {
    /// Whether it is true of `item`, as DynamoDB decides it of texts, flags, and numbers of up to 15 digits.
    pub fn holds(&self, item: &Item) -> bool {
        let is = |value: &AttributeValue, other: &AttributeValue| match (value, other) {
            (AttributeValue::N(one), AttributeValue::N(other)) => one.parse::<f64>() == other.parse::<f64>(),
            _ => value == other,
        };
        match self {
            Self::Is(attribute, value) => item.get(attribute).is_some_and(|known| is(known, value)),
            Self::AtMost(attribute, most) => match (item.get(attribute), most) {
                (Some(AttributeValue::S(text)), AttributeValue::S(most)) => text <= most,
                (Some(AttributeValue::N(number)), AttributeValue::N(most)) => {
                    matches!((number.parse::<f64>(), most.parse::<f64>()), (Ok(number), Ok(most)) if number <= most)
                }
                _ => false,
            },
            Self::OneOf(attribute, values) => {
                item.get(attribute).is_some_and(|known| values.iter().any(|value| is(known, value)))
            }
            Self::Absent(attribute) => !item.contains_key(attribute),
            Self::AbsentOrNull(attribute) => {
                matches!(item.get(attribute), None | Some(AttributeValue::Null(_)))
            }
            Self::Present(attribute) => item.contains_key(attribute),
            Self::Not(condition) => !condition.holds(item),
            Self::Any(conditions) => conditions.iter().any(|condition| condition.holds(item)),
            Self::All(conditions) => conditions.iter().all(|condition| condition.holds(item)),
        }
    }
}

impl Update {
    pub(super) fn set(&mut self, attribute: &str, value: impl Into<AttributeText>) -> &mut Self {
        self.set_value(attribute, value.into().0)
    }

    pub(super) fn set_json(&mut self, attribute: &str, value: &impl Serialize) -> &mut Self {
        // Our own types and JSON values have a DynamoDB form; a number beyond its range is stored as null.
        let value = serde_dynamo::to_attribute_value(value).unwrap_or(AttributeValue::Null(true));
        self.set_value(attribute, value)
    }

    pub(super) fn set_value(&mut self, attribute: &str, value: AttributeValue) -> &mut Self {
        self.sets.push((attribute.to_owned(), Assigned::To(value)));
        self
    }

    pub(super) fn set_if_absent(&mut self, attribute: &str, value: impl Into<AttributeText>) -> &mut Self {
        self.sets.push((attribute.to_owned(), Assigned::IfAbsent(value.into().0)));
        self
    }

    pub(super) fn remove(&mut self, attribute: &str) -> &mut Self {
        self.removes.push(attribute.to_owned());
        self
    }

    /// Appends to `history`, or rewrites it without its oldest entries once it is full.
    pub(super) fn push_history(&mut self, known: &[HistoryEntry], entry: HistoryEntry) -> &mut Self {
        if known.len() >= HISTORY_ITEMS {
            let kept: Vec<_> =
                known[known.len() + 1 - HISTORY_ITEMS..].iter().cloned().chain([entry]).collect();
            return self.set_json("history", &kept);
        }
        self.append_history(Appended { first: vec![], then: vec![item(&entry)], is_first: None })
    }

    /// Appends to `history`, of which is known how it begins once `queued` was written.
    pub(super) fn push_history_after(&mut self, queued: &Queued, next: HistoryEntry) -> &mut Self {
        let first = entry(queued.at, Status::Queued, &queued.by, None);
        // Whoever puts a task into this state writes that time anew, and no entry comes without a change of state.
        // A sender gives no two marks of one task the same time where one of them is the first.
        let is_first = Condition::All(vec![
            Condition::Is("status".to_owned(), text(Status::Queued.as_str())),
            Condition::Is("queuedAt".to_owned(), text(&queued.at.to_string())),
        ]);
        self.append_history(Appended {
            first: vec![item(&first)],
            then: vec![item(&next)],
            is_first: Some(is_first),
        });
        let at = text(&queued.at.to_string());
        self.sets.push(("queuedAt".to_owned(), Assigned::IfAbsentAsFirst(at)));
        self
    }

    fn append_history(&mut self, appended: Appended) -> &mut Self {
        self.sets.push(("history".to_owned(), Assigned::Appended(appended)));
        self
    }

    /// The same update for a record whose `history` is no list, so that nothing can be appended to it: the
    /// entry begins a new one. `None` when this update appends nothing.
    pub fn with_new_history(mut self) -> Option<Self> {
        let (_, assigned) = self.sets.iter_mut().find(|(_, to)| matches!(to, Assigned::Appended(_)))?;
        if let Assigned::Appended(appended) = assigned {
            *assigned = Assigned::To(appended.anew());
        }
        Some(self)
    }

    /// The same where the record is known as it lies in the table: a history that is absent may be a null,
    /// to which nothing can be appended.
    pub(super) fn push_history_of(&mut self, task: &Task, entry: HistoryEntry) -> &mut Self {
        match &task.history {
            Some(known) => self.push_history(known, entry),
            None => self.set_json("history", &[entry]),
        }
    }

    /// Whether its condition is true of `item`, as [`Condition::holds`].
    pub fn holds(&self, item: &Item) -> bool {
        self.conditions.iter().all(|condition| condition.holds(item))
    }

    pub(super) fn when(&mut self, condition: Condition) -> &mut Self {
        self.conditions.push(condition);
        self
    }

    pub(super) fn when_status_allows(&mut self, event: Event) -> &mut Self {
        let sources = event.sources().iter().map(|status| text(status.as_str())).collect();
        let named = Condition::OneOf("status".to_owned(), sources);
        // A minimal record has no status, which means PENDING; AppSync may write null for it.
        self.when(match Status::default().next(event) {
            Ok(_) => Condition::Any(vec![named, Condition::AbsentOrNull("status".to_owned())]),
            Err(_) => named,
        })
    }

    pub(super) fn when_attempt_is(&mut self, attempt: Attempt) -> &mut Self {
        let named = Condition::Is("attempt".to_owned(), number(attempt.0));
        self.when(match attempt == Attempt::default() {
            true => Condition::Any(vec![named, Condition::AbsentOrNull("attempt".to_owned())]),
            false => named,
        })
    }

    pub(super) fn when_worker_is(&mut self, worker: &WorkerId) -> &mut Self {
        self.when(Condition::Is("workerNodeId".to_owned(), text(worker.as_str())))
    }

    pub(super) fn when_no_worker(&mut self) -> &mut Self {
        self.when(Condition::AbsentOrNull("workerNodeId".to_owned()))
    }

    pub(super) fn when_flag(&mut self, attribute: &str, wanted: bool) -> &mut Self {
        let set = Condition::Is(attribute.to_owned(), AttributeValue::Bool(true));
        self.when(if wanted { set } else { Condition::Not(Box::new(set)) })
    }

    /// The attribute is as `seen`, a value of a record's JSON; null is an absent attribute too.
    pub(super) fn when_is(&mut self, attribute: &str, seen: &Value) -> &mut Self {
        let attribute = attribute.to_owned();
        self.when(match serde_dynamo::to_attribute_value(seen) {
            Ok(value) if !seen.is_null() => Condition::Is(attribute, value),
            _ => Condition::AbsentOrNull(attribute),
        })
    }

    /// Nothing says that the task must wait. The text compares as time does, since whoever sends the command
    /// writes it in that form.
    pub(super) fn when_due(&mut self, now: At) -> &mut Self {
        let attribute = "notBefore".to_owned();
        let passed = Condition::AtMost(attribute.clone(), text(&now.to_string()));
        self.when(Condition::Any(vec![Condition::AbsentOrNull(attribute), passed]))
    }

    pub(super) fn when_exists(&mut self, key: &str) -> &mut Self {
        self.when(Condition::Present(key.to_owned()))
    }
}

/// A string or number attribute, from the few types that are written as one.
pub(super) struct AttributeText(AttributeValue);

impl From<&str> for AttributeText {
    fn from(value: &str) -> Self {
        Self(text(value))
    }
}
impl From<At> for AttributeText {
    fn from(at: At) -> Self {
        Self(text(&at.to_string()))
    }
}
impl From<u32> for AttributeText {
    fn from(n: u32) -> Self {
        Self(number(n))
    }
}

/// Our own types have a DynamoDB form.
fn item(entry: &HistoryEntry) -> AttributeValue {
    serde_dynamo::to_attribute_value(entry).unwrap_or(AttributeValue::Null(true))
}

pub(super) fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

pub(super) fn number(n: impl ToString) -> AttributeValue {
    AttributeValue::N(n.to_string())
}
