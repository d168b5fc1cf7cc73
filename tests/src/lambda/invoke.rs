//! Invocations: who may run now, on which instance, until when, and what becomes of what failed. Owns
//! the life of an event from its request to its record.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use hyper::header::HeaderMap;
use rustix::process::Signal as Kill;
use serde_json::json;
use tokio::sync::oneshot;

use super::function::Function;
use super::instance::{self, Instance, Launch};
use super::record::Execution;
use super::runtime_api::{Signal, Work};
use super::service::{Living, RECORDS_MAX, Service, State};
use super::wire::{BodyError, Refusal, Reply, raw_reply, text};

/// Events that wait at once; one more is refused with 429. At 1 MiB each more than a test has.
const QUEUE_MAX: usize = 100_000;

/// What a caller can get of a log.
const LOG_BYTES_MAX: usize = 4 << 10;

/// One request for one execution.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    id: String,
    function: String,
    payload: Bytes,
    client_context: Option<String>,
    asynchronous: bool,
    duplicate: bool,
    attempt: u32,
    arrived: Instant,
    due: Instant,
}

/// What came of an event.
#[derive(Debug)]
pub(crate) struct Answer {
    failed: bool,
    payload: Bytes,
    log: Vec<u8>,
}

/// A place among the executions at once.
struct Permit {
    service: Arc<Service>,
    function: String,
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(running) = self.service.lock().running.get_mut(&self.function) {
            *running -= 1;
        }
        pump(&self.service);
    }
}

/// Performs `Invoke`.
pub(crate) async fn invoke(
    service: &Arc<Service>,
    name: &str,
    headers: &HeaderMap,
    payload: Bytes,
) -> Result<Reply, Refusal> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let kind = header("x-amz-invocation-type").unwrap_or("RequestResponse");
    let event = accept(service, name, kind, header("x-amz-client-context"), payload)?;
    let id = event.id.clone();
    let mut reply = match kind {
        "DryRun" => raw_reply(204, Bytes::new()),
        "Event" => {
            enqueue(service, event)?;
            raw_reply(202, Bytes::new())
        }
        _ => {
            let tail = header("x-amz-log-type") == Some("Tail");
            let (sender, receiver) = oneshot::channel();
            let permit = permit(service, &event)?;
            tokio::spawn(execute(permit, event, Some(sender)));
            let answer = receiver
                .await
                .map_err(|_| Refusal::new(500, "ServiceException", "The emulator ends."))?;
            let mut reply = raw_reply(200, answer.payload);
            let headers = reply.headers_mut();
            headers.insert("x-amz-executed-version", text("$LATEST"));
            if answer.failed {
                headers.insert("x-amz-function-error", text("Unhandled"));
            }
            if tail {
                let log = aws_smithy_types::base64::encode(answer.log);
                headers.insert("x-amz-log-result", text(&log));
            }
            reply
        }
    };
    reply.headers_mut().insert("x-amzn-requestid", text(&id));
    Ok(reply)
}

/// Checks a request and gives it an id.
fn accept(
    service: &Service,
    name: &str,
    kind: &str,
    client_context: Option<&str>,
    payload: Bytes,
) -> Result<Event, Refusal> {
    let mut state = service.lock();
    let bytes_max = match kind {
        "Event" => state.settings.event_bytes_max,
        "RequestResponse" | "DryRun" => state.settings.request_bytes_max,
        other => return Err(Refusal::invalid(format!("Unknown invocation type {other}"))),
    };
    if payload.len() > bytes_max {
        return Err(Refusal::too_large(format!(
            "Request must be smaller than {bytes_max} bytes for the InvokeFunction operation"
        )));
    }
    let payload = if payload.is_empty() {
        Bytes::from_static(b"{}")
    } else {
        payload
    };
    if let Err(error) = serde_json::from_slice::<serde::de::IgnoredAny>(&payload) {
        let message = format!("Could not parse request body into json: {error}");
        return Err(Refusal::new(400, "InvalidRequestContentException", message));
    }
    let arn = state.settings.function_arn(name);
    let Some(function) = state.functions.get(name) else {
        return Err(Refusal::not_found(format!("Function not found: {arn}")));
    };
    if !function.is_active() {
        return Err(Refusal::conflict(format!(
            "The operation cannot be performed at this time. The function is currently in the following \
             state: Pending ({arn})"
        )));
    }
    state.requests += 1;
    let now = Instant::now();
    Ok(Event {
        // The form of a UUID; its last group counts.
        id: format!("00000000-0000-4000-8000-{:012x}", state.requests),
        function: name.to_owned(),
        payload,
        client_context: client_context.map(str::to_owned),
        asynchronous: kind == "Event",
        duplicate: false,
        attempt: 0,
        arrived: now,
        due: now,
    })
}

