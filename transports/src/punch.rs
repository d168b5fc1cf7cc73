//! Hole punching as a state machine: which pairs of nodes are introduced, what is sent where, who
//! dials whom, what has failed. Never opens a socket, never reads a clock.
//!
//! Two nodes behind NATs cannot dial each other: a NAT lets in only what answers something sent out.
//! So the coordinator, which both can reach, *introduces* them: it tells each the other's addresses and
//! a secret. Both then ping all addresses of the other at once; each ping opens the sender's own NAT for
//! the other's, and an answer goes to the address that the ping was seen to come from, which may be
//! another than was told. The first address that answers is the path (a local one goes before an outside
//! one), and the node with the lower id dials it: QUIC does the rest, keeping it open while it is used.
//!
//! ```text
//! handle_input(now, input)  handle_timeout(now)  poll_action()  poll_timeout()  check_invariants()
//! ```
//!
//! Time is a duration since whatever moment the driver counts from.

mod attempt;
mod probe;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use self::attempt::Attempt;
pub(crate) use self::probe::is_probe;
use self::probe::{Kind, Probe, number};

pub use self::probe::Secret;
use crate::identity::NodeId;
use crate::path::{Candidates, Mapping, Observations, Way};

/// How long a pair without a path is left alone.
pub const RETRY: Duration = Duration::from_secs(60);

/// Bounds of a puncher.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Pairs that are known at one time: all workers of a run.
    pub pairs_max: usize,
    /// Attempts under way at one time: a worker has few hot peers. 64 x 24 addresses x 12 pings of
    /// 53 bytes in 4 s = 244 kB/s at the very worst.
    pub attempts_max: usize,
    /// How long an introduction is waited for before it is asked for again.
    pub ask_every: Duration,
    /// How often it is asked for: 3 x 1.5 s.
    pub asks_max: u32,
    /// How long an attempt lasts: the other side may hear of it seconds later.
    pub attempt: Duration,
    /// Between the first pings to one address; doubles up to `ping_every`.
    pub ping_first: Duration,
    /// The longest time between pings to one address.
    pub ping_every: Duration,
    /// How much later outside addresses are pinged than local ones.
    pub outside_after: Duration,
    /// How long an outside address that answered waits for a local one.
    pub local_grace: Duration,
    /// How long dialing the path that was found may take: QUIC's handshake time-out and a bit.
    pub dial: Duration,
    /// How long a pair that failed is left alone.
    pub retry: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            pairs_max: 16_384,
            attempts_max: 64,
            ask_every: Duration::from_millis(1500),
            asks_max: 3,
            attempt: Duration::from_secs(4),
            ping_first: Duration::from_millis(50),
            ping_every: Duration::from_millis(400),
            outside_after: Duration::from_millis(30),
            local_grace: Duration::from_millis(150),
            dial: Duration::from_secs(6),
            retry: RETRY,
        }
    }
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// The addresses of this node's own interfaces.
    Local(Vec<SocketAddr>),
    /// Somebody saw this node come from an address.
    Observed {
        /// Who: the address that was sent to.
        observer: SocketAddr,
        /// The address that was seen.
        seen: SocketAddr,
    },
    /// A peer has joined, and these are its addresses as far as known.
    Known(NodeId, Candidates),
    /// A peer has left for good.
    Gone(NodeId),
    /// A path to a peer is wanted; there is no connection with it now.
    Want(NodeId),
    /// The coordinator introduces a peer, and this node to it.
    Introduced {
        /// The peer.
        peer: NodeId,
        /// All its addresses.
        candidates: Candidates,
        /// What the two prove their probes with.
        secret: Secret,
    },
    /// A datagram that may be a probe.
    Received {
        /// Where it came from.
        from: SocketAddr,
        /// Its bytes.
        bytes: Vec<u8>,
    },
    /// A dial that was asked for is over.
    Dialed {
        /// The peer.
        peer: NodeId,
        /// Where it was dialed.
        addr: SocketAddr,
        /// Whether there is a connection now.
        connected: bool,
    },
    /// A peer dialed this node, and proved who it is.
    Connected {
        /// The peer.
        peer: NodeId,
        /// Where it is.
        addr: SocketAddr,
    },
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Tell the coordinator this node's outside addresses and mapping: they have changed.
    Moved,
    /// Ask the coordinator to introduce this node and a peer to each other.
    Ask(NodeId),
    /// Send a datagram; no harm is done if it is lost.
    Send {
        /// Where to.
        to: SocketAddr,
        /// What.
        bytes: Vec<u8>,
    },
    /// Dial a peer.
    Dial {
        /// The peer.
        peer: NodeId,
        /// Where it is.
        addr: SocketAddr,
    },
    /// There is a connection with a peer.
    Opened(NodeId, Way),
    /// There is no path to a peer now; whoever waits for one need not. `lasting`: nor for a while.
    Failed {
        /// The peer.
        peer: NodeId,
        /// Whether the pair is left alone for a while.
        lasting: bool,
    },
}

