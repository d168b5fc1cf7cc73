//! Whom a node sends a block next, who waits for a turn, and who is referred to a peer that has the
//! block, as a state machine. Never sends a byte, never reads a clock, knows no network.
//!
//! A block that many want at once would leave its one holder one copy after the other, while those that
//! have it already serve nobody. So a holder remembers which peers it has served. When it has sent a
//! block whole, every second one of those that wait for that block is referred to the peer that now has
//! it; who comes when no turn is free is referred at once. Each peer that was served does the same, so that
//! the block spreads as a tree, of whose `n` nodes the root serves about `log2(n)`. Where others wait for other
//! blocks, all are referred, and what is not yet on its way goes first: a line that many blocks have to leave
//! carries each of them once.
//!
//! ```text
//! handle_input(input)   poll_action() -> Option<Action>, drained to None   check_invariants()
//! ```
//!
//! Whoever takes a block slower than others could have it lends its turn to one of them ([`Input::Lags`]), so that a
//! few slow readers do not hold up all.
//!
//! Nobody is sent round in circles: who was referred in vain asks again and says so, and is not referred
//! any more; nor does this node refer anybody to the peer that was named.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};

use crate::block::BlockKey;
use crate::identity::NodeId;

/// Blocks whose receivers are remembered, those asked for last: what a node serves within seconds.
const BLOCKS_MAX: usize = 64;

/// Receivers remembered of one block; a tree that doubles has 65,536 nodes before one has served more.
/// 64 blocks x (16 receivers x 16 bytes + a key) = 20 kB.
const RECEIVERS_MAX: usize = 16;

/// Bounds of a [`Server`].
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Blocks that are sent at one time, those that lag aside.
    pub outgoing_max: usize,
    /// Blocks that are sent beside them since their readers lag.
    pub lagging_max: usize,
    /// Requests that wait; one more is told that this node is busy.
    pub queue_max: usize,
    /// The shortest block, in bytes, for which anybody is referred.
    pub refer_bytes_min: u64,
}

/// Names a request, among all that a server was ever asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// A request for a block that is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Names it.
    pub id: RequestId,
    /// Who asks.
    pub peer: NodeId,
    /// For what.
    pub key: BlockKey,
    /// The block's length.
    pub bytes: u64,
    /// Whom the peer was referred to when it asked before, if that brought nothing.
    pub in_vain: Option<NodeId>,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// A peer asks.
    Asked(Request),
    /// A block was sent, and its peer has it whole and right.
    Served(RequestId),
    /// A block is on its way for longer than it should be: another may go beside it.
    Lags(RequestId),
    /// A request is over otherwise: its peer gave up, or nothing could be sent.
    GaveUp(RequestId),
    /// A peer is gone for good.
    PeerLeft(NodeId),
    /// A block is not here any more.
    BlockLeft(BlockKey),
}

/// The answer to a request. Each gets one at most, and one exactly unless it gives up before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send the block now; [`Input::Served`] or [`Input::GaveUp`] ends that.
    Send(RequestId),
    /// Tell the peer that this other one has the block.
    Refer(RequestId, NodeId),
    /// Tell the peer that too many wait.
    Busy(RequestId),
}

/// A block on its way.
#[derive(Clone, Copy, Debug)]
struct Sending {
    peer: NodeId,
    key: BlockKey,
    /// Whether others may be referred to the peer once it has the block.
    may_serve: bool,
    /// Whether its turn is lent to another.
    lags: bool,
}

/// The peers that were sent a block by this node.
#[derive(Debug, Default)]
struct Receivers {
    /// In the order they were served, each with how many were referred to it.
    peers: Vec<(NodeId, u32)>,
    /// The larger, the later it was asked for.
    used: u64,
}

/// The state machine of a node that serves blocks.
#[derive(Debug)]
pub struct Server {
    limits: Limits,
    sending: BTreeMap<RequestId, Sending>,
    waiting: VecDeque<Request>,
    receivers: BTreeMap<BlockKey, Receivers>,
    uses: u64,
    actions: VecDeque<Action>,
}

