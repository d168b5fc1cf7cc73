//! What a failed request means: whether to try it again, and what to tell the user. Never tries.

use std::error::Error;
use std::fmt;

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use crate::store::StoreError;

/// What to do about a failed try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Another try may succeed.
    Again,
    /// Another try may succeed, but the service wants fewer requests.
    Slower,
    /// It fails each time.
    Never,
}

/// A try that failed.
#[derive(Clone, Debug)]
pub(super) struct Failed {
    pub(super) verdict: Verdict,
    /// The answer's status, where there was one.
    pub(super) status: Option<u16>,
    /// S3's word for it, where there was one.
    pub(super) code: Option<String>,
    pub(super) said: String,
    /// The bucket's region, where the service told it.
    pub(super) region: Option<String>,
    /// How often it was tried.
    pub(super) tries: u32,
}

impl Failed {
    /// Something other than the service failed.
    pub(super) fn of(verdict: Verdict, said: impl fmt::Display) -> Self {
        Self {
            verdict,
            status: None,
            code: None,
            said: said.to_string(),
            region: None,
            tries: 1,
        }
    }

    /// The service answered with an error within an answer.
    pub(super) fn answered(status: u16, code: Option<&str>, message: Option<&str>) -> Self {
        let said = join(&[code.unwrap_or_default(), message.unwrap_or_default()]);
        Self {
            status: Some(status),
            code: code.map(str::to_owned),
            ..Self::of(verdict(Some(status), code), said)
        }
    }

    pub(super) fn is(&self, codes: &[&str]) -> bool {
        self.code.as_deref().is_some_and(|c| codes.contains(&c))
    }

    /// There is no such object.
    pub(super) fn is_absent(&self) -> bool {
        // A HEAD has no body that could tell more than its status.
        self.is(&["NoSuchKey", "NotFound"]) || (self.status == Some(404) && self.code.is_none())
    }

    /// The object is there, where it was to be absent.
    pub(super) fn is_clash(&self) -> bool {
        self.status == Some(412) || self.is(&["PreconditionFailed"])
    }

    /// Tells the user what was wrong with which object, and what to do.
    pub(super) fn told(self, bucket: &str, key: &str) -> StoreError {
        let place = format!("s3://{bucket}/{key}");
        let advice = self.advice(bucket);
        let Self { said, tries, .. } = self;
        if self.verdict == Verdict::Never {
            StoreError::Refused {
                place,
                said,
                advice,
            }
        } else {
            StoreError::Unavailable {
                place,
                said,
                tries,
                advice,
            }
        }
    }

    fn advice(&self, bucket: &str) -> String {
        let code = self.code.as_deref().unwrap_or_default();
        match (code, self.status) {
            ("NoSuchBucket", _) => {
                format!("make the bucket (aws s3 mb s3://{bucket}) or name another one")
            }
            ("InvalidAccessKeyId" | "SignatureDoesNotMatch" | "NotSignedUp", _) => {
                "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the profile that AWS_PROFILE names"
                    .to_owned()
            }
            ("ExpiredToken" | "InvalidToken" | "TokenRefreshRequired", _) => {
                "renew the credentials".to_owned()
            }
            ("RequestTimeTooSkewed", _) => "set this machine's clock".to_owned(),
            ("NotImplemented", _) | (_, Some(501)) => {
                "the service lacks what a store needs; choose another service or a folder".to_owned()
            }
            (
                "PermanentRedirect"
                | "TemporaryRedirect"
                | "AuthorizationHeaderMalformed"
                | "IllegalLocationConstraintException"
                | "IncorrectEndpoint",
                _,
            )
            | (_, Some(301 | 307)) => match &self.region {
                Some(region) => format!("the bucket is in another region: set AWS_REGION={region}"),
                None => "set AWS_REGION to the bucket's region".to_owned(),
            },
            ("AccessDenied" | "AllAccessDisabled" | "AccountProblem", _) | (_, Some(403)) => {
                format!(
                    "allow s3:GetObject, s3:PutObject, s3:DeleteObject and s3:AbortMultipartUpload on \
                     arn:aws:s3:::{bucket}/*, s3:ListBucket and s3:ListBucketMultipartUploads on \
                     arn:aws:s3:::{bucket}"
                )
            }
            (_, None) => {
                "check the network, AWS_REGION, and AWS_ENDPOINT_URL where it is set".to_owned()
            }
            (_, Some(status)) if status >= 500 || status == 429 => {
                "try again later, or with fewer workers".to_owned()
            }
            _ => "this is not expected; please report it".to_owned(),
        }
    }
}

