//! Creates the tables and queues, idempotently, through the SDK, against any endpoint. AWS itself gets the
//! same layout from the CloudFormation template; this is for one machine and for tests over emulators.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::client::Waiters as _;
use aws_sdk_dynamodb::error::DisplayErrorContext;
use aws_sdk_dynamodb::types as dynamo;
use aws_sdk_sqs::types::QueueAttributeName;
use serde_json::json;
use stageline::aws::Deployment;
use stageline::protocol::lease::Lease;
use stageline::protocol::pools::{Pool, Pools, Queues};
use stageline::task::TargetPattern;
use thiserror::Error;

/// How often SQS may deliver a command before it counts as a dead letter. Large on purpose: whether a task
/// is given up is decided by its record, and a command may come back many times while its task is fine. The
/// most that SQS takes.
const MAX_RECEIVE_COUNT: u32 = 1_000;

/// How long a table may take to become active.
const TABLE_WAIT: Duration = Duration::from_secs(60);

/// The names of everything that is created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// The tasks table.
    pub tasks: String,
    /// The stages table.
    pub stages: String,
    /// The control table.
    pub control: String,
    /// The default pool's queue for urgent tasks.
    pub high: String,
    /// The default pool's queue for ordinary tasks.
    pub normal: String,
    /// The default pool's queue for tasks that can wait.
    pub low: String,
    /// The default pool's dead letters.
    pub dead: String,
}

impl Names {
    /// The names of the deployment with that prefix.
    pub fn with_prefix(prefix: &str) -> Self {
        Self {
            tasks: format!("{prefix}-tasks"),
            stages: format!("{prefix}-stages"),
            control: format!("{prefix}-control"),
            high: format!("{prefix}-default-high"),
            normal: format!("{prefix}-default-normal"),
            low: format!("{prefix}-default-low"),
            dead: format!("{prefix}-default-dead"),
        }
    }
}

/// Where the default pool's queues are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueUrls {
    /// Urgent tasks.
    pub high: String,
    /// Ordinary tasks.
    pub normal: String,
    /// Tasks that can wait.
    pub low: String,
    /// Dead letters.
    pub dead: String,
}

/// The deployment that these tables and queues are, with one pool for `targets`.
pub fn deployment(names: &Names, urls: &QueueUrls, targets: Vec<TargetPattern>, lease: Lease) -> Deployment {
    let queues = Queues {
        high: urls.high.clone(),
        normal: urls.normal.clone(),
        low: urls.low.clone(),
        dead: Some(urls.dead.clone()),
    };
    Deployment {
        tasks_table: names.tasks.clone(),
        stages_table: names.stages.clone(),
        control_table: names.control.clone(),
        pools: Pools::new([Pool { name: "default".to_owned(), targets, queues }]),
        lease,
        ..Deployment::with_prefix("")
    }
}

/// A table or a queue could not be created.
#[derive(Debug, Error)]
#[error("cannot create {what}: {reason}")]
pub struct SchemaError {
    what: String,
    reason: String,
}

impl SchemaError {
    fn new(what: &str, error: impl std::error::Error) -> Self {
        Self { what: what.to_owned(), reason: DisplayErrorContext(error).to_string() }
    }
}

/// Creates what is missing and leaves what is there.
///
/// # Errors
/// The first table or queue that could not be created, with the service's answer.
pub async fn create(
    dynamodb: &aws_sdk_dynamodb::Client,
    sqs: &aws_sdk_sqs::Client,
    names: &Names,
) -> Result<QueueUrls, SchemaError> {
    for table in tables(names) {
        create_table(dynamodb, table).await?;
    }
    create_queues(sqs, names).await
}

/// One table: its key and its indexes, all of them keys only.
struct Table<'a> {
    name: &'a str,
    key: Key,
    indexes: &'static [(&'static str, Key)],
    streamed: bool,
}

/// The attributes of a key, hash first. All are strings but `order`.
type Key = &'static [&'static str];

fn tables(names: &Names) -> [Table<'_>; 3] {
    [
        Table {
            name: &names.tasks,
            key: &["id"],
            indexes: &[("byAccount", &["accountId", "createdAt"]), ("byDue", &["dueKey", "notBefore"])],
            streamed: true,
        },
        Table { name: &names.stages, key: &["taskId", "order"], indexes: &[], streamed: false },
        Table { name: &names.control, key: &["pk", "sk"], indexes: &[], streamed: false },
    ]
}

async fn create_table(client: &aws_sdk_dynamodb::Client, table: Table<'_>) -> Result<(), SchemaError> {
    let name = table.name;
    let failed = |error: aws_sdk_dynamodb::Error| SchemaError::new(name, error);
    let request = request(client, &table).map_err(|error| failed(error.into()))?;
    match request.send().await.map_err(aws_sdk_dynamodb::Error::from) {
        Ok(_) | Err(aws_sdk_dynamodb::Error::ResourceInUseException(_)) => {}
        Err(error) => return Err(failed(error)),
    }
    let waiter = client.wait_until_table_exists().table_name(name);
    let ready = waiter.wait(TABLE_WAIT).await;
    ready.map_err(|error| SchemaError::new(name, error))?;
    enable_expiry(client, name).await.map_err(failed)
}

