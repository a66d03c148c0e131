//! A collector of traces on this machine, which takes OTLP over HTTP in JSON.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use serde_json::Value;
use stageline::trace::{Settings, Tracer};
use stageline_loopback::{Bytes, Loopback, Parts, Response};

/// A span as it came.
#[derive(Clone, Debug)]
pub struct Span {
    pub service: String,
    pub trace: String,
    pub id: String,
    pub parent: String,
    pub name: String,
    pub links: Vec<String>,
    pub failed: bool,
    pub attributes: BTreeMap<String, String>,
}

/// Listens on this machine.
pub struct Collector {
    address: Loopback,
    spans: Arc<Mutex<Vec<Span>>>,
}

impl Collector {
    pub async fn start() -> Result<Self> {
        let spans = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&spans);
        let address = Loopback::start(move |_, parts, body| {
            let mut response = Response::new(Bytes::new());
            match read(&parts, &body) {
                Ok(spans) => seen.lock().unwrap_or_else(PoisonError::into_inner).extend(spans),
                Err(_) => *response.status_mut() = 400.try_into().unwrap(),
            }
            async { Ok(response) }
        });
        Ok(Self { address: address.await?, spans })
    }

    /// A tracer that exports to it.
    pub fn tracer(&self, service: &str) -> Result<Tracer> {
        let endpoint = self.address.endpoint();
        let lookup = |name: &str| (name == "OTEL_EXPORTER_OTLP_ENDPOINT").then(|| endpoint.clone());
        let settings = Settings::from_env(service, lookup)?.context("a collector")?;
        Ok(Tracer::new(settings)?)
    }

    /// The spans so far of one name.
    pub fn named(&self, name: &str) -> Vec<Span> {
        let spans = self.spans.lock().unwrap_or_else(PoisonError::into_inner);
        spans.iter().filter(|span| span.name == name).cloned().collect()
    }
}

fn read(parts: &Parts, body: &[u8]) -> Result<Vec<Span>> {
    anyhow::ensure!(parts.uri.path() == "/v1/traces" && parts.method == "POST");
    anyhow::ensure!(parts.headers.get("content-type").context("a type")? == "application/json");
    let body: Value = serde_json::from_slice(body)?;
    let mut spans = Vec::new();
    for resource in body["resourceSpans"].as_array().context("resources")? {
        let service = attributes(&resource["resource"]["attributes"])?;
        let service = service.get("service.name").context("a service")?.clone();
        for scope in resource["scopeSpans"].as_array().context("scopes")? {
            for span in scope["spans"].as_array().context("spans")? {
                spans.push(of(&service, span)?);
            }
        }
    }
    Ok(spans)
}

fn of(service: &str, span: &Value) -> Result<Span> {
    let text = |name: &str| span[name].as_str().map(str::to_owned).context("a text");
    let time = |name: &str| -> Result<u64> { Ok(text(name)?.parse()?) };
    let is_id = |id: &str, digits| {
        id.len() == digits && id.bytes().all(|b| b.is_ascii_hexdigit()) && id.bytes().any(|b| b != b'0')
    };
    let (trace, id, parent) = (text("traceId")?, text("spanId")?, text("parentSpanId")?);
    anyhow::ensure!(is_id(&trace, 32) && is_id(&id, 16) && (parent.is_empty() || is_id(&parent, 16)));
    anyhow::ensure!(time("startTimeUnixNano")? <= time("endTimeUnixNano")?);
    anyhow::ensure!((1..=5).contains(&span["kind"].as_u64().context("a kind")?));
    let link = |link: &Value| Some(format!("{}-{}", link["traceId"].as_str()?, link["spanId"].as_str()?));
    let links = span["links"].as_array().context("links")?.iter().filter_map(link).collect();
    let failed = span["status"]["code"] == 2;
    let (name, attributes) = (text("name")?, attributes(&span["attributes"])?);
    Ok(Span { service: service.to_owned(), trace, id, parent, name, links, failed, attributes })
}

fn attributes(list: &Value) -> Result<BTreeMap<String, String>> {
    let pair = |one: &Value| {
        let value = one["value"]["stringValue"].as_str()?;
        Some((one["key"].as_str()?.to_owned(), value.to_owned()))
    };
    list.as_array().context("a list")?.iter().map(|one| pair(one).context("a pair")).collect()
}
