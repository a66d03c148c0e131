//! Updates that go together: whoever comes while a request is on its way waits for its end, and all who have
//! waited share the next one. Each is a statement with its own condition, so none depends on another.
//!
//! A statement only ever does what the update itself would, and that its own condition refused it is an answer
//! where the update's would have as well. Whatever else comes of it (refused for more than the update asks,
//! throttled, not known to an emulator, its answer lost) is none: the caller then sends the update by itself, as if
//! there had been no statement, and what that says counts.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{
    AttributeValue, BatchStatementError, BatchStatementErrorCodeEnum, BatchStatementRequest,
    ReturnValuesOnConditionCheckFailure,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tracing::{debug, warn};

use crate::aws::expressions::{Statement, Update};
use crate::aws::{AwsError, Retry};
use crate::task::Item;

const CALL: &str = "BatchExecuteStatement tasks";

/// Statements of one `BatchExecuteStatement`, DynamoDB's limit.
const MOST_STATEMENTS: usize = 25;
/// Text of the parameters of one update that shares a request. A larger one goes alone.
const MOST_TEXT_BYTES: usize = 16 * 1024;
/// For its turn. A request that hangs holds nobody up for longer.
const LONGEST_WAIT: Duration = Duration::from_millis(250);
/// While others have lately come at the same time, the first waits for them this long.
const GATHERING: Duration = Duration::from_millis(2);
/// Statements in a row that came to nothing though the update itself was right: then they are not worth trying.
const MOST_IN_VAIN: u32 = 20;

/// How an update went.
pub(super) enum Sent {
    /// It was applied; the new item, empty if it was not wanted.
    Applied(Item),
    /// Its condition does not hold; of this item, where it is shown.
    Refused(Option<Item>),
    /// It has not been sent, and goes by itself. Whoever sends it keeps this meanwhile, so that others gather.
    ByItself(Option<OwnedSemaphorePermit>),
    /// Nothing is known of it.
    Unanswered(Why),
}

/// Why nothing is known of an update that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// It, or the request, was refused.
    Refused,
    /// Something that may pass.
    Trouble,
}

/// One update that waits for the next request.
struct Waiting {
    number: u64,
    id: String,
    statement: Statement,
    /// Whether the new item is wanted.
    returned: bool,
    answer: oneshot::Sender<Answer>,
}

/// What came of a statement.
enum Answer {
    Applied(Item),
    /// Its condition does not hold; `more` says whether it had others than its update.
    Refused {
        item: Option<Item>,
        more: bool,
    },
    Unanswered(Why),
}

#[derive(Default)]
struct Line {
    next_number: u64,
    waiting: Vec<Waiting>,
    /// How many the last request had.
    last: usize,
}

/// The updates of one table that may go together.
pub(super) struct Together {
    line: Mutex<Line>,
    /// Whoever holds it sends.
    turn: Arc<Semaphore>,
    in_vain: AtomicU32,
}

impl std::fmt::Debug for Together {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Together").field("in_vain", &self.in_vain).finish_non_exhaustive()
    }
}