fn permit(service: &Arc<Service>, event: &Event) -> Result<Permit, Refusal> {
    let mut state = service.lock();
    let missing = || Refusal::not_found("Function not found");
    let function = state.functions.get(&event.function).ok_or_else(missing)?;
    if let Err(reason) = state.has_room(function) {
        state.counts.throttled += 1;
        let refusal = Refusal::new(429, "TooManyRequestsException", "Rate Exceeded.");
        return Err(refusal.with(json!({ "Reason": reason })));
    }
    *state.running.entry(event.function.clone()).or_default() += 1;
    Ok(Permit {
        service: service.clone(),
        function: event.function.clone(),
    })
}

/// Queues an event that was accepted, twice where a fault says so.
fn enqueue(service: &Arc<Service>, event: Event) -> Result<(), Refusal> {
    {
        let mut state = service.lock();
        if state.queue.len() >= QUEUE_MAX {
            state.counts.throttled += 1;
            return Err(Refusal::new(
                429,
                "TooManyRequestsException",
                "Rate Exceeded.",
            ));
        }
        let ordinal = state.counts.accepted;
        state.counts.accepted += 1;
        state.queue.push_back(event.clone());
        if state.settings.faults.duplicates(ordinal) {
            state.counts.duplicated += 1;
            let duplicate = true;
            state.queue.push_back(Event {
                duplicate,
                ..event.clone()
            });
        }
    }
    wake_later(service, &event);
    pump(service);
    Ok(())
}

/// Looks at the queue again when the event is due, when its function is active and when it is too old.
fn wake_later(service: &Arc<Service>, event: &Event) {
    let (active_in, age_max) = match service.lock().functions.get(&event.function) {
        Some(function) => (function.active_in(), function.event_age_max()),
        None => return,
    };
    let now = Instant::now();
    let moments = [now + active_in, event.due, event.arrived + age_max];
    for moment in moments.into_iter().filter(|moment| *moment > now) {
        let weak = Arc::downgrade(service);
        service.runtime.spawn(async move {
            tokio::time::sleep_until((moment + Duration::from_millis(1)).into()).await;
            if let Some(service) = weak.upgrade() {
                pump(&service);
            }
        });
    }
}

/// Starts every queued event that may run now, and drops those that are too old.
pub(crate) fn pump(service: &Arc<Service>) {
    let mut started = Vec::new();
    {
        let mut state = service.lock();
        if state.closed {
            return;
        }
        let now = Instant::now();
        for event in std::mem::take(&mut state.queue) {
            let Some(function) = state.functions.get(&event.function) else {
                continue;
            };
            if now.duration_since(event.arrived) > function.event_age_max() {
                state.counts.dropped_by_age += 1;
            } else if event.due > now || !function.is_active() || state.has_room(function).is_err()
            {
                state.queue.push_back(event);
            } else {
                *state.running.entry(event.function.clone()).or_default() += 1;
                started.push(event);
            }
        }
    }
    for event in started {
        let permit = Permit {
            service: service.clone(),
            function: event.function.clone(),
        };
        service.runtime.spawn(execute(permit, event, None));
    }
}

/// Executes an event on a warm instance or a new one, records it, and answers: last, so that who calls again at
/// once finds the instance warm and its place free.
async fn execute(permit: Permit, event: Event, caller: Option<oneshot::Sender<Answer>>) {
    let service = permit.service.clone();
    let Some(mut run) = Run::new(&service, event) else {
        return;
    };
    match run.instance().await {
        Ok(instance) => run.on(instance).await,
        Err((kind, message)) => run.fail(kind, &message, "init", None),
    }
    let answer = run.finish();
    drop(permit);
    if let (Some(caller), Some(answer)) = (caller, answer) {
        // A caller that has gone away misses it.
        let _ = caller.send(answer);
    }
}

