//! A loopback address in front of an AWS endpoint: whoever is given it as `AWS_ENDPOINT_URL` can be counted,
//! recorded and disturbed, in whatever language it is written.
#![forbid(unsafe_code)]

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, Result};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use hyper::http::uri::{Authority, Scheme};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

pub use hyper::body::Bytes;
pub use hyper::http::request::Parts;

/// The header that names service and operation in DynamoDB's and SQS's protocols.
pub const TARGET: &str = "x-amz-target";

/// An answer, whole.
pub type Response = hyper::Response<Bytes>;

/// An address on 127.0.0.1. Dropped, it stops listening and closes every connection.
#[derive(Debug)]
pub struct Loopback {
    address: SocketAddr,
    _stop: DropGuard,
}

/// What ends with an address.
#[derive(Clone, Debug)]
pub struct Scope(CancellationToken);

impl Scope {
    /// Runs something that ends with the address: then it gives `None`.
    pub fn spawn<F>(&self, future: F) -> JoinHandle<Option<F::Output>>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        tokio::spawn(self.0.clone().run_until_cancelled_owned(future))
    }
}

impl Loopback {
    /// Listens on a free port. `serve` answers each request; it is dropped with its client's connection, and its
    /// error closes the connection without an answer.
    ///
    /// # Errors
    /// No port can be had.
    pub async fn start<S, F>(serve: S) -> Result<Self>
    where
        S: Fn(Scope, Parts, Bytes) -> F + Clone + Send + 'static,
        F: Future<Output = Result<Response>> + Send + 'static,
    {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let stop = CancellationToken::new();
        let scope = Scope(stop.clone());
        scope.spawn(accept(listener, scope.clone(), serve));
        Ok(Self { address, _stop: stop.drop_guard() })
    }

    /// The address to give to a client as `AWS_ENDPOINT_URL`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }
}

async fn accept<S, F>(listener: TcpListener, scope: Scope, serve: S)
where
    S: Fn(Scope, Parts, Bytes) -> F + Clone + Send + 'static,
    F: Future<Output = Result<Response>> + Send + 'static,
{
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // The connection was gone before it was taken; the next one is another.
            tokio::task::yield_now().await;
            continue;
        };
        stream.set_nodelay(true).ok();
        let (serve, inner) = (serve.clone(), scope.clone());
        let service = service_fn(move |request: Request<Incoming>| {
            let (serve, scope) = (serve.clone(), inner.clone());
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect().await?.to_bytes();
                anyhow::Ok(serve(scope, parts, body).await?.map(Full::new))
            }
        });
        // It ends by an error whenever its client dies or an answer is lost on purpose.
        scope.spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

/// The endpoint behind an address.
#[derive(Debug)]
pub struct Upstream {
    authority: Authority,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Upstream {
    /// One such as `http://127.0.0.1:8000`.
    ///
    /// # Errors
    /// It is no address.
    pub fn new(address: &str) -> Result<Self> {
        let uri: Uri = address.parse().with_context(|| format!("{address} is no address"))?;
        let authority = uri.authority().context("the address has no host")?.clone();
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        Ok(Self { authority, client: Client::builder(TokioExecutor::new()).build(connector) })
    }

    /// Its answer to a request.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn send(&self, mut parts: Parts, body: Bytes) -> Result<Response> {
        let mut uri = parts.uri.into_parts();
        uri.scheme = Some(Scheme::HTTP);
        uri.authority = Some(self.authority.clone());
        parts.uri = Uri::from_parts(uri)?;
        // Hop by hop: each side keeps its own connection. The length is that of `body`, which may be another.
        parts.headers.remove(CONNECTION);
        parts.headers.remove(CONTENT_LENGTH);
        let answer = self.client.request(Request::from_parts(parts, Full::new(body))).await?;
        let (mut parts, body) = answer.into_parts();
        parts.headers.remove(CONNECTION);
        parts.headers.remove(TRANSFER_ENCODING);
        Ok(Response::from_parts(parts, body.collect().await?.to_bytes()))
    }
}
