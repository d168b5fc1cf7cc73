//! A Lambda service on this machine: functions are custom runtimes (`bootstrap` in a zip), their instances
//! child processes. Speaks the control API that an AWS SDK speaks (`AWS_ENDPOINT_URL_LAMBDA`) and the Runtime
//! API that a `bootstrap` speaks. Never used outside of tests, and never to be reached from elsewhere:
//! it listens on 127.0.0.1 and runs what it is given.
//!
//! As on AWS: an Event is answered with 202 and queued, retried when it failed, dropped when too old, and
//! perhaps delivered twice; RequestResponse at the concurrency limit gets 429; an instance serves one event
//! at a time, is frozen between events, reused, killed at its time-out; deadlines are true. Beside it, for
//! tests alone: `GET /_emulator/{invocations,instances,events,settings}`, `GET /_emulator/logs/ID`, and
//! `PUT /_emulator/settings`, which changes what its JSON names of [`Settings`].

mod function;
mod guard;
mod instance;
mod invoke;
mod package;
mod record;
mod runtime_api;
mod service;
mod settings;
mod wire;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use percent_encoding::percent_decode_str;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

pub use package::of_bootstrap;
pub use record::{EventCounts, Execution, InstanceRecord};
pub use settings::{Faults, Settings};

use service::Service;
use wire::{BodyError, Refusal, Reply, json_reply, raw_reply};

/// A running service. Dropping it ends every instance.
pub struct Lambda {
    address: SocketAddr,
    service: Arc<Service>,
    accepting: JoinHandle<()>,
    folder: PathBuf,
}

impl Lambda {
    /// Starts a service on a port of 127.0.0.1, a free one for port 0, inside of a tokio runtime.
    ///
    /// # Errors
    /// The port is taken, or the temporary folder cannot be written.
    pub async fn start(settings: Settings, port: u16) -> std::io::Result<Self> {
        static STARTED: AtomicU64 = AtomicU64::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let name = format!("peerwren-lambda-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        // A process of the same number may have left one.
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder)?;
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        let address = listener.local_addr()?;
        let service = Arc::new(Service::new(settings, folder.clone())?);
        let accepting = tokio::spawn(accept(listener, service.clone()));
        Ok(Self {
            address,
            service,
            accepting,
            folder,
        })
    }

    /// What `AWS_ENDPOINT_URL_LAMBDA` must be.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Changes limits and faults while it runs.
    pub fn set(&self, change: impl FnOnce(&mut Settings)) {
        change(&mut self.service.lock().settings);
        invoke::pump(&self.service);
    }

    /// What was executed so far, in the order it ended.
    pub fn executions(&self) -> Vec<Execution> {
        self.service.lock().records.iter().cloned().collect()
    }

    /// The instances that live.
    pub fn instances(&self) -> Vec<InstanceRecord> {
        instances(&self.service)
    }

    /// What became of events.
    pub fn events(&self) -> EventCounts {
        events(&self.service)
    }

    /// The last 64 KiB that an instance wrote; empty where it lives no more.
    pub fn log(&self, instance: u64) -> String {
        log(&self.service, instance)
    }

