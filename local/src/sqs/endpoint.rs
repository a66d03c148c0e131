//! The edge: the lock, the clock, the waiting of a long poll, and HTTP.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::broker::Broker;
use super::calls::Call;
use super::clock::Clock;
use super::error::SqsError;
use super::receive::Receive;
use super::wire;

/// What every SQS request carries before the call's name in `x-amz-target`.
pub const TARGET_PREFIX: &str = "AmazonSQS.";

/// The SQS endpoint. Clones share the queues.
#[derive(Clone)]
pub struct Sqs(Arc<Shared>);

struct Shared {
    broker: Mutex<Broker>,
    clock: Arc<dyn Clock>,
    /// Signalled after every change that may make a message receivable or move its due time.
    changed: Notify,
    closing: CancellationToken,
}

impl std::fmt::Debug for Sqs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sqs").finish_non_exhaustive()
    }
}

impl Sqs {
    /// An endpoint without queues. When `closing` is cancelled every waiting receive answers at once.
    pub fn new(clock: Arc<dyn Clock>, closing: CancellationToken) -> Self {
        Self(Arc::new(Shared { broker: Mutex::default(), clock, changed: Notify::new(), closing }))
    }

    fn broker(&self) -> MutexGuard<'_, Broker> {
        // No call leaves the queues half changed, so a panic while holding the lock harms nobody else.
        let lock = self.0.broker.lock();
        lock.unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers one request: the call's name, the JSON body, and the `host:port` that the client used.
    pub async fn respond(&self, operation: &str, body: &[u8], authority: &str) -> Response<Body> {
        match self.call(operation, body, authority).await {
            Ok(answer) => response(StatusCode::OK, &answer, None),
            Err(error) => {
                tracing::debug!(operation, %error, "refused");
                let code = HeaderValue::try_from(error.query_error()).ok();
                response(StatusCode::BAD_REQUEST, &error.body(), code)
            }
        }
    }

    async fn call(&self, operation: &str, body: &[u8], host: &str) -> Result<Value, SqsError> {
        match operation {
            "ReceiveMessage" => {
                let answer = self.receive(Receive::new(parse(body)?)?).await?;
                return render(&answer);
            }
            "GetQueueAttributes" | "GetQueueUrl" | "ListQueues" => {
                return self.at_once(operation, body, host);
            }
            _ => {}
        }
        let answer = self.at_once(operation, body, host);
        self.0.changed.notify_waiters();
        answer
    }

    fn at_once(&self, operation: &str, body: &[u8], authority: &str) -> Result<Value, SqsError> {
        let mut call = Call { broker: &mut self.broker(), now: self.0.clock.now(), authority };
        match operation {
            "CreateQueue" => call.create_queue(&parse(body)?),
            "GetQueueUrl" => call.get_queue_url(&parse(body)?),
            "ListQueues" => call.list_queues(&parse(body)?),
            "GetQueueAttributes" => call.get_queue_attributes(&parse(body)?),
            "SetQueueAttributes" => call.set_queue_attributes(&parse(body)?),
            "DeleteQueue" => call.delete_queue(&parse(body)?),
            "PurgeQueue" => call.purge_queue(&parse(body)?),
            "SendMessage" => render(&call.send_message(parse(body)?)?),
            "SendMessageBatch" => render(&call.send_message_batch(parse(body)?)?),
            "DeleteMessage" => call.delete_message(&parse(body)?),
            "DeleteMessageBatch" => render(&call.delete_message_batch(parse(body)?)?),
            "ChangeMessageVisibility" => call.change_message_visibility(&parse(body)?),
            "ChangeMessageVisibilityBatch" => render(&call.change_message_visibility_batch(parse(body)?)?),
            other => Err(SqsError::UnknownOperation(other.to_owned())),
        }
    }

    /// Waits for messages and takes them. Nothing is awaited between taking them and returning, so a
    /// request whose client has gone while it waited (its future is dropped) has taken nothing.
    async fn receive(&self, request: Receive) -> Result<wire::Received, SqsError> {
        let shared = &*self.0;
        let mut deadline = None;
        loop {
            // Registered before looking: a change between the look and the wait is not missed.
            let changed = shared.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let now = shared.clock.now();
            let wake_at = {
                let mut broker = self.broker();
                let wait = broker.named(&request.queue)?.queue.settings.wait;
                let deadline = *deadline.get_or_insert(now + request.wait.unwrap_or(wait));
                let taken = broker.receive(now, &request.queue, request.max, request.visibility)?;
                if taken.gave_up {
                    shared.changed.notify_waiters();
                }
                let found = taken.deliveries;
                if !found.is_empty() || now >= deadline || shared.closing.is_cancelled() {
                    let messages = found.into_iter().map(|d| request.show(d)).collect();
                    return Ok(wire::Received { messages });
                }
                let due = broker.named(&request.queue)?.queue.next_due(now);
                due.map_or(deadline, |due| due.min(deadline))
            };
            tokio::select! {
                () = &mut changed => {}
                () = shared.clock.until(wake_at) => {}
                () = shared.closing.cancelled() => {}
            }
        }
    }
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, SqsError> {
    serde_json::from_slice(body).map_err(|error| SqsError::Serialization(error.to_string()))
}

fn render<T: Serialize>(answer: &T) -> Result<Value, SqsError> {
    serde_json::to_value(answer).map_err(|error| SqsError::Serialization(error.to_string()))
}

fn response(status: StatusCode, body: &Value, query_error: Option<HeaderValue>) -> Response<Body> {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert("content-type", HeaderValue::from_static("application/x-amz-json-1.0"));
    if let Ok(id) = HeaderValue::try_from(Uuid::new_v4().to_string()) {
        headers.insert("x-amzn-requestid", id);
    }
    if let Some(code) = query_error {
        headers.insert("x-amzn-query-error", code);
    }
    response
}

#[cfg(test)]
mod tests;