/// One execution.
struct Run {
    service: Arc<Service>,
    event: Event,
    function: Function,
    answer: Option<Answer>,
    record: Execution,
}

impl Run {
    /// None where the function is gone or the emulator ends.
    fn new(service: &Arc<Service>, event: Event) -> Option<Self> {
        let mut state = service.lock();
        let function = state
            .functions
            .get(&event.function)
            .filter(|_| !state.closed)?
            .clone();
        let kind = if event.asynchronous {
            "Event"
        } else {
            "RequestResponse"
        };
        let record = Execution {
            ordinal: state.executions,
            request_id: event.id.clone(),
            function: event.function.clone(),
            kind: kind.to_owned(),
            attempt: event.attempt,
            duplicate: event.duplicate,
            queued_ms: millis(event.arrived.elapsed()),
            memory_mb: function.config.memory_mb,
            outcome: "ok".to_owned(),
            ..Execution::default()
        };
        state.executions += 1;
        Some(Self {
            service: service.clone(),
            event,
            function,
            answer: None,
            record,
        })
    }

    /// The instance used last that is warm, or a new one that has asked for its first event.
    async fn instance(&mut self) -> Result<Instance, (&'static str, String)> {
        if let Some(warm) = self.warm_instance() {
            self.record.instance = Some(warm.id);
            return Ok(warm);
        }
        self.record.cold = true;
        let began = Instant::now();
        let started = self.start().await;
        self.record.init_ms = millis(began.elapsed());
        started
    }

    fn warm_instance(&self) -> Option<Instance> {
        let mut state = self.service.lock();
        let fits = |instance: &Instance| {
            instance.function == self.function.name && instance.revision == self.function.revision
        };
        loop {
            let place = state.warm.iter().rposition(fits)?;
            let instance = state.warm.remove(place);
            if instance.is_waiting() {
                return Some(instance);
            }
            state.living.remove(&instance.id);
        }
    }

    async fn start(&mut self) -> Result<Instance, (&'static str, String)> {
        let (launch, timeout, delay_ms, fails) = {
            let mut state = self.service.lock();
            let id = state.instances;
            state.instances += 1;
            let settings = &state.settings;
            let launch = Launch {
                id,
                function: self.function.name.clone(),
                revision: self.function.revision,
                code: self.function.code.clone(),
                folder: self.service.instance_folder(id),
                environment: instance::environment(&self.function, settings),
                descriptors: settings.descriptors,
                response_bytes_max: settings.request_bytes_max,
            };
            let fails = settings.faults.init_fails(id);
            (
                launch,
                settings.init_timeout_ms,
                settings.faults.cold_start_ms,
                fails,
            )
        };
        self.record.instance = Some(launch.id);
        tokio::time::sleep(Duration::from_millis(delay_ms)).await;
        if fails {
            let what = "Error: Runtime exited with error: exit status 1";
            return Err(("Runtime.ExitError", what.to_owned()));
        }
        let mut instance = Instance::start(launch, &self.service.guard).await?;
        self.register(&instance)?;
        let ready = tokio::time::timeout(Duration::from_millis(timeout), instance.signals.recv());
        match ready.await {
            Ok(Some(Signal::Ready(ready))) => {
                instance.ready = Some(ready);
                Ok(instance)
            }
            Ok(Some(Signal::InitError(body))) => {
                self.lost(instance);
                Err((
                    "Runtime.InitError",
                    String::from_utf8_lossy(&body).into_owned(),
                ))
            }
            Ok(Some(Signal::Ended(how))) => {
                self.lost(instance);
                Err((
                    "Runtime.ExitError",
                    format!("Error: Runtime exited with error: {how}"),
                ))
            }
            Ok(_) => {
                self.lost(instance);
                Err((
                    "Runtime.ProtocolError",
                    "Error: an answer before any event".to_owned(),
                ))
            }
            Err(_) => {
                self.lost(instance);
                let what = format!("Error: initialisation took longer than {timeout} ms");
                Err(("Sandbox.Timedout", what))
            }
        }
    }

