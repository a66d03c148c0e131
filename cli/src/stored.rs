//! What is not on a record but in the artifact store: `params` and results that are too large for it.

use stageline::aws::Aws;
use stageline::task::{Reference, Task};
use stageline_worker::{Artifacts, read_reference};

use crate::connection::Connection;
use crate::failure::Failure;

/// The store that is typed, or set, or the one of the `stageline dev`.
pub fn store(typed: Option<&str>, connection: &Connection) -> Result<Option<Artifacts>, Failure> {
    let url = typed.filter(|url| !url.is_empty()).or(connection.artifacts.as_deref());
    Ok(url.map(|url| Artifacts::open(url, &connection.aws.sdk)).transpose()?)
}

/// Puts `params` that are too large for a record into the store, and refers to them.
pub async fn put_away(task: &mut Task, store: Option<Artifacts>) -> Result<(), Failure> {
    // Without a store they are too large, and nothing can be done about it here.
    if let Some(store) = store.filter(|_| task.validate().is_err())
        && let Some(params) = task.params.take()
    {
        task.params = Some(store.put_params(&task.id, &params).await?.to_map());
    }
    Ok(task.validate()?)
}

/// Brings what the record only refers to. What cannot be had from here stays a reference, and why is said.
pub async fn bring(task: &mut Task, aws: &Aws) {
    if let Some(reference) = task.params_reference().ok().flatten() {
        match read_reference(&reference, &aws.sdk).await {
            Ok(serde_json::Value::Object(params)) => task.params = Some(params),
            Ok(_) => not_shown(task, "params", &reference, "it is no map"),
            Err(error) => not_shown(task, "params", &reference, &error.to_string()),
        }
    }
    if let Some(reference) = task.result.as_ref().and_then(Reference::of_value) {
        match read_reference(&reference, &aws.sdk).await {
            Ok(result) => task.result = Some(result),
            Err(error) => not_shown(task, "result", &reference, &error.to_string()),
        }
    }
}

fn not_shown(task: &Task, what: &str, reference: &Reference, why: &str) {
    let text = format!("note: {}: `{what}` cannot be read at {}: {why}", task.id, reference.uri);
    eprintln!("{}", crate::plain::plain_line(&text));
}
