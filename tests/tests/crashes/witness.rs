//! A second reader of the stream, from which nothing is kept: every change of every record, in order.

use anyhow::{Context, Result, bail};
use async_trait::async_trait;
use aws_lambda_events::event::dynamodb::{Event, EventRecord};
use aws_lambda_events::event::streams::DynamoDbEventResponse;
use stageline::aws::Aws;
use stageline::task::{Attempt, Status, Task, TaskId, WorkerId};
use stageline_local::pump::{InvokeError, StreamFunction};
use std::time::Duration;
use tokio::sync::watch;

/// Longer than anything here takes on a busy machine: a test that reaches it has failed.
const DEADLINE: Duration = Duration::from_secs(120);

/// What the stream says of one write.
#[derive(Clone, Debug)]
pub struct Change {
    pub id: String,
    pub from: Option<Status>,
    pub to: Option<Status>,
    pub attempt: Attempt,
    pub worker: Option<WorkerId>,
}

/// All writes so far.
#[derive(Debug, Default)]
pub struct Witness(watch::Sender<Vec<Change>>);

impl Witness {
    /// Every write to this record that came before this call. The stream has one shard: a record that is put
    /// now is read after them.
    pub async fn all_of(&self, aws: &Aws, id: &TaskId) -> Result<Vec<Change>> {
        let mut mark = Task::new(TaskId::fresh());
        // Nobody dispatches a record that is put in this state.
        mark.status = Status::Completed;
        assert!(aws.tasks.put_new(&mark).await?);
        let mut seen = self.0.subscribe();
        let until = seen.wait_for(|changes| changes.iter().any(|change| change.id == mark.id.as_str()));
        match tokio::time::timeout(DEADLINE, until).await {
            Ok(changes) => Ok(changes?.iter().filter(|change| change.id == id.as_str()).cloned().collect()),
            Err(_) => bail!("the stream does not bring what was written"),
        }
    }
}

#[async_trait]
impl StreamFunction for Witness {
    async fn invoke(&self, event: Event) -> Result<DynamoDbEventResponse, InvokeError> {
        let changes: Result<Vec<_>> = event.records.into_iter().map(change).collect();
        let changes = changes.map_err(|error| InvokeError(error.to_string()))?;
        self.0.send_modify(|all| all.extend(changes));
        Ok(DynamoDbEventResponse::default())
    }
}

fn change(record: EventRecord) -> Result<Change> {
    let read = |image: serde_dynamo::Item| -> Result<Option<Task>> {
        let empty = image.is_empty();
        Ok((!empty).then(|| serde_dynamo::from_item(image)).transpose()?)
    };
    let (old, new) = (read(record.change.old_image)?, read(record.change.new_image)?);
    let known = new.as_ref().or(old.as_ref()).context("a change of nothing")?;
    Ok(Change {
        id: known.id.to_string(),
        attempt: known.attempt,
        worker: known.worker_node_id.clone(),
        from: old.map(|task| task.status),
        to: new.map(|task| task.status),
    })
}

/// How often these changes moved the record into COMPLETED.
pub fn completions(changes: &[Change]) -> usize {
    let completed = Some(Status::Completed);
    changes.iter().filter(|change| change.to == completed && change.from != completed).count()
}

/// The owners, one for each attempt that was ever RUNNING, in the order of the attempts.
///
/// # Panics
/// An attempt had two owners, or the attempts went back.
pub fn owners(changes: &[Change]) -> Vec<WorkerId> {
    let mut owners: Vec<WorkerId> = Vec::new();
    for change in changes.iter().filter(|change| change.to == Some(Status::Running)) {
        let owner = change.worker.clone().expect("a running task has a worker");
        match usize::try_from(change.attempt.0).unwrap().checked_sub(owners.len()) {
            Some(0) => assert_eq!(owners.last(), Some(&owner), "two owners of one attempt: {changes:#?}"),
            Some(1) => owners.push(owner),
            _ => panic!("an attempt out of order: {changes:#?}"),
        }
    }
    owners
}
