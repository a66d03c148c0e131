//! The instance metadata service of EC2, version 2: every request carries a token, which a PUT brings. Nothing
//! here waits longer than a second, and an answer is no longer than a page.

use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::header::HeaderValue;
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::time::Instant;

/// For a request and all of its answer.
const LIMIT: Duration = Duration::from_secs(1);
const LONGEST_BODY_BYTES: usize = 4 * 1024;
/// The longest that the service takes.
const TOKEN_SECONDS: u64 = 6 * 3600;
/// A token is renewed this long before it runs out.
const BEFORE: Duration = Duration::from_secs(60);

const TOKEN: &str = "latest/api/token";
const TOKEN_TTL_HEADER: &str = "x-aws-ec2-metadata-token-ttl-seconds";
const TOKEN_HEADER: &str = "x-aws-ec2-metadata-token";

/// Why the service said nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum ImdsError {
    #[error("no answer within {LIMIT:?}")]
    Silent,
    #[error("{0} cannot be reached")]
    Unreachable(Uri),
    #[error("{path} is answered with {status}")]
    Refused { path: &'static str, status: StatusCode },
    #[error("what {0} is answered with makes no sense")]
    Garbage(&'static str),
}

/// A client of the service.
pub(super) struct Imds {
    client: Client<HttpConnector, Full<Bytes>>,
    /// Ends with a slash.
    base: String,
    /// With when it has to be renewed.
    token: Option<(HeaderValue, Instant)>,
}

impl Imds {
    /// A client of the service at `endpoint`, such as `http://169.254.169.254`.
    pub fn new(endpoint: &str) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(LIMIT));
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Self { client, base: format!("{}/", endpoint.trim_end_matches('/')), token: None }
    }

    /// What is under `path`; `None` when there is nothing.
    pub async fn get(&mut self, path: &'static str) -> Result<Option<String>, ImdsError> {
        let token = self.token().await?;
        let request = Request::builder().method(Method::GET).header(TOKEN_HEADER, token);
        match self.send(request, path).await? {
            (StatusCode::OK, body) => {
                String::from_utf8(body.into()).map(Some).map_err(|_| ImdsError::Garbage(path))
            }
            (StatusCode::NOT_FOUND, _) => Ok(None),
            (status, _) => {
                if status == StatusCode::UNAUTHORIZED {
                    // The token is not known any more; the next request brings another one.
                    self.token = None;
                }
                Err(ImdsError::Refused { path, status })
            }
        }
    }

    async fn token(&mut self) -> Result<HeaderValue, ImdsError> {
        if let Some((token, until)) = &self.token
            && Instant::now() < *until
        {
            return Ok(token.clone());
        }
        let request = Request::builder().method(Method::PUT).header(TOKEN_TTL_HEADER, TOKEN_SECONDS);
        match self.send(request, TOKEN).await? {
            (StatusCode::OK, body) => {
                let token = HeaderValue::from_maybe_shared(body).map_err(|_| ImdsError::Garbage(TOKEN))?;
                if token.is_empty() {
                    return Err(ImdsError::Garbage(TOKEN));
                }
                let until = Instant::now() + Duration::from_secs(TOKEN_SECONDS) - BEFORE;
                self.token = Some((token.clone(), until));
                Ok(token)
            }
            (status, _) => Err(ImdsError::Refused { path: TOKEN, status }),
        }
    }

    async fn send(
        &self,
        request: hyper::http::request::Builder,
        path: &'static str,
    ) -> Result<(StatusCode, Bytes), ImdsError> {
        let uri: Uri = format!("{}{path}", self.base).parse().map_err(|_| ImdsError::Garbage(path))?;
        let unreachable = ImdsError::Unreachable(uri.clone());
        let request = request.uri(uri).body(Full::default()).map_err(|_| ImdsError::Garbage(path))?;
        let exchange = async {
            let Ok(answer) = self.client.request(request).await else { return Err(unreachable) };
            let status = answer.status();
            let body = Limited::new(answer.into_body(), LONGEST_BODY_BYTES).collect().await;
            Ok((status, body.map_err(|_| ImdsError::Garbage(path))?.to_bytes()))
        };
        tokio::time::timeout(LIMIT, exchange).await.unwrap_or(Err(ImdsError::Silent))
    }
}

#[cfg(test)]
#[path = "imds_tests.rs"]
pub(super) mod tests;
