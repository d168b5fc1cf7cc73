//! A node: its socket, its loops, its life. What a stream carries is `client`'s and `server`'s.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, Endpoint, EndpointConfig, ServerConfig};
use rustls::pki_types::CertificateDer;
use tokio::sync::{Semaphore, mpsc};

use super::client::Asked;
use super::control::{ControlChannel, Incoming};
use super::error::{BindError, CloseCode, DialError, FetchError};
use super::handover::Door;
use super::limits::Limits;
use super::links::{Link, Links};
use super::paths::{self, PathEvent, Paths};
use super::server::{self, Serving};
use super::socket::{Aside, Socket};
use crate::block::{Block, BlockKey, BlockLen, Digest};
use crate::identity::{self, IdentityError, NodeId, NodeIdentity};
use crate::path::{Candidates, Mapping};
use crate::punch::{Input, Secret, Ways};
use crate::serving;

/// Where a node finds the blocks that it serves. Called on the node's own thread: must not wait.
pub trait BlockSource: Send + Sync {
    /// Returns the block, if it is here.
    fn get(&self, key: &BlockKey) -> Option<Block>;

    /// Learns that `peer` has received a block of `bytes` bytes, whole and right.
    fn served(&self, _peer: NodeId, _bytes: u64) {}
}

/// What the caller knows of a block before it comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Its length in bytes, or the most that it may be.
    pub len: BlockLen,
    /// Its digest; without one, what the peer announces.
    pub digest: Option<Digest>,
}

/// What a node has done and refused since it was bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeStats {
    /// Connections now.
    pub connections: u64,
    /// Blocks that peers received whole and right.
    pub served: u64,
    /// Their bytes.
    pub served_bytes: u64,
    /// Of the served blocks those that were handed over without the network.
    pub handed_over: u64,
    /// Requests for blocks that are not here.
    pub not_found: u64,
    /// Requests beyond the queue.
    pub busy: u64,
    /// Requests that were referred to a peer which has the block from here.
    pub referred: u64,
    /// Requests that wait for their turn now.
    pub waiting: u64,
    /// Blocks whose sending was given up: the peer stalled, cancelled, or found them wrong.
    pub unserved: u64,
    /// Requests for blocks of another run.
    pub foreign: u64,
    /// Streams that opened with something else than a request.
    pub malformed: u64,
    /// Connections refused in the handshake or right after it.
    pub strangers: u64,
}

/// The counters behind [`NodeStats`].
#[derive(Default)]
pub(super) struct Counters {
    pub(super) served: AtomicU64,
    pub(super) served_bytes: AtomicU64,
    pub(super) handed_over: AtomicU64,
    pub(super) not_found: AtomicU64,
    pub(super) busy: AtomicU64,
    pub(super) referred: AtomicU64,
    pub(super) unserved: AtomicU64,
    pub(super) foreign: AtomicU64,
    pub(super) malformed: AtomicU64,
    pub(super) strangers: AtomicU64,
}

pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// What a node's tasks share.
pub(super) struct Shared {
    pub(super) node: NodeId,
    pub(super) run: u64,
    pub(super) endpoint: Endpoint,
    pub(super) client: ClientConfig,
    pub(super) blocks: Arc<dyn BlockSource>,
    pub(super) limits: Limits,
    pub(super) serving: Serving,
    /// Where blocks are handed over to nodes of this host; none where that is not wanted or not possible.
    pub(super) door: Option<Door>,
    pub(super) incoming: mpsc::Sender<ControlChannel>,
    pub(super) counters: Counters,
    pub(super) handshakes: Arc<Semaphore>,
    pub(super) paths: Paths,
    links: Mutex<Links>,
}

impl Shared {
    pub(super) fn links(&self) -> MutexGuard<'_, Links> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A node of a run: one UDP socket that dials and is dialed. Cheap to clone; the last clone closes
/// the node.
#[derive(Clone)]
pub struct Node(Arc<Handle>);

struct Handle {
    shared: Arc<Shared>,
    local_addr: SocketAddr,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared
            .endpoint
            .close(CloseCode::Done.code(), CloseCode::Done.reason());
    }
}

