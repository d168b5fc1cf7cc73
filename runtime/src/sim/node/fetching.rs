//! How a simulated worker gets and stores blocks: whom it asks, what waits in which line, what comes of it. Never
//! decides whom to ask: its machine has.

use peerwren_transports::block::{BlockKey, Digest};
use peerwren_transports::identity::NodeId;
use peerwren_transports::punch::RETRY;
use peerwren_transports::serving::{self, Request, RequestId};

use super::computing::INPUT_TAG;
use super::{Kind, Node, Transfer, Way};
use crate::control::{FromWorker, PeerWay};
use crate::dice::Dice;
use crate::machine::WorkerId;
use crate::machine::cache::Copy;
use crate::machine::worker::{Fetch, FetchFailure, Input, Origin};
use crate::matrix::Moved;
use crate::sim::network::End;
use crate::sim::world::{Event, World, nanos};

/// How long a pair of workers looks for a path where there is none.
const GIVE_UP_S: f64 = 4.0;

impl World<'_> {
    pub(super) fn fetch(&mut self, id: WorkerId, fetch: Fetch) {
        let Fetch {
            copy,
            origin,
            digest: expected,
            in_vain,
        } = fetch;
        let transfer = |kind| Transfer {
            worker: id,
            copy,
            kind,
            bytes: 0,
            digest: Digest([0; 32]),
            least: 0,
        };
        match origin {
            Origin::Peer(peer) => {
                let number = self.transfer(transfer(Kind::Peer(peer, in_vain)));
                self.ask(number, id, peer);
            }
            Origin::Store => {
                let number = self.transfer(transfer(Kind::Read));
                let held = expected.and(self.store.get(&copy.key).copied());
                self.read(number, held);
            }
            Origin::Source => {
                let number = self.transfer(transfer(Kind::Read));
                let digest = source_digest(&copy.key);
                if self.fleet.inputs.from_store && self.plan.is_input(&copy.key) {
                    self.read(number, Some(digest));
                } else {
                    let bytes = self.plan.bytes(&copy.key);
                    let takes = nanos(bytes as f64 / self.fleet.inputs.bytes_s);
                    self.amend(number, bytes, digest);
                    // Whoever reads or makes it takes a core for that.
                    match &mut self.cores {
                        Some(cores) => {
                            let next = cores.start(self.now, takes, number | INPUT_TAG);
                            self.expect_core(next);
                        }
                        None => self.queue.push(self.now + takes, Event::Came(number)),
                    }
                }
            }
        }
    }

    fn amend(&mut self, number: u64, bytes: u64, digest: Digest) {
        if let Some(transfer) = self.transfers.get_mut(&number) {
            (transfer.bytes, transfer.digest) = (bytes, digest);
        }
    }

    /// Asks a peer, after a path to it was found.
    fn ask(&mut self, number: u64, id: WorkerId, peer: WorkerId) {
        let now = self.now;
        let (nat, trip) = (&self.fleet.nat, self.half_trip());
        let is_open = self.reaches(id, peer);
        let Some(node) = self.nodes[id.0 as usize].as_deref_mut() else {
            return;
        };
        let mut takes = trip;
        match node.ways.get(&peer) {
            Some(Way::Open) => {}
            Some(Way::Closed(at)) if now - at < RETRY.as_nanos() as u64 => {
                self.queue
                    .push(now, Event::Failed(number, FetchFailure::NoPath));
                return;
            }
            _ => {
                let way = if is_open { Way::Open } else { Way::Closed(now) };
                node.ways.insert(peer, way);
                if !is_open {
                    let at = now + nanos(GIVE_UP_S);
                    self.queue
                        .push(at, Event::Failed(number, FetchFailure::NoPath));
                    self.say(
                        id,
                        FromWorker::Way {
                            peer,
                            way: PeerWay::Store,
                        },
                    );
                    return;
                }
                // A handshake takes a round trip of its own.
                takes += 2 * trip + nanos(nat.punch_s);
                let way = if nat.punch_s > 0.0 {
                    PeerWay::Punched
                } else {
                    PeerWay::Local
                };
                self.say(id, FromWorker::Way { peer, way });
            }
        }
        self.queue.push(now + takes, Event::Asked(number));
    }

    /// Whether packets pass between two workers.
    fn reaches(&self, one: WorkerId, other: WorkerId) -> bool {
        let unreachable = self.fleet.nat.unreachable;
        if unreachable <= 0.0 {
            return true;
        }
        let (low, high) = (one.0.min(other.0), one.0.max(other.0));
        let pair = u64::from(low) << 32 | u64::from(high);
        self.dice.of(pair ^ 1 << 63).share() >= unreachable
    }

    /// A request reaches the peer, if that is there and has the block.
    pub(super) fn asked(&mut self, number: u64) {
        let Some(&transfer) = self.transfers.get(&number) else {
            return;
        };
        let Kind::Peer(peer, in_vain) = transfer.kind else {
            return;
        };
        let key = transfer.copy.key;
        if !self.is_up(peer) {
            let silence = nanos(self.fleet.faults.notice_s);
            let failed = Event::Failed(number, FetchFailure::Elsewhere);
            self.queue.push(self.now + silence, failed);
            return;
        }
        let shared = Copy { key, private: None };
        let held = self
            .node(peer)
            .and_then(|node| node.table.get(&shared).copied());
        let Some(digest) = held else {
            let failed = Event::Failed(number, FetchFailure::Elsewhere);
            self.queue.push(self.now + self.half_trip(), failed);
            return;
        };
        let bytes = self.plan.likely_bytes(&key);
        self.amend(number, bytes, digest);
        self.serve(
            peer,
            serving::Input::Asked(Request {
                id: RequestId(number),
                peer: NodeId::Worker(transfer.worker.0),
                key,
                bytes,
                in_vain: in_vain.map(|peer| NodeId::Worker(peer.0)),
            }),
        );
    }

    /// Tells a worker's server something, and does what it says.
    pub(super) fn serve(&mut self, id: WorkerId, input: serving::Input) {
        let Some(node) = self.node(id) else { return };
        node.server.handle_input(input);
        let answer = |world: &mut Self, number, failure| {
            let at = world.now + world.half_trip();
            world.queue.push(at, Event::Failed(number, failure));
        };
        while let Some(action) = self.node(id).and_then(|node| node.server.poll_action()) {
            match action {
                serving::Action::Send(RequestId(number)) => {
                    let at = self.now + nanos(self.fleet.network.serve_s);
                    self.queue.push(at, Event::Begun(number));
                }
                serving::Action::Refer(RequestId(number), NodeId::Worker(to)) => {
                    answer(self, number, FetchFailure::Referred(WorkerId(to)));
                }
                serving::Action::Refer(RequestId(number), _)
                | serving::Action::Busy(RequestId(number)) => {
                    answer(self, number, FetchFailure::Elsewhere);
                }
            }
        }
    }

    /// Waits for the store to take a read of a block that it may have.
    fn read(&mut self, number: u64, digest: Option<Digest>) {
        let store = &self.fleet.store;
        let asked = gate(&mut self.store_free[0], self.now, store.gets_per_s);
        let at = asked + nanos(store.get_s);
        let Some(digest) = digest else {
            self.queue
                .push(at, Event::Failed(number, FetchFailure::Elsewhere));
            return;
        };
        let Some(transfer) = self.transfers.get(&number) else {
            return;
        };
        let bytes = self.plan.likely_bytes(&transfer.copy.key);
        self.amend(number, bytes, digest);
        self.queue.push(at, Event::Begun(number));
    }

    /// Bytes begin to flow.
    pub(super) fn begun(&mut self, number: u64) {
        let Some(transfer) = self.transfers.get_mut(&number) else {
            return;
        };
        let store = &self.fleet.store;
        let here = End::Line(transfer.worker.0 as usize);
        let (way, most) = match transfer.kind {
            Kind::Peer(peer, _) => ((End::Line(peer.0 as usize), here), f64::INFINITY),
            Kind::Read => ((End::Store, here), store.bytes_s),
            Kind::Put => ((here, End::Store), store.bytes_s),
        };
        let bytes = transfer.bytes;
        let is_by_store = !matches!(transfer.kind, Kind::Peer(..));
        if is_by_store && store.total_bytes_s > 0.0 {
            let per_s = store.total_bytes_s / bytes.max(1) as f64;
            transfer.least = gate(&mut self.store_free[2], self.now, per_s) + nanos(1.0 / per_s);
        }
        if let Kind::Peer(peer, _) = transfer.kind
            && !self.is_up(peer)
        {
            // That it failed is on its way.
            return;
        }
        let mut ends = std::mem::take(&mut self.ends);
        self.network
            .start(self.now, way, bytes, most, number, &mut ends);
        self.ends = ends;
    }

    /// All bytes of a transfer have left.
    pub(super) fn flowed(&mut self, number: u64) {
        let Some(transfer) = self.transfers.get(&number) else {
            return;
        };
        let takes = match transfer.kind {
            Kind::Peer(..) => self.half_trip(),
            Kind::Read => 0,
            Kind::Put => nanos(self.fleet.store.put_s),
        };
        let at = (self.now + takes).max(transfer.least);
        self.queue.push(at, Event::Came(number));
    }

    /// A block is where it was to go.
    pub(super) fn came(&mut self, number: u64) {
        let Some(transfer) = self.transfers.remove(&number) else {
            return;
        };
        let Transfer {
            worker,
            copy,
            kind,
            bytes,
            digest,
            ..
        } = transfer;
        if let Kind::Peer(peer, _) = kind {
            let at = self.now + self.half_trip();
            self.queue.push(at, Event::Served(peer, number));
        }
        let moved = Moved::once(bytes);
        match kind {
            Kind::Put => {
                self.store.insert(copy.key, digest);
                self.input(worker, Input::Stored(copy, Ok((moved, digest))));
            }
            Kind::Peer(..) | Kind::Read => {
                if let Some(node) = self.node(worker) {
                    node.table.insert(copy, digest);
                }
                self.input(worker, Input::Fetched(copy, Ok(moved)));
            }
        }
    }

    pub(super) fn failed(&mut self, number: u64, failure: FetchFailure) {
        let Some(transfer) = self.transfers.remove(&number) else {
            return;
        };
        if let Kind::Peer(peer, _) = transfer.kind {
            self.serve(peer, serving::Input::GaveUp(RequestId(number)));
        }
        let result = Input::Fetched(transfer.copy, Err(failure));
        self.input(transfer.worker, result);
    }

    /// A worker hears that a peer is gone: what it wanted of that one fails now.
    pub(super) fn give_up_peer(&mut self, id: WorkerId, peer: WorkerId) {
        let is_of = |transfer: &Transfer| {
            transfer.worker == id && matches!(transfer.kind, Kind::Peer(from, _) if from == peer)
        };
        let transfers = self.transfers.iter();
        let mut lost: Vec<u64> = transfers
            .filter(|(_, transfer)| is_of(transfer))
            .map(|(&number, _)| number)
            .collect();
        lost.sort_unstable();
        for number in lost {
            self.queue
                .push(self.now, Event::Failed(number, FetchFailure::Elsewhere));
        }
    }

    /// A worker is gone: nothing flows to or from it, and its peers hear nothing for a while.
    pub(in crate::sim) fn cut(&mut self, id: WorkerId) {
        let mut ends = std::mem::take(&mut self.ends);
        self.network.cut(self.now, id.0 as usize, &mut ends);
        self.ends = ends;
        let touched = self.transfers.iter().filter(|(_, transfer)| {
            transfer.worker == id || matches!(transfer.kind, Kind::Peer(peer, _) if peer == id)
        });
        let mut touched: Vec<(u64, Transfer)> = touched.map(|(&at, &of)| (at, of)).collect();
        touched.sort_unstable_by_key(|(number, _)| *number);
        let silence = nanos(self.fleet.faults.notice_s);
        for (number, transfer) in touched {
            if transfer.worker != id {
                let failed = Event::Failed(number, FetchFailure::Elsewhere);
                self.queue.push(self.now + silence, failed);
                continue;
            }
            self.transfers.remove(&number);
            if let Kind::Peer(peer, _) = transfer.kind {
                self.serve(peer, serving::Input::GaveUp(RequestId(number)));
            }
        }
    }

    // ---- the store

    pub(super) fn put(&mut self, id: WorkerId, copy: Copy) {
        let Some(digest) = self
            .node(id)
            .and_then(|node| node.table.get(&copy).copied())
        else {
            let error = format!("block {} left before it was stored", copy.key);
            self.input(id, Input::Stored(copy, Err(error)));
            return;
        };
        let store = &self.fleet.store;
        let at = gate(&mut self.store_free[1], self.now, store.puts_per_s);
        let bytes = self.plan.likely_bytes(&copy.key);
        let number = self.transfer(Transfer {
            worker: id,
            copy,
            kind: Kind::Put,
            bytes,
            digest,
            least: 0,
        });
        self.queue.push(at, Event::Begun(number));
    }
}

/// The digest of a block that no task makes.
fn source_digest(key: &BlockKey) -> Digest {
    let mut word = u64::from(key.matrix) + 1;
    for &index in key.indices.as_slice() {
        word = Dice::new(word ^ u64::from(index.cast_unsigned())).next();
    }
    Node::digest(word)
}

/// When one of a limited number of things a second may happen; 0 for no limit.
fn gate(free: &mut u64, now: u64, per_s: f64) -> u64 {
    if per_s <= 0.0 {
        return now;
    }
    let at = now.max(*free);
    *free = at + nanos(1.0 / per_s);
    at
}
