//! The webhook: calls wait in a bounded queue and are sent one after the other, so that no attempt waits for
//! its receiver.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use stageline::Clock;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::signature::Secret;
use super::summary::Summary;
use crate::{Config, ConfigError};

/// Calls that wait. What finds no room is dropped.
const WAITING: usize = 256;
/// How long one try may take.
const LIMIT: Duration = Duration::from_secs(5);
/// The pauses between tries: three tries.
const PAUSES: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(2)];

/// Where calls are put.
pub(crate) struct Webhook {
    queue: mpsc::Sender<Bytes>,
    dropped: AtomicU64,
}

/// Sends the calls.
struct Caller {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    address: Uri,
    secret: Secret,
    clock: Clock,
}

impl Webhook {
    /// Starts what sends the calls, if there is an address; it ends when `done`, and what waits is sent.
    ///
    /// # Errors
    /// The secret cannot be read, or the machine has no certificates.
    pub fn start(
        config: &Config,
        clock: Clock,
        done: CancellationToken,
    ) -> Result<Option<(Self, JoinHandle<()>)>, ConfigError> {
        let (Some(url), Some(file)) = (&config.webhook_url, &config.webhook_secret_file) else {
            return Ok(None);
        };
        let invalid = |setting, why| ConfigError::Invalid { setting, why };
        let address = address(url).map_err(|why| invalid("webhook_url", why))?;
        let unreadable = |why: String| invalid("webhook_secret_file", format!("{}: {why}", file.display()));
        let secret = std::fs::read(file).map_err(|error| unreadable(error.to_string()))?;
        let secret = Secret::of(&secret).ok_or_else(|| unreadable("there is no secret in it".to_owned()))?;
        let provider = rustls::crypto::ring::default_provider();
        let tls = HttpsConnectorBuilder::new()
            .with_provider_and_native_roots(provider)
            .map_err(|error| invalid("webhook_url", format!("cannot be called: {error}")))?;
        // What is not https has been refused above, but for this machine.
        let client = Client::builder(TokioExecutor::new()).build(tls.https_or_http().enable_http1().build());
        let (queue, waiting) = mpsc::channel(WAITING);
        let caller = Caller { client, address, secret, clock };
        let sending = tokio::spawn(caller.send_all(waiting, done));
        Ok(Some((Self { queue, dropped: AtomicU64::new(0) }, sending)))
    }

    /// Puts a call into the queue, or drops it.
    pub fn tell(&self, summary: &Summary) {
        let body = match serde_json::to_vec(summary) {
            Ok(body) => Bytes::from(body),
            Err(error) => return warn!(%error, "webhook not called: its body cannot be written"),
        };
        if self.queue.try_send(body).is_err() {
            let dropped = self.dropped.fetch_add(1, Ordering::Relaxed) + 1;
            warn!(dropped, "webhook not called: too many calls wait");
        }
    }
}

impl Caller {
    async fn send_all(self, mut waiting: mpsc::Receiver<Bytes>, done: CancellationToken) {
        loop {
            let next = tokio::select! {
                biased;
                body = waiting.recv() => body,
                () = done.cancelled() => waiting.try_recv().ok(),
            };
            let Some(body) = next else { return };
            self.send(body).await;
        }
    }

    /// Up to three tries. The id is the same in each, so that the receiver can tell them from two calls.
    async fn send(&self, body: Bytes) {
        let id = uuid::Uuid::now_v7().to_string();
        for pause in PAUSES.into_iter().map(Some).chain([None]) {
            // Not the address: there may be a token in it.
            let why = match self.try_once(&id, body.clone()).await {
                Ok(status) if status.is_success() => return,
                Ok(status) if !may_change(status) => {
                    return warn!(call = id, %status, "webhook refused, given up");
                }
                Ok(status) => status.to_string(),
                Err(why) => why,
            };
            match pause {
                Some(pause) => {
                    info!(call = id, why, "webhook did not answer well, trying again");
                    tokio::time::sleep(pause).await;
                }
                None => warn!(call = id, why, "webhook did not answer well, given up"),
            }
        }
    }

    async fn try_once(&self, id: &str, body: Bytes) -> Result<StatusCode, String> {
        let timestamp = self.clock.now().millis() / 1_000;
        let request = Request::builder()
            .method(Method::POST)
            .uri(self.address.clone())
            .header("content-type", "application/json")
            .header("user-agent", concat!("stageline-worker/", env!("CARGO_PKG_VERSION")))
            .header("x-stageline-delivery", id)
            .header("x-stageline-timestamp", timestamp)
            .header("x-stageline-signature", self.secret.sign(timestamp, &body))
            .body(Full::new(body))
            .map_err(|error| error.to_string())?;
        match tokio::time::timeout(LIMIT, self.client.request(request)).await {
            Ok(Ok(answer)) => Ok(answer.status()),
            Ok(Err(error)) => Err(if error.is_connect() { "no connection" } else { "no answer" }.to_owned()),
            Err(_elapsed) => Err(format!("no answer within {LIMIT:?}")),
        }
    }
}

/// Whether the same call may be answered otherwise later.
fn may_change(status: StatusCode) -> bool {
    status.is_server_error() || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS)
}

/// Reads the address: https, or http on this machine, without a password in it.
pub(super) fn address(url: &str) -> Result<Uri, String> {
    // The address itself is not repeated: there may be a token in it.
    let address: Uri = url.parse().map_err(|error| format!("is no address: {error}"))?;
    let host = address.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    if host.is_empty() {
        return Err("names no host".to_owned());
    }
    if address.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err("must not hold a password; calls are signed".to_owned());
    }
    let loopback = host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
    match address.scheme_str() {
        Some("https") => Ok(address),
        Some("http") if loopback => Ok(address),
        _ => Err("must be https, or http on this machine (127.0.0.1, localhost)".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_and_this_machine_are_called() {
        for (url, good) in [
            ("https://example.org/x?token=1", true),
            ("http://127.0.0.1:8080/x", true),
            ("http://[::1]:1/", true),
            ("http://localhost/", true),
            ("http://example.org/", false),
            ("http://localhost.example.org/", false),
            ("http://169.254.169.254/latest/meta-data", false),
            ("https://user:password@example.org/", false),
            ("ftp://localhost/", false),
            ("/x", false),
            ("", false),
        ] {
            assert_eq!(address(url).is_ok(), good, "{url}");
        }
    }

    #[test]
    fn only_what_may_change_is_tried_again() {
        for (status, again) in
            [(500, true), (503, true), (429, true), (408, true), (400, false), (410, false), (302, false)]
        {
            assert_eq!(may_change(StatusCode::from_u16(status).unwrap()), again, "{status}");
        }
    }

    #[tokio::test]
    async fn a_full_queue_drops_calls_and_keeps_nobody_waiting() {
        let (queue, _waiting) = mpsc::channel(1);
        let webhook = Webhook { queue, dropped: AtomicU64::new(0) };
        let summary = Summary {
            v: 1,
            event: "before",
            at: stageline::At::from_millis(0),
            task_id: "t".to_owned(),
            attempt: 1,
            engine: "demo".to_owned(),
            worker_id: "w".to_owned(),
            pool: "default".to_owned(),
            status: None,
            code: None,
            message: None,
        };
        (0..3).for_each(|_| webhook.tell(&summary));
        assert_eq!(webhook.dropped.load(Ordering::Relaxed), 2);
    }
}
