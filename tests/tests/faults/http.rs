//! The SDK's HTTP client with faults.

use std::sync::Arc;

use anyhow::Result;
use aws_config::SdkConfig;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use aws_sdk_dynamodb::types::AttributeValue;
use stageline_local::LocalAws;
use stageline_tests::faults::{Control, Decision, Fault, FaultyHttp, Plan};

use crate::{add, applied, local, once};

/// A client with faults, whose SDK does not try again: a call is one request.
fn faulty(aws: &LocalAws, plan: Plan) -> Result<(SdkConfig, Control)> {
    let (config, control) = FaultyHttp::wrap(&aws.sdk_config(), plan)?;
    Ok((once(&config), control))
}

#[tokio::test]
async fn the_same_seed_gives_the_same_faults_also_with_other_calls_in_between() -> Result<()> {
    let mut runs: Vec<Vec<Decision>> = Vec::new();
    for noise in [0, 3] {
        let aws = local().await?;
        let plan =
            Plan::seeded(11).with(0.2, Fault::Throttle).with(0.2, Fault::LostAnswer).with(0.2, Fault::Twice);
        let (config, control) = faulty(&aws, plan)?;
        for _ in 0..40 {
            add(&aws, &config, "a").await.ok();
            for _ in 0..noise {
                Client::new(&config).list_tables().send().await.ok();
            }
        }
        let counts = control.counts();
        assert!(counts.throttled > 0 && counts.lost_answers > 0 && counts.twice > 0, "{counts:?}");
        let mut log = control.log();
        assert_eq!(log.len() as u64, counts.passed + counts.faults());
        log.retain(|decision| decision.operation == "UpdateItem");
        // The table agrees with the log.
        let expected = log.iter().map(|decision| match decision.fault {
            Fault::Throttle => 0,
            Fault::Twice => 2,
            _ => 1,
        });
        assert_eq!(applied(&aws, "a").await?, expected.sum::<u32>());
        runs.push(log);
    }
    assert_eq!(runs[0].len(), 40);
    assert_eq!(runs[0], runs[1]);
    Ok(())
}

#[tokio::test]
async fn a_throttled_call_is_not_applied_and_has_the_services_own_code() -> Result<()> {
    let aws = local().await?;
    let (config, control) = faulty(&aws, Plan::always(Fault::Throttle))?;
    assert_eq!(add(&aws, &config, "a").await.unwrap_err(), "ProvisionedThroughputExceededException");
    assert_eq!(applied(&aws, "a").await?, 0);
    let sqs = aws_sdk_sqs::Client::new(&config);
    let error = sqs.send_message().queue_url(&aws.queues().normal).message_body("x").send().await;
    assert_eq!(error.unwrap_err().code(), Some("RequestThrottled"));
    assert_eq!(received(&aws).await?, 0);
    assert_eq!((control.counts().throttled, control.counts().faults()), (2, 2));
    Ok(())
}

#[tokio::test]
async fn a_server_error_is_not_applied() -> Result<()> {
    let aws = local().await?;
    let (config, _) = faulty(&aws, Plan::always(Fault::ServerError))?;
    assert_eq!(add(&aws, &config, "a").await.unwrap_err(), "InternalServerError");
    assert_eq!(applied(&aws, "a").await?, 0);
    Ok(())
}

#[tokio::test]
async fn refused_calls_succeed_by_the_sdks_retries() -> Result<()> {
    let aws = local().await?;
    for fault in [Fault::Throttle, Fault::ServerError] {
        let (config, control) = FaultyHttp::wrap(&aws.sdk_config(), Plan::always(fault).calls(0..2))?;
        let id = format!("{fault:?}");
        add(&aws, &config, &id).await.expect("the third try succeeds");
        assert_eq!((applied(&aws, &id).await?, control.counts().faults()), (1, 2));
    }
    Ok(())
}

#[tokio::test]
async fn a_lost_answer_was_applied_and_the_caller_does_not_know() -> Result<()> {
    let aws = local().await?;
    let (config, control) = faulty(&aws, Plan::always(Fault::LostAnswer).only("UpdateItem"))?;
    assert_eq!(add(&aws, &config, "a").await.unwrap_err(), "no answer");
    assert_eq!((applied(&aws, "a").await?, control.counts().lost_answers), (1, 1));
    Ok(())
}

