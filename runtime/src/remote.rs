//! Workers that join a run from any machine: with the run's token they ask the coordinator, get a
//! certificate for a key of their own, and work. Owns the token and the asking; what a worker does then is
//! the same as everywhere.

pub(crate) mod asking;
mod join;
pub(crate) mod token;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

pub(crate) use join::listen_anywhere;
pub use join::{JoinEvent, JoinRequest, join};

/// Documentation addresses: asking which of this machine's addresses a packet to them would leave from
/// sends none.
const OUTSIDE: [SocketAddr; 2] = [
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 9),
    SocketAddr::new(
        IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
        9,
    ),
];

/// Where others may reach a socket that is bound to `address`: there, or if that is everywhere, at this
/// machine's addresses, its own loopback last.
pub(crate) fn addresses_of(address: SocketAddr) -> Vec<String> {
    let port = address.port();
    if !address.ip().is_unspecified() {
        return vec![address.to_string()];
    }
    let both = address.is_ipv6();
    let outward = OUTSIDE
        .iter()
        .filter(|outside| both || outside.is_ipv4())
        .filter_map(|&outside| own_address(outside));
    let mut found: Vec<IpAddr> = outward.collect();
    found.push(Ipv4Addr::LOCALHOST.into());
    if both {
        found.push(Ipv6Addr::LOCALHOST.into());
    }
    found
        .into_iter()
        .map(|ip| SocketAddr::new(ip, port).to_string())
        .collect()
}

/// The address of this machine that packets to `outside` leave from, if there is a way there.
fn own_address(outside: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr = match outside {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(outside).ok()?;
    Some(socket.local_addr().ok()?.ip())
}
