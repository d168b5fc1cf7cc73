//! What becomes of fetches in the world: blocks come, or peers fail, are not reached, or refer elsewhere.

use peerwren_transports::block::BlockKey;

use super::super::setup::Dice;
use super::super::truth;
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
            Origin::Store => expected.and(self.store.get(&key).copied()),
            Origin::Peer(peer) => {
                let known = self
                    .nodes
                    .get(&id)
                    .is_some_and(|node| node.peers.contains(&peer));
                if !known || self.dice.chance(self.setup.faults.peer_fails) {
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
                self.nodes
                    .get(&peer)
                    .and_then(|node| node.table.get(&shared).copied())
            }
        };
        let Some(digest) = came else { return failed };
        assert_eq!(
            Some(&digest),
            self.truth.blocks.get(&key),
            "{key} has the wrong bytes"
        );
        assert!(
            expected.is_none_or(|expected| expected == digest),
            "{key} was expected otherwise"
        );
        if let Some(node) = self.nodes.get_mut(&id) {
            node.table.insert(copy, digest);
        }
        Ok(())
    }

    /// To whom `peer` refers a worker that asks for a block: one that has it, any other one, one that is gone
    /// or that never was.
    fn referral(&mut self, id: WorkerId, peer: WorkerId, key: &BlockKey) -> Option<WorkerId> {
        let refers = self.setup.faults.refers;
        if refers == 0 || !self.dice.chance(refers) {
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

    /// Whether packets never get through between two workers: always so for the same two.
    fn is_cut_off(&self, one: WorkerId, other: WorkerId) -> bool {
        let pair = u64::from(one.0.min(other.0)) << 32 | u64::from(one.0.max(other.0));
        Dice(self.setup.seed ^ pair.wrapping_mul(0x9E37_79B9)).chance(self.setup.faults.no_path)
    }
}
