//! The loopback address that counts.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use stageline_loopback::{Bytes, Loopback, Parts, Response, TARGET, Upstream};

use super::capacity;
use super::tally::{Count, Tally};

/// Counts what passes through one address. Dropped, it stops.
#[derive(Debug)]
pub struct Meter {
    address: Loopback,
    relay: Arc<Relay>,
}

#[derive(Debug)]
struct Relay {
    upstream: Upstream,
    tally: Mutex<Tally>,
}

impl Meter {
    /// Listens on a free port of 127.0.0.1 in front of `upstream`, such as `http://127.0.0.1:8000`.
    ///
    /// # Errors
    /// `upstream` is no address, or no port can be had.
    pub async fn start(upstream: &str) -> Result<Self> {
        let relay = Arc::new(Relay { upstream: Upstream::new(upstream)?, tally: Mutex::default() });
        let serving = Arc::clone(&relay);
        let address = Loopback::start(move |_, parts, body| Arc::clone(&serving).serve(parts, body));
        Ok(Self { address: address.await?, relay })
    }

    /// The address to give to a client as `AWS_ENDPOINT_URL`.
    pub fn endpoint(&self) -> String {
        self.address.endpoint()
    }

    /// What has been asked so far.
    pub fn tally(&self) -> Tally {
        self.relay.tally.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Relay {
    async fn serve(self: Arc<Self>, parts: Parts, mut body: Bytes) -> Result<Response> {
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
        let answer = self.upstream.send(parts, body.clone()).await?;
        if is_dynamodb {
            self.add(&kind, capacity::units(&operation, &body, answer.body()));
        }
        Ok(answer)
    }

    fn add(&self, kind: &str, count: Count) {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner).add(kind, count);
    }
}