impl Node {
    /// Binds a node to `addr` (port 0: any free port; `[::]`: IPv4 too) and starts to accept. Must be
    /// called inside a tokio runtime with time and I/O enabled, which the node's tasks then run on.
    pub fn bind(
        identity: &NodeIdentity,
        addr: SocketAddr,
        blocks: Arc<dyn BlockSource>,
        limits: Limits,
    ) -> Result<(Self, Incoming), BindError> {
        let transport = limits.transport()?;
        let mut client = ClientConfig::new(Arc::new(
            QuicClientConfig::try_from(identity.client_config()?).map_err(no_suite)?,
        ));
        client.transport_config(transport.clone());
        let mut server = ServerConfig::with_crypto(Arc::new(
            QuicServerConfig::try_from(identity.server_config()?).map_err(no_suite)?,
        ));
        server
            .transport_config(transport)
            // 64 KiB of each handshake that waits its turn.
            .max_incoming(4 * limits.handshakes_max)
            .incoming_buffer_size(64 << 10)
            .incoming_buffer_size_total(8 << 20);
        let (endpoint, socket, aside) = endpoint(addr, server, &limits)?;
        let failed = |source| BindError::Socket { addr, source };
        let local_addr = endpoint.local_addr().map_err(failed)?;
        let local = Candidates::of(local_addr, interfaces(local_addr).map_err(failed)?).local;
        let (incoming, channels) = mpsc::channel(limits.control_pending_max);
        let shared = Arc::new(Shared {
            node: identity.node(),
            run: identity.run(),
            endpoint,
            client,
            blocks,
            serving: Serving::new(&limits),
            door: limits.hand_over_bytes_min.and_then(|_| open_door()),
            incoming,
            counters: Counters::default(),
            handshakes: Arc::new(Semaphore::new(limits.handshakes_max)),
            paths: Paths::new(identity.node(), socket, local),
            links: Mutex::new(Links::new(limits.connections_max)),
            limits,
        });
        tokio::spawn(accept(shared.clone(), aside));
        Ok((
            Self(Arc::new(Handle { shared, local_addr })),
            Incoming(channels),
        ))
    }

    /// Returns who this node is.
    pub fn id(&self) -> NodeId {
        self.shared().node
    }

    /// Returns the address that the socket is bound to.
    pub fn local_addr(&self) -> SocketAddr {
        self.0.local_addr
    }

    /// Returns what this node has done so far.
    pub fn stats(&self) -> NodeStats {
        let counters = &self.shared().counters;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        NodeStats {
            connections: self.shared().links().len() as u64,
            served: read(&counters.served),
            served_bytes: read(&counters.served_bytes),
            handed_over: read(&counters.handed_over),
            not_found: read(&counters.not_found),
            busy: read(&counters.busy),
            referred: read(&counters.referred),
            waiting: self.shared().serving.waiting() as u64,
            unserved: read(&counters.unserved),
            foreign: read(&counters.foreign),
            malformed: read(&counters.malformed),
            strangers: read(&counters.strangers),
        }
    }

    /// Opens a control channel to `peer`, who must prove to be it.
    pub async fn dial_control(
        &self,
        addr: SocketAddr,
        peer: NodeId,
    ) -> Result<ControlChannel, DialError> {
        self.shared().dial_control(addr, peer).await
    }

    /// Opens a control channel to `peer` at the first of these addresses that answers as it; each is
    /// tried a moment after the one before.
    pub async fn dial_control_any(
        &self,
        addrs: &[SocketAddr],
        peer: NodeId,
    ) -> Result<ControlChannel, DialError> {
        self.shared().dial_control_any(addrs, peer).await
    }

    /// Fetches a block from `peer`, dialing it at `addr` if there is no connection. What is
    /// returned matches `expected`; without it, what the peer announced.
    ///
    /// A fetch that is dropped midway is cancelled at the peer.
    ///
    /// # Errors
    ///
    /// [`FetchError::Referred`] where the peer serves others and knows of another node that has the block;
    /// every other one where the block cannot be had there.
    pub async fn fetch(
        &self,
        peer: NodeId,
        addr: SocketAddr,
        key: BlockKey,
        expected: Option<Expected>,
    ) -> Result<Block, FetchError> {
        let route = Route::Address(addr);
        let asked = Asked {
            key,
            expected,
            in_vain: None,
        };
        self.shared().fetch(peer, route, asked).await
    }