impl<E> From<SdkError<E, HttpResponse>> for Failed
where
    E: ProvideErrorMetadata + Error + 'static,
{
    fn from(error: SdkError<E, HttpResponse>) -> Self {
        let answer = error.raw_response();
        let status = answer.map(|answer| answer.status().as_u16());
        let region = answer.and_then(|answer| answer.headers().get("x-amz-bucket-region"));
        let region = region.map(str::to_owned);
        let code = error.code().map(str::to_owned);
        let verdict = match &error {
            SdkError::ConstructionFailure(_) => Verdict::Never,
            SdkError::TimeoutError(_) | SdkError::ResponseError(_) => Verdict::Again,
            SdkError::DispatchFailure(failure) if failure.is_user() => Verdict::Never,
            SdkError::DispatchFailure(_) => Verdict::Again,
            _ => verdict(status, code.as_deref()),
        };
        let said = match &error {
            SdkError::ServiceError(_) => {
                let status = status.map_or_else(String::new, |status| format!("HTTP {status}"));
                let message = error.message().unwrap_or_default();
                join(&[code.as_deref().unwrap_or_default(), message, &status])
            }
            SdkError::TimeoutError(_) => {
                format!("no answer in time: {}", causes(error.source()))
            }
            SdkError::DispatchFailure(_) => {
                format!("the service cannot be reached: {}", causes(error.source()))
            }
            SdkError::ResponseError(_) => {
                format!("an answer that cannot be read: {}", causes(error.source()))
            }
            _ => causes(error.source()),
        };
        Self {
            verdict,
            status,
            code,
            said,
            region,
            tries: 1,
        }
    }
}

fn verdict(status: Option<u16>, code: Option<&str>) -> Verdict {
    match (status, code.unwrap_or_default()) {
        (_, "SlowDown" | "Throttling" | "ThrottlingException" | "RequestLimitExceeded")
        | (Some(429 | 503), _) => Verdict::Slower,
        // What came was not what was sent, or two wrote at once.
        (
            _,
            "RequestTimeout"
            | "InternalError"
            | "BadDigest"
            | "IncompleteBody"
            | "XAmzContentSHA256Mismatch"
            | "ConditionalRequestConflict"
            | "OperationAborted",
        )
        | (Some(408 | 500 | 502 | 504), _) => Verdict::Again,
        _ => Verdict::Never,
    }
}

/// The texts of an error and its causes, each once.
pub(super) fn causes(mut error: Option<&(dyn Error + 'static)>) -> String {
    let mut texts: Vec<String> = Vec::new();
    while let Some(cause) = error {
        let text = cause.to_string();
        if !texts.iter().any(|told| told.contains(&text)) {
            texts.push(text);
        }
        error = cause.source();
    }
    texts.join(": ")
}

fn join(parts: &[&str]) -> String {
    let parts: Vec<_> = parts.iter().filter(|part| !part.is_empty()).collect();
    let parts: Vec<&str> = parts.into_iter().copied().collect();
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(status: Option<u16>, code: &str) -> Failed {
        let code = (!code.is_empty()).then_some(code);
        Failed {
            verdict: verdict(status, code),
            status,
            code: code.map(str::to_owned),
            said: "it failed".to_owned(),
            region: Some("eu-central-1".to_owned()),
            tries: 3,
        }
    }

    #[test]
    fn what_may_pass_is_tried_again() {
        use Verdict::{Again, Never, Slower};
        for (status, code, expected) in [
            (500, "InternalError", Again),
            (500, "", Again),
            (502, "", Again),
            (503, "SlowDown", Slower),
            (503, "", Slower),
            (429, "TooManyRequests", Slower),
            (400, "RequestTimeout", Again),
            (400, "BadDigest", Again),
            (409, "ConditionalRequestConflict", Again),
            (409, "BucketAlreadyExists", Never),
            (403, "AccessDenied", Never),
            (404, "NoSuchKey", Never),
            (412, "PreconditionFailed", Never),
            (501, "NotImplemented", Never),
        ] {
            assert_eq!(
                failed(Some(status), code).verdict,
                expected,
                "{status} {code}"
            );
        }
    }

    #[test]
    fn a_user_is_told_what_to_do() {
        for (status, code, advice) in [
            (Some(404), "NoSuchBucket", "aws s3 mb s3://my-bucket"),
            (Some(403), "InvalidAccessKeyId", "AWS_ACCESS_KEY_ID"),
            (Some(403), "SignatureDoesNotMatch", "AWS_SECRET_ACCESS_KEY"),
            (Some(403), "AccessDenied", "arn:aws:s3:::my-bucket/*"),
            (Some(403), "", "s3:PutObject"),
            (Some(400), "ExpiredToken", "renew"),
            (Some(301), "PermanentRedirect", "AWS_REGION=eu-central-1"),
            (
                Some(400),
                "AuthorizationHeaderMalformed",
                "AWS_REGION=eu-central-1",
            ),
            (Some(403), "RequestTimeTooSkewed", "clock"),
            (Some(503), "SlowDown", "fewer workers"),
            (None, "", "AWS_ENDPOINT_URL"),
        ] {
            let told = failed(status, code).told("my-bucket", "a/b").to_string();
            assert!(told.contains(advice), "{status:?} {code}: {told}");
            assert!(told.starts_with("s3://my-bucket/a/b: "), "{told}");
            assert!(!told.contains('\n'));
        }
        let told = failed(Some(503), "SlowDown")
            .told("my-bucket", "a")
            .to_string();
        assert!(told.contains("after 3 tries"), "{told}");
    }
}
