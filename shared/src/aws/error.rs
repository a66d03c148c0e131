//! One error for every AWS call: what was tried, what AWS said, and whether trying again can help.

use std::error::Error as StdError;

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};

/// Whether the same call may succeed later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Throttled, unavailable or unreachable: later.
    Later,
    /// Refused for a reason that time does not change.
    Never,
}

/// A failed AWS call, after the SDK's own retries.
#[derive(Debug, thiserror::Error)]
pub enum AwsError {
    /// No answer: wrong address, no network, time-out.
    #[error("{call}: no answer from AWS{}: {reason}", endpoint_hint(.endpoint))]
    Unreachable {
        /// The call.
        call: &'static str,
        /// The configured endpoint, if one was.
        endpoint: Option<String>,
        /// The innermost cause.
        reason: String,
    },
    /// No usable credentials.
    #[error(
        "{call}: no AWS credentials: {reason}. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or AWS_PROFILE, or give the machine a role"
    )]
    NoCredentials {
        /// The call.
        call: &'static str,
        /// The innermost cause.
        reason: String,
    },
    /// AWS answered with an error.
    #[error("{call}: {code}: {message}")]
    Refused {
        /// The call.
        call: &'static str,
        /// AWS's own error code, such as `ResourceNotFoundException`.
        code: String,
        /// AWS's own message.
        message: String,
    },
    /// An answer, or a value to send, that this code cannot read or write.
    #[error("{call}: {reason}")]
    Unreadable {
        /// The call.
        call: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

/// The code of an answer that has none.
const UNKNOWN: &str = "Unknown";

fn endpoint_hint(endpoint: &Option<String>) -> String {
    endpoint.as_ref().map(|e| format!(" at {e}")).unwrap_or_default()
}

impl AwsError {
    /// Classifies a failed SDK call.
    pub fn from_sdk<E, R>(call: &'static str, error: SdkError<E, R>) -> Self
    where
        E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
        R: std::fmt::Debug + Send + Sync + 'static,
    {
        if let Some(service) = error.as_service_error() {
            return Self::Refused {
                call,
                code: service.code().unwrap_or(UNKNOWN).to_owned(),
                message: service.message().unwrap_or("no message").to_owned(),
            };
        }
        let text = chain(&error);
        if text.contains("credentials") {
            return Self::NoCredentials { call, reason: innermost(&error).trim_end_matches('.').to_owned() };
        }
        let endpoint = std::env::var("AWS_ENDPOINT_URL").ok();
        Self::Unreachable { call, endpoint, reason: innermost(&error) }
    }

    /// Whether the same call may succeed later.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Unreachable { .. } => Retry::Later,
            Self::Refused { code, .. } => match code.as_str() {
                "ProvisionedThroughputExceededException"
                | "ThrottlingException"
                | "RequestLimitExceeded"
                | "InternalServerError"
                | "InternalFailure"
                | "ServiceUnavailable"
                | "RequestThrottled"
                | "TransactionConflictException"
                | "LimitExceededException"
                // Credentials are renewed; an answer without a code is a server's that is in trouble.
                | "ExpiredTokenException" | "ExpiredToken" | UNKNOWN => Retry::Later,
                _ => Retry::Never,
            },
            Self::NoCredentials { .. } => Retry::Later,
            Self::Unreadable { .. } => Retry::Never,
        }
    }
}

fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        source = inner.source();
    }
    text
}

fn innermost(error: &dyn StdError) -> String {
    let mut last = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        last = inner.to_string();
        source = inner.source();
    }
    last
}