    /// Fetches a block from `peer` as [`fetch`](Self::fetch) does, by whatever path there is: a
    /// connection that either side made, else one that is found now. Where both nodes are on loopback
    /// the peer is dialed at once; otherwise the coordinator is asked to introduce the two
    /// ([`PathEvent::Ask`]), which takes some round trips, or some seconds to fail.
    ///
    /// `in_vain` is the worker to which the peer referred this node when it was asked before, if that did
    /// not deliver: then the peer serves this node itself, and refers nobody there any more.
    ///
    /// # Errors
    ///
    /// [`FetchError::NoPath`] where none was found, at once if that was found out lately; and those of
    /// `fetch`.
    pub async fn fetch_by_path(
        &self,
        peer: NodeId,
        key: BlockKey,
        expected: Option<Expected>,
        in_vain: Option<NodeId>,
    ) -> Result<Block, FetchError> {
        let in_vain = in_vain.and_then(|node| match node {
            NodeId::Worker(number) => Some(number),
            NodeId::Coordinator | NodeId::Guest => None,
        });
        let asked = Asked {
            key,
            expected,
            in_vain,
        };
        self.shared().fetch(peer, Route::Path, asked).await
    }

    /// Learns where `peer` may be, before it is wanted.
    pub fn meet(&self, peer: NodeId, candidates: Candidates) {
        self.shared().path_input(Input::Known(peer, candidates));
    }

    /// Is introduced to `peer`, which is introduced to this node at the same time with the same
    /// secret: both look for a path now.
    pub fn introduce(&self, peer: NodeId, candidates: Candidates, secret: Secret) {
        self.shared().path_input(Input::Introduced {
            peer,
            candidates,
            secret,
        });
    }

    /// Learns that whoever listens at `observer` sees this node at `seen`.
    pub fn observed(&self, observer: SocketAddr, seen: SocketAddr) {
        self.shared().path_input(Input::Observed { observer, seen });
    }

    /// Asks a STUN server (RFC 8489) where it sees this node, and takes its word into account like
    /// [`observed`](Self::observed); `None` where it does not answer within 4 s.
    pub async fn ask_stun(&self, server: SocketAddr) -> Option<SocketAddr> {
        self.shared().stun(server).await
    }

    /// Returns the addresses by which others may reach this node.
    pub fn candidates(&self) -> Candidates {
        self.shared()
            .paths
            .read(|machine| machine.candidates().clone())
    }

    /// Returns what is known of the NAT before this node.
    pub fn mapping(&self) -> Mapping {
        self.shared().paths.read(crate::punch::Puncher::mapping)
    }

    /// Returns how many peers were reached in which way.
    pub fn ways(&self) -> Ways {
        self.shared().paths.read(crate::punch::Puncher::ways)
    }

    /// Returns what happens to this node's paths from now on, to the first who asks. Without anybody
    /// there is nobody to ask the coordinator for introductions.
    pub fn path_events(&self) -> Option<mpsc::Receiver<PathEvent>> {
        self.shared().paths.take_events()
    }

    /// Closes the connections with `peer`, which has left; what is being carried on them fails.
    pub fn forget(&self, peer: NodeId) {
        self.shared().path_input(Input::Gone(peer));
        self.shared().serving.input(serving::Input::PeerLeft(peer));
        let links = self.shared().links().remove_peer(peer);
        links.iter().for_each(|link| link.close(CloseCode::Done));
    }

    /// Closes the node and tells its peers, waiting no longer than `wait` for them to hear it.
    pub async fn close(&self, wait: Duration) {
        let endpoint = &self.shared().endpoint;
        endpoint.close(CloseCode::Done.code(), CloseCode::Done.reason());
        let _ = tokio::time::timeout(wait, endpoint.wait_idle()).await;
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.0.shared
    }
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Node({} at {})", self.shared().node, self.local_addr())
    }
}

fn open_door() -> Option<Door> {
    let opened = Door::open();
    if let Err(error) = &opened {
        tracing::debug!(%error, "no door: blocks go by QUIC");
    }
    opened.ok()
}

fn no_suite(_: quinn::crypto::rustls::NoInitialCipherSuite) -> BindError {
    BindError::Identity(IdentityError::Malformed(
        "no cipher suite for QUIC's first packets",
    ))
}

/// How a peer without a connection is reached.
#[derive(Clone, Copy)]
pub(super) enum Route {
    /// It is dialed there.
    Address(SocketAddr),
    /// A path is found.
    Path,
}

/// Addresses of this machine, where the socket takes more than one.
fn interfaces(bound: SocketAddr) -> std::io::Result<Vec<IpAddr>> {
    if !bound.ip().is_unspecified() {
        return Ok(Vec::new());
    }
    let interfaces = if_addrs::get_if_addrs()?;
    Ok(interfaces.iter().map(if_addrs::Interface::ip).collect())
}