    fn register(&self, instance: &Instance) -> Result<(), (&'static str, String)> {
        let mut state = self.service.lock();
        if state.closed {
            return Err(("ServiceException", "the emulator ends".to_owned()));
        }
        let living = Living {
            function: instance.function.clone(),
            process: instance.process(),
            log: instance.log.clone(),
            served: 0,
        };
        state.living.insert(instance.id, living);
        Ok(())
    }

    /// Gives the event to an instance and sees it through. The instance is warm or gone afterwards.
    async fn on(&mut self, mut instance: Instance) {
        let timeout = Duration::from_secs(self.function.config.timeout_s.into());
        let began = Instant::now();
        self.record.started_ms = epoch_ms(Duration::ZERO);
        let (work, crash_ms) = {
            let mut state = self.service.lock();
            if let Some(living) = state.living.get_mut(&instance.id) {
                living.served += 1;
            }
            (
                self.work(&state, timeout),
                state.settings.faults.crash_ms(self.record.ordinal),
            )
        };
        instance
            .log
            .write(format!("START RequestId: {} Version: $LATEST\n", self.event.id).as_bytes());
        instance.deliver(work);
        let crash = async {
            match crash_ms {
                Some(after) => tokio::time::sleep(Duration::from_millis(after)).await,
                None => std::future::pending().await,
            }
        };
        let process = instance.process();
        let outcome = {
            let follow = self.follow(&mut instance);
            tokio::pin!(follow, crash);
            let deadline = tokio::time::sleep_until((began + timeout).into());
            tokio::pin!(deadline);
            let mut crashed = false;
            loop {
                tokio::select! {
                    followed = &mut follow => break Some(followed),
                    () = &mut crash, if !crashed => {
                        crashed = true;
                        process.signal(Kill::KILL);
                    }
                    () = &mut deadline => break None,
                }
            }
        };
        self.record.duration_ms = millis(began.elapsed());
        self.record.memory_used_mb = process.memory_used_mb();
        match outcome {
            Some(true) => self.keep(instance),
            Some(false) => self.lost(instance),
            None => {
                let text = format!(
                    "Error: Task timed out after {:.2} seconds",
                    timeout.as_secs_f64()
                );
                self.fail("Sandbox.Timedout", &text, "timeout", Some(&instance));
                self.lost(instance);
            }
        }
    }

    fn work(&self, state: &State, timeout: Duration) -> Work {
        Work {
            id: self.event.id.clone(),
            deadline_ms: epoch_ms(timeout),
            arn: state.settings.function_arn(&self.function.name),
            trace: format!(
                "Root=1-{:08x}-{:024x};Sampled=0",
                epoch_ms(Duration::ZERO) / 1_000,
                self.record.ordinal
            ),
            client_context: self.event.client_context.clone(),
            payload: self.event.payload.clone(),
        }
    }

    /// Listens to an instance until it asks for the next event (true) or ends (false).
    async fn follow(&mut self, instance: &mut Instance) -> bool {
        loop {
            let signal = instance.signals.recv().await;
            let log = instance.log.tail(LOG_BYTES_MAX);
            match signal {
                Some(Signal::Response(id, body, taken)) => {
                    let awaited = id == self.event.id && self.answer.is_none();
                    let _ = taken.send(awaited);
                    match body {
                        _ if !awaited => {}
                        Ok(payload) => self.reply(false, payload, log),
                        Err(BodyError::TooLarge) => {
                            let text = "Error: Response payload size exceeded maximum allowed payload size";
                            self.fail(
                                "Function.ResponseSizeTooLarge",
                                text,
                                "error",
                                Some(instance),
                            );
                        }
                        Err(BodyError::Broken) => {
                            self.fail(
                                "Runtime.Truncated",
                                "Error: half a response",
                                "error",
                                Some(instance),
                            );
                        }
                    }
                }
                Some(Signal::Error(id, body, taken)) => {
                    let awaited = id == self.event.id && self.answer.is_none();
                    let _ = taken.send(awaited);
                    if awaited {
                        self.record.outcome = "error".to_owned();
                        self.record.error = String::from_utf8_lossy(&body).into_owned();
                        self.reply(true, body, log);
                    }
                }
                Some(Signal::Ready(ready)) => {
                    instance.ready = Some(ready);
                    let text = "Error: asked for an event before it answered the last";
                    self.fail("Runtime.ProtocolError", text, "error", Some(instance));
                    return true;
                }
                Some(Signal::InitError(_)) => {}
                Some(Signal::Ended(how)) => {
                    let text = format!("Error: Runtime exited with error: {how}");
                    self.fail("Runtime.ExitError", &text, "exited", Some(instance));
                    return false;
                }
                None => return false,
            }
        }
    }

