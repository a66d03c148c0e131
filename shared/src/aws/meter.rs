//! Counts every call that the SDK makes, and what DynamoDB says that it cost.
//!
//! DynamoDB is asked for the capacity that a call consumed, which costs nothing: so the count is no estimate,
//! indexes and all. Only a write that a condition refused is answered without, as is a batch of nothing else, and
//! each is counted as one unit.

use std::sync::Arc;

use aws_sdk_dynamodb::config::interceptors::{
    BeforeSerializationInterceptorContextMut, FinalizerInterceptorContextRef,
};
use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_dynamodb::error::BoxError;
use aws_sdk_dynamodb::operation::batch_execute_statement::BatchExecuteStatementOutput;
use aws_sdk_dynamodb::types::{BatchStatementErrorCodeEnum, ConsumedCapacity, ReturnConsumedCapacity};
use aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint;
use aws_smithy_runtime_api::client::orchestrator::Metadata;
use aws_smithy_runtime_api::client::retries::RequestAttempts;

use crate::metrics::Registry;
use crate::metrics::table::{WORKER_AWS_CALLS, WORKER_AWS_RETRIES, WORKER_READ_UNITS, WORKER_WRITE_UNITS};

/// Counts into a registry.
#[derive(Clone, Debug)]
pub(super) struct Meter(pub Arc<Registry>);

macro_rules! with_capacity {
    ($one:ident: $($operation:ident $input:ident $output:ident,)+; $many:ident: $($operations:ident $inputs:ident $outputs:ident,)+) => {
        /// Asks DynamoDB for what the call consumes.
        fn ask(input: &mut aws_smithy_runtime_api::client::interceptors::context::Input) {
            $(if let Some(input) = input.downcast_mut::<aws_sdk_dynamodb::operation::$operation::$input>() {
                input.return_consumed_capacity.get_or_insert(ReturnConsumedCapacity::Total);
                return;
            })+
            $(if let Some(input) = input.downcast_mut::<aws_sdk_dynamodb::operation::$operations::$inputs>() {
                input.return_consumed_capacity.get_or_insert(ReturnConsumedCapacity::Total);
                return;
            })+
        }

        /// The units that an answer names; 0 where it names none.
        fn units(output: &aws_smithy_runtime_api::client::interceptors::context::Output) -> f64 {
            $(if let Some(output) = output.downcast_ref::<aws_sdk_dynamodb::operation::$operation::$output>() {
                return of(output.consumed_capacity());
            })+
            $(if let Some(output) = output.downcast_ref::<aws_sdk_dynamodb::operation::$operations::$outputs>() {
                return of(output.consumed_capacity());
            })+
            0.0
        }
    };
}

with_capacity! {
    one:
        get_item GetItemInput GetItemOutput,
        put_item PutItemInput PutItemOutput,
        update_item UpdateItemInput UpdateItemOutput,
        delete_item DeleteItemInput DeleteItemOutput,
        query QueryInput QueryOutput,
        scan ScanInput ScanOutput,
    ;
    many:
        batch_execute_statement BatchExecuteStatementInput BatchExecuteStatementOutput,
        batch_get_item BatchGetItemInput BatchGetItemOutput,
        batch_write_item BatchWriteItemInput BatchWriteItemOutput,
        transact_get_items TransactGetItemsInput TransactGetItemsOutput,
        transact_write_items TransactWriteItemsInput TransactWriteItemsOutput,
}

fn of<'a>(consumed: impl IntoIterator<Item = &'a ConsumedCapacity>) -> f64 {
    consumed.into_iter().filter_map(ConsumedCapacity::capacity_units).sum()
}

/// The statements that their conditions refused, of a batch that names no units; of every other answer none.
fn refused(output: &aws_smithy_runtime_api::client::interceptors::context::Output) -> f64 {
    let batch = output.downcast_ref::<BatchExecuteStatementOutput>();
    let unnamed = batch.filter(|batch| batch.consumed_capacity().is_empty());
    let responses = unnamed.map(BatchExecuteStatementOutput::responses).unwrap_or_default();
    let codes = responses.iter().filter_map(|response| response.error()?.code());
    codes.filter(|code| **code == BatchStatementErrorCodeEnum::ConditionalCheckFailed).count() as f64
}

#[dyn_dispatch_hint]
impl Intercept for Meter {
    fn name(&self) -> &'static str {
        "Meter"
    }

    fn modify_before_serialization(
        &self,
        context: &mut BeforeSerializationInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        ask(context.input_mut());
        Ok(())
    }

    fn read_after_execution(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let Some(operation) = config.load::<Metadata>().map(Metadata::name) else { return Ok(()) };
        let (outcome, mut consumed) = match context.output_or_error() {
            Some(Ok(output)) => ("ok", units(output).max(refused(output))),
            _ => {
                let response = context.response();
                let body = response.and_then(|response| response.body().bytes()).unwrap_or_default();
                (failure(response.map(|response| response.status().as_u16()), body), 0.0)
            }
        };
        let writes = is_write(operation);
        if outcome == "refused" && writes {
            consumed = 1.0;
        }
        self.0.number(&WORKER_AWS_CALLS, &[operation, outcome]).one();
        let tries = config.load::<RequestAttempts>().map_or(1, RequestAttempts::attempts);
        if tries > 1 {
            self.0.number(&WORKER_AWS_RETRIES, &[operation]).add(f64::from(tries - 1));
        }
        if consumed > 0.0 {
            let units = if writes { &WORKER_WRITE_UNITS } else { &WORKER_READ_UNITS };
            self.0.number(units, &[]).add(consumed);
        }
        Ok(())
    }
}

fn is_write(operation: &str) -> bool {
    // Statements are only written with.
    let verbs = ["Put", "Update", "Delete", "BatchWrite", "BatchExecute", "TransactWrite"];
    verbs.iter().any(|verb| operation.starts_with(verb))
}

/// Why a call brought nothing, by the last answer to it.
fn failure(status: Option<u16>, body: &[u8]) -> &'static str {
    let Some(status) = status else { return "unanswered" };
    let says = |words: &[&str]| {
        let begins = |window: &[u8], word: &&str| window.starts_with(word.as_bytes());
        (0..body.len().min(2_000)).any(|at| words.iter().any(|word| begins(&body[at..], word)))
    };
    match status {
        500.. => "fault",
        _ if says(&["ConditionalCheckFailed"]) => "refused",
        429 => "throttled",
        _ if says(&["Throttl", "ThroughputExceeded", "RequestLimitExceeded", "TransactionConflict"]) => {
            "throttled"
        }
        401 | 403 => "denied",
        _ if says(&["AccessDenied", "UnrecognizedClient", "ExpiredToken", "InvalidSignature"]) => "denied",
        200..=299 => "unanswered",
        _ => "rejected",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_says_why_a_call_brought_nothing() {
        let of = |status, name: &str| {
            failure(Some(status), format!(r#"{{"__type":"com.amazonaws.x#{name}"}}"#).as_bytes())
        };
        for (status, name, why) in [
            (400, "ConditionalCheckFailedException", "refused"),
            (400, "ProvisionedThroughputExceededException", "throttled"),
            (400, "ThrottlingException", "throttled"),
            (429, "", "throttled"),
            (403, "", "denied"),
            (400, "AccessDeniedException", "denied"),
            (400, "ValidationException", "rejected"),
            (404, "", "rejected"),
            (503, "ThrottlingException", "fault"),
        ] {
            assert_eq!(of(status, name), why, "{status} {name}");
        }
        assert_eq!(failure(None, &[]), "unanswered");
    }
}
