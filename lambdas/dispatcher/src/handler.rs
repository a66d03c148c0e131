//! The handler: the same for the Lambda, the embedded stream pump and a repair pass.

use aws_lambda_events::event::dynamodb::Event;
use aws_lambda_events::event::streams::{DynamoDbBatchItemFailure, DynamoDbEventResponse};
use futures::{StreamExt, stream};
use stageline::aws::{Aws, AwsError, Deployment, Outgoing, Signal, Write};
use stageline::protocol::command::{Command, Queued};
use stageline::protocol::dispatch::{Dispatch, Triage};
use stageline::trace::{Kind, Span, Tracer};
use stageline::{At, Clock};
use tracing::{error, info, warn};

use crate::batch::{Ready, batches, look_for_images_of_one_record, lowest};
use crate::record;
use crate::tally::{Tally, count};

/// AWS calls at once: enough to hide their latency, few enough not to throttle a small table.
const CALLS_AT_ONCE: usize = 16;

/// Sends commands for the records that are ready.
#[derive(Debug)]
pub struct Dispatcher {
    pub(crate) aws: Aws,
    pub(crate) deployment: Deployment,
    pub(crate) clock: Clock,
    /// Who it is in the records' history.
    by: &'static str,
    pub(crate) tally: Tally,
    pub(crate) tracer: Tracer,
}

impl Dispatcher {
    /// A dispatcher for one deployment.
    pub fn new(aws: Aws, deployment: Deployment, clock: Clock) -> Self {
        Self::named(aws, deployment, clock, "dispatcher")
    }

    /// The same under another name in the records' history.
    pub fn named(aws: Aws, deployment: Deployment, clock: Clock, by: &'static str) -> Self {
        let aws = Aws { tasks: aws.tasks.sharing_requests(), ..aws };
        Self { aws, deployment, clock, by, tally: Tally::default(), tracer: Tracer::default() }
    }

    /// The same, writing into the tasks' traces.
    #[must_use]
    pub fn traced(self, tracer: Tracer) -> Self {
        Self { tracer, ..self }
    }

    /// What it has done since it started.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Handles one batch of stream records. The answer names the lowest sequence number that has to come
    /// again; everything before it is done, and what is sent again is dropped by its claim.
    pub async fn handle(&self, event: Event) -> DynamoDbEventResponse {
        count(&self.tally.invocations, 1);
        let now = self.clock.now();
        let decided = event.records.into_iter().map(|record| {
            let sequence = record.change.sequence_number.clone();
            (record::decide(record, self.deployment.rules(), now), sequence)
        });
        let failed = self.carry_out(decided.collect()).await;
        let lowest = lowest(failed.iter().filter_map(|(_, sequence)| sequence.clone()));
        let mut response = DynamoDbEventResponse::default();
        if !failed.is_empty() {
            error!(records = failed.len(), from = lowest.as_deref(), "records to be delivered again");
            let mut failure = DynamoDbBatchItemFailure::default();
            failure.item_identifier = lowest;
            response.batch_item_failures.push(failure);
        }
        response
    }

    /// Carries out decisions that did not come from the stream.
    ///
    /// # Errors
    /// The ids whose decision could not be carried out, each with the reason logged.
    pub async fn repair(&self, decided: Vec<Triage>) -> Result<(), Vec<String>> {
        let failed = self.carry_out(decided.into_iter().map(|triage| (triage, None)).collect()).await;
        if failed.is_empty() { Ok(()) } else { Err(failed.into_iter().map(|(id, _)| id).collect()) }
    }

    async fn carry_out(&self, decided: Vec<(Triage, Option<String>)>) -> Vec<(String, Option<String>)> {
        count(&self.tally.records, decided.len());
        let now = self.clock.now();
        let mut ready = Vec::new();
        let mut writes = Vec::new();
        for (triage, sequence) in decided {
            match triage {
                Triage::Leave(why) => {
                    count(&self.tally.left, 1);
                    tracing::debug!(why, "record left alone");
                }
                Triage::Send(dispatch) => {
                    let ignored = dispatch.task.not_honoured_yet();
                    if !ignored.is_empty() {
                        warn!(task.id = %dispatch.task.id, ?ignored, "attributes that are not honoured yet");
                    }
                    ready.push(Ready::new(*dispatch, sequence));
                }
                other => writes.push((other, sequence)),
            }
        }
        look_for_images_of_one_record(&mut ready);
        let sends = stream::iter(batches(ready))
            .map(|(queue, batch)| self.send(queue, batch, now))
            .buffer_unordered(CALLS_AT_ONCE)
            .concat();
        let writes = stream::iter(writes)
            .map(|(triage, sequence)| async move { self.write(triage, now).await.map(|id| (id, sequence)) })
            .buffer_unordered(CALLS_AT_ONCE)
            .filter_map(std::future::ready)
            .collect::<Vec<_>>();
        let (mut failed, more) = futures::join!(sends, writes);
        failed.extend(more);
        count(&self.tally.failed, failed.len());
        failed
    }

