//! The agent of ECS, as far as it protects the task that asks it. Nothing here waits longer than five seconds,
//! and an answer is no longer than a page.

use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::header::CONTENT_TYPE;
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::Deserialize;
use serde_json::json;

use super::ScaleInProtection;

/// For a request and all of its answer: the agent asks ECS itself, for which it takes four seconds at most.
const LIMIT: Duration = Duration::from_secs(5);
const LONGEST_BODY_BYTES: usize = 4 * 1024;
/// How long a protection lasts that nobody renews: the longest there is. ECS refuses to renew one while more tasks are
/// protected than the service wants, which is just when all that still run are busy and the queue is empty.
pub(super) const LASTS: Duration = Duration::from_secs(48 * 60 * 60);

/// Why the agent did not do it.
#[derive(Debug, thiserror::Error)]
pub(super) enum AgentError {
    #[error("no answer within {LIMIT:?}")]
    Silent,
    #[error("{0} cannot be reached")]
    Unreachable(Uri),
    #[error("answered with {status}: {why}")]
    Refused { status: StatusCode, why: String },
    #[error("the answer makes no sense")]
    Garbage,
}

/// A client of the agent.
#[derive(Debug)]
pub(super) struct Agent {
    client: Client<HttpConnector, Full<Bytes>>,
    state: Uri,
}

/// What it answers with, of which one is there.
#[derive(Deserialize)]
struct Answer {
    protection: Option<Protection>,
    /// What ECS says.
    failure: Option<Failure>,
    /// What the agent says.
    error: Option<Failure>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Protection {
    protection_enabled: bool,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Failure {
    reason: Option<String>,
    code: Option<String>,
    message: Option<String>,
}

impl Agent {
    /// The agent that the environment names; `None` where nothing is to be asked. `variable` reads the
    /// environment.
    pub fn of(wanted: ScaleInProtection, variable: impl Fn(&str) -> Option<String>) -> Option<Self> {
        if wanted == ScaleInProtection::Off {
            return None;
        }
        let named = variable("ECS_AGENT_URI").filter(|named| !named.trim().is_empty())?;
        let state =
            format!("{}/task-protection/v1/state", named.trim().trim_end_matches('/')).parse().ok()?;
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(LIMIT));
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Some(Self { client, state })
    }

    /// Protects the task that this runs in for [`LASTS`], or does not any more.
    pub async fn protect(&self, on: bool) -> Result<(), AgentError> {
        let body = match on {
            true => json!({"ProtectionEnabled": true, "ExpiresInMinutes": LASTS.as_secs() / 60}),
            false => json!({"ProtectionEnabled": false}),
        };
        let request = Request::builder().method(Method::PUT).uri(&self.state);
        let request = request.header(CONTENT_TYPE, "application/json");
        let request = request.body(Full::from(body.to_string())).map_err(|_| AgentError::Garbage)?;
        let exchange = async {
            let Ok(answer) = self.client.request(request).await else {
                return Err(AgentError::Unreachable(self.state.clone()));
            };
            let status = answer.status();
            let body = Limited::new(answer.into_body(), LONGEST_BODY_BYTES).collect().await;
            Ok((status, body.map_err(|_| AgentError::Garbage)?.to_bytes()))
        };
        let (status, body) =
            tokio::time::timeout(LIMIT, exchange).await.unwrap_or(Err(AgentError::Silent))?;
        read(status, &body, on)
    }
}

/// Whether an answer says that it is done. ECS's own refusals come with status 200.
fn read(status: StatusCode, body: &[u8], on: bool) -> Result<(), AgentError> {
    let answer: Option<Answer> = serde_json::from_slice(body).ok();
    let (protection, failure) = match answer {
        Some(Answer { protection, failure, error }) => (protection, failure.or(error)),
        None => (None, None),
    };
    match (protection, failure) {
        (Some(Protection { protection_enabled }), None)
            if status.is_success() && protection_enabled == on =>
        {
            Ok(())
        }
        (_, Some(Failure { reason, code, message })) => {
            let parts: Vec<_> = [reason, code, message].into_iter().flatten().collect();
            Err(AgentError::Refused { status, why: parts.join(": ") })
        }
        _ if status.is_success() => Err(AgentError::Garbage),
        _ => Err(AgentError::Refused { status, why: "no reason given".to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(wanted: ScaleInProtection, uri: &str) -> Option<String> {
        let found = Agent::of(wanted, |name| (name == "ECS_AGENT_URI").then(|| uri.to_owned()))?;
        Some(found.state.to_string())
    }

    #[test]
    fn only_in_a_task_of_ecs_somebody_is_asked() {
        use ScaleInProtection::{Auto, Off};
        assert_eq!(
            agent(Auto, "http://169.254.170.2/api/abc-1/").as_deref(),
            Some("http://169.254.170.2/api/abc-1/task-protection/v1/state")
        );
        assert_eq!(agent(Off, "http://169.254.170.2/api/abc-1"), None);
        assert_eq!(agent(Auto, ""), None);
        assert_eq!(agent(Auto, "no address"), None);
        assert!(Agent::of(Auto, |_| None).is_none());
    }

    #[test]
    fn only_an_answer_that_says_so_is_a_protection() {
        let on = r#"{"protection":{"ExpirationDate":"2026-11-21T13:00:00Z","ProtectionEnabled":true,"TaskArn":"a"}}"#;
        let off = r#"{"protection":{"ExpirationDate":null,"ProtectionEnabled":false,"TaskArn":"a"}}"#;
        let blocked = r#"{"failure":{"Arn":"a","Detail":null,"Reason":"DEPLOYMENT_BLOCKED"}}"#;
        let denied = r#"{"error":{"Arn":"a","Code":"AccessDeniedException","Message":"not allowed"}}"#;
        let ok = |body: &str, wanted| read(StatusCode::OK, body.as_bytes(), wanted);
        assert!(ok(on, true).is_ok() && ok(off, false).is_ok());
        for (status, body, says) in [
            (200, off, "makes no sense"),
            (200, "<html>", "makes no sense"),
            (200, "", "makes no sense"),
            (200, r#"{"protection":{}}"#, "makes no sense"),
            (200, blocked, "DEPLOYMENT_BLOCKED"),
            (400, denied, "AccessDeniedException: not allowed"),
            (500, on, "500"),
            (404, "nothing here", "404"),
        ] {
            let error = read(StatusCode::from_u16(status).unwrap(), body.as_bytes(), true).unwrap_err();
            assert!(error.to_string().contains(says), "{status} {body}: {error}");
        }
    }
}
