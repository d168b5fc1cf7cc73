//! What AWS refuses, in one line that says what to do.

use aws_sdk_lambda::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};

/// A request to Lambda that failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CloudError {
    /// No region is set.
    #[error("no AWS region: set AWS_REGION, such as AWS_REGION=us-east-1")]
    NoRegion,
    /// No credentials, or such as AWS does not take.
    #[error(
        "AWS credentials: {0}; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, and renew what \
         has expired"
    )]
    Credentials(String),
    /// The caller may not do it.
    #[error("access denied: {reason}; give your user or role the action lambda:{action}")]
    Denied {
        /// The action, such as `CreateFunction`.
        action: &'static str,
        /// What AWS said.
        reason: String,
    },
    /// There is no such function.
    #[error("no Lambda function {0} in this region and account: `peerwren lambda deploy` makes it")]
    NoFunction(String),
    /// There is one already.
    #[error("the Lambda function {0} exists: `peerwren lambda update` changes it")]
    Exists(String),
    /// The function is not one of peerwren's, so that it is not touched.
    #[error(
        "the Lambda function {0} was not made by peerwren (its description does not start with `peerwren`): \
         choose another --name"
    )]
    Foreign(String),
    /// Lambda may not assume the role.
    #[error(
        "the role {0} does not exist or Lambda may not assume it: its trust policy must be that of \
         `peerwren lambda policy --trust`"
    )]
    Role(String),
    /// The function does not become active.
    #[error(
        "the Lambda function {name} is {state} after {waited_s} s: see `peerwren lambda status {name}`"
    )]
    NotActive {
        /// The function.
        name: String,
        /// Its state and Lambda's reason.
        state: String,
        /// How long was waited.
        waited_s: u64,
    },
    /// The function cannot be used as it is.
    #[error("the Lambda function {name}: {problem}")]
    Unfit {
        /// The function.
        name: String,
        /// What is wrong and what to do.
        problem: String,
    },
    /// The endpoint cannot be reached.
    #[error(
        "AWS Lambda cannot be reached: {0}; check the network and AWS_REGION (or AWS_ENDPOINT_URL_LAMBDA)"
    )]
    Unreachable(String),
    /// Any other refusal, in AWS's words.
    #[error("AWS Lambda refuses {action}: {reason}")]
    Refused {
        /// The action, such as `CreateFunction`.
        action: &'static str,
        /// AWS's code and words.
        reason: String,
    },
}

impl CloudError {
    /// What `action` on the function `name` came to.
    pub(crate) fn of<E, R>(action: &'static str, name: &str, error: SdkError<E, R>) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
        R: std::fmt::Debug,
    {
        let told = match &error {
            SdkError::ServiceError(told) => told.err(),
            SdkError::TimeoutError(_) => {
                return Self::Unreachable("it does not answer in time".to_owned());
            }
            SdkError::DispatchFailure(failure) => {
                return Self::unsent(
                    failure
                        .as_connector_error()
                        .is_some_and(|error| !error.is_other()),
                    &error,
                );
            }
            _ => return Self::unsent(false, &error),
        };
        let code = told.code().unwrap_or("an unknown error");
        let reason = told.message().unwrap_or(code).to_owned();
        match code {
            "ResourceNotFoundException" => Self::NoFunction(name.to_owned()),
            "AccessDeniedException" | "AccessDenied" => Self::Denied { action, reason },
            "UnrecognizedClientException"
            | "InvalidSignatureException"
            | "ExpiredTokenException"
            | "IncompleteSignatureException"
            | "MissingAuthenticationTokenException" => Self::Credentials(reason),
            _ => Self::Refused {
                action,
                reason: format!("{code}: {reason}"),
            },
        }
    }

    /// A request that never got an answer.
    fn unsent<E, R>(by_network: bool, error: &SdkError<E, R>) -> Self
    where
        E: std::error::Error + 'static,
        R: std::fmt::Debug,
    {
        // The innermost reason says most.
        let mut source: &dyn std::error::Error = error;
        while let Some(next) = source.source() {
            source = next;
        }
        let reason = source.to_string();
        let reason = reason.trim_end_matches('.').to_owned();
        let context = DisplayErrorContext(error).to_string();
        if !by_network && (context.contains("redential") || context.contains("identity")) {
            Self::Credentials(reason)
        } else {
            Self::Unreachable(reason)
        }
    }
}
