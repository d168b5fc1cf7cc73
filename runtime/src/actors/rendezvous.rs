//! The coordinator's rendezvous: hears where workers are and who wants a path to whom, and introduces
//! them. Drives [`crate::machine::rendezvous::Rendezvous`]; decides nothing.

use std::net::SocketAddr;

use peerwren_transports::punch::Secret;

use crate::control::{FromWorker, PathSecret, ToWorker};
use crate::machine::rendezvous::{Action, Input, Rendezvous};
use crate::machine::{Timestamp, WorkerId};

/// Introductions of one run.
#[derive(Debug, Default)]
pub(crate) struct Introductions {
    machine: Rendezvous,
    /// The port of this host that answers STUN, if one does.
    stun_port: Option<u16>,
}

impl Introductions {
    pub(crate) fn new(stun_port: Option<u16>) -> Self {
        Self {
            machine: Rendezvous::default(),
            stun_port,
        }
    }

    /// The port of this host that answers STUN, if one does.
    pub(super) fn stun_port(&self) -> Option<u16> {
        self.stun_port
    }

    /// A worker joined; `seen` is where its packets come from, if they come by UDP. Returns what to tell
    /// it.
    pub(crate) fn joined(
        &mut self,
        now: Timestamp,
        worker: WorkerId,
        addresses: Vec<String>,
        seen: Option<SocketAddr>,
    ) -> Option<ToWorker> {
        self.machine
            .handle_input(now, Input::Joined(worker, addresses));
        // On one machine nothing is to be found out.
        let seen = seen.filter(|addr| !addr.ip().to_canonical().is_loopback())?;
        let address = peerwren_transports::path::canonical(seen).to_string();
        self.machine
            .handle_input(now, Input::Seen(worker, address.clone()));
        let stun_port = self.stun_port;
        Some(ToWorker::Observed { address, stun_port })
    }

    pub(crate) fn left(&mut self, now: Timestamp, worker: WorkerId) {
        self.machine.handle_input(now, Input::Left(worker));
    }

    /// Hears what a worker says, if it is about paths; returns whom to tell what.
    pub(crate) fn hear(
        &mut self,
        now: Timestamp,
        worker: WorkerId,
        message: &FromWorker,
    ) -> Vec<(WorkerId, ToWorker)> {
        let input = match message {
            FromWorker::Moved { outside } => Input::Moved(worker, outside.clone()),
            FromWorker::WantPath { peer } => Input::Wanted(worker, *peer),
            _ => return Vec::new(),
        };
        self.machine.handle_input(now, input);
        let mut told = Vec::new();
        while let Some(Action::Introduce((one, first), (other, second))) =
            self.machine.poll_action()
        {
            tracing::debug!(%one, ?first, %other, ?second, "introduced");
            let secret = PathSecret(Secret::random().0);
            for (to, peer, reach) in [(one, other, second), (other, one, first)] {
                let secret = secret.clone();
                told.push((
                    to,
                    ToWorker::Introduce {
                        peer,
                        reach,
                        secret,
                    },
                ));
            }
        }
        if cfg!(debug_assertions) {
            self.machine.check_invariants();
        }
        told
    }
}