    async fn send(&self, queue: String, batch: Vec<Ready>, now: At) -> Vec<(String, Option<String>)> {
        let mut spans: Vec<_> = batch.iter().map(|ready| self.span(&ready.dispatch)).collect();
        let command = |(ready, span): (&Ready, &Span)| {
            let mut command = Command::new(ready.dispatch.task.id.clone(), ready.dispatch.task.attempt);
            command.traceparent = span.context().map(|context| context.to_string());
            // As the mark will write it.
            command.queued = ready.begins.then(|| Queued { at: now, by: self.by.to_owned() });
            Outgoing { command, delay: ready.dispatch.delay }
        };
        let commands: Vec<_> = batch.iter().zip(&spans).map(command).collect();
        let answer = self.aws.queues.send(&queue, &commands).await;
        let mut failed = Vec::new();
        let mut sent = Vec::new();
        for ((ready, failure), span) in batch.into_iter().zip(answer.failures).zip(&mut spans) {
            let task = &ready.dispatch.task;
            match failure {
                None => {
                    self.tally.sent_to(&ready.dispatch.pool);
                    sent.push(ready.dispatch);
                }
                Some(reason) => {
                    span.fail(&reason);
                    error!(task.id = %task.id, attempt = %task.attempt, %queue, %reason, "command not sent");
                    failed.push((task.id.to_string(), ready.sequence));
                }
            }
        }
        drop(spans);
        stream::iter(sent)
            .for_each_concurrent(CALLS_AT_ONCE, |dispatch| self.mark_queued(dispatch, now))
            .await;
        failed
    }

    /// The span of one message, below what the client began.
    fn span(&self, dispatch: &Dispatch) -> Span {
        let task = &dispatch.task;
        self.tracer
            .of_task("dispatch", Kind::Producer, &task.id, task.traceparent.as_deref())
            .with("messaging.system", &"aws_sqs")
            .with("stageline.pool", &dispatch.pool)
            .with("stageline.by", &self.by)
    }

    /// A mark that fails costs nothing but the look of the record: the claim takes a PENDING task too.
    async fn mark_queued(&self, dispatch: Dispatch, now: At) {
        let task = &dispatch.task;
        let (id, attempt, pool) = (&task.id, task.attempt, &dispatch.pool);
        match self.aws.tasks.mark_queued(task, self.by, now).await {
            Ok(Write::Applied | Write::AlreadyApplied) => {
                count(&self.tally.marked, 1);
                info!(task.id = %id, %attempt, pool, "queued");
            }
            Ok(Write::Fenced) => info!(task.id = %id, %attempt, pool, "sent, and already further"),
            Ok(Write::NotFound) => info!(task.id = %id, %attempt, pool, "sent, and already deleted"),
            Err(error) => warn!(task.id = %id, %attempt, pool, %error, "sent, but not marked QUEUED"),
        }
    }

    /// Writes what a record came to, other than by a message; gives the id back when it has to come again.
    async fn write(&self, triage: Triage, now: At) -> Option<String> {
        let (tasks, by) = (&self.aws.tasks, self.by);
        let tally = &self.tally;
        let (what, counter, id, answer) = match triage {
            Triage::Leave(_) | Triage::Send(_) => return None,
            Triage::Reject { id, rejection, seen } => {
                let answer = tasks.reject(&id, &rejection, &seen, by, now).await;
                if matches!(answer, Ok(Write::Applied)) {
                    warn!(task.id = %id, code = %rejection.code, reason = %rejection.message, "record rejected");
                }
                ("rejected", &tally.rejected, id, answer)
            }
            Triage::RunAgain { id, attempt } => {
                let answer = tasks.run_again(&id, attempt, true, by, now).await;
                ("to run again", &tally.run_again, id.to_string(), answer)
            }
            Triage::Defer(task) => {
                ("deferred", &tally.deferred, task.id.to_string(), tasks.defer(&task, by, now).await)
            }
            Triage::Cancel(task) => {
                ("cancelled", &tally.cancelled, task.id.to_string(), tasks.cancel(&task, by, now).await)
            }
            Triage::Hold(task) => {
                ("paused", &tally.paused, task.id.to_string(), tasks.hold(&task, by, now).await)
            }
            Triage::Resume(task) => {
                ("resumed", &tally.resumed, task.id.to_string(), tasks.resume(&task, by, now).await)
            }
            Triage::Signal { worker, id } => {
                let text = id.to_string();
                // A worker without an item is dead, and what it ran is rescued with the request on its record.
                let answer = self.aws.workers.signal(&worker, &Signal::look(id)).await;
                ("signalled", &tally.signals, text, answer)
            }
        };
        if matches!(answer, Ok(Write::Applied)) {
            count(counter, 1);
        }
        match answer {
            Ok(Write::Applied | Write::AlreadyApplied) => info!(task.id = %id, what, "written"),
            // Whoever changed the record since has made another stream record, which says what to do now.
            Ok(Write::Fenced | Write::NotFound) => info!(task.id = %id, what, "not written: it has moved on"),
            Err(error) => {
                error!(task.id = %id, what, %error, "not written");
                return Self::deliver_again(id, &error);
            }
        }
        None
    }

    /// Whether a failed write is worth another delivery. A write that DynamoDB finds invalid stays so: it
    /// would only block the shard, so it is logged and left to the repair pass.
    fn deliver_again(id: String, error: &AwsError) -> Option<String> {
        let invalid = matches!(error, AwsError::Refused { code, .. } if code == "ValidationException");
        (!invalid).then_some(id)
    }
}
