//! What a worker tells the platform that runs it, over HTTP: `/metrics`, `/healthz`, `/readyz`. Off unless it
//! has an address. Nothing of tasks is in it, and nothing can be changed by it.

mod health;
mod polls;
mod watchdog;

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use stageline::protocol::pools::Queues;
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::context::Context;
use crate::meters::Gauges;
use crate::{Config, ConfigError};
use health::Signs;

pub(crate) use polls::Polls;

/// Connections at once: a scraper and a few probes. More wait.
const CONNECTIONS: usize = 32;
/// How long a client may take to send its request.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often spans are exported, and how long that may take.
const EXPORT_PERIOD: Duration = Duration::from_secs(5);
const EXPORT_PATIENCE: Duration = Duration::from_secs(5);

/// The endpoint's socket, before the worker runs.
pub(crate) fn bind(config: &Config) -> Result<Option<TcpListener>, ConfigError> {
    let Some(address) = config.metrics_address.as_deref().filter(|address| !address.is_empty()) else {
        return Ok(None);
    };
    let invalid = |why: String| ConfigError::Invalid { setting: "metrics_address", why };
    let address: SocketAddr = address.parse().map_err(|_| {
        invalid(format!("is {address:?}; it must be an IP address and a port, such as 127.0.0.1:9464"))
    })?;
    let bound = TcpListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    let listener = bound.map_err(|error| {
        invalid(format!("{address} cannot be listened on: {error}; choose another port, or stop what has it"))
    })?;
    Ok(Some(listener))
}

/// What runs beside the worker's work so that it is seen.
pub(crate) struct Beside {
    pub context: Arc<Context>,
    pub queues: Queues,
    /// When the last heartbeat that was written was begun.
    pub alive: watch::Receiver<Instant>,
    pub drain: CancellationToken,
}

impl Beside {
    /// Serves, watches and exports spans until `done`; what waits then is exported too. Drains the worker when it is
    /// stuck for good, and answers why.
    pub async fn run(self, listener: Option<TcpListener>, done: CancellationToken) -> Option<String> {
        let Self { context, queues, alive, drain } = self;
        let silence = Duration::from_secs(context.config.watchdog_seconds);
        let watching = async {
            if silence.is_zero() {
                return None;
            }
            let stuck = watchdog::watch(&context, &queues, silence, done.clone()).await;
            if stuck.is_some() {
                drain.cancel();
            }
            stuck
        };
        let serving = async {
            if let Some(listener) = listener {
                let drain = drain.clone();
                Endpoint { context: Arc::clone(&context), alive, drain }.serve(listener, done.clone()).await;
            }
        };
        let exporting = async {
            while context.tracer.is_on() && !done.is_cancelled() {
                tokio::select! {
                    () = done.cancelled() => {}
                    () = tokio::time::sleep(EXPORT_PERIOD) => {}
                }
                context.tracer.flush(EXPORT_PATIENCE).await;
            }
        };
        let (stuck, (), ()) = tokio::join!(watching, serving, exporting);
        stuck
    }
}

/// Answers.
struct Endpoint {
    context: Arc<Context>,
    /// When the last heartbeat that was written was begun.
    alive: watch::Receiver<Instant>,
    drain: CancellationToken,
}

impl Endpoint {
    /// Answers until `done`.
    async fn serve(self, listener: TcpListener, done: CancellationToken) {
        let listener = match tokio::net::TcpListener::from_std(listener) {
            Ok(listener) => listener,
            Err(error) => return warn!(%error, "the metrics' endpoint does not work"),
        };
        if let Ok(address) = listener.local_addr() {
            info!(%address, "metrics and health are served");
        }
        let (endpoint, room) = (Arc::new(self), Arc::new(Semaphore::new(CONNECTIONS)));
        loop {
            // The semaphore is never closed.
            let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
            let accepted = tokio::select! {
                () = done.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of descriptors, or a client that has gone already.
                    warn!(%error, "a connection to the metrics' endpoint is not taken");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let (endpoint, done) = (Arc::clone(&endpoint), done.clone());
            tokio::spawn(async move {
                let answer = service_fn(|request: Request<Incoming>| {
                    let response = endpoint.answer(request.method(), request.uri().path());
                    async move { Ok::<_, Infallible>(response) }
                });
                let connection = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(PATIENCE)
                    .serve_connection(TokioIo::new(stream), answer);
                tokio::select! {
                    // A client that goes away, or talks something else, is its own affair.
                    _ended = connection => {}
                    () = done.cancelled() => {}
                }
                drop(place);
            });
        }
    }

    fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        if !matches!(*method, Method::GET | Method::HEAD) {
            return text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
        }
        match path {
            "/metrics" => {
                let body = self.context.meters.to_prometheus(&self.gauges());
                let mut response = text(StatusCode::OK, body);
                let kind =
                    hyper::header::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
                response.headers_mut().insert(hyper::header::CONTENT_TYPE, kind);
                response
            }
            "/healthz" => judged(self.signs().healthy()),
            "/readyz" => judged(self.signs().ready()),
            _ => text(StatusCode::NOT_FOUND, "there are /metrics, /healthz and /readyz\n"),
        }
    }

    fn signs(&self) -> Signs {
        let polls = &self.context.polls;
        Signs {
            // The worker runs only after its first heartbeat, and this only with the worker.
            beaten: Some(self.alive.borrow().elapsed()),
            lease: self.context.lease.length(),
            fenced: *self.context.running.fenced().borrow(),
            draining: self.drain.is_cancelled(),
            polls_fail: polls.failing(),
            stuck: polls.stuck(),
        }
    }

    fn gauges(&self) -> Gauges {
        let signs = self.signs();
        Gauges {
            lag_seconds: self.alive.borrow().elapsed().as_secs_f64(),
            slots: self.context.config.slots,
            busy: self.context.running.count(),
            draining: signs.draining,
            fenced: signs.fenced,
            unhealthy: signs.healthy().is_err(),
            broken: self.context.breakers.broken().into_keys().collect(),
            spans_dropped: self.context.tracer.dropped(),
        }
    }
}

fn judged(verdict: Result<(), String>) -> Response<Full<Bytes>> {
    match verdict {
        Ok(()) => text(StatusCode::OK, "ok\n"),
        Err(why) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response
}
