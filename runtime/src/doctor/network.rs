//! What the network carries: UDP on this machine, and the way to a coordinator.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use peerwren_transports::block::{Block, BlockBuf, BlockKey, Indices};
use peerwren_transports::identity::{Authority, NodeId};
use peerwren_transports::path::Mapping;
use peerwren_transports::quic::{BlockSource, Limits, Node};

use super::{Examination, Finding, milliseconds, rate};
use crate::actors::clock::{self, Clock};
use crate::actors::guests::unix_ms;
use crate::actors::paths::ask_once;
use crate::actors::worker::{CLOSE_WAIT, WorkerError};
use crate::control::joining::{ECHO_BYTES_MAX, FromGuest, ToGuest};
use crate::remote::asking::Asking;
use crate::remote::{addresses_of, listen_anywhere, token::Token};
use crate::run::RunError;

/// A block of the size of a tile of 2048 x 2048.
const BLOCK_BYTES: usize = 32 << 20;
/// Blocks that are fetched for a measurement.
const BLOCKS: usize = 4;
/// Below it the exchange of blocks costs more than computing them.
const RATE_WELL: f64 = 50.0;
/// Small questions, of which the fastest answer counts.
const PINGS: usize = 5;
/// Large ones: 8 MiB each way.
const ECHOES: usize = 8;
/// Certificates are valid from an hour before they are made.
const SKEW_MAX: Duration = Duration::from_secs(1800);
const SKEW_WELL: Duration = Duration::from_secs(60);

/// Sockets of both kinds, and how fast two nodes of this machine are.
pub(super) async fn examine_here() -> Vec<Finding> {
    let v4 = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0));
    let v6 = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0));
    let addresses = addresses_of(SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)));
    let addresses: Vec<_> = addresses
        .iter()
        .filter_map(|address| address.parse::<SocketAddr>().ok())
        .map(|address| address.ip().to_string())
        .collect();
    let seen = |kinds: &str| format!("{kinds}; reached at {}", addresses.join(", "));
    let sockets = match (v4, v6) {
        (Ok(_), Ok(_)) => Finding::ok("UDP", seen("IPv4 and IPv6")),
        (Ok(_), Err(_)) => Finding::ok("UDP", seen("IPv4")),
        (Err(_), Ok(_)) => Finding::ok("UDP", seen("IPv6")),
        (Err(error), Err(_)) => Finding::bad(
            "UDP",
            format!("no socket: {error}"),
            "let this program open UDP sockets (a sandbox or container forbids it)",
        ),
    };
    let loopback = match exchange().await {
        Ok(megabytes) if megabytes >= RATE_WELL => Finding::ok(
            "QUIC here",
            format!("{megabytes:.0} MB/s between two nodes"),
        ),
        Ok(megabytes) => Finding::warn(
            "QUIC here",
            format!("{megabytes:.0} MB/s between two nodes"),
            "the machine is busy or slow: blocks will take longer to move than to compute",
        ),
        Err(error) => Finding::bad(
            "QUIC here",
            error,
            "let UDP packets pass on the loopback interface",
        ),
    };
    vec![sockets, loopback]
}

struct OneBlock(Block);

impl BlockSource for OneBlock {
    fn get(&self, _: &BlockKey) -> Option<Block> {
        Some(self.0.clone())
    }
}

/// Fetches blocks from one node of this machine to another; megabytes a second.
async fn exchange() -> Result<f64, String> {
    let said = |error: &dyn std::fmt::Display| error.to_string();
    let now = clock::wall();
    let authority = Authority::new(0, now).map_err(|e| said(&e))?;
    let source = Arc::new(OneBlock(BlockBuf::with_len(BLOCK_BYTES).freeze()));
    let here = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let node = |number| {
        let identity = authority.issue(NodeId::Worker(number), now);
        let identity = identity.map_err(|e| said(&e))?;
        Node::bind(&identity, here, source.clone(), Limits::default()).map_err(|e| said(&e))
    };
    let ((server, _channels), (client, _)) = (node(0)?, node(1)?);
    let key = BlockKey::new(0, 0, Indices::new(&[]).ok_or("no key")?);
    let fetch = || client.fetch(NodeId::Worker(0), server.local_addr(), key, None);
    // The first one meets a connection that is yet to find its pace.
    fetch().await.map_err(|e| said(&e))?;
    let clock = Clock::start();
    for _ in 0..BLOCKS {
        fetch().await.map_err(|e| said(&e))?;
    }
    let took = Duration::from_nanos(clock.now().as_nanos());
    client.close(CLOSE_WAIT).await;
    server.close(CLOSE_WAIT).await;
    Ok(rate(BLOCKS * BLOCK_BYTES, took))
}

/// The way to a coordinator, its clock, and what the NAT before this machine does.
pub(super) async fn examine_coordinator(
    token: &Path,
    examination: &Examination,
) -> Result<Vec<Finding>, RunError> {
    let token =
        Token::read(token, clock::wall()).map_err(|error| RunError::Usage(error.to_string()))?;
    let coordinators = if examination.coordinators.is_empty() {
        &token.coordinators
    } else {
        &examination.coordinators
    };
    let asking = Asking::open(&token.identity, coordinators, listen_anywhere()).await;
    Ok(match asking {
        Ok(mut asking) => {
            let mut measured = measure(&mut asking).await;
            if let Ok(findings) = &mut measured {
                findings.extend(nat_seen(&mut asking, &examination.stun).await);
            }
            asking.close().await;
            measured.unwrap_or_else(|error| {
                vec![Finding::bad(
                    "coordinator",
                    error.to_string(),
                    "is it still there? see its last lines",
                )]
            })
        }
        Err(error @ WorkerError::Refused { .. }) => vec![Finding::bad(
            "coordinator",
            error.to_string(),
            "get the token of that coordinator's run",
        )],
        Err(error) => vec![Finding::bad(
            "coordinator",
            error.to_string(),
            "let UDP pass to its port (firewall, security group), or run with --control store",
        )],
    })
}