/// Makes the socket, the endpoint on it, and the queue of what is not the endpoint's.
fn endpoint(
    addr: SocketAddr,
    server: ServerConfig,
    limits: &Limits,
) -> Result<(Endpoint, Arc<Socket>, mpsc::Receiver<Aside>), BindError> {
    let socket_error = |source| BindError::Socket { addr, source };
    let runtime = quinn::default_runtime().ok_or(BindError::NoRuntime)?;
    let domain = socket2::Domain::for_address(addr);
    let socket = socket2::Socket::new(domain, socket2::Type::DGRAM, Some(socket2::Protocol::UDP))
        .map_err(socket_error)?;
    // A wish: the system caps it, and a smaller buffer costs speed alone.
    let _ = socket.set_recv_buffer_size(limits.socket_buffer_bytes);
    let _ = socket.set_send_buffer_size(limits.socket_buffer_bytes);
    if addr.is_ipv6() {
        // `[::]` takes both kinds of addresses, where the system has both.
        let _ = socket.set_only_v6(false);
    }
    socket.bind(&addr.into()).map_err(socket_error)?;
    let mut config = EndpointConfig::default();
    // Probes of hole punching are told from QUIC packets by that bit.
    config.grease_quic_bit(false);
    config
        .max_udp_payload_size(limits.udp_payload_max)
        .map_err(|_| BindError::Limit("udp_payload_max"))?;
    let socket = runtime
        .wrap_udp_socket(socket.into())
        .map_err(socket_error)?;
    let (socket, aside) = Socket::new(socket, limits.udp_payload_max);
    let socket = Arc::new(socket);
    let endpoint =
        Endpoint::new_with_abstract_socket(config, Some(server), socket.clone(), runtime)
            .map_err(socket_error)?;
    Ok((endpoint, socket, aside))
}

/// Takes part in handshakes, and drops what is unused, until the endpoint is closed.
async fn accept(shared: Arc<Shared>, aside: mpsc::Receiver<Aside>) {
    let driving = tokio::spawn(paths::drive(shared.clone(), aside));
    let unused_timeout = shared.limits.unused_timeout;
    let mut ticks = tokio::time::interval((unused_timeout / 4).max(Duration::from_millis(10)));
    loop {
        tokio::select! {
            incoming = shared.endpoint.accept() => match incoming {
                Some(incoming) => take_part(&shared, incoming).await,
                None => break,
            },
            now = ticks.tick() => shared.links().drop_unused(now, unused_timeout),
        }
    }
    driving.abort();
}

/// Starts a handshake; waits first while there are as many as there may be, so that those beyond
/// the bound wait in quinn's own bounded queue.
async fn take_part(shared: &Arc<Shared>, incoming: quinn::Incoming) {
    if shared.handshakes.available_permits() < shared.limits.handshakes_max / 2
        && incoming.may_retry()
    {
        // Costs nothing here, and a forged source address never answers.
        let _ = incoming.retry();
        return;
    }
    let Ok(permit) = shared.handshakes.clone().acquire_owned().await else {
        return;
    };
    let shared = shared.clone();
    tokio::spawn(async move {
        let handshake = async { incoming.accept()?.await };
        let outcome = tokio::time::timeout(shared.limits.handshake_timeout, handshake).await;
        drop(permit);
        match outcome {
            Ok(Ok(conn)) => return welcome(shared, conn).await,
            Ok(Err(error)) => tracing::debug!(%error, "a handshake failed"),
            Err(_) => tracing::debug!("a handshake took too long"),
        }
        count(&shared.counters.strangers);
    });
}

/// Serves an accepted connection for as long as it lives.
async fn welcome(shared: Arc<Shared>, conn: quinn::Connection) {
    let code = match proven(&shared, &conn) {
        Some(peer) => {
            let link = Link::new(conn.clone(), peer, peer);
            let taken = shared.links().insert(&link);
            if taken {
                let addr = conn.remote_address();
                shared.path_input(Input::Connected { peer, addr });
                return server::serve_link(shared, link).await;
            }
            tracing::debug!(%peer, "all connections are in use, refused");
            CloseCode::Crowded
        }
        None => CloseCode::Stranger,
    };
    count(&shared.counters.strangers);
    conn.close(code.code(), code.reason());
}

/// Reads who the other side has proven to be.
fn proven(shared: &Shared, conn: &quinn::Connection) -> Option<NodeId> {
    let identity = conn
        .peer_identity()?
        .downcast::<Vec<CertificateDer<'static>>>()
        .ok()?;
    let (peer, run) = identity::named(identity.first()?).ok()?;
    // A token is good for asking the coordinator; it opens nothing at a worker.
    let welcome = peer != NodeId::Guest || shared.node == NodeId::Coordinator;
    (run == shared.run && peer != shared.node && welcome).then_some(peer)
}
