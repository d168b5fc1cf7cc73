//! Whoever holds the run's token and asks to join: carries the question to the scheduler and the answer,
//! a certificate for the asker's own key, back. Decides nothing.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use actix::prelude::*;
use peerwren_transports::identity::check_public_key;
use tokio::time::timeout;

use super::clock;
use super::coordinator::Coordinator;
use super::link::{ControlReceiver, ControlSender, Link};
use super::provisioner::{Certify, Provisioner};
use crate::control::joining::{ECHO_BYTES_MAX, FromGuest, ToGuest};
use crate::control::{self, WorkerSettings};
use crate::machine::WorkerId;
use crate::machine::scheduler::Input;
use crate::options::CORES_MAX;

/// How long a guest may take for its next question.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(10);
/// Questions of one guest: to join, and echoes of 1 MiB for a few seconds at 10 Gbit/s.
const QUESTIONS_MAX: usize = 4_096;

/// What a worker must know of the run besides its own identity.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    /// Where the store is.
    pub(crate) store: String,
    /// Largest block of the plan.
    pub(crate) block_bytes_max: u64,
}

/// Somebody asks to be a worker; answered with its number and the terms, or why not.
#[derive(Message)]
#[rtype(result = "Result<(WorkerId, Terms), String>")]
pub(crate) struct Volunteer {
    version: String,
    cores: u32,
    memory_bytes: u64,
}

/// Which port of this host answers STUN.
#[derive(Message)]
#[rtype(result = "Option<u16>")]
struct StunPort;

/// Answers a guest until it goes.
pub(super) async fn serve_guest(
    link: Link,
    coordinator: Addr<Coordinator>,
    provisioner: Addr<Provisioner>,
) {
    let Link {
        mut sender,
        mut receiver,
        observed,
        ..
    } = link;
    for _ in 0..QUESTIONS_MAX {
        let Ok(Some(question)) = timeout(QUESTION_TIMEOUT, hear(&mut receiver)).await else {
            return;
        };
        tracing::debug!(?observed, "a guest asks");
        let answer = answer(question, observed, &coordinator, &provisioner).await;
        if tell(&mut sender, &answer).await.is_none() {
            return;
        }
    }
}

/// The answer to a guest's question; `observed` is where its packets come from, if it does not ask by mail.
pub(super) async fn answer(
    question: FromGuest,
    observed: Option<SocketAddr>,
    coordinator: &Addr<Coordinator>,
    provisioner: &Addr<Provisioner>,
) -> ToGuest {
    let (volunteer, public_key) = match question {
        FromGuest::Echo { bytes } if bytes.len() > ECHO_BYTES_MAX => {
            let reason = format!("an echo of more than {ECHO_BYTES_MAX} bytes");
            return ToGuest::Refused { reason };
        }
        FromGuest::Echo { bytes } => {
            return ToGuest::Echo {
                bytes,
                unix_ms: unix_ms(clock::wall()),
            };
        }
        FromGuest::Look => {
            return ToGuest::Seen {
                address: observed.map(|address| address.to_string()),
                stun_port: coordinator.send(StunPort).await.ok().flatten(),
            };
        }
        FromGuest::Join {
            version,
            public_key,
            cores,
            memory_bytes,
        } => {
            let volunteer = Volunteer {
                version,
                cores,
                memory_bytes,
            };
            (volunteer, public_key)
        }
    };
    let joined = join(volunteer, public_key, coordinator, provisioner).await;
    joined.unwrap_or_else(|reason| {
        tracing::warn!(reason, "a volunteer is turned away");
        ToGuest::Refused { reason }
    })
}

async fn join(
    volunteer: Volunteer,
    public_key: Vec<u8>,
    coordinator: &Addr<Coordinator>,
    provisioner: &Addr<Provisioner>,
) -> Result<ToGuest, String> {
    let over = |_| "the run is over".to_owned();
    // Before it takes a worker's place.
    check_public_key(&public_key).map_err(|error| error.to_string())?;
    let (worker, terms) = coordinator.send(volunteer).await.map_err(over)??;
    let certify = Certify { worker, public_key };
    let certificate = provisioner.send(certify).await.map_err(over)??;
    Ok(ToGuest::Joined {
        worker,
        certificate,
        store: terms.store,
        block_bytes_max: terms.block_bytes_max,
    })
}

async fn hear(receiver: &mut ControlReceiver) -> Option<FromGuest> {
    let bytes = receiver.recv().await.ok()??;
    control::decode(&bytes)
        .inspect_err(|error| tracing::warn!(%error, "a guest is cut off"))
        .ok()
}

async fn tell(sender: &mut ControlSender, answer: &ToGuest) -> Option<()> {
    let answer = [control::encode(answer)];
    timeout(QUESTION_TIMEOUT, sender.send(&answer))
        .await
        .ok()?
        .ok()
}

/// A time of day in milliseconds since 1970.
pub(crate) fn unix_ms(at: SystemTime) -> u64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}

impl Handler<StunPort> for Coordinator {
    type Result = Option<u16>;

    fn handle(&mut self, _: StunPort, _: &mut Self::Context) -> Self::Result {
        self.introductions.stun_port()
    }
}

impl Handler<Volunteer> for Coordinator {
    type Result = Result<(WorkerId, Terms), String>;

    fn handle(&mut self, volunteer: Volunteer, ctx: &mut Self::Context) -> Self::Result {
        let Volunteer {
            version,
            cores,
            memory_bytes,
        } = volunteer;
        let Some(terms) = self.terms.clone() else {
            return Err("this run starts its own workers".to_owned());
        };
        if let Some(objection) = super::coordinator::other_version(&version) {
            return Err(objection);
        }
        if cores == 0 || cores > CORES_MAX {
            return Err(format!("--cores is {cores}; expected 1 to {CORES_MAX}"));
        }
        self.plan
            .check_memory(cores, memory_bytes)
            .map_err(|error| error.to_string())?;
        self.admission = None;
        self.requests += 1;
        self.input(ctx, Input::Volunteered(self.requests, cores));
        let admitted = match self.admission.take() {
            Some((request, admitted)) if request == self.requests => admitted,
            _ => Err("the run is over".to_owned()),
        };
        let worker = admitted?;
        let settings = WorkerSettings {
            cores,
            memory_bytes,
            ..self.settings.clone()
        };
        self.granted.insert(worker, settings);
        Ok((worker, terms))
    }
}
