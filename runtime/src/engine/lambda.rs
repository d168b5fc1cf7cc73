//! Workers as invocations of a Lambda function. An Event is queued, may come late, twice or never: so each
//! carries the number of one worker and an expiry, the coordinator takes each number once, and a worker
//! that does not join is given up by the scheduler, which asks for another. Nothing here can end an
//! invocation: a worker ends when it is told to, when its link is cut, and before its time-out.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::hash::{BuildHasher, Hasher};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_sdk_lambda::Client;
use aws_sdk_lambda::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_lambda::operation::invoke::InvokeError;
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::InvocationType;
use peerwren_transports::identity::NodeIdentity;
use tokio::sync::{oneshot, watch};

use super::invitation::Invitation;
use super::ticket::Ticket;
use super::{Ended, Watched};
use crate::actors::clock::{self, Clock};
use crate::cloud::{CloudError, Facts, Functions};
use crate::machine::{Timestamp, WorkerId};
use crate::prices::{Fleet, InstanceKind, Usage};

/// How long an invoked worker may take to join: a cold start takes a second or two, a queued event waits
/// for an instance. After it the slot is invoked again.
const JOIN_TIMEOUT: Duration = Duration::from_secs(30);
/// Lambda starts 1,000 instances of a function in 10 s, whatever it is asked for.
const STARTS_MAX: usize = 1_000;
const STARTS_EVERY: Duration = Duration::from_secs(10);
/// Tries of one invocation. The pauses between them are half to all of 0.25, 0.5, .. 8 s: 16 s at most,
/// and each try is the SDK's own three.
const TRIES: u32 = 7;
const PAUSE_FIRST: Duration = Duration::from_millis(250);
/// How long workers that were told to stop may take to go.
const GRACE: Duration = Duration::from_secs(5);
/// Storage of an instance that costs nothing, which a function has unless it asks for more.
const STORAGE_MB: u32 = 512;

/// The engine `lambda:NAME`.
pub(crate) struct Lambda {
    client: Client,
    function: String,
    run: u64,
    /// What all workers are told; number and identity are each one's own.
    ticket: Ticket,
    clock: Clock,
    /// When the last [`STARTS_MAX`] were to start.
    starts: VecDeque<Timestamp>,
    running: watch::Sender<BTreeMap<WorkerId, oneshot::Sender<()>>>,
    meter: Meter,
}

/// What came of asking for a worker.
enum Refusal {
    /// Another may be had.
    Later(String),
    /// None ever.
    Never(String),
}

impl Lambda {
    /// Looks at the function, and refuses one that workers cannot run in.
    pub(crate) async fn open(function: &str, run: u64, ticket: Ticket) -> Result<Self, CloudError> {
        let functions = Functions::open().await?;
        let facts = functions.facts(function).await?;
        facts.check()?;
        Ok(Self {
            client: functions.client().clone(),
            function: function.to_owned(),
            run,
            ticket,
            clock: Clock::start(),
            starts: VecDeque::new(),
            running: watch::Sender::new(BTreeMap::new()),
            meter: Meter::new(&facts),
        })
    }

    /// How long a worker may take until it has joined, where so many are wanted at once.
    pub(crate) fn join_timeout(workers: u32) -> Duration {
        let batches = u32::try_from(workers as usize / STARTS_MAX).unwrap_or(u32::MAX);
        JOIN_TIMEOUT + STARTS_EVERY * batches
    }

    /// What is billed.
    pub(crate) fn meter(&self) -> Meter {
        self.meter.clone()
    }

    pub(crate) fn start(
        &mut self,
        worker: WorkerId,
        identity: &NodeIdentity,
    ) -> Result<Watched, String> {
        let wait = self.turn();
        let ticket = Ticket {
            worker,
            identity_pem: identity.to_pem(),
            ..self.ticket.clone()
        };
        let expires = clock::wall() + wait + JOIN_TIMEOUT;
        let invitation = Invitation::new(self.run, &ticket, expires);
        let payload = Blob::new(invitation.to_json()?);
        let (over, told) = oneshot::channel();
        let (ended, watched) = oneshot::channel();
        self.running.send_modify(|running| {
            running.insert(worker, over);
        });
        let (client, function) = (self.client.clone(), self.function.clone());
        let (meter, clock) = (self.meter.clone(), self.clock);
        actix::spawn(async move {
            let invoked = async {
                tokio::time::sleep(wait).await;
                invoke(&client, &function, payload, worker).await
            };
            let mut told = told;
            let ending = tokio::select! {
                invoked = invoked => Some(invoked),
                _ = &mut told => None,
            };
            let ending: Ended = match ending {
                Some(Ok(())) => {
                    tracing::debug!(%worker, "invoked");
                    meter.began(worker, clock.now());
                    // However the news comes that it is gone.
                    let _ = told.await;
                    meter.ended(worker, clock.now());
                    Ok(())
                }
                Some(Err(Refusal::Never(reason))) => Err(reason),
                Some(Err(Refusal::Later(reason))) => {
                    tracing::warn!(%worker, reason, "was not invoked");
                    Ok(())
                }
                None => Ok(()),
            };
            // Nobody listens any more once the run is over.
            let _ = ended.send(ending);
        });
        Ok(watched)
    }

