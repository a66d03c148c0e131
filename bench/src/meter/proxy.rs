//! The loopback address that counts.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use hyper::http::uri::{Authority, Scheme};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::capacity;
use super::tally::{Count, Tally};

/// The header that names service and operation in both JSON protocols.
const TARGET: &str = "x-amz-target";

/// Counts what passes through one address. Dropped, it stops.
#[derive(Debug)]
pub struct Meter {
    address: SocketAddr,
    relay: Arc<Relay>,
    _stop: DropGuard,
}

#[derive(Debug)]
struct Relay {
    upstream: Authority,
    client: Client<HttpConnector, Full<Bytes>>,
    tally: Mutex<Tally>,
}

impl Meter {
    /// Listens on a free port of 127.0.0.1 in front of `upstream`, such as `http://127.0.0.1:8000`.
    ///
    /// # Errors
    /// `upstream` is no address, or no port can be had.
    pub async fn start(upstream: &str) -> Result<Self> {
        let upstream: Uri = upstream.parse().with_context(|| format!("{upstream} is no address"))?;
        let upstream = upstream.authority().context("the address has no host")?.clone();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new()).build(connector);
        let relay = Arc::new(Relay { upstream, client, tally: Mutex::default() });
        let stop = CancellationToken::new();
        let accepting = accept(listener, Arc::clone(&relay), stop.clone());
        tokio::spawn(stop.clone().run_until_cancelled_owned(accepting));
        Ok(Self { address, relay, _stop: stop.drop_guard() })
    }

    /// The address to give to a client as `AWS_ENDPOINT_URL`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What has been asked so far.
    pub fn tally(&self) -> Tally {
        self.relay.tally.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn accept(listener: TcpListener, relay: Arc<Relay>, stop: CancellationToken) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::task::yield_now().await;
            continue;
        };
        stream.set_nodelay(true).ok();
        let relay = Arc::clone(&relay);
        let service = service_fn(move |request| Arc::clone(&relay).serve(request));
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        tokio::spawn(stop.clone().run_until_cancelled_owned(connection));
    }
}

impl Relay {
    async fn serve(self: Arc<Self>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>> {
        let (mut parts, body) = request.into_parts();
        let mut body = body.collect().await?.to_bytes();
        let target = parts.headers.get(TARGET).and_then(|target| target.to_str().ok()).unwrap_or_default();
        let (service, operation) = match target.split_once('.') {
            Some(("AmazonSQS", operation)) => ("sqs", operation.to_owned()),
            Some((_, operation)) => ("dynamodb", operation.to_owned()),
            None => ("other", parts.method.to_string()),
        };
        if service == "dynamodb"
            && let Some(asking) = capacity::asking(&operation, &body)
        {
            body = asking.into();
        }
        let mut uri = std::mem::take(&mut parts.uri).into_parts();
        uri.scheme = Some(Scheme::HTTP);
        uri.authority = Some(self.upstream.clone());
        parts.uri = Uri::from_parts(uri)?;
        // Hop by hop; and the length is another's now.
        parts.headers.remove(CONNECTION);
        parts.headers.remove(CONTENT_LENGTH);
        let is_dynamodb = service == "dynamodb";
        let table = if is_dynamodb { capacity::table(&body) } else { None };
        let kind = match table {
            Some(table) => format!("{service} {operation} {table}"),
            None => format!("{service} {operation}"),
        };
        if !is_dynamodb {
            // Before the answer: a long poll whose client leaves is a request all the same.
            self.add(&kind, Count { requests: 1.0, ..Count::default() });
        }
        let forwarded = Request::from_parts(parts, Full::new(body.clone()));
        let answer = self.client.request(forwarded).await?;
        let (mut parts, answer) = answer.into_parts();
        parts.headers.remove(CONNECTION);
        parts.headers.remove(TRANSFER_ENCODING);
        let answer = answer.collect().await?.to_bytes();
        if is_dynamodb {
            self.add(&kind, capacity::units(&operation, &body, &answer));
        }
        Ok(Response::from_parts(parts, Full::new(answer)))
    }

    fn add(&self, kind: &str, count: Count) {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner).add(kind, count);
    }
}
