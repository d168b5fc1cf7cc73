//! A worker's side of hole punching: carries what its node says of paths to the coordinator, and what
//! the coordinator says of peers to its node. Decides nothing.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use peerwren_transports::identity::NodeId;
use peerwren_transports::path::{Candidates, Way};
use peerwren_transports::punch::Secret;
use peerwren_transports::quic::{Node, PathEvent};

use crate::control::{FromWorker, PeerReach, PeerWay, ToWorker};
use crate::machine::WorkerId;

/// Between two questions to the same STUN server: NATs forget a mapping after 30 s at the earliest.
const STUN_EVERY: Duration = Duration::from_secs(20);
/// STUN's port where none is given.
const STUN_PORT: u16 = 3478;

/// The addresses of a node's interfaces, as text.
pub(crate) fn own_addresses(node: &Node) -> Vec<String> {
    let own = node.candidates().local;
    own.iter().map(SocketAddr::to_string).collect()
}

/// What a worker has told of its paths.
#[derive(Debug, Default)]
pub(crate) struct Told(BTreeMap<WorkerId, PeerWay>);

impl Told {
    /// What the coordinator is to hear of an event, if anything.
    pub(crate) fn message(&mut self, event: PathEvent) -> Option<FromWorker> {
        let (peer, way) = match event {
            PathEvent::Moved { outside, mapping } => {
                tracing::info!(?outside, %mapping, "seen from outside");
                let outside = outside.iter().map(SocketAddr::to_string).collect();
                return Some(FromWorker::Moved { outside });
            }
            PathEvent::Ask(peer) => {
                return Some(FromWorker::WantPath {
                    peer: worker(peer)?,
                });
            }
            PathEvent::Opened(peer, Way::Local) => (worker(peer)?, PeerWay::Local),
            PathEvent::Opened(peer, Way::Punched) => (worker(peer)?, PeerWay::Punched),
            PathEvent::Opened(peer, Way::Store) | PathEvent::Failed(peer) => {
                (worker(peer)?, PeerWay::Store)
            }
            _ => return None,
        };
        let is_news = self.0.insert(peer, way) != Some(way);
        tracing::debug!(%peer, ?way, "reached");
        // A failure is told each time: it counts from then on.
        (is_news || way == PeerWay::Store).then_some(FromWorker::Way { peer, way })
    }
}

/// Passes a message about paths on to the node; other messages are none of its business. Returns a STUN
/// server to ask from now on, if there is one.
pub(crate) fn hear(
    node: &Node,
    coordinator: Option<SocketAddr>,
    message: &ToWorker,
) -> Option<String> {
    match message {
        ToWorker::Peers { joined, .. } => {
            for peer in joined {
                let local = parsed(&peer.addresses);
                let candidates = Candidates::told(local, []);
                node.meet(NodeId::Worker(peer.worker.0), candidates);
            }
        }
        ToWorker::Introduce {
            peer,
            reach,
            secret,
        } => {
            let PeerReach { local, outside } = reach;
            let candidates = Candidates::told(parsed(local), parsed(outside));
            node.introduce(NodeId::Worker(peer.0), candidates, Secret(secret.0));
        }
        ToWorker::Observed { address, stun_port } => {
            let coordinator = coordinator?;
            if let Ok(seen) = address.parse() {
                node.observed(coordinator, seen);
            }
            return stun_port.map(|port| SocketAddr::new(coordinator.ip(), port).to_string());
        }
        _ => {}
    }
    None
}

/// Asks a STUN server, `HOST` or `HOST:PORT`, once.
pub(crate) async fn ask_once(node: &Node, server: &str) -> Option<SocketAddr> {
    let with_port = match server.parse::<std::net::IpAddr>() {
        Ok(ip) => SocketAddr::new(ip, STUN_PORT).to_string(),
        Err(_) if server.contains(':') => server.to_owned(),
        Err(_) => format!("{server}:{STUN_PORT}"),
    };
    let is_v6 = node.local_addr().is_ipv6();
    match tokio::net::lookup_host(&with_port).await {
        Ok(mut addrs) => {
            let addr = addrs.find(|addr| is_v6 || addr.is_ipv4())?;
            node.ask_stun(addr).await
        }
        Err(error) => {
            tracing::debug!(server, %error, "is not found");
            None
        }
    }
}

/// Asks a STUN server again and again, which also keeps the NAT's mapping alive, until it is
/// dropped.
pub(crate) async fn ask_stun(node: Node, server: String) {
    let mut answers = true;
    loop {
        let seen = ask_once(&node, &server).await;
        if seen.is_none() && answers {
            tracing::warn!(
                server,
                "no STUN answer: this worker's outside address may stay unknown"
            );
        }
        answers = seen.is_some();
        tokio::time::sleep(STUN_EVERY).await;
    }
}

fn worker(node: NodeId) -> Option<WorkerId> {
    match node {
        NodeId::Worker(number) => Some(WorkerId(number)),
        NodeId::Coordinator | NodeId::Guest => None,
    }
}

/// The addresses of a list; what is none is left out, and said.
fn parsed(addresses: &[String]) -> Vec<SocketAddr> {
    let parse = |address: &String| {
        address
            .parse()
            .inspect_err(|_| tracing::warn!(address, "is no address; ignored"))
            .ok()
    };
    addresses.iter().filter_map(parse).collect()
}
