//! What becomes of fetches in the world: blocks come, or peers fail, are not reached, or refer elsewhere.

use peerwren_transports::block::{BlockKey, Digest};

use super::super::setup::Dice;
use super::super::truth;
use super::storing::garbled;
use super::{Event, Node, World};
use crate::control::{FromWorker, Origin, PeerWay};
use crate::machine::WorkerId;
use crate::machine::cache::Copy;
use crate::machine::worker::{Fetch, FetchFailure};

impl World<'_> {
    pub(super) fn fetched(&mut self, id: WorkerId, fetch: &Fetch) -> Result<(), FetchFailure> {
        let &Fetch {
            copy,
            origin,
            digest: expected,
            in_vain,
        } = fetch;
        let key = copy.key;
        let failed = Err(FetchFailure::Elsewhere);
        let came = match origin {
            Origin::Source => Some(truth::source(&key)),
            // What nobody has hashed is not taken from there.
            Origin::Store => {
                let there = expected.and(self.store.get(&key).copied());
                self.as_it_comes("blocks garbled on their way from the store", there)
            }
            Origin::Peer(peer) => {
                let known = self
                    .nodes
                    .get(&id)
                    .is_some_and(|node| node.peers.contains(&peer));
                let fails = self.setup.faults.peer_fails;
                if !known || self.strikes("fetches from peers that fail", fails) {
                    return failed;
                }
                if self.has_no_answer(id, peer) {
                    return failed;
                }
                if self.is_cut_off(id, peer) {
                    let way = PeerWay::Store;
                    let said = Event::Said(id, FromWorker::Way { peer, way });
                    let takes = self.latency();
                    self.deliver((id, true), takes, said);
                    return Err(FetchFailure::NoPath);
                }
                if in_vain.is_none()
                    && let Some(other) = self.referral(id, peer, &key)
                {
                    return Err(FetchFailure::Referred(other));
                }
                let shared = Copy { key, private: None };
                let has = self.nodes.get(&peer);
                let there = has.and_then(|node| node.table.get(&shared).copied());
                self.as_it_comes("blocks garbled on their way from a peer", there)
            }
        };
        let Some(digest) = came else { return failed };
        // A peer's bytes must have the digest that the machine expects, or else the one that the peer announces.
        let is_right = match origin {
            Origin::Store => fetch.accepts(digest),
            _ => expected.unwrap_or(self.truth.blocks[&key]) == digest,
        };
        if !is_right {
            self.strike("wrong blocks refused");
            return failed;
        }
        assert_eq!(
            Some(&digest),
            self.truth.blocks.get(&key),
            "{id} takes wrong bytes for {key}"
        );
        if let Some(node) = self.nodes.get_mut(&id) {
            node.table.insert(copy, digest);
        }
        Ok(())
    }

    /// What comes of a block that is there.
    fn as_it_comes(&mut self, what: &'static str, there: Option<Digest>) -> Option<Digest> {
        let digest = there?;
        let garbles = self.setup.faults.garbles;
        Some(if self.strikes(what, garbles) {
            garbled(digest)
        } else {
            digest
        })
    }

    /// Whether who asks waits in vain: the peer stands still, or does not reach it though it is reached.
    fn has_no_answer(&mut self, id: WorkerId, peer: WorkerId) -> bool {
        let is_paused = |node: &Node| node.paused_until > self.now;
        let is_paused = self.nodes.get(&peer).is_some_and(is_paused);
        let is_lost = self.is_cut(peer, id) && !self.is_cut(id, peer);
        if is_lost {
            self.strike("fetches across a cut");
        }
        is_paused || is_lost
    }

    fn is_cut(&self, from: WorkerId, to: WorkerId) -> bool {
        let until = self.cuts.get(&(from, to));
        self.is_rough() && until.is_some_and(|&until| until > self.now)
    }

    /// To whom `peer` refers a worker that asks for a block: one that has it, any other one, one that is gone
    /// or that never was.
    fn referral(&mut self, id: WorkerId, peer: WorkerId, key: &BlockKey) -> Option<WorkerId> {
        let refers = self.setup.faults.refers;
        if !self.strikes("referrals", refers) {
            return None;
        }
        let shared = Copy {
            key: *key,
            private: None,
        };
        let has = |(_, node): &(&WorkerId, &Node)| node.table.contains_key(&shared);
        let others: Vec<_> = if self.dice.chance(500) {
            self.nodes.iter().filter(has).map(|(&id, _)| id).collect()
        } else {
            let gone = self.down.iter().chain([&WorkerId(u32::MAX)]);
            self.nodes.keys().chain(gone).copied().collect()
        };
        let others: Vec<_> = others
            .into_iter()
            .filter(|&o| o != id && o != peer)
            .collect();
        (!others.is_empty()).then(|| self.dice.one_of(&others))
    }

    /// Whether no packets get through from one worker to another: for now, or never, which is so for the
    /// same two always.
    fn is_cut_off(&mut self, one: WorkerId, other: WorkerId) -> bool {
        if self.is_cut(one, other) {
            self.strike("fetches across a cut");
            return true;
        }
        let pair = u64::from(one.0.min(other.0)) << 32 | u64::from(one.0.max(other.0));
        Dice::new(self.setup.seed ^ pair.wrapping_mul(0x9E37_79B9))
            .chance(self.setup.faults.no_path)
    }
}