    /// Ends every instance and waits until each process is gone.
    pub async fn stop(self) {
        let processes = self.close();
        // Killed processes are gone in a moment; 5 s bound what a stuck machine may take.
        for _ in 0..500 {
            if processes.iter().all(instance::Process::has_ended) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn close(&self) -> Vec<instance::Process> {
        self.accepting.abort();
        let mut state = self.service.lock();
        state.closed = true;
        state.queue.clear();
        let warm = std::mem::take(&mut state.warm);
        let processes: Vec<_> = state
            .living
            .values()
            .map(|living| living.process.clone())
            .collect();
        drop(state);
        drop(warm);
        for process in &processes {
            process.signal(Signal::KILL);
        }
        let _ = std::fs::remove_dir_all(&self.folder);
        processes
    }
}

impl Drop for Lambda {
    fn drop(&mut self) {
        self.close();
    }
}

async fn accept(listener: TcpListener, service: Arc<Service>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { return };
                let service = service.clone();
                connections.spawn(async move {
                    let handler = service_fn(move |request| answer(request, service.clone()));
                    // A caller may go away at any moment.
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), handler)
                        .await;
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn answer(request: Request<Incoming>, service: Arc<Service>) -> Result<Reply, Infallible> {
    Ok(route(request, &service)
        .await
        .unwrap_or_else(Refusal::reply))
}

async fn route(request: Request<Incoming>, service: &Arc<Service>) -> Result<Reply, Refusal> {
    let path = percent_decode_str(request.uri().path())
        .decode_utf8_lossy()
        .into_owned();
    let parts: Vec<_> = path.split('/').filter(|part| !part.is_empty()).collect();
    if let ["_emulator", rest @ ..] = &parts[..] {
        return private(request, rest, service).await;
    }
    let (operation, name) = service::operation(request.method(), &parts).ok_or_else(|| {
        Refusal::new(
            404,
            "UnknownOperationException",
            format!("{path} is no resource"),
        )
    })?;
    authorize(&request, operation, service)?;
    // A function may be named by its resource name.
    let name = name
        .rsplit_once(":function:")
        .map_or(name, |(_, name)| name);
    let name = name.split(':').next().unwrap_or(name);
    let headers = request.headers().clone();
    let body = wire::body(request, package::REQUEST_BYTES_MAX).await;
    let body = body.map_err(|error| match error {
        BodyError::TooLarge => Refusal::new(
            413,
            "RequestEntityTooLargeException",
            format!(
                "Request must be smaller than {} bytes for the {operation} operation",
                package::REQUEST_BYTES_MAX
            ),
        ),
        BodyError::Broken => Refusal::new(400, "InvalidRequestContentException", "half a request"),
    })?;
    if operation == "Invoke" {
        return invoke::invoke(service, name, &headers, body).await;
    }
    let reply = service.control(operation, name, &body);
    // More concurrency, or a function that is no more.
    invoke::pump(service);
    reply
}

/// Whether the caller may do this. Signatures are not computed; that they are there, and whose, is checked.
fn authorize(
    request: &Request<Incoming>,
    operation: &str,
    service: &Service,
) -> Result<(), Refusal> {
    let header = request
        .headers()
        .get("authorization")
        .and_then(|value| value.to_str().ok());
    let credential = header
        .filter(|header| header.starts_with("AWS4-HMAC-SHA256 "))
        .and_then(|header| header.split_once("Credential="))
        .and_then(|(_, rest)| rest.split('/').next());
    let Some(access_key) = credential else {
        return Err(Refusal::new(
            403,
            "MissingAuthenticationTokenException",
            "Missing Authentication Token",
        ));
    };
    let state = service.lock();
    let settings = &state.settings;
    if settings
        .access_key
        .as_ref()
        .is_some_and(|known| known != access_key)
    {
        let message = "The security token included in the request is invalid.";
        return Err(Refusal::new(403, "UnrecognizedClientException", message));
    }
    if settings.denied.contains(operation) {
        let action = if operation == "Invoke" {
            "InvokeFunction"
        } else {
            operation
        };
        return Err(Refusal::new(
            403,
            "AccessDeniedException",
            format!(
                "User: arn:aws:iam::{}:user/emulated is not authorized to perform: lambda:{action} because no \
                 identity-based policy allows the lambda:{action} action",
                settings.account
            ),
        ));
    }
    Ok(())
}

/// What only the emulator has.
async fn private(
    request: Request<Incoming>,
    path: &[&str],
    service: &Arc<Service>,
) -> Result<Reply, Refusal> {
    let reply = match (request.method(), path) {
        (&Method::GET, ["invocations"]) => {
            let records: Vec<_> = service.lock().records.iter().cloned().collect();
            json_reply(200, &json!({ "invocations": records }))
        }
        (&Method::GET, ["instances"]) => {
            json_reply(200, &json!({ "instances": instances(service) }))
        }
        (&Method::GET, ["events"]) => json_reply(200, &json!(events(service))),
        (&Method::GET, ["logs", id]) => {
            let text = log(service, id.parse().unwrap_or(u64::MAX));
            raw_reply(200, Bytes::from(text))
        }
        (&Method::GET, ["settings"]) => json_reply(200, &json!(service.lock().settings)),
        (&Method::PUT, ["settings"]) => {
            let body = wire::body(request, 1 << 20).await.unwrap_or_default();
            let change: Value =
                serde_json::from_slice(&body).map_err(|e| Refusal::invalid(e.to_string()))?;
            let settings = {
                let mut state = service.lock();
                let mut settings = json!(state.settings);
                merge(&mut settings, change);
                state.settings = serde_json::from_value(settings.clone())
                    .map_err(|error| Refusal::invalid(error.to_string()))?;
                settings
            };
            invoke::pump(service);
            json_reply(200, &settings)
        }
        _ => {
            return Err(Refusal::new(
                404,
                "UnknownOperationException",
                "no such resource",
            ));
        }
    };
    Ok(reply)
}

/// Members that `change` names replace those of `value`, at every depth.
fn merge(value: &mut Value, change: Value) {
    match (value, change) {
        (Value::Object(value), Value::Object(change)) => {
            for (key, change) in change {
                merge(value.entry(key).or_insert(Value::Null), change);
            }
        }
        (value, change) => *value = change,
    }
}

fn instances(service: &Service) -> Vec<InstanceRecord> {
    let state = service.lock();
    let warm: Vec<_> = state.warm.iter().map(|instance| instance.id).collect();
    let shown = state.living.iter().map(|(id, living)| InstanceRecord {
        id: *id,
        function: living.function.clone(),
        pid: living.process.group.as_raw_nonzero().get(),
        busy: !warm.contains(id),
        served: living.served,
    });
    shown.collect()
}

fn events(service: &Service) -> EventCounts {
    let state = service.lock();
    EventCounts {
        waiting: state.queue.len() as u64,
        ..state.counts
    }
}

fn log(service: &Service, instance: u64) -> String {
    let state = service.lock();
    let tail = state
        .living
        .get(&instance)
        .map(|living| living.log.tail(usize::MAX));
    String::from_utf8_lossy(&tail.unwrap_or_default()).into_owned()
}
