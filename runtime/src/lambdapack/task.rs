//! Tasks, tiles, and a task's operands. Plain values.

use std::fmt;

use peerwren_transports::block::Indices;
use rkyv::{Archive, Deserialize, Serialize};

use super::resolve::OPERANDS_MAX;

/// One statement at fixed loop indices.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Archive, Serialize, Deserialize,
)]
pub struct Task {
    /// The statement, in the order of the text.
    pub stmt: u16,
    /// The loop variables, outermost first.
    pub at: Indices,
}

/// A tile under its own name: aliases are followed.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Archive, Serialize, Deserialize,
)]
pub struct Tile {
    /// The family, in the order of the text.
    pub family: u16,
    /// The indices.
    pub at: Indices,
}

/// A tile of an output and the tile that it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResultTile {
    /// Place of the output in [`Bound::output_names`](super::Bound::output_names).
    pub output: u16,
    /// Indices in the output.
    pub at: Indices,
    /// The tile of the program.
    pub tile: Tile,
}

/// The inputs or outputs of a task, at most eight; `None` where an optional one is absent.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Slots {
    len: u8,
    tiles: [Option<Tile>; OPERANDS_MAX],
}

impl Slots {
    pub(crate) fn push(&mut self, tile: Option<Tile>) {
        self.tiles[usize::from(self.len)] = tile;
        self.len += 1;
    }

    /// The tiles that are there.
    pub fn present(&self) -> impl Iterator<Item = Tile> {
        self.iter().flatten().copied()
    }
}

impl std::ops::Deref for Slots {
    type Target = [Option<Tile>];

    fn deref(&self) -> &[Option<Tile>] {
        &self.tiles[..usize::from(self.len)]
    }
}

impl fmt::Debug for Slots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