/// What the NAT before this machine does, by the word of STUN servers.
pub(super) async fn examine_nat(servers: &[String]) -> Result<Finding, RunError> {
    let failed = |error: &dyn std::fmt::Display| RunError::Failed(error.to_string());
    let now = clock::wall();
    let authority = Authority::new(0, now).map_err(|e| failed(&e))?;
    let identity = authority
        .issue(NodeId::Worker(0), now)
        .map_err(|e| failed(&e))?;
    let none = Arc::new(OneBlock(BlockBuf::with_len(0).freeze()));
    let (node, _channels) = Node::bind(&identity, listen_anywhere(), none, Limits::default())
        .map_err(|e| failed(&e))?;
    for server in servers {
        ask_once(&node, server).await;
    }
    let finding = nat(&node);
    node.close(CLOSE_WAIT).await;
    Ok(finding)
}

/// The same, by the word of a coordinator first; none where that is on this machine.
async fn nat_seen(asking: &mut Asking, servers: &[String]) -> Option<Finding> {
    let answer = asking.ask(&FromGuest::Look).await.ok()?;
    let (node, coordinator) = asking.way();
    let coordinator = coordinator?;
    let ToGuest::Seen { address, stun_port } = answer else {
        return None;
    };
    let seen: SocketAddr = address?.parse().ok()?;
    if seen.ip().to_canonical().is_loopback() {
        return None;
    }
    node.observed(coordinator, seen);
    if let Some(port) = stun_port {
        node.ask_stun(SocketAddr::new(coordinator.ip(), port)).await;
    }
    for server in servers {
        ask_once(node, server).await;
    }
    Some(nat(node))
}

/// What those who were asked saw of a node.
fn nat(node: &Node) -> Finding {
    let outside: Vec<_> = node
        .candidates()
        .outside
        .iter()
        .map(ToString::to_string)
        .collect();
    let seen = outside.join(" and ");
    match node.mapping() {
        Mapping::Independent if outside.is_empty() => {
            Finding::ok("NAT", "none: seen at an address of its own")
        }
        Mapping::Independent => Finding::ok(
            "NAT",
            format!("seen at {seen} from everywhere: can be punched"),
        ),
        Mapping::DestinationDependent => Finding::warn(
            "NAT",
            format!("seen at {seen}: another address for each destination"),
            "only peers without a NAT, or with one that lets everybody in, are reached; with others blocks go \
             through the store: put workers into one network, or behind a NAT that keeps its ports",
        ),
        Mapping::Unknown if outside.is_empty() => Finding::warn(
            "NAT",
            "nobody says where this machine is seen from",
            "let UDP pass to the STUN servers and back, or name others with --stun",
        ),
        Mapping::Unknown => Finding::warn(
            "NAT",
            format!("seen at {seen}, by one only"),
            "name a second STUN server, so that it shows whether others see the same: --stun HOST,HOST",
        ),
    }
}

async fn measure(asking: &mut Asking) -> Result<Vec<Finding>, WorkerError> {
    let (mut fastest, mut skew) = (Duration::MAX, Duration::ZERO);
    for _ in 0..PINGS {
        let before = unix_ms(clock::wall());
        let (took, theirs) = echo(asking, 1).await?;
        if took < fastest {
            fastest = took;
            // Half of the way later than asked, as far as both ways are alike.
            let ours = Duration::from_millis(before) + took / 2;
            skew = ours.abs_diff(Duration::from_millis(theirs));
        }
    }
    let mut took = Duration::ZERO;
    for _ in 0..ECHOES {
        took += echo(asking, ECHO_BYTES_MAX).await?.0;
    }
    let way = format!(
        "answers in {}, {:.0} MB/s there and back",
        milliseconds(fastest),
        rate(2 * ECHOES * ECHO_BYTES_MAX, took)
    );
    let clocks = format!("{:.1} s apart from the coordinator's", skew.as_secs_f64());
    let advice = "set the clock (NTP): certificates and signatures are valid for a limited time";
    let clocks = if skew > SKEW_MAX {
        Finding::bad("clock", clocks, advice)
    } else if skew > SKEW_WELL {
        Finding::warn("clock", clocks, advice)
    } else {
        Finding::ok("clock", clocks)
    };
    Ok(vec![Finding::ok("coordinator", way), clocks])
}

/// Sends bytes there and back: how long it took, and the coordinator's time of day in milliseconds.
async fn echo(asking: &mut Asking, bytes: usize) -> Result<(Duration, u64), WorkerError> {
    let clock = Clock::start();
    let bytes = vec![0; bytes];
    match asking.ask(&FromGuest::Echo { bytes }).await? {
        ToGuest::Echo { unix_ms, .. } => {
            Ok((Duration::from_nanos(clock.now().as_nanos()), unix_ms))
        }
        _ => Err(WorkerError::Protocol(
            "the coordinator answers what was not asked".to_owned(),
        )),
    }
}