impl Together {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            line: Mutex::default(),
            turn: Arc::new(Semaphore::new(1)),
            in_vain: AtomicU32::new(0),
        })
    }

    /// Sends the update of `id` with others, if there are others; asks for the new item if `returned`.
    pub async fn apply(
        self: &Arc<Self>,
        client: &Client,
        table: &str,
        id: &str,
        update: &Update,
        returned: bool,
    ) -> Sent {
        if self.in_vain.load(Ordering::Relaxed) >= MOST_IN_VAIN {
            return Sent::ByItself(None);
        }
        let Some(statement) = update.statement(table, "id", id, returned) else {
            return Sent::ByItself(None);
        };
        if statement.parameters.iter().map(text_bytes).sum::<usize>() > MOST_TEXT_BYTES {
            return Sent::ByItself(None);
        }
        let (answer, mut answered) = oneshot::channel();
        let number = self.stand_in_line(id, statement, returned, answer);
        loop {
            let turn = tokio::select! {
                biased;
                answer = &mut answered => return sent(answer, update),
                turn = tokio::time::timeout(LONGEST_WAIT, Arc::clone(&self.turn).acquire_owned()) => turn,
            };
            let Ok(Ok(turn)) = turn else {
                // Unless it has just been taken along.
                return if self.withdraw(number) {
                    Sent::ByItself(None)
                } else {
                    sent(answered.await, update)
                };
            };
            if !self.waits(number) {
                // Sent by somebody who has gone since.
                drop(turn);
                return sent(answered.await, update);
            }
            if self.line().last > 1 {
                tokio::time::sleep(GATHERING).await;
            }
            let batch = self.next();
            match batch.as_slice() {
                [one] if one.number == number => return Sent::ByItself(Some(turn)),
                [] | [_] => {}
                _ => {
                    // By a task of its own: others wait for it, whatever becomes of this caller.
                    let (client, this) = (client.clone(), Arc::clone(self));
                    let sending = tokio::spawn(async move {
                        this.send(&client, batch).await;
                        drop(turn);
                    });
                    let _panicked = sending.await;
                }
            }
        }
    }

    /// Takes note that an update of which nothing was known was right, and was applied by itself.
    pub fn was_right(&self, why: Why) {
        if why == Why::Refused && self.in_vain.fetch_add(1, Ordering::Relaxed) + 1 == MOST_IN_VAIN {
            warn!(
                "updates are sent one by one from now on: {MOST_IN_VAIN} in a row could not be sent together"
            );
        }
    }

    fn line(&self) -> std::sync::MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stand_in_line(
        &self,
        id: &str,
        statement: Statement,
        returned: bool,
        answer: oneshot::Sender<Answer>,
    ) -> u64 {
        let mut line = self.line();
        let number = line.next_number;
        line.next_number += 1;
        line.waiting.push(Waiting { number, id: id.to_owned(), statement, returned, answer });
        number
    }

    fn waits(&self, number: u64) -> bool {
        self.line().waiting.iter().any(|one| one.number == number)
    }

    fn withdraw(&self, number: u64) -> bool {
        let mut line = self.line();
        let index = line.waiting.iter().position(|one| one.number == number);
        index.map(|index| line.waiting.remove(index)).is_some()
    }

    /// Takes those of the next request: of one item only one, or DynamoDB would refuse them all.
    fn next(&self) -> Vec<Waiting> {
        let mut line = self.line();
        // What nobody waits for any more is not wanted any more.
        line.waiting.retain(|one| !one.answer.is_closed());
        let mut ids = HashSet::new();
        let takes = |one: &mut Waiting| ids.len() < MOST_STATEMENTS && ids.insert(one.id.clone());
        let batch: Vec<_> = line.waiting.extract_if(.., takes).collect();
        line.last = batch.len();
        batch
    }

    async fn send(&self, client: &Client, batch: Vec<Waiting>) {
        let (mut statements, mut answers) = (Vec::new(), Vec::new());
        for Waiting { statement: Statement { text, parameters, wants_more }, returned, answer, .. } in batch {
            let built = BatchStatementRequest::builder()
                .statement(text)
                .set_parameters(Some(parameters))
                .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
            // It fails without a text only.
            if let Ok(built) = built.build() {
                statements.push(built);
                answers.push((answer, wants_more, returned));
            }
        }
        let sent = client.batch_execute_statement().set_statements(Some(statements)).send().await;
        let responses = match sent.map_err(|error| AwsError::from_sdk(CALL, error)) {
            Ok(output) => output.responses.unwrap_or_default(),
            Err(error) => {
                debug!(%error, "updates not sent together");
                let why = if error.retry() == Retry::Never { Why::Refused } else { Why::Trouble };
                answers.into_iter().for_each(|(answer, ..)| drop(answer.send(Answer::Unanswered(why))));
                return;
            }
        };
        for (response, (answer, wants_more, returned)) in responses.into_iter().zip(answers) {
            let said = match response.error {
                // Applied, and the item was not shown: the update itself tells of it.
                None if returned && response.item.is_none() => Answer::Unanswered(Why::Trouble),
                None => {
                    self.in_vain.store(0, Ordering::Relaxed);
                    Answer::Applied(response.item.unwrap_or_default())
                }
                Some(error) => {
                    debug!(code = ?error.code, message = error.message, "statement refused");
                    refused(error, wants_more)
                }
            };
            let _caller_is_gone = answer.send(said);
        }
    }
}