/// Pairs by the way that they took last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ways {
    /// By local addresses.
    pub local: u32,
    /// Through NATs.
    pub punched: u32,
    /// Through the store alone.
    pub store: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing is under way.
    Idle,
    /// The coordinator was asked so often.
    Asking { asks: u32, next_at: Duration },
    /// Pings go both ways.
    Probing,
    /// This node dials.
    Dialing { until: Duration, direct: bool },
    /// An address answered, and the peer is to dial.
    Expecting { until: Duration },
    /// There is a connection, or was until it was not used for long.
    Open,
    /// There is no path.
    Failed { until: Duration },
}

#[derive(Clone, Debug)]
struct Pair {
    theirs: Candidates,
    stage: Stage,
    /// Also while dialing and for a moment after: the peer's pings are still to be answered.
    attempt: Option<Attempt>,
    /// The way that was taken last.
    way: Option<Way>,
}

/// The state machine of one node.
#[derive(Debug)]
pub struct Puncher {
    me: NodeId,
    limits: Limits,
    own: Candidates,
    observations: Observations,
    mapping: Mapping,
    pairs: BTreeMap<NodeId, Pair>,
    actions: VecDeque<Action>,
}

impl Puncher {
    /// The puncher of `me`, which knows nobody.
    pub fn new(me: NodeId, limits: Limits) -> Self {
        Self {
            me,
            limits,
            own: Candidates::default(),
            observations: Observations::default(),
            mapping: Mapping::Unknown,
            pairs: BTreeMap::new(),
            actions: VecDeque::new(),
        }
    }

    /// Takes in what happened.
    pub fn handle_input(&mut self, now: Duration, input: Input) {
        match input {
            Input::Local(addrs) => {
                self.own.local = Candidates::told(addrs, []).local;
                self.look_outside();
            }
            Input::Observed { observer, seen } => {
                if self.observations.insert(observer, seen) {
                    self.look_outside();
                }
            }
            Input::Known(peer, candidates) => {
                if let Some(pair) = self.pair(peer) {
                    pair.theirs = candidates;
                }
            }
            Input::Gone(peer) => {
                if self.pairs.remove(&peer).is_some() {
                    let lasting = false;
                    self.actions.push_back(Action::Failed { peer, lasting });
                }
            }
            Input::Want(peer) => self.want(now, peer),
            Input::Introduced {
                peer,
                candidates,
                secret,
            } => self.introduced(now, peer, candidates, secret),
            Input::Received { from, bytes } => self.received(now, from, &bytes),
            Input::Dialed {
                peer,
                addr,
                connected,
            } => self.dialed(now, peer, addr, connected),
            Input::Connected { peer, addr } => self.opened(peer, addr),
        }
    }

    /// Acts on time that has passed.
    pub fn handle_timeout(&mut self, now: Duration) {
        let peers: Vec<_> = self.pairs.keys().copied().collect();
        for peer in peers {
            self.pass_time(now, peer);
        }
    }

    /// The next thing to do, until there is none.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`Self::handle_timeout`] is wanted at the latest, and why.
    pub fn poll_timeout(&self) -> Option<(Duration, &'static str)> {
        let timeouts = self.pairs.values().flat_map(Pair::timeouts);
        timeouts.min()
    }

    /// This node's own addresses.
    pub fn candidates(&self) -> &Candidates {
        &self.own
    }

    /// What is known of the NAT before this node.
    pub fn mapping(&self) -> Mapping {
        self.mapping
    }

    /// How many peers are reached in which way.
    pub fn ways(&self) -> Ways {
        let mut ways = Ways::default();
        for pair in self.pairs.values() {
            match pair.way {
                Some(Way::Local) => ways.local += 1,
                Some(Way::Punched) => ways.punched += 1,
                Some(Way::Store) => ways.store += 1,
                None => {}
            }
        }
        ways
    }

    /// Panics with a sentence if what this machine knows contradicts itself.
    pub fn check_invariants(&self) {
        assert!(
            self.pairs.len() <= self.limits.pairs_max,
            "too many pairs are known"
        );
        assert!(
            self.attempts() <= self.limits.attempts_max,
            "too many attempts are under way"
        );
        assert!(
            !self.pairs.contains_key(&self.me),
            "a node is no peer of its own"
        );
        for (peer, pair) in &self.pairs {
            match pair.stage {
                Stage::Probing => {
                    assert!(
                        pair.attempt.is_some(),
                        "{peer} is probed without an attempt"
                    );
                }
                Stage::Dialing { direct, .. } => {
                    assert!(direct || self.me < *peer, "{peer} is to dial, being lower");
                }
                Stage::Expecting { .. } => assert!(self.me > *peer, "{peer} never dials"),
                Stage::Open => assert!(pair.way.is_some(), "{peer} is open in no way"),
                Stage::Failed { .. } => assert_eq!(pair.way, Some(Way::Store)),
                Stage::Idle | Stage::Asking { .. } => {}
            }
            if let Some(attempt) = &pair.attempt {
                attempt.check_invariants(&self.own.local);
            }
        }
    }

