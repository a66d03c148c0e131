//! A function behind the stream pump that does to records what the stream is allowed to do, and worse:
//! lose, repeat, reorder, and fail.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use aws_lambda_events::event::dynamodb::{Event, EventRecord};
use aws_lambda_events::event::streams::DynamoDbEventResponse;
use fastrand::Rng;
use stageline_local::pump::{InvokeError, StreamFunction};

use super::seed::{self, happens};

/// How many copies wait for a later call; further ones go into the call at hand.
const LATER: usize = 1_000;

/// What goes wrong, by probability. What one call does is a function of the seed, the call's number and
/// its records.
#[derive(Clone, Copy, Debug)]
pub struct StreamPlan {
    /// The seed.
    pub seed: u64,
    /// A record is acknowledged without being seen.
    pub drop: f64,
    /// A record comes once more, by chance in the same call or in a later one.
    pub duplicate: f64,
    /// The records of a call are shuffled.
    pub reorder: f64,
    /// A call fails, by chance before the function saw it or after.
    pub fail: f64,
    /// A call panics, likewise.
    pub panic: f64,
}

/// How often what happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamCounts {
    /// Calls, whatever became of them.
    pub calls: u64,
    /// Records acknowledged without being seen.
    pub dropped: u64,
    /// Copies that the function got beside their records.
    pub duplicated: u64,
    /// Calls with shuffled records.
    pub reordered: u64,
    /// Calls that failed.
    pub failed: u64,
    /// Calls that panicked.
    pub panicked: u64,
}

/// Another function, with faults before and after it.
pub struct FaultyFunction {
    inner: Arc<dyn StreamFunction>,
    state: Mutex<State>,
}

struct State {
    plan: StreamPlan,
    number: u64,
    counts: StreamCounts,
    /// Copies for the next call that reaches the function.
    later: Vec<EventRecord>,
}

#[derive(Clone, Copy)]
enum Ending {
    Answers,
    Fails,
    Panics,
}

/// What is done with one call.
struct Course {
    ending: Ending,
    /// What the function gets; none when the call ends before it.
    records: Option<Vec<EventRecord>>,
}

impl StreamPlan {
    /// No faults.
    pub fn none() -> Self {
        Self { seed: 0, drop: 0.0, duplicate: 0.0, reorder: 0.0, fail: 0.0, panic: 0.0 }
    }

    /// The stream is lost: everything is acknowledged and nothing is seen.
    pub fn drop_everything() -> Self {
        Self { drop: 1.0, ..Self::none() }
    }
}

impl FaultyFunction {
    /// Puts faults around `inner`.
    pub fn new(inner: Arc<dyn StreamFunction>, plan: StreamPlan) -> Self {
        let counts = StreamCounts::default();
        Self { inner, state: Mutex::new(State { plan, number: 0, counts, later: Vec::new() }) }
    }

    /// Puts another plan in place, which begins with call 0. Counts go on, and copies that wait for a
    /// later call still come.
    pub fn set_plan(&self, plan: StreamPlan) {
        let mut state = self.state();
        state.plan = plan;
        state.number = 0;
    }

    /// How often what happened so far.
    pub fn counts(&self) -> StreamCounts {
        self.state().counts
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in here is left half done by a panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl StreamFunction for FaultyFunction {
    async fn invoke(&self, event: Event) -> Result<DynamoDbEventResponse, InvokeError> {
        let tried: Vec<Option<String>> =
            event.records.iter().map(|record| record.change.sequence_number.clone()).collect();
        let Course { ending, records } = self.state().course(event.records);
        let mut response = DynamoDbEventResponse::default();
        // Nobody calls a function with nothing.
        if let Some(records) = records.filter(|records| !records.is_empty()) {
            let mut event = Event::default();
            event.records = records;
            response = self.inner.invoke(event).await?;
            // A copy from an earlier call is not of this batch: naming it would fail the whole batch.
            response.batch_item_failures.retain(|failure| {
                failure.item_identifier.is_none() || tried.contains(&failure.item_identifier)
            });
        }
        match ending {
            Ending::Answers => Ok(response),
            Ending::Fails => Err(InvokeError("a planned failure".to_owned())),
            // Without the panic hook: a planned panic is no news for the test's output.
            Ending::Panics => std::panic::resume_unwind(Box::new("a planned panic")),
        }
    }
}

impl State {
    fn course(&mut self, records: Vec<EventRecord>) -> Course {
        let mut rng = seed::generator(self.plan.seed, "invoke", self.number);
        self.number += 1;
        self.counts.calls += 1;
        let ending = if happens(&mut rng, self.plan.fail) {
            self.counts.failed += 1;
            Ending::Fails
        } else if happens(&mut rng, self.plan.panic) {
            self.counts.panicked += 1;
            Ending::Panics
        } else {
            Ending::Answers
        };
        let unseen = !matches!(ending, Ending::Answers) && rng.bool();
        let records = (!unseen).then(|| self.garble(&mut rng, records));
        Course { ending, records }
    }

    /// Drops, repeats and reorders.
    fn garble(&mut self, rng: &mut Rng, records: Vec<EventRecord>) -> Vec<EventRecord> {
        let mut seen = std::mem::take(&mut self.later);
        self.counts.duplicated += seen.len() as u64;
        for record in records {
            if happens(rng, self.plan.drop) {
                self.counts.dropped += 1;
                continue;
            }
            if happens(rng, self.plan.duplicate) {
                if rng.bool() && self.later.len() < LATER {
                    self.later.push(record.clone());
                } else {
                    self.counts.duplicated += 1;
                    seen.push(record.clone());
                }
            }
            seen.push(record);
        }
        if happens(rng, self.plan.reorder) {
            self.counts.reordered += 1;
            rng.shuffle(&mut seen);
        }
        seen
    }
}

#[cfg(test)]
mod tests;
