//! The Runtime API that one instance talks to: hands events out, takes answers in. Never knows whose
//! turn it is: that is its owner's to say.

use std::convert::Infallible;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::wire::{self, BodyError, Reply, json_reply, raw_reply};

/// What an instance says.
#[derive(Debug)]
pub(crate) enum Signal {
    /// The runtime asks for an event; this is where it goes.
    Ready(oneshot::Sender<Work>),
    /// The event's result; the sender tells whether it was awaited.
    Response(String, Result<Bytes, BodyError>, oneshot::Sender<bool>),
    /// The event's failure.
    Error(String, Bytes, oneshot::Sender<bool>),
    /// Initialisation failed.
    InitError(Bytes),
    /// The process ended, and how.
    Ended(String),
}

/// An event as the runtime gets it.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) id: String,
    pub(crate) deadline_ms: u64,
    pub(crate) arn: String,
    pub(crate) trace: String,
    pub(crate) client_context: Option<String>,
    pub(crate) payload: Bytes,
}

#[derive(Clone)]
pub(crate) struct Signals {
    pub(crate) sender: mpsc::Sender<Signal>,
    pub(crate) response_bytes_max: usize,
}

/// Serves until dropped, and ends all connections then.
pub(crate) async fn serve(listener: TcpListener, signals: Signals) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { return };
                let signals = signals.clone();
                connections.spawn(async move {
                    let service = service_fn(move |request| answer(request, signals.clone()));
                    // A runtime that is killed breaks its connection.
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn answer(request: Request<Incoming>, signals: Signals) -> Result<Reply, Infallible> {
    let path = request.uri().path().to_owned();
    let Some(rest) = path.strip_prefix("/2018-06-01/runtime/") else {
        return Ok(json_reply(
            404,
            &json!({ "errorMessage": "no such resource" }),
        ));
    };
    let parts: Vec<_> = rest.split('/').collect();
    let reply = match (request.method(), &parts[..]) {
        (&Method::GET, ["invocation", "next"]) => next(&signals).await,
        (&Method::POST, ["invocation", id, "response"]) => {
            let id = (*id).to_owned();
            let body = wire::body(request, signals.response_bytes_max).await;
            let too_large = body == Err(BodyError::TooLarge);
            let taken = tell(&signals, |sender| Signal::Response(id, body, sender)).await;
            if too_large {
                let message = "Exceeded maximum allowed payload size";
                json_reply(
                    413,
                    &json!({ "errorType": "RequestEntityTooLarge", "errorMessage": message }),
                )
            } else {
                accepted(taken)
            }
        }
        (&Method::POST, ["invocation", id, "error"]) => {
            let id = (*id).to_owned();
            let body = wire::body(request, signals.response_bytes_max).await;
            let body = body.unwrap_or_default();
            accepted(tell(&signals, |sender| Signal::Error(id, body, sender)).await)
        }
        (&Method::POST, ["init", "error"]) => {
            let body = wire::body(request, signals.response_bytes_max).await;
            let signal = Signal::InitError(body.unwrap_or_default());
            accepted(signals.sender.send(signal).await.is_ok())
        }
        _ => json_reply(404, &json!({ "errorMessage": "no such resource" })),
    };
    Ok(reply)
}

/// Waits for an event, however long it takes.
async fn next(signals: &Signals) -> Reply {
    let (sender, receiver) = oneshot::channel();
    if signals.sender.send(Signal::Ready(sender)).await.is_err() {
        return json_reply(500, &json!({ "errorMessage": "the environment ends" }));
    }
    let Ok(work) = receiver.await else {
        return json_reply(500, &json!({ "errorMessage": "the environment ends" }));
    };
    let mut reply = raw_reply(200, work.payload);
    let headers = reply.headers_mut();
    headers.insert("content-type", wire::text("application/json"));
    for (name, value) in [
        ("lambda-runtime-aws-request-id", &work.id),
        ("lambda-runtime-deadline-ms", &work.deadline_ms.to_string()),
        ("lambda-runtime-invoked-function-arn", &work.arn),
        ("lambda-runtime-trace-id", &work.trace),
    ] {
        headers.insert(name, wire::text(value));
    }
    if let Some(context) = &work.client_context {
        headers.insert("lambda-runtime-client-context", wire::text(context));
    }
    reply
}

/// Passes a signal on and waits to hear whether it was awaited.
async fn tell(signals: &Signals, signal: impl FnOnce(oneshot::Sender<bool>) -> Signal) -> bool {
    let (sender, taken) = oneshot::channel();
    signals.sender.send(signal(sender)).await.is_ok() && taken.await.unwrap_or(false)
}

fn accepted(taken: bool) -> Reply {
    if taken {
        json_reply(202, &json!({ "status": "OK" }))
    } else {
        let body = json!({ "errorType": "InvalidRequestID", "errorMessage": "Invalid request ID" });
        json_reply(400, &body)
    }
}