    // ---- this node

    fn look_outside(&mut self) {
        let outside = self.observations.outside(&self.own.local);
        let mapping = self.observations.mapping(&self.own.local);
        if outside != self.own.outside || mapping != self.mapping {
            (self.own.outside, self.mapping) = (outside, mapping);
            self.actions.push_back(Action::Moved);
        }
    }

    // ---- pairs

    fn pair(&mut self, peer: NodeId) -> Option<&mut Pair> {
        number(peer)?;
        let is_full = self.pairs.len() >= self.limits.pairs_max;
        if peer == self.me || is_full && !self.pairs.contains_key(&peer) {
            return None;
        }
        Some(self.pairs.entry(peer).or_insert(Pair {
            theirs: Candidates::default(),
            stage: Stage::Idle,
            attempt: None,
            way: None,
        }))
    }

    fn attempts(&self) -> usize {
        let under_way = |pair: &&Pair| pair.attempt.is_some();
        self.pairs.values().filter(under_way).count()
    }

    fn want(&mut self, now: Duration, peer: NodeId) {
        let until = now + self.limits.dial;
        let next_at = now + self.limits.ask_every;
        let own_loopback = self.own.is_loopback();
        let Some(pair) = self.pair(peer) else {
            let lasting = false;
            return self.actions.push_back(Action::Failed { peer, lasting });
        };
        match pair.stage {
            Stage::Idle | Stage::Open => {}
            Stage::Failed { until } if now >= until => {}
            Stage::Failed { .. } => {
                let lasting = true;
                return self.actions.push_back(Action::Failed { peer, lasting });
            }
            _ => return,
        }
        let theirs_loopback = pair.theirs.is_loopback();
        if own_loopback && theirs_loopback {
            // On one machine nothing is to be found out.
            let addr = pair.theirs.local[0];
            pair.stage = Stage::Dialing {
                until,
                direct: true,
            };
            self.actions.push_back(Action::Dial { peer, addr });
        } else if own_loopback || theirs_loopback {
            self.fail(now, peer);
        } else {
            pair.stage = Stage::Asking { asks: 1, next_at };
            self.actions.push_back(Action::Ask(peer));
        }
    }

    fn introduced(&mut self, now: Duration, peer: NodeId, candidates: Candidates, secret: Secret) {
        let attempt = Attempt::new(now, &self.limits, secret, &candidates, &self.own);
        let is_full = self.attempts() >= self.limits.attempts_max;
        let Some(pair) = self.pair(peer) else { return };
        if is_full && pair.attempt.is_none() {
            // Whoever asked asks again.
            return;
        }
        pair.theirs = candidates;
        pair.attempt = Some(attempt);
        // Where there is a connection the peer's pings are answered, and it finds out.
        if !matches!(pair.stage, Stage::Open | Stage::Dialing { .. }) {
            pair.stage = Stage::Probing;
        }
        self.ping(now, peer);
    }

    fn received(&mut self, now: Duration, from: SocketAddr, bytes: &[u8]) {
        let Some(probe) = Probe::claimed(bytes) else {
            return;
        };
        let peer = NodeId::Worker(probe.from);
        if number(self.me) != Some(probe.to) {
            return;
        }
        let Some(pair) = self.pairs.get_mut(&peer) else {
            return;
        };
        let Some(attempt) = &mut pair.attempt else {
            return;
        };
        if !Probe::is_proven(bytes, &attempt.secret) {
            return;
        }
        match probe.kind {
            Kind::Ping => {
                if attempt.pinged(now, &self.limits, from, probe.number) {
                    let pong = Probe {
                        kind: Kind::Pong,
                        from: probe.to,
                        to: probe.from,
                        number: probe.number,
                    };
                    let bytes = pong.seal(&attempt.secret);
                    self.actions.push_back(Action::Send { to: from, bytes });
                    self.ping(now, peer);
                }
            }
            Kind::Pong => {
                let chosen = attempt.answered(now, from, probe.number, &pair.theirs);
                if let (Stage::Probing, Some(addr)) = (pair.stage, chosen) {
                    self.choose(now, peer, addr);
                } else {
                    self.ping(now, peer);
                }
            }
        }
    }

