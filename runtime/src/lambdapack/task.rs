//! Tasks, tiles, and a task's operands. Plain values.

use std::fmt;

use peerwren_kernels::tile::{Kind, Shape, TileMut};
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

/// How an input tile is made that nobody gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generated {
    /// Zeros.
    Zeros,
    /// Entry (a, b) is 1 where `row + a == col + b`, else 0: a part of the identity.
    Eye {
        /// The tile's first row in the identity.
        row: i64,
        /// Its first column.
        col: i64,
    },
    /// Indices: `first`, `first + 1`, ..; beyond 64 bits they begin again below.
    Iota {
        /// The first index.
        first: i64,
    },
}

impl Generated {
    /// Writes the tile of this shape into `words`, as it is stored.
    ///
    /// # Panics
    ///
    /// Where `words` are not those of the shape.
    pub fn write(self, shape: Shape, words: &mut [f64]) {
        assert_eq!(words.len(), shape.words(), "the words of a {shape} tile");
        words.fill(0.0);
        match self {
            Self::Zeros => {}
            Self::Iota { first } => {
                for (at, word) in words.iter_mut().enumerate() {
                    *word = f64::from_bits(first.wrapping_add(at as i64).cast_unsigned());
                }
            }
            Self::Eye { row, col } if shape.kind == Kind::Full => {
                ones(row, col, shape, words);
            }
            Self::Eye { row, col } => {
                let mut dense = vec![0.0; shape.rows as usize * shape.cols as usize];
                ones(row, col, shape, &mut dense);
                TileMut::new(shape, words).pack(&dense, shape.rows as usize);
            }
        }
    }
}

/// Sets the ones of [`Generated::Eye`] in a dense tile of zeros.
fn ones(row: i64, col: i64, shape: Shape, dense: &mut [f64]) {
    let rows = shape.rows as usize;
    for b in 0..shape.cols as usize {
        let a = i128::from(col) + b as i128 - i128::from(row);
        if let Some(a) = usize::try_from(a).ok().filter(|a| *a < rows) {
            dense[b * rows + a] = 1.0;
        }
    }
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
