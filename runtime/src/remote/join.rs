//! The life of a worker that nobody starts: asks to join, works, and asks again when the coordinator was
//! lost, for as long as it may wait.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::time::Duration;

use peerwren_kernels::op::KernelSet;
use peerwren_transports::identity::PendingIdentity;
use tokio::sync::oneshot;

use super::asking::{Asking, ask_by_mail};
use super::token::Token;
use crate::actors::clock::{self, Clock};
use crate::actors::worker::{Joining, WorkerError, work};
use crate::control::joining::{FromGuest, ToGuest};
use crate::engine::ticket::Ticket;
use crate::machine::{Timestamp, WorkerId};
use crate::options::ControlChoice;
use crate::run::{Interrupt, RunError};

/// Between two tries to reach a coordinator: doubled from the first to the last.
const RETRY: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// How a machine takes part in a run.
pub struct JoinRequest {
    /// Where the coordinator may listen, `host:port` each; what the token says when empty.
    pub coordinators: Vec<String>,
    /// The file of the run's token.
    pub token: PathBuf,
    /// Where this worker's socket is bound; any free port of every address when absent.
    pub listen: Option<SocketAddr>,
    /// Compute threads.
    pub cores: u32,
    /// Bytes that blocks and scratch may take.
    pub memory_bytes: u64,
    /// How long a coordinator is waited for: the first one, and one that was lost.
    pub orphan: Duration,
    /// What this worker can compute.
    pub kernels: KernelSet,
    /// Makes it leave.
    pub interrupt: Interrupt,
    /// Told what happens.
    pub told: Box<dyn FnMut(JoinEvent) + Send>,
}

/// What happens to a worker that joins by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum JoinEvent {
    /// It is a worker of the run.
    Joined {
        /// Its number.
        worker: u32,
        /// The run.
        run: u64,
    },
    /// It cannot reach the coordinator, or not any more, and goes on trying.
    Waiting {
        /// Why, in one sentence.
        reason: String,
    },
}

/// Joins a run and works until the run is over, this worker is to leave, or no coordinator is there.
///
/// # Errors
/// [`RunError::Usage`] where the token or an address cannot be used, [`RunError::Failed`] where the
/// coordinator refuses or is gone for good.
pub fn join(request: JoinRequest) -> Result<(), RunError> {
    let failed = |error: &dyn std::fmt::Display| RunError::Failed(error.to_string());
    let thread = std::thread::Builder::new()
        .name("peerwren-worker".to_owned())
        .spawn(move || {
            let system = actix::System::with_tokio_rt(crate::run::runtime);
            system.block_on(Volunteer::new(request)?.live())
        });
    let thread = thread.map_err(|error| failed(&error))?;
    thread.join().unwrap_or_else(|_| {
        Err(RunError::Failed(
            "the worker's thread panicked, which is a defect of peerwren; see the lines above"
                .to_owned(),
        ))
    })
}

struct Volunteer {
    request: JoinRequest,
    token: Token,
    listen: SocketAddr,
    clock: Clock,
}

/// Why a worker's time with a coordinator ended.
enum Ended {
    /// It was told to stop, or to leave.
    Well,
    /// Another try may do better; whether it had joined.
    Lost(String, bool),
    /// No other try will.
    ForGood(String),
}

impl Volunteer {
    fn new(request: JoinRequest) -> Result<Self, RunError> {
        let usage = |error: &dyn std::fmt::Display| RunError::Usage(error.to_string());
        let token = Token::read(&request.token, clock::wall()).map_err(|error| usage(&error))?;
        let mut request = request;
        if request.coordinators.is_empty() {
            request.coordinators.clone_from(&token.coordinators);
        }
        if request.coordinators.is_empty() && token.control == ControlChoice::Quic {
            return Err(RunError::Usage(
                "the token names no coordinator: say where it listens with --join HOST:PORT"
                    .to_owned(),
            ));
        }
        Ok(Self {
            listen: request.listen.unwrap_or_else(listen_anywhere),
            request,
            token,
            clock: Clock::start(),
        })
    }

