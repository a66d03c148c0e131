//! The front door: one loopback address for every AWS call, so that `AWS_ENDPOINT_URL` is all that a
//! client needs. SQS calls are answered here; DynamoDB calls are forwarded to the embedded DynamoDB, which
//! listens on an address of its own.

use std::net::SocketAddr;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::uri::{Authority, Scheme, Uri};
use axum::http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::sync::watch;

use crate::sqs::{Sqs, TARGET_PREFIX};

/// A batch of ten messages is 1 MiB, and up to six times that in escaped JSON.
const MAX_SQS_BODY: usize = 16 * 1024 * 1024;

/// The calls that may have put a record on a stream.
const WRITES: [&str; 8] = [
    "PutItem",
    "UpdateItem",
    "DeleteItem",
    "BatchWriteItem",
    "TransactWriteItems",
    "ExecuteStatement",
    "BatchExecuteStatement",
    "ExecuteTransaction",
];

/// What the front door stands in front of.
#[derive(Clone, Debug)]
pub(crate) struct Front {
    /// Where this front door itself listens, for clients that send no `Host`.
    pub address: SocketAddr,
    pub sqs: Sqs,
    pub dynamodb: SocketAddr,
    pub client: Client<HttpConnector, Body>,
    /// Counts the successful writes.
    pub writes: watch::Sender<u64>,
}

impl Front {
    pub fn new(address: SocketAddr, sqs: Sqs, dynamodb: SocketAddr, writes: watch::Sender<u64>) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        Self {
            address,
            sqs,
            dynamodb,
            client: Client::builder(TokioExecutor::new()).build(connector),
            writes,
        }
    }

    /// The router. Every path is the same: SQS clients may send a call to the queue's own URL.
    pub fn router(self) -> Router {
        Router::new().fallback(handle).with_state(self)
    }
}

async fn handle(State(front): State<Front>, request: Request<Body>) -> Response<Body> {
    // Only browsers send this header. Whoever can write a task runs a command on this machine, and a web
    // page that reaches the loopback interface (also under a name of its own) must not be one of them.
    if request.headers().contains_key(header::ORIGIN) {
        return plain(StatusCode::FORBIDDEN, "web pages are not served here");
    }
    let Some(target) = target(request.headers()) else {
        return match *request.method() {
            Method::GET | Method::HEAD => Response::new(Body::from("ok\n")),
            _ => unknown("the request has no x-amz-target header"),
        };
    };
    if let Some(operation) = target.strip_prefix(TARGET_PREFIX) {
        let host = request.headers().get(header::HOST);
        let host = host.and_then(|host| host.to_str().ok()).map(str::to_owned);
        let authority = host.unwrap_or_else(|| front.address.to_string());
        return match axum::body::to_bytes(request.into_body(), MAX_SQS_BODY).await {
            Ok(body) => front.sqs.respond(operation, &body, &authority).await,
            Err(error) => plain(StatusCode::BAD_REQUEST, &error.to_string()),
        };
    }
    if target.starts_with("DynamoDB_20120810.") || target.starts_with("DynamoDBStreams_20120810.") {
        return front.forward(&target, request).await;
    }
    unknown(&format!("{target} is not served here"))
}

impl Front {
    async fn forward(&self, target: &str, mut request: Request<Body>) -> Response<Body> {
        let Ok(authority) = Authority::try_from(self.dynamodb.to_string()) else {
            // A socket address is always an authority; answered all the same rather than asserted.
            return plain(StatusCode::BAD_GATEWAY, "no address");
        };
        let mut uri = request.uri().clone().into_parts();
        uri.scheme = Some(Scheme::HTTP);
        uri.authority = Some(authority);
        match Uri::from_parts(uri) {
            Ok(uri) => *request.uri_mut() = uri,
            Err(error) => return plain(StatusCode::BAD_REQUEST, &error.to_string()),
        }
        // Hop by hop: each side keeps its own connection.
        request.headers_mut().remove(header::CONNECTION);
        match self.client.request(request).await {
            Ok(response) => {
                let call = target.rsplit('.').next().unwrap_or_default();
                if response.status().is_success() && WRITES.contains(&call) {
                    self.writes.send_modify(|count| *count += 1);
                }
                let mut response = response.map(Body::new);
                response.headers_mut().remove(header::CONNECTION);
                response
            }
            Err(error) => {
                tracing::warn!(%error, "the embedded DynamoDB did not answer");
                plain(StatusCode::BAD_GATEWAY, &error.to_string())
            }
        }
    }
}

fn target(headers: &HeaderMap) -> Option<String> {
    let target = headers.get("x-amz-target")?.to_str().ok()?;
    Some(target.to_owned())
}

fn unknown(message: &str) -> Response<Body> {
    let body = serde_json::json!({
        "__type": "com.amazon.coral.service#UnknownOperationException",
        "message": message,
    });
    let mut response = plain(StatusCode::BAD_REQUEST, &body.to_string());
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.0"));
    response
}

fn plain(status: StatusCode, text: &str) -> Response<Body> {
    let mut response = Response::new(Body::from(text.to_owned()));
    *response.status_mut() = status;
    response
}
