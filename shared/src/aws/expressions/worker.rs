//! The heartbeat item: what a worker writes of itself, and the signals that others leave for it.

use aws_sdk_dynamodb::types::AttributeValue;

use super::Update;
use crate::aws::Heartbeat;
use crate::task::{Item, TaskId};

/// What somebody wants of a worker. Signals are only a wake-up: what is asked of a task is on its record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Look at this task's record.
    Look {
        /// The task.
        id: TaskId,
        /// Makes each signal one of its own: taking back one that was handled never takes a later one.
        nonce: String,
    },
    /// Take no more tasks, and hand back what runs when the grace is over.
    Drain,
    /// Its machine is likelier to end than others: take tasks only when nobody else can.
    Rebalance,
}

impl Signal {
    /// A fresh signal to look at a task.
    pub fn look(id: TaskId) -> Self {
        Self::Look { id, nonce: uuid::Uuid::new_v4().simple().to_string() }
    }

    fn text(&self) -> String {
        match self {
            Signal::Look { id, nonce } => format!("look {nonce} {id}"),
            Signal::Drain => "drain".to_owned(),
            Signal::Rebalance => "rebalance".to_owned(),
        }
    }

    /// Reads a signal; `None` for one of a later version.
    pub(in crate::aws) fn parse(text: &str) -> Option<Self> {
        let mut words = text.splitn(3, ' ');
        match (words.next()?, words.next(), words.next()) {
            ("look", Some(nonce), Some(id)) => {
                Some(Signal::Look { id: id.parse().ok()?, nonce: nonce.to_owned() })
            }
            ("drain", None, None) => Some(Signal::Drain),
            ("rebalance", None, None) => Some(Signal::Rebalance),
            _ => None,
        }
    }
}

/// A heartbeat; unless `anew`, only over an item that is there.
pub(in crate::aws) fn beat(
    beat: &Heartbeat,
    handled: &[Signal],
    anew: bool,
) -> Result<Update, serde_dynamo::Error> {
    let mut update = Update::default();
    let item: Item = serde_dynamo::to_item(beat)?;
    for (attribute, value) in item {
        update.set_value(&attribute, value);
    }
    if beat.broken.is_empty() {
        // Of the last beat that had some.
        update.remove("broken");
    }
    if beat.notice.is_none() {
        update.remove("notice");
    }
    if !handled.is_empty() {
        update.deletes.push(("signals".to_owned(), set_of(handled)));
    }
    if !anew {
        update.when_exists("pk");
    }
    Ok(update)
}

/// A signal on the item of a worker that has one.
pub(in crate::aws) fn signal(signal: &Signal) -> Update {
    let mut update = Update::default();
    update.adds.push(("signals".to_owned(), set_of(std::slice::from_ref(signal))));
    update.when_exists("pk");
    update
}

fn set_of(signals: &[Signal]) -> AttributeValue {
    AttributeValue::Ss(signals.iter().map(Signal::text).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_survives_its_text_and_later_versions_are_ignored() {
        for signal in [Signal::look("t:1".parse().unwrap()), Signal::Drain, Signal::Rebalance] {
            assert_eq!(Signal::parse(&signal.text()), Some(signal));
        }
        for unknown in ["", "look", "look n ../x", "hop", "drain now"] {
            assert_eq!(Signal::parse(unknown), None, "{unknown}");
        }
        let id: TaskId = "t".parse().unwrap();
        assert_ne!(Signal::look(id.clone()), Signal::look(id));
    }
}
