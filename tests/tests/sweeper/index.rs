//! A table of tasks that somebody else owns, without the index of waiting tasks.

use anyhow::Result;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection,
    ProjectionType, ScalarAttributeType,
};
use serde_json::json;
use stageline::aws::Aws;
use stageline::protocol::due::due_key;
use stageline::task::{Lane, Status};
use stageline_sweeper::Limits;
use stageline_tests::faults::{Control, FaultyHttp, Plan};

use super::bench::Bench;

const ADOPTED: &str = "adopted-tasks";

async fn make_table(bench: &Bench, with_index: bool) -> Result<()> {
    let key = |name: &str, kind| KeySchemaElement::builder().attribute_name(name).key_type(kind).build();
    let text = |name: &str| {
        let attribute = AttributeDefinition::builder().attribute_name(name);
        attribute.attribute_type(ScalarAttributeType::S).build()
    };
    let mut table = bench.backend.dynamodb().create_table().table_name(ADOPTED);
    table = table.billing_mode(BillingMode::PayPerRequest).key_schema(key("id", KeyType::Hash)?);
    table = table.attribute_definitions(text("id")?);
    if with_index {
        let index = GlobalSecondaryIndex::builder().index_name("byDue");
        let index =
            index.key_schema(key("dueKey", KeyType::Hash)?).key_schema(key("notBefore", KeyType::Range)?);
        let keys = Projection::builder().projection_type(ProjectionType::KeysOnly).build();
        table = table.global_secondary_indexes(index.projection(keys).build()?);
        table = table.attribute_definitions(text("dueKey")?).attribute_definitions(text("notBefore")?);
    }
    table.send().await?;
    Ok(())
}

/// The bench over such a table, and how often its index is asked for.
async fn bench() -> Result<(Bench, Control)> {
    let mut bench = Bench::start().await?;
    bench.deployment.tasks_table = ADOPTED.to_owned();
    let (config, asked) = FaultyHttp::wrap(bench.backend.config(), Plan::none().containing("byDue"))?;
    bench.aws = Aws::new(&config, &bench.deployment);
    make_table(&bench, false).await?;
    Ok((bench, asked))
}

#[tokio::test]
async fn without_the_index_due_tasks_are_sent_by_the_repair_scan_and_nothing_fails() -> Result<()> {
    let (bench, asked) = bench().await?;
    let waits = |id: &str, seconds: i64| -> Result<_> {
        Ok(json!({"notBefore": bench.at(seconds), "dueKey": due_key(&id.parse()?)}))
    };
    let over = bench.put("over", "SCHEDULED", waits("over", -5)?).await?;
    let soon = bench.put("soon", "RETRYING", waits("soon", 90)?).await?;
    let later = bench.put("later", "SCHEDULED", waits("later", 3_600)?).await?;
    let sweeper = bench.sweeper();
    let report = sweeper.sweep(Limits::default()).await;
    assert_eq!((report.errors, report.due, report.sent_again), (0, 0, 2), "{report:?}");
    for (id, status) in [(&over, Status::Queued), (&soon, Status::Queued), (&later, Status::Scheduled)] {
        assert_eq!(bench.status(id).await?, status, "{id}");
    }
    let depth = bench.depth(Lane::Normal).await?;
    assert_eq!((depth.visible, depth.delayed), (1, 1), "the rest of the delay rides on the message");
    assert_eq!(asked.log().len(), 1, "the first partition says it for all");
    bench.pass_time(60);
    assert_eq!((sweeper.sweep(Limits::default()).await.errors, asked.log().len()), (0, 1));
    bench.pass_time(15 * 60);
    assert_eq!((sweeper.sweep(Limits::default()).await.errors, asked.log().len()), (0, 2), "now and then");
    Ok(())
}

#[tokio::test]
async fn an_index_that_is_added_is_used_within_a_quarter_of_an_hour() -> Result<()> {
    let (bench, asked) = bench().await?;
    let sweeper = bench.sweeper();
    sweeper.sweep(Limits::default()).await;
    bench.backend.dynamodb().delete_table().table_name(ADOPTED).send().await?;
    make_table(&bench, true).await?;
    bench.pass_time(15 * 60);
    let due = json!({"notBefore": bench.at(60), "dueKey": due_key(&"due".parse()?)});
    let due = bench.put("due", "SCHEDULED", due).await?;
    let report = sweeper.sweep(Limits::default()).await;
    assert_eq!((report.errors, report.due, report.sent_again), (0, 1, 0), "{report:?}");
    assert_eq!(bench.status(&due).await?, Status::Queued);
    let before = asked.log().len();
    bench.pass_time(60);
    sweeper.sweep(Limits::default()).await;
    assert_eq!(asked.log().len() - before, 4, "each partition each time from now on");
    Ok(())
}
