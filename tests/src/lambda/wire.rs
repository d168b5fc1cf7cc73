//! Requests and replies as the emulator speaks them. Knows HTTP and JSON, never functions.

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};
use serde_json::{Value, json};

pub(crate) type Reply = Response<Full<Bytes>>;

/// A refusal as Lambda words it.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: u16,
    code: &'static str,
    message: String,
    /// Further members of the body.
    more: Value,
}

impl Refusal {
    pub(crate) fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            more: Value::Null,
        }
    }

    pub(crate) fn with(mut self, more: Value) -> Self {
        self.more = more;
        self
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(400, "InvalidParameterValueException", message)
    }

    pub(crate) fn conflict(message: impl Into<String>) -> Self {
        Self::new(409, "ResourceConflictException", message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(404, "ResourceNotFoundException", message)
    }

    pub(crate) fn too_large(message: impl Into<String>) -> Self {
        Self::new(413, "RequestTooLargeException", message)
    }

    pub(crate) fn reply(self) -> Reply {
        let mut body = json!({ "Type": "User", "message": self.message });
        if let (Value::Object(body), Value::Object(more)) = (&mut body, self.more) {
            body.extend(more);
        }
        let mut reply = json_reply(self.status, &body);
        let headers = reply.headers_mut();
        headers.insert("x-amzn-errortype", text(self.code));
        if self.status == 429 {
            headers.insert("retry-after", text("1"));
        }
        reply
    }
}

/// A header's value; what cannot be one is told so.
pub(crate) fn text(value: &str) -> hyper::header::HeaderValue {
    hyper::header::HeaderValue::from_str(value)
        .unwrap_or_else(|_| hyper::header::HeaderValue::from_static("unprintable"))
}

pub(crate) fn json_reply(status: u16, body: &Value) -> Reply {
    let mut reply = raw_reply(status, Bytes::from(body.to_string()));
    reply
        .headers_mut()
        .insert("content-type", text("application/json"));
    reply
}

pub(crate) fn raw_reply(status: u16, body: Bytes) -> Reply {
    let mut reply = Response::new(Full::new(body));
    *reply.status_mut() = StatusCode::from_u16(status).expect("a status of the emulator's");
    reply
}

/// A body that could not be read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum BodyError {
    TooLarge,
    Broken,
}

/// Reads a whole body of at most `bytes_max`.
pub(crate) async fn body(request: Request<Incoming>, bytes_max: usize) -> Result<Bytes, BodyError> {
    match Limited::new(request.into_body(), bytes_max).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(BodyError::TooLarge),
        Err(_) => Err(BodyError::Broken),
    }
}
