//! What a program asks of AWS, as the permissions that it takes: a loopback address in front of the embedded
//! AWS for one program, which notes every request before it passes it on. What belongs to S3 it answers by
//! itself, from a bucket in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use stageline::aws::Deployment;
use stageline::task::Lane;
use stageline_loopback::{Bytes, Loopback, Parts, Response, TARGET, Upstream};

use crate::s3::{Access, Bucket};

/// Actions by the resource that they are on, by the names that `infra/permissions.json` has.
pub type Permissions = BTreeMap<String, BTreeSet<String>>;

/// The address of one program. Dropped, it stops listening and closes every connection.
#[derive(Debug)]
pub struct Recorder {
    address: Loopback,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    upstream: Upstream,
    deployment: Deployment,
    bucket: Bucket,
    seen: Mutex<Permissions>,
}

impl Recorder {
    /// Listens on a free port of 127.0.0.1, in front of `upstream`, where `deployment` is.
    ///
    /// # Errors
    /// `upstream` is no address, or no port can be had.
    pub async fn start(upstream: &str, deployment: &Deployment) -> Result<Self> {
        let shared = Arc::new(Shared {
            upstream: Upstream::new(upstream)?,
            deployment: deployment.clone(),
            bucket: Bucket::default(),
            seen: Mutex::default(),
        });
        let serving = Arc::clone(&shared);
        let address = Loopback::start(move |_, parts, body| serve(Arc::clone(&serving), parts, body));
        Ok(Self { address: address.await?, shared })
    }

    /// The address to give to the program as `AWS_ENDPOINT_URL`.
    pub fn endpoint(&self) -> String {
        self.address.endpoint()
    }

    /// The bucket behind it, whatever it is called.
    pub fn bucket(&self) -> &Bucket {
        &self.shared.bucket
    }

    /// What was asked for so far.
    pub fn seen(&self) -> Permissions {
        self.shared.seen().clone()
    }

    /// Whether this action on this resource was asked for.
    pub fn has(&self, resource: &str, action: &str) -> bool {
        self.shared.seen().get(resource).is_some_and(|actions| actions.contains(action))
    }
}

async fn serve(shared: Arc<Shared>, parts: Parts, body: Bytes) -> Result<Response> {
    let target = parts.headers.get(TARGET).and_then(|target| target.to_str().ok());
    let Some(target) = target.map(str::to_owned) else {
        let (access, answer) = shared.bucket.serve(&parts.method, &parts.uri, &body);
        match access.map(of_s3) {
            Some((resource, action)) => shared.note(resource, action),
            None => shared.note("unknown".to_owned(), format!("{} {}", parts.method, parts.uri)),
        }
        return Ok(answer);
    };
    match permissions(&target, &body, &shared.deployment) {
        Ok(all) => all.into_iter().for_each(|(resource, action)| shared.note(resource, action)),
        Err(error) => shared.note("unknown".to_owned(), format!("{target}: {error:#}")),
    }
    shared.upstream.send(parts, body).await
}

impl Shared {
    fn note(&self, resource: String, action: String) {
        self.seen().entry(resource).or_default().insert(action);
    }

    fn seen(&self) -> MutexGuard<'_, Permissions> {
        // Nothing in here is left half done by a panic.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The permissions that a request takes: resources and actions. `target` is its header `x-amz-target`.
///
/// # Errors
/// A call that no program of ours makes, or one on a resource that is none of the deployment's.
pub fn permissions(target: &str, body: &[u8], deployment: &Deployment) -> Result<Vec<(String, String)>> {
    let body: Value = serde_json::from_slice(body)?;
    let (service, operation) = target.split_once('.').context("no operation")?;
    let table = |name: &str| {
        let tables = [
            ("tasks", &deployment.tasks_table),
            ("stages", &deployment.stages_table),
            ("control", &deployment.control_table),
        ];
        // A table is named by its name or by its ARN.
        let name = name.rsplit('/').next().unwrap_or(name);
        let found = tables.into_iter().find(|(_, table)| *table == name);
        found.map(|(kind, _)| kind.to_owned()).with_context(|| format!("a foreign table {name}"))
    };
    if service == "AmazonSQS" {
        let queue = queue(body["QueueUrl"].as_str().unwrap_or_default(), deployment)?;
        return Ok(vec![(queue, format!("sqs:{}", operation.strip_suffix("Batch").unwrap_or(operation)))]);
    }
    ensure!(service.starts_with("DynamoDB_"), "a foreign service");
    match operation {
        "GetItem" | "PutItem" | "UpdateItem" | "DeleteItem" | "Query" | "Scan" => {
            let mut resource = table(body["TableName"].as_str().unwrap_or_default())?;
            if let Some(index) = body["IndexName"].as_str() {
                resource = format!("{resource}/{index}");
            }
            Ok(vec![(resource, format!("dynamodb:{operation}"))])
        }
        "BatchGetItem" => {
            let tables = body["RequestItems"].as_object().context("no tables")?;
            tables.keys().map(|name| Ok((table(name)?, "dynamodb:BatchGetItem".to_owned()))).collect()
        }
        "BatchExecuteStatement" => {
            let statements = body["Statements"].as_array().context("no statements")?;
            let texts =
                statements.iter().map(|statement| statement["Statement"].as_str().unwrap_or_default());
            texts.map(|text| statement(text, &table)).collect()
        }
        _ => bail!("a call that no program makes"),
    }
}

fn statement(text: &str, table: &dyn Fn(&str) -> Result<String>) -> Result<(String, String)> {
    let action = match text.split_whitespace().next() {
        Some("UPDATE") => "dynamodb:PartiQLUpdate",
        Some("SELECT") => "dynamodb:PartiQLSelect",
        Some("INSERT") => "dynamodb:PartiQLInsert",
        Some("DELETE") => "dynamodb:PartiQLDelete",
        _ => bail!("no statement: {text}"),
    };
    Ok((table(text.split('"').nth(1).unwrap_or_default())?, action.to_owned()))
}

fn queue(url: &str, deployment: &Deployment) -> Result<String> {
    for pool in deployment.pools.iter() {
        if [Lane::High, Lane::Normal, Lane::Low].iter().any(|lane| pool.queues.url(*lane) == url) {
            return Ok("lanes".to_owned());
        }
        if pool.queues.dead.as_deref() == Some(url) {
            return Ok("dead".to_owned());
        }
    }
    bail!("a foreign queue {url}")
}

fn of_s3(access: Access) -> (String, String) {
    let resource = match access.key.as_deref() {
        None => "bucket".to_owned(),
        Some(key) if key.starts_with("artifacts/") => "artifacts".to_owned(),
        Some(key) if key.starts_with("inputs/") => "inputs".to_owned(),
        Some(key) => format!("a foreign key {key}"),
    };
    (resource, access.action.to_owned())
}
