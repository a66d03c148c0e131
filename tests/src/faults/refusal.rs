//! The answers of AWS to a call that it does not take, as far as the SDK looks at them.

use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::json;

use super::call::Call;

const JSON: HeaderValue = HeaderValue::from_static("application/x-amz-json-1.0");

/// Too many calls: status 400 with each service's own code.
pub(super) fn throttled(call: &Call) -> Response<String> {
    if !call.is_sqs {
        let shape = "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException";
        return refusal(StatusCode::BAD_REQUEST, shape, "The level of configured throughput was exceeded.");
    }
    let shape = "com.amazonaws.sqs#RequestThrottled";
    let mut response = refusal(StatusCode::BAD_REQUEST, shape, "Request is throttled.");
    let code = HeaderValue::from_static("RequestThrottled;Sender");
    response.headers_mut().insert("x-amzn-query-error", code);
    response
}

/// A fault of the service itself.
pub(super) fn server_error(call: &Call) -> Response<String> {
    let shape = match call.is_sqs {
        true => "com.amazonaws.sqs#InternalFailure",
        false => "com.amazonaws.dynamodb.v20120810#InternalServerError",
    };
    refusal(StatusCode::INTERNAL_SERVER_ERROR, shape, "The request processing has failed.")
}

/// A permission that the caller's role lacks; both services say so with the same code.
pub(super) fn denied(call: &Call) -> Response<String> {
    let shape = match call.is_sqs {
        true => "com.amazonaws.sqs#AccessDeniedException",
        false => "com.amazonaws.dynamodb.v20120810#AccessDeniedException",
    };
    refusal(StatusCode::BAD_REQUEST, shape, "The caller is not authorized to perform this call.")
}

fn refusal(status: StatusCode, shape: &str, message: &str) -> Response<String> {
    let body = json!({ "__type": shape, "message": message });
    let mut response = Response::new(body.to_string());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response
}