    /// The function failed in a way that the service words.
    fn fail(&mut self, kind: &str, text: &str, outcome: &str, instance: Option<&Instance>) {
        // An event that was answered has succeeded, whatever its instance did then.
        if self.answer.is_some() {
            return;
        }
        self.record.outcome = outcome.to_owned();
        self.record.error = format!("{kind}: {text}");
        let message = format!("RequestId: {} {text}", self.event.id);
        let log = instance.map(|instance| {
            instance.log.write(format!("{message}\n").as_bytes());
            instance.log.tail(LOG_BYTES_MAX)
        });
        let body = json!({ "errorType": kind, "errorMessage": message });
        self.reply(true, Bytes::from(body.to_string()), log.unwrap_or_default());
    }

    fn reply(&mut self, failed: bool, payload: Bytes, log: Vec<u8>) {
        self.answer = Some(Answer {
            failed,
            payload,
            log,
        });
    }

    /// Freezes an instance and keeps it for the next event.
    fn keep(&self, mut instance: Instance) {
        instance.freeze();
        let mut state = self.service.lock();
        let current = state.functions.get(&instance.function).map(|f| f.revision);
        if state.closed || current != Some(instance.revision) {
            drop(state);
            return self.lost(instance);
        }
        let (id, idle_ms) = (instance.id, state.settings.idle_ms);
        state.warm.push(instance);
        drop(state);
        reap_later(&self.service, id, Duration::from_millis(idle_ms));
    }

    fn lost(&self, instance: Instance) {
        self.service.lock().living.remove(&instance.id);
        drop(instance);
    }

    /// Writes the record, and queues the event again where it failed and may be retried.
    fn finish(mut self) -> Option<Answer> {
        let succeeded = self.record.outcome == "ok";
        self.record.billed_ms = self.record.init_ms + self.record.duration_ms;
        let event = self.event;
        let mut state = self.service.lock();
        if state.records.len() == RECORDS_MAX {
            state.records.pop_front();
        }
        state.records.push_back(self.record);
        if succeeded || !event.asynchronous || state.closed {
            return self.answer;
        }
        if event.attempt >= self.function.retries() {
            state.counts.dropped_by_failures += 1;
            return self.answer;
        }
        let delays = &state.settings.retry_delays_ms;
        let delay = delays
            .get(event.attempt as usize)
            .or(delays.last())
            .copied()
            .unwrap_or(0);
        let again = Event {
            attempt: event.attempt + 1,
            due: Instant::now() + Duration::from_millis(delay),
            ..event
        };
        state.queue.push_back(again.clone());
        drop(state);
        wake_later(&self.service, &again);
        self.answer
    }
}

/// Ends a warm instance once it has been idle for long.
fn reap_later(service: &Arc<Service>, id: u64, idle_max: Duration) {
    let weak = Arc::downgrade(service);
    service.runtime.spawn(async move {
        tokio::time::sleep(idle_max).await;
        let Some(service) = weak.upgrade() else {
            return;
        };
        let mut state = service.lock();
        let idle =
            |instance: &Instance| instance.id == id && instance::idle_for(instance) >= idle_max;
        if let Some(place) = state.warm.iter().position(idle) {
            let instance = state.warm.remove(place);
            state.living.remove(&instance.id);
        }
    });
}

fn millis(duration: Duration) -> u64 {
    // Rounded up, as billing does.
    u64::try_from(duration.as_micros().div_ceil(1_000)).unwrap_or(u64::MAX)
}

/// Now, and a while later, in ms since 1970.
fn epoch_ms(later: Duration) -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    millis(since.unwrap_or_default() + later)
}