/// What an answer says of `update`; none at all is one of those that nobody gave.
fn sent(answer: Result<Answer, oneshot::error::RecvError>, update: &Update) -> Sent {
    match answer {
        Ok(Answer::Applied(item)) => Sent::Applied(item),
        Ok(Answer::Refused { item, more: false }) => Sent::Refused(item),
        // The update itself would be refused as well.
        Ok(Answer::Refused { item: Some(item), more: true }) if !update.holds(&item) => {
            Sent::Refused(Some(item))
        }
        Ok(Answer::Refused { .. }) => Sent::Unanswered(Why::Refused),
        Ok(Answer::Unanswered(why)) => Sent::Unanswered(why),
        Err(_nobody) => Sent::Unanswered(Why::Trouble),
    }
}

/// What an error says of a statement.
fn refused(error: BatchStatementError, more: bool) -> Answer {
    match error.code {
        Some(BatchStatementErrorCodeEnum::ConditionalCheckFailed) => {
            Answer::Refused { item: error.item, more }
        }
        code => Answer::Unanswered(why(code.as_ref())),
    }
}

fn why(code: Option<&BatchStatementErrorCodeEnum>) -> Why {
    match code {
        Some(
            BatchStatementErrorCodeEnum::InternalServerError
            | BatchStatementErrorCodeEnum::ItemCollectionSizeLimitExceeded
            | BatchStatementErrorCodeEnum::ProvisionedThroughputExceeded
            | BatchStatementErrorCodeEnum::RequestLimitExceeded
            | BatchStatementErrorCodeEnum::ThrottlingError
            | BatchStatementErrorCodeEnum::TransactionConflict,
        ) => Why::Trouble,
        _ => Why::Refused,
    }
}

/// About what a value takes of a request; of numbers and flags, which are short, nothing.
fn text_bytes(value: &AttributeValue) -> usize {
    match value {
        AttributeValue::S(text) => text.len(),
        AttributeValue::B(bytes) => bytes.as_ref().len(),
        AttributeValue::L(list) => list.iter().map(text_bytes).sum(),
        AttributeValue::M(map) => map.iter().map(|(name, value)| name.len() + text_bytes(value)).sum(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::At;
    use crate::aws::expressions::mark_queued;
    use crate::task::Task;

    /// What an error of this code, which shows these attributes if any, says of an update that wants an
    /// `id`, and whose statement may have wanted more.
    fn said(code: BatchStatementErrorCodeEnum, shown: Option<&[&str]>, more: bool) -> String {
        let item = shown.map(|names| {
            names.iter().map(|name| ((*name).to_owned(), AttributeValue::Null(true))).collect::<Item>()
        });
        let error = BatchStatementError::builder().code(code).set_item(item).build();
        let update = mark_queued(&Task::new("t".parse().unwrap()), "d", At::from_millis(0));
        match sent(Ok(refused(error, more)), &update) {
            Sent::Refused(item) => format!("refused, {} shown", item.map_or(0, |item| item.len())),
            Sent::Unanswered(why) => format!("{why:?}"),
            Sent::Applied(_) | Sent::ByItself(_) => unreachable!(),
        }
    }

    #[test]
    fn a_refusal_counts_where_the_update_itself_would_be_refused() {
        use BatchStatementErrorCodeEnum::{ConditionalCheckFailed, ThrottlingError, ValidationError};
        for (code, shown, more, expected) in [
            (ConditionalCheckFailed, Some(&["id", "a"][..]), false, "refused, 2 shown"),
            (ConditionalCheckFailed, None, false, "refused, 0 shown"),
            (ConditionalCheckFailed, Some(&["a"]), true, "refused, 1 shown"),
            // It may be what the statement alone wants that is missing.
            (ConditionalCheckFailed, Some(&["id", "a"]), true, "Refused"),
            (ConditionalCheckFailed, None, true, "Refused"),
            (ValidationError, Some(&["a"]), false, "Refused"),
            (ThrottlingError, None, false, "Trouble"),
        ] {
            assert_eq!(said(code.clone(), shown, more), expected, "{code:?} {shown:?} {more}");
        }
    }
}