    async fn live(mut self) -> Result<(), RunError> {
        let mut alone_since = Timestamp::default();
        let mut pause = RETRY.0;
        loop {
            let interrupt = self.request.interrupt.clone();
            let reason = match self.serve().await {
                Ended::Well => return Ok(()),
                Ended::ForGood(reason) => return Err(RunError::Failed(reason)),
                Ended::Lost(reason, joined) => {
                    if joined {
                        alone_since = self.clock.now();
                        pause = RETRY.0;
                    }
                    reason
                }
            };
            let orphan = self.request.orphan;
            if self.clock.now() >= alone_since.after(orphan) {
                let waited = orphan.as_secs();
                return Err(RunError::Failed(format!(
                    "{reason}; no coordinator has come back in {waited} s"
                )));
            }
            (self.request.told)(JoinEvent::Waiting { reason });
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = interrupt.wait() => return Ok(()),
            }
            pause = (2 * pause).min(RETRY.1);
        }
    }

    /// Asks once, and works if it may.
    async fn serve(&mut self) -> Ended {
        let interrupt = self.request.interrupt.clone();
        let asked = tokio::select! {
            asked = self.ask() => asked,
            () = interrupt.wait() => return Ended::Well,
        };
        let joining = match asked {
            Ok(joining) => joining,
            Err(ended) => return ended,
        };
        let (cancel, cancelled) = oneshot::channel();
        let waiting = actix::spawn(async move {
            interrupt.wait().await;
            // The worker may have ended by itself.
            let _ = cancel.send(());
        });
        let worked = work(joining, cancelled).await;
        waiting.abort();
        match worked {
            Ok(()) => Ended::Well,
            Err(error @ WorkerError::CoordinatorGone) => Ended::Lost(error.to_string(), true),
            Err(error @ WorkerError::Dial { .. }) => Ended::Lost(error.to_string(), false),
            Err(error) => Ended::ForGood(error.to_string()),
        }
    }

    /// Asks the coordinator for a certificate and the run's terms.
    async fn ask(&mut self) -> Result<Joining, Ended> {
        let ended = |error: WorkerError| match error {
            WorkerError::Dial { .. } | WorkerError::CoordinatorGone => {
                Ended::Lost(error.to_string(), false)
            }
            WorkerError::Refused { addresses, error } => Ended::ForGood(format!(
                "the coordinator at {addresses} does not take the token {}: {error}; is it the token of \
                 that run?",
                self.request.token.display()
            )),
            error => Ended::ForGood(error.to_string()),
        };
        let broken = |error: &dyn std::fmt::Display| Ended::ForGood(error.to_string());
        let guest = &self.token.identity;
        let key = PendingIdentity::of(guest).map_err(|error| broken(&error))?;
        let coordinators = &self.request.coordinators;
        let question = FromGuest::Join {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            public_key: key.public_key().to_vec(),
            cores: self.request.cores,
            memory_bytes: self.request.memory_bytes,
        };
        let (answer, control) = self.answer(&key, &question).await.map_err(ended)?;
        match answer {
            ToGuest::Joined {
                worker,
                certificate,
                store,
                block_bytes_max,
            } => {
                let identity = key.complete(&certificate, clock::wall());
                let identity = identity.map_err(|error| broken(&error))?;
                let ticket = Ticket {
                    worker,
                    coordinators: coordinators.clone(),
                    identity_pem: identity.to_pem(),
                    store,
                    block_bytes_max,
                    listen: self.listen.to_string(),
                    control,
                    log: tracing::level_filters::LevelFilter::current().to_string(),
                };
                let joining = ticket
                    .joining(self.request.kernels.clone())
                    .await
                    .map_err(|error| broken(&error))?;
                self.tell_joined(worker);
                Ok(joining)
            }
            ToGuest::Refused { reason } => Err(Ended::ForGood(format!(
                "the coordinator takes no more workers like this one: {reason}"
            ))),
            ToGuest::Echo { .. } | ToGuest::Seen { .. } => Err(Ended::ForGood(
                "the coordinator answers what was not asked".to_owned(),
            )),
        }
    }

    /// Asks in the ways that may be tried: the answer, and the ways that are worth a try from now on.
    async fn answer(
        &self,
        key: &PendingIdentity,
        question: &FromGuest,
    ) -> Result<(ToGuest, ControlChoice), WorkerError> {
        let (guest, control) = (&self.token.identity, self.token.control);
        if control != ControlChoice::Store {
            let coordinators = &self.request.coordinators;
            match Asking::open(guest, coordinators, self.listen).await {
                Ok(mut asking) => {
                    let answer = asking.ask(question).await;
                    asking.close().await;
                    return Ok((answer?, control));
                }
                Err(error @ WorkerError::Dial { .. }) if control == ControlChoice::Auto => {
                    tracing::info!(%error, "asks through the store instead");
                }
                Err(error) => return Err(error),
            }
        }
        let mut number = [0; 8];
        // The end of a point of a curve: as good as drawn.
        let public = key.public_key();
        number.copy_from_slice(&public[public.len() - 8..]);
        let answer = ask_by_mail(&self.token, u64::from_le_bytes(number), question).await?;
        Ok((answer, ControlChoice::Store))
    }

    fn tell_joined(&mut self, worker: WorkerId) {
        let run = self.token.identity.run();
        (self.request.told)(JoinEvent::Joined {
            worker: worker.0,
            run,
        });
    }
}

/// Every address of this machine, of both kinds where it has both.
pub(crate) fn listen_anywhere() -> SocketAddr {
    let both = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
    match UdpSocket::bind(both) {
        Ok(_) => both,
        Err(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
    }
}