impl Server {
    /// A server that was asked nothing yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            sending: BTreeMap::new(),
            waiting: VecDeque::new(),
            receivers: BTreeMap::new(),
            uses: 0,
            actions: VecDeque::new(),
        }
    }

    /// Takes in what happened.
    pub fn handle_input(&mut self, input: Input) {
        match input {
            Input::Asked(request) => self.asked(request),
            Input::Served(id) => self.served(id),
            Input::Lags(id) => self.lags(id),
            Input::GaveUp(id) => {
                self.waiting.retain(|request| request.id != id);
                self.sending.remove(&id);
            }
            Input::PeerLeft(peer) => self.peer_left(peer),
            Input::BlockLeft(key) => drop(self.receivers.remove(&key)),
        }
        while self.has_turn()
            && let Some(request) = self.next_turn()
        {
            self.send(&request);
        }
    }

    /// The next thing to do, until there is none.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// How many requests wait for a turn.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Panics with a sentence if what this machine knows contradicts itself.
    pub fn check_invariants(&self) {
        let (limits, lagging) = (&self.limits, self.lagging());
        let sending = self.sending.len() - lagging;
        assert!(sending <= limits.outgoing_max, "{sending} are sent at once");
        assert!(lagging <= limits.lagging_max, "{lagging} lag at once");
        assert!(self.waiting.len() <= limits.queue_max, "too many wait");
        assert!(
            self.waiting.is_empty() || sending == limits.outgoing_max,
            "somebody waits while a turn is free"
        );
        assert!(self.receivers.len() <= BLOCKS_MAX, "too much is remembered");
        for (key, receivers) in &self.receivers {
            let count = receivers.peers.len();
            assert!(
                (1..=RECEIVERS_MAX).contains(&count),
                "{count} receivers of {key} are remembered"
            );
        }
    }

    fn lagging(&self) -> usize {
        self.sending.values().filter(|sending| sending.lags).count()
    }

    fn has_turn(&self) -> bool {
        self.sending.len() - self.lagging() < self.limits.outgoing_max
    }

    fn lags(&mut self, id: RequestId) {
        let may_lend = self.lagging() < self.limits.lagging_max;
        if let Some(sending) = self.sending.get_mut(&id) {
            sending.lags |= may_lend;
        }
    }

    fn asked(&mut self, request: Request) {
        // Whoever asks does not have it, whatever it was sent before.
        self.forget(&request.key, request.peer);
        if let Some(peer) = request.in_vain {
            self.forget(&request.key, peer);
        }
        if self.has_turn() {
            self.send(&request);
        } else if let Some(peer) = self.least_referred(&request) {
            self.refer(&request, peer);
        } else if self.waiting.len() < self.limits.queue_max {
            self.waiting.push_back(request);
        } else {
            self.actions.push_back(Action::Busy(request.id));
        }
    }

    /// The first that waits for a block which is not on its way to somebody who could pass it on; if all do,
    /// the first. So different blocks leave before second copies of one.
    fn next_turn(&mut self) -> Option<Request> {
        let spreads = |key| {
            let mut sending = self.sending.values();
            sending.any(|sending| sending.may_serve && sending.key == key)
        };
        let first = self.waiting.iter().position(|it| !spreads(it.key));
        self.waiting.remove(first.unwrap_or(0))
    }

    fn send(&mut self, request: &Request) {
        let &Request { id, peer, key, .. } = request;
        let is_worker = matches!(peer, NodeId::Worker(_));
        let may_serve = is_worker && request.bytes >= self.limits.refer_bytes_min;
        let sending = Sending {
            peer,
            key,
            may_serve,
            lags: false,
        };
        self.sending.insert(id, sending);
        self.actions.push_back(Action::Send(id));
    }

    fn served(&mut self, id: RequestId) {
        let Some(sent) = self.sending.remove(&id).filter(|sent| sent.may_serve) else {
            return;
        };
        self.remember(sent.key, sent.peer);
        // The first of those that wait is served here, the second there, and so on; all there, where other
        // blocks wait for this node's line.
        let is_busy = self.waiting.iter().any(|it| it.key != sent.key);
        let (skipped, step) = if is_busy { (0, 1) } else { (1, 2) };
        let is_movable = |request: &&Request| {
            request.key == sent.key && request.in_vain.is_none() && request.peer != sent.peer
        };
        let movable = self.waiting.iter().filter(is_movable);
        let moved: Vec<_> = movable.skip(skipped).step_by(step).copied().collect();
        for request in moved {
            self.waiting.retain(|waiting| waiting.id != request.id);
            self.refer(&request, sent.peer);
        }
    }

    fn refer(&mut self, request: &Request, to: NodeId) {
        debug_assert_ne!(request.peer, to, "nobody is referred to itself");
        self.uses += 1;
        if let Some(receivers) = self.receivers.get_mut(&request.key) {
            receivers.used = self.uses;
            let receiver = receivers.peers.iter_mut().find(|(peer, _)| *peer == to);
            if let Some((_, referred)) = receiver {
                *referred = referred.saturating_add(1);
            }
        }
        self.actions.push_back(Action::Refer(request.id, to));
    }

    /// The peer to which a request may be referred: of those that have the block the one that the fewest
    /// were referred to, then the one that has had it longest.
    fn least_referred(&self, request: &Request) -> Option<NodeId> {
        let receivers = self.receivers.get(&request.key)?;
        let peers = request.in_vain.is_none().then_some(&receivers.peers)?;
        let least = peers.iter().min_by_key(|(_, referred)| *referred)?;
        Some(least.0)
    }

    fn remember(&mut self, key: BlockKey, peer: NodeId) {
        self.uses += 1;
        if !self.receivers.contains_key(&key) && self.receivers.len() == BLOCKS_MAX {
            let oldest = self.receivers.iter().min_by_key(|(_, of)| of.used);
            if let Some((&oldest, _)) = oldest {
                self.receivers.remove(&oldest);
            }
        }
        let receivers = self.receivers.entry(key).or_default();
        receivers.used = self.uses;
        receivers.peers.retain(|(other, _)| *other != peer);
        if receivers.peers.len() == RECEIVERS_MAX {
            let most = (0..RECEIVERS_MAX).max_by_key(|&at| receivers.peers[at].1);
            receivers.peers.remove(most.unwrap_or(0));
        }
        receivers.peers.push((peer, 0));
    }

    fn forget(&mut self, key: &BlockKey, peer: NodeId) {
        if let Some(receivers) = self.receivers.get_mut(key) {
            receivers.peers.retain(|(other, _)| *other != peer);
            if receivers.peers.is_empty() {
                self.receivers.remove(key);
            }
        }
    }

    fn peer_left(&mut self, peer: NodeId) {
        for sending in self.sending.values_mut() {
            sending.may_serve &= sending.peer != peer;
        }
        self.receivers.retain(|_, receivers| {
            receivers.peers.retain(|(other, _)| *other != peer);
            !receivers.peers.is_empty()
        });
    }
}