    /// How long the next start has to wait, so that no more than are possible start at a time.
    fn turn(&mut self) -> Duration {
        let now = self.clock.now();
        let at = if self.starts.len() < STARTS_MAX {
            now
        } else {
            let first = self.starts.pop_front().unwrap_or(now);
            now.max(first.after(STARTS_EVERY))
        };
        self.starts.push_back(at);
        at.since(now)
    }

    /// A worker is gone, or given up.
    pub(crate) fn end(&mut self, worker: WorkerId) {
        self.running
            .send_if_modified(|running| running.remove(&worker).is_some());
    }

    /// Waits a moment for all to go: each reads what it was told before its link is cut.
    pub(crate) fn end_all(&mut self, at_once: bool) -> impl Future<Output = ()> + 'static {
        let mut here = self.running.subscribe();
        let running = self.running.clone();
        async move {
            let grace = if at_once { Duration::ZERO } else { GRACE };
            let gone = here.wait_for(BTreeMap::is_empty);
            // Whoever stays longer finds nobody to talk to any more.
            let _ = tokio::time::timeout(grace, gone).await;
            running.send_modify(BTreeMap::clear);
        }
    }
}

/// Queues an event for one worker; what is throttled is tried again.
async fn invoke(
    client: &Client,
    function: &str,
    payload: Blob,
    worker: WorkerId,
) -> Result<(), Refusal> {
    let mut pause = PAUSE_FIRST;
    for left in (0..TRIES).rev() {
        let sent = client
            .invoke()
            .function_name(function)
            .invocation_type(InvocationType::Event)
            .payload(payload.clone())
            .send()
            .await;
        let Err(error) = sent else { return Ok(()) };
        if !passes(&error) {
            let reason = CloudError::of("InvokeFunction", function, error).to_string();
            return Err(Refusal::Never(reason));
        }
        if left == 0 {
            let reason = CloudError::of("InvokeFunction", function, error).to_string();
            return Err(Refusal::Later(reason));
        }
        tracing::debug!(%worker, ?pause, "Lambda is busy; tried again");
        tokio::time::sleep(jittered(pause)).await;
        pause *= 2;
    }
    Ok(())
}

/// Whether another try may succeed: throttled, a fault of the service's, or the network's.
fn passes<R>(error: &SdkError<InvokeError, R>) -> bool {
    match error {
        SdkError::ServiceError(refused) => {
            let error = refused.err();
            let code = error.code().unwrap_or_default();
            error.is_too_many_requests_exception()
                || error.is_service_exception()
                || error.is_resource_not_ready_exception()
                || code.contains("Throttl")
                || code == "ServiceUnavailable"
        }
        SdkError::TimeoutError(_) | SdkError::DispatchFailure(_) | SdkError::ResponseError(_) => {
            true
        }
        _ => false,
    }
}

/// Half to all of a pause, so that thousands of starts do not come back at once.
fn jittered(pause: Duration) -> Duration {
    let random = std::hash::RandomState::new().build_hasher().finish();
    pause.mul_f64(0.5 + (random % 1_000) as f64 / 2e3)
}

/// Begin and end of an invocation.
type Span = (Timestamp, Option<Timestamp>);

/// What invocations are billed by: from the moment that Lambda took the event until the worker was gone.
#[derive(Clone)]
pub(crate) struct Meter {
    kind: InstanceKind,
    timeout_s: u32,
    spans: Arc<Mutex<BTreeMap<WorkerId, Span>>>,
    clock: Clock,
}

impl Meter {
    fn new(facts: &Facts) -> Self {
        Self {
            kind: InstanceKind {
                memory_mb: facts.memory_mb,
                storage_mb: STORAGE_MB,
                arm: facts.architecture == "arm64",
            },
            timeout_s: facts.timeout_s,
            spans: Arc::default(),
            clock: Clock::start(),
        }
    }

    /// Such workers, at the speeds that are assumed before any is measured.
    pub(crate) fn fleet(&self, workers: u32, cores: u32) -> Fleet {
        Fleet {
            workers,
            cores,
            kind: self.kind,
            timeout_s: self.timeout_s.into(),
            gflops: Fleet::GFLOPS_ASSUMED,
            bytes_s: Fleet::BYTES_S_ASSUMED,
            startup_s: Fleet::STARTUP_S_ASSUMED,
        }
    }

    fn began(&self, worker: WorkerId, now: Timestamp) {
        let mut spans = self.spans.lock().unwrap_or_else(PoisonError::into_inner);
        spans.insert(worker, (now, None));
    }

    fn ended(&self, worker: WorkerId, now: Timestamp) {
        let mut spans = self.spans.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, end)) = spans.get_mut(&worker) {
            *end = Some(now);
        }
    }

    /// All that was used until now.
    pub(crate) fn used(&self) -> Usage {
        let now = self.clock.now();
        let mut usage = Usage::default();
        let spans = self.spans.lock().unwrap_or_else(PoisonError::into_inner);
        for (began, ended) in spans.values() {
            let span = ended.unwrap_or(now).since(*began);
            usage.add_invocation(self.kind, span.as_secs_f64());
        }
        usage
    }
}
