//! OTLP over HTTP, in JSON: what every collector takes on port 4318. The client is the one that the AWS SDK has
//! as well, so that neither a second TLS library nor a protocol compiler comes with it.

use std::fmt;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::{Method, Request, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};

use super::context::TraceContext;
use super::settings::Settings;
use super::span::Ended;

/// Posts spans.
pub(super) struct Exporter {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    address: Uri,
    settings: Settings,
}

impl Exporter {
    pub fn new(settings: Settings) -> Result<Self, std::io::Error> {
        let address = settings.address.parse().map_err(std::io::Error::other)?;
        // With the ring that is there for the AWS SDK.
        let tls = HttpsConnectorBuilder::new()
            .with_provider_and_native_roots(rustls::crypto::ring::default_provider())?
            .https_or_http()
            .enable_http1()
            .build();
        Ok(Self { client: Client::builder(TokioExecutor::new()).build(tls), address, settings })
    }

    /// Posts one batch; the reason when it was not taken.
    pub async fn post(&self, spans: &[Ended]) -> Result<(), String> {
        let body = Bytes::from(self.body(spans).to_string());
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(&self.address)
            .header("content-type", "application/json")
            .header("user-agent", concat!("stageline/", env!("CARGO_PKG_VERSION")));
        for (name, value) in &self.settings.headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(body)).map_err(|error| error.to_string())?;
        let sent = tokio::time::timeout(self.settings.timeout, self.client.request(request)).await;
        let response = sent.map_err(|_elapsed| "no answer in time")?.map_err(|error| innermost(&error))?;
        let status = response.status();
        if status.is_success() { Ok(()) } else { Err(format!("the collector answered {status}")) }
    }

    fn body(&self, spans: &[Ended]) -> Value {
        let resource = self.settings.resource.iter().map(|(name, value)| attribute(name, value));
        json!({ "resourceSpans": [{
            "resource": { "attributes": resource.collect::<Vec<_>>() },
            "scopeSpans": [{
                "scope": { "name": "stageline", "version": env!("CARGO_PKG_VERSION") },
                "spans": spans.iter().map(span).collect::<Vec<_>>(),
            }],
        }]})
    }
}

impl fmt::Debug for Exporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.settings.fmt(f)
    }
}

/// Ids in hexadecimal, times as text, as OTLP's JSON has them.
fn span(span: &Ended) -> Value {
    let attributes = span.attributes.iter().map(|(name, value)| attribute(name, value));
    let link = |link: &TraceContext| json!({ "traceId": trace(*link), "spanId": id(link.span) });
    json!({
        "traceId": trace(span.context),
        "spanId": id(span.context.span),
        "parentSpanId": span.parent.map(id).unwrap_or_default(),
        "name": span.name,
        "kind": span.kind as u8,
        "startTimeUnixNano": span.began.to_string(),
        "endTimeUnixNano": span.ended.to_string(),
        "attributes": attributes.collect::<Vec<_>>(),
        "links": span.links.iter().map(link).collect::<Vec<_>>(),
        "status": span.error.as_ref().map_or(json!({}), |why| json!({ "code": 2, "message": why })),
    })
}

fn trace(context: TraceContext) -> String {
    format!("{:032x}", context.trace)
}

fn id(span: u64) -> String {
    format!("{span:016x}")
}

fn attribute(name: &str, value: &str) -> Value {
    json!({ "key": name, "value": { "stringValue": value } })
}

fn innermost(error: &dyn std::error::Error) -> String {
    let mut last = error;
    while let Some(inner) = last.source() {
        last = inner;
    }
    last.to_string()
}
