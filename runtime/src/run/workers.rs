//! How workers come to a run: the engine that starts them, how soon, the token with which
//! they join by themselves, and the addresses at which they find the coordinator. Starts no worker itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use peerwren_transports::identity::Authority;
use peerwren_transports::quic::{Node, StunServer};

use super::store::RunStore;
use super::{Run, RunError};
use crate::actors::clock;
use crate::engine::lambda::Lambda;
use crate::engine::processes::Processes;
use crate::engine::threads::Threads;
use crate::engine::ticket::Ticket;
use crate::engine::volunteers::Volunteers;
use crate::engine::{Engine, OPEN, worker_executable};
use crate::machine::{WorkerId, scheduler};
use crate::options::{EngineKind, Resolved};
use crate::remote::token::{Token, TokenFile};

/// Where a worker on Lambda listens: whatever address its instance has.
const LISTEN_ON_LAMBDA: &str = "0.0.0.0:0";

impl Run {
    /// What starts the workers.
    pub(super) async fn engine(
        &self,
        node: &Node,
        store: &RunStore,
        block_bytes_max: usize,
    ) -> Result<Engine, RunError> {
        let coordinator = from_here(node.local_addr());
        match &self.options.engine {
            EngineKind::Threads => {
                let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
                let io_threads = cores.min(self.options.workers as usize);
                Ok(Engine::Threads(Threads::new(
                    coordinator,
                    self.options.control,
                    store.store.clone(),
                    self.kernels.clone(),
                    block_bytes_max,
                    io_threads,
                )))
            }
            EngineKind::Lambda(function) => {
                let mut coordinators = self.options.advertise.clone();
                coordinators.extend(crate::remote::addresses_of(node.local_addr()));
                let ticket = Ticket {
                    worker: WorkerId(0),
                    coordinators,
                    identity_pem: String::new(),
                    store: store.name(),
                    block_bytes_max: block_bytes_max as u64,
                    control: self.options.control,
                    listen: LISTEN_ON_LAMBDA.to_owned(),
                    log: tracing::level_filters::LevelFilter::current().to_string(),
                };
                let objects = store.store.objects(self.spec.run);
                let open = objects.put(OPEN, Vec::new()).await;
                open.map_err(|error| RunError::Usage(error.to_string()))?;
                let engine = Lambda::open(function, self.spec.run, ticket).await;
                let engine = engine.map_err(|error| RunError::Usage(error.to_string()))?;
                Ok(Engine::Lambda(Box::new(engine)))
            }
            EngineKind::Remote => Ok(Engine::Volunteers(Volunteers::new())),
            EngineKind::Processes => {
                let executable = worker_executable().map_err(RunError::Usage)?;
                let place = store.place.clone().ok_or_else(|| {
                    RunError::Usage(
                        "engine processes needs a store that processes share".to_owned(),
                    )
                })?;
                Ok(Engine::Processes(Processes::new(
                    executable,
                    coordinator,
                    self.options.control,
                    place,
                    // The last worker removes it, unless somebody may come back for it.
                    store.temporary.clone().filter(|_| self.saved.is_none()),
                    block_bytes_max as u64,
                )))
            }
        }
    }

    /// Writes the token that lets workers join, if they come by themselves.
    pub(super) fn write_token(
        &self,
        authority: &Authority,
        node: &Node,
        store: &RunStore,
    ) -> Result<Option<TokenFile>, RunError> {
        let Some(remote) = &self.options.remote else {
            return Ok(None);
        };
        let identity = authority.issue_guest(clock::wall(), remote.token_valid);
        let token = Token {
            identity: identity.map_err(|error| RunError::Failed(error.to_string()))?,
            coordinators: crate::remote::addresses_of(node.local_addr()),
            store: store.name(),
            control: self.options.control,
        };
        tracing::info!(address = %node.local_addr(), "listens");
        let written = token.write(&remote.token);
        written
            .map(Some)
            .map_err(|error| RunError::Usage(error.to_string()))
    }
}

/// How long a worker may take to join.
pub(super) fn start_timeout(options: &Resolved) -> Duration {
    match (&options.remote, &options.engine) {
        (Some(remote), _) => remote.start_timeout,
        (None, EngineKind::Lambda(_)) => Lambda::join_timeout(options.workers),
        (None, _) => scheduler::START_TIMEOUT,
    }
}

/// A second port that tells workers where they are seen from, beside the coordinator's own: what a NAT
/// does shows there. Best the next one, so that a firewall can let both in; not needed on one machine.
pub(super) async fn second_observer(beside: SocketAddr) -> Option<StunServer> {
    if beside.ip().is_loopback() {
        return None;
    }
    let next = SocketAddr::new(beside.ip(), beside.port().wrapping_add(1));
    let server = match StunServer::bind(next).await {
        Ok(server) => Ok(server),
        Err(_) => StunServer::bind(SocketAddr::new(beside.ip(), 0)).await,
    };
    server
        .inspect_err(|error| tracing::warn!(%error, "no second port: kinds of NATs stay unknown"))
        .ok()
}

/// Where this machine's own workers reach a socket that is bound to `address`.
fn from_here(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}
