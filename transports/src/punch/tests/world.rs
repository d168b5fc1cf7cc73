//! Two punchers, their NATs, a coordinator that introduces them, and a network that loses and delays:
//! what must come of each pair of NATs. A failing run tells its seed; the same seed is the same run.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use proptest::prelude::*;

use super::super::*;

/// What stands between a node and the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Nat {
    /// Nothing: its own address is its outside address.
    None,
    /// One port towards everybody; lets in who was sent to (Linux masquerading).
    Cone,
    /// One port towards everybody; lets everybody in.
    FullCone,
    /// A port for each destination; lets in who was sent to.
    Symmetric,
    /// Lets no UDP through.
    Dropping,
}

/// Ports of a NAT.
struct Gate {
    nat: Nat,
    ip: [u8; 4],
    inside: SocketAddr,
    ports: BTreeMap<Option<SocketAddr>, u16>,
    let_in: BTreeSet<(u16, SocketAddr)>,
}

impl Gate {
    fn new(nat: Nat, ip: [u8; 4], inside: SocketAddr) -> Self {
        Self {
            nat,
            ip,
            inside,
            ports: BTreeMap::new(),
            let_in: BTreeSet::new(),
        }
    }

    /// The source that a packet to `to` has outside.
    fn out(&mut self, to: SocketAddr) -> Option<SocketAddr> {
        let key = match self.nat {
            Nat::None => return Some(self.inside),
            Nat::Dropping => return None,
            Nat::Cone | Nat::FullCone => None,
            Nat::Symmetric => Some(to),
        };
        let next = 20_000 + self.ports.len() as u16;
        let port = *self.ports.entry(key).or_insert(next);
        self.let_in.insert((port, to));
        Some(SocketAddr::from((self.ip, port)))
    }