fn request(
    client: &aws_sdk_dynamodb::Client,
    table: &Table<'_>,
) -> Result<
    aws_sdk_dynamodb::operation::create_table::builders::CreateTableFluentBuilder,
    aws_sdk_dynamodb::error::BuildError,
> {
    let mut attributes: Vec<&str> = table.key.to_vec();
    let mut request = client
        .create_table()
        .table_name(table.name)
        .billing_mode(dynamo::BillingMode::PayPerRequest)
        .set_key_schema(Some(key_schema(table.key)?));
    for (index, key) in table.indexes {
        attributes.extend_from_slice(key);
        let projection =
            dynamo::Projection::builder().projection_type(dynamo::ProjectionType::KeysOnly).build();
        request = request.global_secondary_indexes(
            dynamo::GlobalSecondaryIndex::builder()
                .index_name(*index)
                .set_key_schema(Some(key_schema(key)?))
                .projection(projection)
                .build()?,
        );
    }
    for attribute in attributes {
        let kind = match attribute {
            "order" => dynamo::ScalarAttributeType::N,
            _ => dynamo::ScalarAttributeType::S,
        };
        request = request.attribute_definitions(
            dynamo::AttributeDefinition::builder().attribute_name(attribute).attribute_type(kind).build()?,
        );
    }
    if table.streamed {
        let stream = dynamo::StreamSpecification::builder()
            .stream_enabled(true)
            .stream_view_type(dynamo::StreamViewType::NewAndOldImages)
            .build()?;
        request = request.stream_specification(stream);
    }
    Ok(request)
}

fn key_schema(key: Key) -> Result<Vec<dynamo::KeySchemaElement>, aws_sdk_dynamodb::error::BuildError> {
    let kinds = [dynamo::KeyType::Hash, dynamo::KeyType::Range];
    key.iter()
        .zip(kinds)
        .map(|(attribute, kind)| {
            dynamo::KeySchemaElement::builder().attribute_name(*attribute).key_type(kind).build()
        })
        .collect()
}

/// Turns on deletion by `expiresAt`. Asked for first, because DynamoDB refuses to turn it on twice.
async fn enable_expiry(
    client: &aws_sdk_dynamodb::Client,
    table: &str,
) -> Result<(), aws_sdk_dynamodb::Error> {
    let described = client.describe_time_to_live().table_name(table).send();
    let status =
        described.await?.time_to_live_description.and_then(|description| description.time_to_live_status);
    if matches!(status, Some(dynamo::TimeToLiveStatus::Enabled | dynamo::TimeToLiveStatus::Enabling)) {
        return Ok(());
    }
    let specification =
        dynamo::TimeToLiveSpecification::builder().enabled(true).attribute_name("expiresAt").build()?;
    let update = client.update_time_to_live().table_name(table).time_to_live_specification(specification);
    update.send().await?;
    Ok(())
}

async fn create_queues(client: &aws_sdk_sqs::Client, names: &Names) -> Result<QueueUrls, SchemaError> {
    // The dead-letter queue first: the others' redrive policy names it.
    let dead = create_queue(client, &names.dead, HashMap::new()).await?;
    let attributes = client
        .get_queue_attributes()
        .queue_url(&dead)
        .attribute_names(QueueAttributeName::QueueArn)
        .send()
        .await
        .map_err(|error| SchemaError::new(&names.dead, error))?;
    let arn = attributes
        .attributes()
        .and_then(|all| all.get(&QueueAttributeName::QueueArn))
        .cloned()
        .unwrap_or_default();
    let policy = json!({ "deadLetterTargetArn": arn, "maxReceiveCount": MAX_RECEIVE_COUNT });
    let attributes = HashMap::from([
        (QueueAttributeName::VisibilityTimeout, "30".to_owned()),
        (QueueAttributeName::RedrivePolicy, policy.to_string()),
    ]);
    Ok(QueueUrls {
        high: create_queue(client, &names.high, attributes.clone()).await?,
        normal: create_queue(client, &names.normal, attributes.clone()).await?,
        low: create_queue(client, &names.low, attributes).await?,
        dead,
    })
}

async fn create_queue(
    client: &aws_sdk_sqs::Client,
    name: &str,
    attributes: HashMap<QueueAttributeName, String>,
) -> Result<String, SchemaError> {
    let failed = |error: aws_sdk_sqs::Error| SchemaError::new(name, error);
    let request = client.create_queue().queue_name(name).set_attributes(Some(attributes));
    let url = match request.send().await.map_err(aws_sdk_sqs::Error::from) {
        Ok(created) => created.queue_url,
        // It is there with other attributes: somebody tuned it, and that stays.
        Err(aws_sdk_sqs::Error::QueueNameExists(_)) => {
            let existing = client.get_queue_url().queue_name(name).send().await;
            existing.map_err(|error| failed(error.into()))?.queue_url
        }
        Err(error) => return Err(failed(error)),
    };
    Ok(url.unwrap_or_default())
}