#[tokio::test]
async fn the_sdks_retry_after_a_lost_answer_applies_again() -> Result<()> {
    let aws = local().await?;
    let first = Plan::always(Fault::LostAnswer).only("UpdateItem").only("PutItem").calls(0..1);
    let (config, _) = FaultyHttp::wrap(&aws.sdk_config(), first)?;
    add(&aws, &config, "a").await.expect("the second try is answered");
    assert_eq!(applied(&aws, "a").await?, 2);
    // With a condition, the caller is told that somebody has written: it was itself.
    let put = Client::new(&config)
        .put_item()
        .table_name(&aws.names().tasks)
        .item("id", AttributeValue::S("b".to_owned()))
        .condition_expression("attribute_not_exists(id)");
    let error = put.send().await.unwrap_err();
    assert_eq!(error.code(), Some("ConditionalCheckFailedException"));
    Ok(())
}

#[tokio::test]
async fn a_send_that_goes_out_twice_puts_two_messages_on_the_queue() -> Result<()> {
    let aws = local().await?;
    let (config, control) = faulty(&aws, Plan::always(Fault::Twice).only("SendMessage"))?;
    let sqs = aws_sdk_sqs::Client::new(&config);
    sqs.send_message().queue_url(&aws.queues().normal).message_body("x").send().await?;
    assert_eq!(received(&aws).await?, 2);
    assert_eq!(control.counts().twice, 1);
    // Calls that the plan does not name are left alone.
    add(&aws, &config, "a").await.unwrap();
    assert_eq!(applied(&aws, "a").await?, 1);
    Ok(())
}

/// How many messages the normal queue gives at once.
async fn received(aws: &LocalAws) -> Result<usize> {
    let sqs = aws_sdk_sqs::Client::new(&aws.sdk_config());
    let receive = sqs.receive_message().queue_url(&aws.queues().normal).max_number_of_messages(10);
    Ok(receive.send().await?.messages().len())
}

#[tokio::test]
async fn nothing_gets_through_a_hold_until_the_release() -> Result<()> {
    let aws = Arc::new(local().await?);
    let (config, control) = faulty(&aws, Plan::none())?;
    control.hold();
    let calls = [0, 1].map(|_| {
        let (aws, config) = (Arc::clone(&aws), config.clone());
        tokio::spawn(async move { add(&aws, &config, "a").await })
    });
    control.until_waiting(2).await?;
    assert_eq!(applied(&aws, "a").await?, 0);
    control.release();
    for call in calls {
        call.await?.unwrap();
    }
    assert_eq!(applied(&aws, "a").await?, 2);
    Ok(())
}

#[tokio::test]
async fn an_answer_that_comes_during_a_hold_waits_too() -> Result<()> {
    let aws = Arc::new(local().await?);
    let (config, control) = faulty(&aws, Plan::none())?;
    let sqs = aws_sdk_sqs::Client::new(&config);
    let receive = sqs.receive_message().queue_url(&aws.queues().normal).wait_time_seconds(20);
    let polling = tokio::spawn(receive.send());
    // The poll is on its way once it is counted.
    while control.counts().passed == 0 {
        tokio::task::yield_now().await;
    }
    control.hold();
    let direct = aws_sdk_sqs::Client::new(&aws.sdk_config());
    direct.send_message().queue_url(&aws.queues().normal).message_body("x").send().await?;
    control.until_waiting(1).await?;
    assert!(!polling.is_finished());
    control.stop();
    assert_eq!(polling.await??.messages().len(), 1);
    Ok(())
}

#[tokio::test]
async fn a_stopped_plan_lets_everything_pass() -> Result<()> {
    let aws = local().await?;
    let (config, control) = faulty(&aws, Plan::always(Fault::Throttle))?;
    add(&aws, &config, "a").await.unwrap_err();
    control.stop();
    add(&aws, &config, "a").await.unwrap();
    assert_eq!((control.counts().throttled, control.counts().passed), (1, 1));
    Ok(())
}
