//! What moved in a phase, by statement of the program and by pair of workers: sums of what workers
//! counted. Decides nothing.

use std::collections::BTreeMap;

use super::WorkerId;
use crate::control::{Moves, Origin, Purpose};

/// Bytes by where they came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByOrigin {
    /// From other workers.
    pub peer: u64,
    /// From the store, inputs aside.
    pub store: u64,
    /// From the run's inputs.
    pub input: u64,
}

/// Blocks and bytes from one worker to another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PairMoves {
    /// How many blocks.
    pub blocks: u64,
    /// Their payload.
    pub bytes: u64,
}

/// The sums: as many as the programs have statements times families that each reads, and as many as pairs
/// of workers gave each other a block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MoveTable {
    /// By what for and the family's number.
    pub by_statement: BTreeMap<(Purpose, u16), ByOrigin>,
    /// By giver and receiver.
    pub by_pair: BTreeMap<(WorkerId, WorkerId), PairMoves>,
}

impl MoveTable {
    /// Adds what came to `worker`.
    pub fn add<'a>(&mut self, worker: WorkerId, moves: impl Iterator<Item = &'a Moves>) {
        for moved in moves {
            let key = (moved.purpose, moved.family);
            let sums = self.by_statement.entry(key).or_default();
            match moved.origin {
                Origin::Peer(peer) => {
                    sums.peer = sums.peer.saturating_add(moved.bytes);
                    let pair = self.by_pair.entry((peer, worker)).or_default();
                    pair.blocks = pair.blocks.saturating_add(moved.blocks);
                    pair.bytes = pair.bytes.saturating_add(moved.bytes);
                }
                Origin::Store => sums.store = sums.store.saturating_add(moved.bytes),
                Origin::Source => sums.input = sums.input.saturating_add(moved.bytes),
            }
        }
    }

    /// All bytes by where they came from.
    #[must_use]
    pub fn total(&self) -> ByOrigin {
        let rows = self.by_statement.values();
        rows.fold(ByOrigin::default(), |sum, row| ByOrigin {
            peer: sum.peer + row.peer,
            store: sum.store + row.store,
            input: sum.input + row.input,
        })
    }
}