    /// Whether a packet to this side comes in.
    fn lets_in(&self, from: SocketAddr, to: SocketAddr) -> bool {
        match self.nat {
            Nat::None => to == self.inside,
            Nat::Dropping => false,
            Nat::FullCone => {
                to.ip() == SocketAddr::from((self.ip, 0)).ip()
                    && self.ports.values().any(|&port| port == to.port())
            }
            Nat::Cone | Nat::Symmetric => {
                to.ip() == SocketAddr::from((self.ip, 0)).ip()
                    && self.let_in.contains(&(to.port(), from))
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Event {
    Packet {
        to: usize,
        from: SocketAddr,
        bytes: Vec<u8>,
    },
    Introduce(usize),
    Dialed {
        by: usize,
        addr: SocketAddr,
        seen_from: Option<SocketAddr>,
    },
}

struct World {
    nodes: Vec<(NodeId, Puncher, Gate)>,
    same_network: bool,
    /// Packets from the first to the second node never arrive.
    cut_there: bool,
    cut_back: bool,
    loss_percent: u64,
    random: u64,
    now: Duration,
    events: BTreeMap<(Duration, u64), Event>,
    ends: Vec<Option<Result<Way, ()>>>,
    sent: usize,
    trace: Vec<String>,
}

/// A case and what must come of it.
#[derive(Clone, Copy, Debug)]
struct Case {
    a: Nat,
    b: Nat,
    same_network: bool,
    cut_there: bool,
    cut_back: bool,
    outcome: Option<Way>,
}

const APART: Case = Case {
    a: Nat::None,
    b: Nat::None,
    same_network: false,
    cut_there: false,
    cut_back: false,
    outcome: None,
};

const fn case(a: Nat, b: Nat, outcome: Option<Way>) -> Case {
    Case {
        a,
        b,
        outcome,
        ..APART
    }
}

const CASES: &[Case] = &[
    case(Nat::None, Nat::None, Some(Way::Local)),
    case(Nat::None, Nat::Cone, Some(Way::Punched)),
    case(Nat::None, Nat::Symmetric, Some(Way::Punched)),
    case(Nat::Cone, Nat::Cone, Some(Way::Punched)),
    case(Nat::Cone, Nat::FullCone, Some(Way::Punched)),
    case(Nat::FullCone, Nat::FullCone, Some(Way::Punched)),
    case(Nat::Symmetric, Nat::FullCone, Some(Way::Punched)),
    case(Nat::Symmetric, Nat::Cone, None),
    case(Nat::Symmetric, Nat::Symmetric, None),
    case(Nat::Dropping, Nat::None, None),
    case(Nat::Dropping, Nat::Cone, None),
    case(Nat::Dropping, Nat::Dropping, None),
    Case {
        a: Nat::Cone,
        b: Nat::Cone,
        cut_there: true,
        ..APART
    },
    Case {
        a: Nat::Cone,
        b: Nat::FullCone,
        cut_back: true,
        ..APART
    },
    Case {
        a: Nat::Cone,
        b: Nat::Cone,
        same_network: true,
        outcome: Some(Way::Local),
        ..APART
    },
    Case {
        a: Nat::Symmetric,
        b: Nat::Symmetric,
        same_network: true,
        outcome: Some(Way::Local),
        ..APART
    },
    Case {
        a: Nat::Dropping,
        b: Nat::Dropping,
        same_network: true,
        outcome: Some(Way::Local),
        ..APART
    },
];

impl World {
    fn new(case: Case, swap: bool, seed: u64, loss_percent: u64) -> Self {
        let coordinators: [SocketAddr; 2] = [
            ([198, 51, 100, 1], 7000).into(),
            ([198, 51, 100, 1], 7001).into(),
        ];
        // The same inside addresses behind both NATs, as home routers give them: only ports differ.
        let inside = |n: usize, nat| match nat {
            Nat::None => SocketAddr::from(([203, 0, 113, 30 + n as u8], 4433)),
            _ => SocketAddr::from(([192, 168, 0, 2], 4433 + n as u16)),
        };
        let node = |n: usize, id, nat| {
            let gate = Gate::new(nat, [203, 0, 113, 11 + n as u8], inside(n, nat));
            (
                NodeId::Worker(id),
                Puncher::new(NodeId::Worker(id), Limits::default()),
                gate,
            )
        };
        let (first, second) = if swap { (2, 1) } else { (1, 2) };
        let mut world = Self {
            nodes: vec![node(0, first, case.a), node(1, second, case.b)],
            same_network: case.same_network,
            cut_there: case.cut_there,
            cut_back: case.cut_back,
            loss_percent,
            random: seed,
            now: Duration::ZERO,
            events: BTreeMap::new(),
            ends: vec![None, None],
            sent: 0,
            trace: Vec::new(),
        };
        for n in 0..2 {
            let local = world.nodes[n].2.inside;
            world.input(n, Input::Local(vec![local]));
            for observer in coordinators {
                if let Some(seen) = world.nodes[n].2.out(observer) {
                    world.input(n, Input::Observed { observer, seen });
                }
            }
        }
        world
    }

    fn draw(&mut self, below: u64) -> u64 {
        // SplitMix64.
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % below
    }

    fn after(&mut self, least_ms: u64, most_ms: u64, event: Event) {
        let at = self.now + Duration::from_millis(least_ms + self.draw(most_ms - least_ms + 1));
        let order = self.draw(u64::MAX);
        self.events.insert((at, order), event);
    }

    /// Carries a packet from node `n` to `to`: who gets it, and from where it seems to come.
    fn carry(&mut self, n: usize, to: SocketAddr) -> Option<(usize, SocketAddr)> {
        let other = 1 - n;
        if n == 0 && self.cut_there || n == 1 && self.cut_back {
            return None;
        }
        if self.same_network && to == self.nodes[other].2.inside {
            return Some((other, self.nodes[n].2.inside));
        }
        if to.ip().to_string().starts_with("192.168.") {
            return None;
        }
        let from = self.nodes[n].2.out(to)?;
        self.nodes[other]
            .2
            .lets_in(from, to)
            .then_some((other, from))
    }

    fn input(&mut self, n: usize, input: Input) {
        self.trace.push(format!("{:?} {n} <- {input:?}", self.now));
        self.nodes[n].1.handle_input(self.now, input);
        self.perform(n);
    }

    fn perform(&mut self, n: usize) {
        self.nodes[n].1.check_invariants();
        while let Some(action) = self.nodes[n].1.poll_action() {
            self.trace.push(format!("{:?} {n} -> {action:?}", self.now));
            match action {
                Action::Moved => {}
                Action::Ask(_) => {
                    for to in 0..2 {
                        self.after(1, 300, Event::Introduce(to));
                    }
                }
                Action::Send { to, bytes } => {
                    self.sent += 1;
                    if let Some((to, from)) = self.carry(n, to)
                        && self.draw(100) >= self.loss_percent
                    {
                        self.after(5, 60, Event::Packet { to, from, bytes });
                    }
                }
                // A handshake of some packets, which QUIC repeats when they are lost.
                Action::Dial { addr, .. } => {
                    let there = self.carry(n, addr);
                    let seen_from = there.and_then(|(other, from)| {
                        self.carry(other, from)
                            .filter(|(back, _)| *back == n)
                            .map(|_| from)
                    });
                    let (least, most) = if seen_from.is_some() {
                        (20, 400)
                    } else {
                        (5000, 5000)
                    };
                    self.after(
                        least,
                        most,
                        Event::Dialed {
                            by: n,
                            addr,
                            seen_from,
                        },
                    );
                }
                Action::Opened(_, way) => self.ends[n] = Some(Ok(way)),
                Action::Failed { .. } => self.ends[n] = Some(Err(())),
            }
        }
    }

    fn run(&mut self) {
        // An introduction is the coordinator's and has one secret, whoever asked.
        let secret = Secret([5; 32]);
        for _ in 0..10_000 {
            let event = self.events.first_key_value().map(|((at, _), _)| *at);
            let timeout = (0..2)
                .filter_map(|n| Some((self.nodes[n].1.poll_timeout()?.0, n)))
                .min();
            match (event, timeout) {
                (None, None) => return,
                (Some(event), None) => self.now = event,
                (Some(event), Some((timeout, _))) if event <= timeout => self.now = event,
                (_, Some((timeout, n))) => {
                    self.now = self.now.max(timeout);
                    self.nodes[n].1.handle_timeout(self.now);
                    self.perform(n);
                    continue;
                }
            }
            let Some((_, event)) = self.events.pop_first() else {
                return;
            };
            match event {
                Event::Packet { to, from, bytes } => {
                    self.input(to, Input::Received { from, bytes })
                }
                Event::Introduce(n) => {
                    let peer = self.nodes[1 - n].0;
                    let candidates = self.nodes[1 - n].1.candidates().clone();
                    let secret = secret.clone();
                    self.input(
                        n,
                        Input::Introduced {
                            peer,
                            candidates,
                            secret,
                        },
                    );
                }
                Event::Dialed {
                    by,
                    addr,
                    seen_from,
                } => {
                    let (me, other) = (self.nodes[by].0, self.nodes[1 - by].0);
                    let connected = seen_from.is_some();
                    if let Some(addr) = seen_from {
                        self.input(1 - by, Input::Connected { peer: me, addr });
                    }
                    self.input(
                        by,
                        Input::Dialed {
                            peer: other,
                            addr,
                            connected,
                        },
                    );
                }
            }
        }
        panic!("the two never come to rest");
    }
}

fn check(case: Case, wanter: usize, swap: bool, seed: u64, loss_percent: u64) {
    let mut world = World::new(case, swap, seed, loss_percent);
    let peer = world.nodes[1 - wanter].0;
    world.input(wanter, Input::Want(peer));
    world.run();
    for (n, end) in world.ends.iter().enumerate() {
        // Without a NAT of its own a node shows its peer a local address.
        let shown = match (case.outcome, [case.b, case.a][n]) {
            (Some(Way::Punched), Nat::None) => Some(Way::Local),
            (outcome, _) => outcome,
        };
        let expected = shown.ok_or(());
        // Where both ways work, loss may leave the worse one.
        if loss_percent > 0 && case.same_network && *end == Some(Ok(Way::Punched)) {
            continue;
        }
        assert_eq!(
            *end,
            Some(expected),
            "node {n} of {case:?}, wanted by {wanter}, swapped {swap}, seed {seed}, loss {loss_percent}%:\n{}",
            world.trace.join("\n")
        );
    }
    assert!(
        world.now < Duration::from_secs(15),
        "it took {:?}",
        world.now
    );
    assert!(world.sent < 600, "{} packets", world.sent);
}

#[test]
fn every_pair_of_nats_comes_to_its_end() {
    for &case in CASES {
        for seed in 0..20 {
            for (wanter, swap) in [(0, false), (0, true), (1, false), (1, true)] {
                check(case, wanter, swap, seed, 0);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn loss_and_delay_change_nothing(
        number in 0..CASES.len(), wanter in 0..2usize, swap: bool, seed: u64, loss in 0..15u64,
    ) {
        check(CASES[number], wanter, swap, seed, loss);
    }
}
