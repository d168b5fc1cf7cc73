//! Addresses by which nodes may reach each other: which are worth trying, in which order, and what
//! observers tell of a NAT on the way. Pure; never opens a socket.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// Addresses of one kind that a node tells others: a machine has a few interfaces, each with an IPv4
/// and an IPv6 address or two.
pub const ADDRESSES_MAX: usize = 8;

/// Observers whose words are remembered: two tell the kind of mapping, one more pair is IPv6's.
const OBSERVERS_MAX: usize = 8;

/// Where a node may be reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Candidates {
    /// Addresses of its own interfaces: they work on its host and in its network.
    pub local: Vec<SocketAddr>,
    /// Addresses that others saw it come from, through whatever NAT there is.
    pub outside: Vec<SocketAddr>,
}

impl Candidates {
    /// Makes the candidates of a node bound to `bound` on a machine with these interfaces: the bound
    /// address where it is one, else every usable interface; loopback only where there is nothing else.
    pub fn of(bound: SocketAddr, interfaces: impl IntoIterator<Item = IpAddr>) -> Self {
        let bound = canonical(bound);
        if !bound.ip().is_unspecified() {
            return Self {
                local: vec![bound],
                outside: Vec::new(),
            };
        }
        // A socket bound to [::] takes both families, one bound to 0.0.0.0 only IPv4.
        let fits = |ip: &IpAddr| bound.is_ipv6() || ip.is_ipv4();
        let usable = interfaces
            .into_iter()
            .map(|ip| ip.to_canonical())
            .filter(|ip| fits(ip) && !is_never(*ip));
        let (loopback, real): (Vec<_>, Vec<_>) = usable.partition(IpAddr::is_loopback);
        let chosen = if real.is_empty() { loopback } else { real };
        Self {
            local: distinct(
                chosen
                    .into_iter()
                    .map(|ip| SocketAddr::new(ip, bound.port())),
            ),
            outside: Vec::new(),
        }
    }

    /// Takes what another node told, which proves nothing: without addresses that are never dialed,
    /// v4-mapped ones as IPv4, and no more than there may be.
    pub fn told(
        local: impl IntoIterator<Item = SocketAddr>,
        outside: impl IntoIterator<Item = SocketAddr>,
    ) -> Self {
        let outside = outside.into_iter().filter(|a| !a.ip().is_loopback());
        Self {
            local: distinct(local),
            outside: distinct(outside),
        }
    }

    /// Whether only this very machine can reach the node.
    pub fn is_loopback(&self) -> bool {
        let mut all = self.local.iter().chain(&self.outside).peekable();
        all.peek().is_some() && all.all(|addr| addr.ip().is_loopback())
    }

    /// Returns whether there is nothing to try.
    pub fn is_empty(&self) -> bool {
        self.local.is_empty() && self.outside.is_empty()
    }

    /// The way that a connection with this node at `addr` takes.
    pub fn way_at(&self, addr: SocketAddr) -> Way {
        let addr = canonical(addr);
        if addr.ip().is_loopback() || self.local.contains(&addr) {
            Way::Local
        } else {
            Way::Punched
        }
    }
}

/// How two nodes exchange blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// By an address of one's own interfaces: one host or network, or no NAT between them.
    Local,
    /// By an outside address, through NATs.
    Punched,
    /// Not at all: through the store alone.
    Store,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Local => "local",
            Self::Punched => "punched",
            Self::Store => "store",
        })
    }
}

/// How the NAT before a node, if any, chooses its outside address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mapping {
    /// Too few have observed the node.
    #[default]
    Unknown,
    /// One outside address towards everybody: can be punched.
    Independent,
    /// Another one for each destination ("symmetric"): only a peer that takes packets from anywhere
    /// can be met.
    DestinationDependent,
}

impl fmt::Display for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "unknown",
            Self::Independent => "independent of the destination",
            Self::DestinationDependent => "depends on the destination",
        })
    }
}

/// What others saw of this node.
#[derive(Clone, Debug, Default)]
pub struct Observations(BTreeMap<SocketAddr, SocketAddr>);

impl Observations {
    /// Takes in that `observer` sees this node at `seen`; tells whether that is news.
    pub fn insert(&mut self, observer: SocketAddr, seen: SocketAddr) -> bool {
        let (observer, seen) = (canonical(observer), canonical(seen));
        if is_never(seen.ip()) || self.0.len() >= OBSERVERS_MAX && !self.0.contains_key(&observer) {
            return false;
        }
        self.0.insert(observer, seen) != Some(seen)
    }

    /// The outside addresses: those that are not the node's own.
    pub fn outside(&self, local: &[SocketAddr]) -> Vec<SocketAddr> {
        distinct(self.foreign(local).filter(|seen| !seen.ip().is_loopback()))
    }

    /// What they tell of the mapping. An observer on this side of the NAT sees the node's own address,
    /// which says nothing of the NAT, unless all do: then there is none.
    pub fn mapping(&self, local: &[SocketAddr]) -> Mapping {
        let mut count = 0;
        for v4 in [true, false] {
            let mut seen = self.foreign(local).filter(|seen| seen.is_ipv4() == v4);
            let Some(first) = seen.next() else { continue };
            count = count.max(1);
            for other in seen {
                if other != first {
                    return Mapping::DestinationDependent;
                }
                count = 2;
            }
        }
        let all_own = self.0.len() >= 2 && count == 0;
        if count >= 2 || all_own {
            Mapping::Independent
        } else {
            Mapping::Unknown
        }
    }

    fn foreign(&self, local: &[SocketAddr]) -> impl Iterator<Item = SocketAddr> {
        self.0
            .values()
            .copied()
            .filter(|seen| !local.contains(seen))
    }
}

