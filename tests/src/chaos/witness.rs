//! Sees every change of every record, in order, and knows what the rules say about it. It reads the stream
//! for itself, without faults.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Result, bail};
use async_trait::async_trait;
use aws_lambda_events::event::dynamodb::{Event, EventRecord};
use aws_lambda_events::event::streams::DynamoDbEventResponse;
use serde_dynamo::AttributeValue;
use stageline::task::Status;
use stageline_local::pump::{InvokeError, StreamFunction};
use tokio::sync::watch;

use super::history::{self, Seen};

/// The record by whose appearance the witness is known to have seen everything before it.
pub const LAST: &str = "chaos-last";

/// A task that somebody else took from its holder.
#[derive(Clone, Debug)]
pub struct Taken {
    /// The holder.
    pub from: String,
    /// Who took it.
    pub by: String,
    /// The attempt that it was at.
    pub attempt: u64,
}

/// One task's changes.
#[derive(Clone, Debug, Default)]
pub struct Life {
    /// What it was, from its first record on; equal neighbours are changes of other attributes.
    pub states: Vec<Seen>,
    /// How often it became COMPLETED.
    pub completions: u32,
    /// How it was taken from those who held it.
    pub taken: Vec<Taken>,
    /// The rules that were broken.
    pub broken: Vec<String>,
}

/// Everything that was seen so far.
#[derive(Clone, Debug, Default)]
pub struct Testimony {
    /// Each task, by its id.
    pub lives: BTreeMap<String, Life>,
    /// Tasks in a state that is an end.
    pub ended: usize,
    /// Whether [`LAST`] was seen.
    pub complete: bool,
}

/// The function behind the second pump.
pub struct Witness {
    testimony: Mutex<Testimony>,
    changed: watch::Sender<()>,
}

impl Life {
    /// What it is now.
    pub fn now(&self) -> Option<&Seen> {
        self.states.last()
    }
}

impl Testimony {
    /// The tasks that this worker holds.
    pub fn held_by(&self, worker: &str) -> Vec<&str> {
        let held = self.lives.iter().filter(|(_, life)| life.now().and_then(Seen::holder) == Some(worker));
        held.map(|(id, _)| id.as_str()).collect()
    }

    /// How often somebody else took a task from this worker.
    pub fn taken_from(&self, worker: &str) -> usize {
        self.lives.values().flat_map(|life| &life.taken).filter(|taken| taken.from == worker).count()
    }

    /// How many of these have gone on since: what their former holder writes can only be refused.
    pub fn gone_on_without(&self, worker: &str) -> usize {
        let gone_on = |life: &Life| {
            let now = life.now().map_or(0, |now| now.attempt);
            life.taken.iter().filter(|taken| taken.from == worker && now > taken.attempt).count()
        };
        self.lives.values().map(gone_on).sum()
    }

    fn note(&mut self, record: &EventRecord) {
        let Some(AttributeValue::S(id)) = record.change.keys.get("id") else { return };
        if id == LAST {
            self.complete = true;
            return;
        }
        let life = self.lives.entry(id.clone()).or_default();
        let before = life.states.last().cloned();
        if record.event_name == "REMOVE" {
            life.broken.push("its record was deleted".to_owned());
            return;
        }
        let after = match Seen::of(&record.change.new_image) {
            Ok(seen) => seen,
            Err(unreadable) => {
                life.broken.push(format!("its record cannot be read: {}", unreadable.0));
                return;
            }
        };
        if let Some(before) = &before {
            let old = Seen::of(&record.change.old_image);
            if old.as_ref() != Ok(before) {
                life.broken.push(format!("the witness missed a change: it knew {before}, and then {old:?}"));
            }
            let ended = before.status.is_terminal();
            let late = ended
                .then(|| history::changed_after_the_end(&record.change.old_image, &record.change.new_image))
                .flatten();
            if let Some(name) = late {
                life.broken.push(format!("`{name}` changed after the end: {before} -> {after}"));
            }
            if let Some(rule) = history::broken(before, &after) {
                life.broken.push(format!("{rule}: {before} -> {after}"));
            }
            if let Some((from, by)) = history::taken(before, &after) {
                life.taken.push(Taken { from: from.to_owned(), by: by.to_owned(), attempt: before.attempt });
            }
        } else if after.status != Status::Pending || record.event_name != "INSERT" {
            life.broken.push(format!("it began as {after} by {}", record.event_name));
        }
        let was = before.map(|before| before.status);
        if after.status == Status::Completed && was != Some(Status::Completed) {
            life.completions += 1;
        }
        match (was.is_some_and(Status::is_terminal), after.status.is_terminal()) {
            (false, true) => self.ended += 1,
            (true, false) => self.ended -= 1,
            _ => {}
        }
        life.states.push(after);
    }
}

impl Default for Witness {
    fn default() -> Self {
        Self { testimony: Mutex::default(), changed: watch::Sender::new(()) }
    }
}

impl Witness {
    /// Asks for something that was seen.
    pub fn tells<T>(&self, ask: impl FnOnce(&Testimony) -> T) -> T {
        ask(&self.testimony())
    }

    /// Changes with everything that is seen.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Waits until something was seen.
    ///
    /// # Errors
    /// It takes longer than `patience`.
    pub async fn until(
        &self,
        what: &str,
        patience: Duration,
        seen: impl Fn(&Testimony) -> bool,
    ) -> Result<()> {
        let mut changed = self.changed.subscribe();
        let search = async {
            while !self.tells(&seen) {
                // The sender is in `self`, so this cannot end by its loss.
                let _ = changed.changed().await;
            }
        };
        match tokio::time::timeout(patience, search).await {
            Ok(()) => Ok(()),
            Err(_) => bail!("not within {patience:?}: {what}"),
        }
    }

    fn testimony(&self) -> MutexGuard<'_, Testimony> {
        // Nothing in here is left half done by a panic.
        self.testimony.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl StreamFunction for Witness {
    async fn invoke(&self, event: Event) -> Result<DynamoDbEventResponse, InvokeError> {
        {
            let mut testimony = self.testimony();
            event.records.iter().for_each(|record| testimony.note(record));
        }
        self.changed.send_replace(());
        Ok(DynamoDbEventResponse::default())
    }
}
