//! A receiver of webhooks, as somebody else would write one from the documentation: `hmac` and `sha2` are its
//! own, and so is the clock.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;
use stageline_loopback::{Bytes, Loopback, Parts, Response};
use tokio::sync::mpsc;

/// A call as it came.
#[derive(Debug)]
pub struct Call {
    pub signed: bool,
    /// Seconds since it was signed.
    pub age: u64,
    pub delivery: String,
    pub body: Value,
}

/// Listens on this machine.
pub struct Receiver {
    address: Loopback,
    calls: mpsc::UnboundedReceiver<Call>,
}

impl Receiver {
    /// Answers the first calls with `answers`, and the rest well.
    pub async fn start(secret: &str, answers: impl IntoIterator<Item = u16>) -> Result<Self> {
        let (sender, calls) = mpsc::unbounded_channel();
        let mut answers: Vec<u16> = answers.into_iter().collect();
        answers.reverse();
        let (answers, secret) = (Arc::new(Mutex::new(answers)), secret.to_owned());
        let address = Loopback::start(move |_, parts, body| {
            if let Ok(call) = read(&parts, &body, &secret) {
                let _test_is_over = sender.send(call);
            }
            let status = answers.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or(204);
            let mut response = Response::new(Bytes::new());
            *response.status_mut() = status.try_into().unwrap();
            async { Ok(response) }
        });
        Ok(Self { address: address.await?, calls })
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        self.address.endpoint()
    }

    /// The next call.
    pub async fn next(&mut self) -> Result<Call> {
        let call = tokio::time::timeout(Duration::from_secs(60), self.calls.recv()).await;
        call.context("no call comes")?.context("the receiver listens")
    }
}

fn read(parts: &Parts, body: &[u8], secret: &str) -> Result<Call> {
    let header = |name: &str| -> Result<String> {
        Ok(parts.headers.get(name).context("a header")?.to_str()?.to_owned())
    };
    let (signature, timestamp) = (header("x-stageline-signature")?, header("x-stageline-timestamp")?);
    let delivery = header("x-stageline-delivery")?;
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes())?;
    mac.update(format!("{timestamp}.").as_bytes());
    mac.update(body);
    let hex: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    Ok(Call {
        signed: signature == format!("sha256={hex}"),
        age: now.abs_diff(timestamp.parse()?),
        delivery,
        body: serde_json::from_slice(body)?,
    })
}