    /// Sends the pings that are due, while a path is looked for.
    fn ping(&mut self, now: Duration, peer: NodeId) {
        let (Some(me), Some(to)) = (number(self.me), number(peer)) else {
            return;
        };
        let Some(pair) = self.pairs.get_mut(&peer) else {
            return;
        };
        if !pair.pings() {
            return;
        }
        let Some(attempt) = &mut pair.attempt else {
            return;
        };
        for (number, addr) in attempt.due(now, &self.limits) {
            let ping = Probe {
                kind: Kind::Ping,
                from: me,
                to,
                number,
            };
            let bytes = ping.seal(&attempt.secret);
            self.actions.push_back(Action::Send { to: addr, bytes });
        }
    }

    /// An address has answered: the lower id dials it.
    fn choose(&mut self, now: Duration, peer: NodeId, addr: SocketAddr) {
        let until = now + self.limits.dial;
        let is_lower = self.me < peer;
        let Some(pair) = self.pairs.get_mut(&peer) else {
            return;
        };
        if is_lower {
            pair.stage = Stage::Dialing {
                until,
                direct: false,
            };
            self.actions.push_back(Action::Dial { peer, addr });
        } else {
            pair.stage = Stage::Expecting { until };
        }
    }

    fn dialed(&mut self, now: Duration, peer: NodeId, addr: SocketAddr, connected: bool) {
        if connected {
            return self.opened(peer, addr);
        }
        let Some(pair) = self.pairs.get_mut(&peer) else {
            return;
        };
        if let Stage::Dialing { direct, .. } = pair.stage {
            if direct {
                // The peer may be starting or ending: the next who wants it dials again.
                pair.stage = Stage::Idle;
                let lasting = false;
                self.actions.push_back(Action::Failed { peer, lasting });
            } else {
                self.fail(now, peer);
            }
        }
    }

    fn opened(&mut self, peer: NodeId, addr: SocketAddr) {
        if let Some(pair) = self.pair(peer) {
            let way = pair.theirs.way_at(addr);
            (pair.stage, pair.way) = (Stage::Open, Some(way));
            self.actions.push_back(Action::Opened(peer, way));
        }
    }

    fn fail(&mut self, now: Duration, peer: NodeId) {
        let until = now + self.limits.retry;
        if let Some(pair) = self.pairs.get_mut(&peer) {
            pair.stage = Stage::Failed { until };
            pair.way = Some(Way::Store);
            pair.attempt = None;
            let lasting = true;
            self.actions.push_back(Action::Failed { peer, lasting });
        }
    }

    // ---- time

    fn pass_time(&mut self, now: Duration, peer: NodeId) {
        let Some(pair) = self.pairs.get_mut(&peer) else {
            return;
        };
        match pair.stage {
            Stage::Asking { asks, next_at } if now >= next_at => {
                if asks >= self.limits.asks_max {
                    return self.fail(now, peer);
                }
                pair.stage = Stage::Asking {
                    asks: asks + 1,
                    next_at: now + self.limits.ask_every,
                };
                self.actions.push_back(Action::Ask(peer));
            }
            Stage::Dialing { until, .. } | Stage::Expecting { until } if now >= until => {
                return self.fail(now, peer);
            }
            Stage::Probing => {
                let attempt = pair.attempt.as_ref();
                if let Some(addr) = attempt.and_then(|attempt| attempt.chosen(now)) {
                    self.choose(now, peer, addr);
                } else if attempt.is_none_or(|attempt| now >= attempt.until) {
                    return self.fail(now, peer);
                }
            }
            _ => {}
        }
        if let Some(pair) = self.pairs.get_mut(&peer)
            && pair.attempt.as_ref().is_some_and(|a| now >= a.until)
        {
            pair.attempt = None;
        }
        self.ping(now, peer);
    }
}

impl Pair {
    fn pings(&self) -> bool {
        matches!(self.stage, Stage::Probing | Stage::Expecting { .. })
    }

    fn timeouts(&self) -> impl Iterator<Item = (Duration, &'static str)> {
        let stage = match self.stage {
            Stage::Asking { next_at, .. } => Some((next_at, "introduction wanted")),
            Stage::Dialing { until, .. } | Stage::Expecting { until } => Some((until, "dial")),
            Stage::Idle | Stage::Probing | Stage::Open | Stage::Failed { .. } => None,
        };
        let attempt = self.attempt.as_ref();
        let ping = attempt
            .filter(|_| self.pings())
            .and_then(Attempt::next_ping);
        let choice = attempt
            .filter(|_| self.stage == Stage::Probing)
            .and_then(Attempt::choice_at);
        let end = attempt.map(|attempt| (attempt.until, "attempt"));
        let ping = ping.map(|at| (at, "ping"));
        let choice = choice.map(|at| (at, "choice"));
        stage.into_iter().chain(ping).chain(choice).chain(end)
    }
}