/// The address as everybody writes it: a v4-mapped IPv6 address as IPv4, without scope and flow.
pub fn canonical(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}

/// Whether an address is never one of a peer's: link-local ones are the same in every machine of some
/// clouds, and the rest names no single host.
pub fn is_never(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            ip.is_link_local() || ip.is_unspecified() || ip.is_multicast() || ip.is_broadcast()
        }
        IpAddr::V6(ip) => ip.is_unicast_link_local() || ip.is_unspecified() || ip.is_multicast(),
    }
}

/// The usable addresses of a list, each once, in their order.
fn distinct(addrs: impl IntoIterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let mut kept = Vec::new();
    for addr in addrs.into_iter().map(canonical) {
        if kept.len() < ADDRESSES_MAX
            && addr.port() != 0
            && !is_never(addr.ip())
            && !kept.contains(&addr)
        {
            kept.push(addr);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn addrs(text: &str) -> Vec<SocketAddr> {
        text.split_whitespace().map(addr).collect()
    }

    #[test]
    fn candidates_are_what_others_can_dial() {
        let cases = [
            // (bound to, interfaces, candidates)
            ("127.0.0.1:5", "10.1.0.2 127.0.0.1", "127.0.0.1:5"),
            ("10.1.0.2:5", "10.1.0.2 10.9.0.2", "10.1.0.2:5"),
            ("0.0.0.0:5", "127.0.0.1 10.1.0.2 fd00::2", "10.1.0.2:5"),
            ("0.0.0.0:5", "127.0.0.1 169.254.76.1", "127.0.0.1:5"),
            ("0.0.0.0:5", "169.254.76.1", ""),
            (
                "[::]:5",
                "::1 127.0.0.1 fe80::1 10.1.0.2 fd00::2",
                "10.1.0.2:5 [fd00::2]:5",
            ),
            ("[::]:5", "::1 fe80::1", "[::1]:5"),
            ("[::]:5", "::ffff:10.1.0.2 10.1.0.2", "10.1.0.2:5"),
            ("[::ffff:10.1.0.2]:5", "", "10.1.0.2:5"),
        ];
        for (bound, interfaces, expected) in cases {
            let interfaces = interfaces.split_whitespace().map(|ip| ip.parse().unwrap());
            let got = Candidates::of(addr(bound), interfaces);
            assert_eq!(got.local, addrs(expected), "{bound}");
            assert!(got.outside.is_empty());
        }
        let many = (1..40).map(|n| IpAddr::from([10, 0, 0, n]));
        assert_eq!(
            Candidates::of(addr("0.0.0.0:5"), many).local.len(),
            ADDRESSES_MAX
        );
    }

    #[test]
    fn what_is_told_is_filtered() {
        let told = Candidates::told(
            addrs(
                "169.254.1.1:5 [fe80::1]:5 10.1.0.2:0 10.1.0.2:5 [::ffff:10.1.0.2]:5 224.0.0.1:5",
            ),
            addrs("127.0.0.1:22 203.0.113.7:5 0.0.0.0:5"),
        );
        assert_eq!(told.local, addrs("10.1.0.2:5"));
        assert_eq!(told.outside, addrs("203.0.113.7:5"));
        assert!(!told.is_loopback());
        assert!(Candidates::told(addrs("127.0.0.1:5 [::1]:5"), []).is_loopback());
        assert!(!Candidates::default().is_loopback());
        assert_eq!(told.way_at(addr("[::ffff:10.1.0.2]:5")), Way::Local);
        assert_eq!(told.way_at(addr("203.0.113.7:5")), Way::Punched);
        assert_eq!(told.way_at(addr("203.0.113.7:6")), Way::Punched);
    }

    #[test]
    fn observers_tell_the_mapping() {
        use Mapping::{DestinationDependent, Independent, Unknown};
        let local = addrs("10.1.0.2:5 [fd00::2]:5");
        let cases = [
            // (seen by observer 1, 2, ..; mapping; outside)
            ("", Unknown, ""),
            ("203.0.113.1:5", Unknown, "203.0.113.1:5"),
            ("203.0.113.1:5 203.0.113.1:5", Independent, "203.0.113.1:5"),
            (
                "203.0.113.1:5 203.0.113.1:9",
                DestinationDependent,
                "203.0.113.1:5 203.0.113.1:9",
            ),
            (
                "203.0.113.1:5 203.0.113.2:5",
                DestinationDependent,
                "203.0.113.1:5 203.0.113.2:5",
            ),
            // One observer lies on this side of the NAT.
            ("10.1.0.2:5 203.0.113.1:5", Unknown, "203.0.113.1:5"),
            (
                "10.1.0.2:5 203.0.113.1:5 203.0.113.1:5",
                Independent,
                "203.0.113.1:5",
            ),
            // No NAT at all.
            ("10.1.0.2:5 10.1.0.2:5", Independent, ""),
            // Each family has a mapping of its own.
            (
                "203.0.113.1:5 [2001:db8::1]:5",
                Unknown,
                "203.0.113.1:5 [2001:db8::1]:5",
            ),
            (
                "203.0.113.1:5 [::ffff:203.0.113.1]:5",
                Independent,
                "203.0.113.1:5",
            ),
        ];
        for (seen, mapping, outside) in cases {
            let mut observations = Observations::default();
            for (number, seen) in addrs(seen).into_iter().enumerate() {
                let observer = SocketAddr::from(([198, 51, 100, 1], number as u16 + 1));
                assert!(observations.insert(observer, seen));
                assert!(!observations.insert(observer, seen), "no news");
            }
            assert_eq!(observations.mapping(&local), mapping, "{seen}");
            assert_eq!(observations.outside(&local), addrs(outside), "{seen}");
        }
    }
}
