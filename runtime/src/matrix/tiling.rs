//! How a matrix is cut into tiles. Knows sizes only, never data.

/// Most tiles along one side: tile indices are `i32` in programs.
pub const TILES_PER_SIDE_MAX: u64 = i32::MAX as u64;

/// A matrix of `m` x `n` cut into tiles of `mb` x `nb`; tiles at the bottom and right edges may be
/// smaller.
///
/// ```
/// use peerwren::matrix::Tiling;
/// let tiling = Tiling::new(10, 7, 4, 4)?;
/// assert_eq!((tiling.mt(), tiling.nt()), (3, 2));
/// let edge = tiling.rect(tiling.index(2, 1)?);
/// assert_eq!((edge.row0, edge.col0, edge.rows, edge.cols), (8, 4, 2, 3));
/// # Ok::<(), peerwren::matrix::TilingError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tiling {
    m: u64,
    n: u64,
    mb: u32,
    nb: u32,
}

/// The place of a tile, known to lie in its tiling. Made by [`Tiling::index`] alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TileIndex {
    i: u32,
    j: u32,
}

/// The part of the matrix that a tile covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TileRect {
    /// Row of the matrix of the tile's first row.
    pub row0: u64,
    /// Column of the matrix of the tile's first column.
    pub col0: u64,
    /// Rows of the tile.
    pub rows: usize,
    /// Columns of the tile.
    pub cols: usize,
}

/// A tiling or an index that does not exist.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TilingError {
    /// A size is zero.
    #[error("a matrix of {m} x {n} in tiles of {mb} x {nb}: every size must be at least 1")]
    Zero {
        /// Rows of the matrix.
        m: u64,
        /// Columns of the matrix.
        n: u64,
        /// Rows of a tile.
        mb: u32,
        /// Columns of a tile.
        nb: u32,
    },
    /// More tiles along a side than an index can count.
    #[error("a matrix of {m} x {n} has more than {max} tiles of {mb} x {nb} along a side; use larger tiles", max = TILES_PER_SIDE_MAX)]
    TooMany {
        /// Rows of the matrix.
        m: u64,
        /// Columns of the matrix.
        n: u64,
        /// Rows of a tile.
        mb: u32,
        /// Columns of a tile.
        nb: u32,
    },
    /// The matrix has no such tile.
    #[error("tile [{i}, {j}] of a matrix of {mt} x {nt} tiles")]
    Outside {
        /// Row of tiles asked for.
        i: i64,
        /// Column of tiles asked for.
        j: i64,
        /// Rows of tiles.
        mt: u32,
        /// Columns of tiles.
        nt: u32,
    },
}

impl Tiling {
    /// Cuts `m` x `n` into tiles of `mb` x `nb`.
    ///
    /// # Errors
    /// A zero size, or more than [`TILES_PER_SIDE_MAX`] tiles along a side.
    pub fn new(m: u64, n: u64, mb: u32, nb: u32) -> Result<Self, TilingError> {
        if m == 0 || n == 0 || mb == 0 || nb == 0 {
            return Err(TilingError::Zero { m, n, mb, nb });
        }
        if m.div_ceil(mb.into()) > TILES_PER_SIDE_MAX || n.div_ceil(nb.into()) > TILES_PER_SIDE_MAX
        {
            return Err(TilingError::TooMany { m, n, mb, nb });
        }
        Ok(Self { m, n, mb, nb })
    }

    /// Rows of the matrix.
    pub fn m(&self) -> u64 {
        self.m
    }

    /// Columns of the matrix.
    pub fn n(&self) -> u64 {
        self.n
    }

    /// Rows of a tile that is not at the bottom edge.
    pub fn mb(&self) -> u32 {
        self.mb
    }

    /// Columns of a tile that is not at the right edge.
    pub fn nb(&self) -> u32 {
        self.nb
    }

    /// Rows of tiles, ceil(m / mb).
    pub fn mt(&self) -> u32 {
        tiles(self.m, self.mb)
    }

    /// Columns of tiles, ceil(n / nb).
    pub fn nt(&self) -> u32 {
        tiles(self.n, self.nb)
    }

    /// Rows of the tiles in tile row `i`; 0 outside the matrix.
    pub fn rows(&self, i: u32) -> usize {
        extent(self.m, self.mb, i)
    }

    /// Columns of the tiles in tile column `j`; 0 outside the matrix.
    pub fn cols(&self, j: u32) -> usize {
        extent(self.n, self.nb, j)
    }

    /// Checks a place once, so that nothing after it has to.
    ///
    /// # Errors
    /// The matrix has no tile `[i, j]`.
    pub fn index(&self, i: impl Into<i64>, j: impl Into<i64>) -> Result<TileIndex, TilingError> {
        let (i, j) = (i.into(), j.into());
        let (mt, nt) = (self.mt(), self.nt());
        match (u32::try_from(i), u32::try_from(j)) {
            (Ok(i), Ok(j)) if i < mt && j < nt => Ok(TileIndex { i, j }),
            _ => Err(TilingError::Outside { i, j, mt, nt }),
        }
    }

    /// The part of the matrix that a tile covers.
    pub fn rect(&self, at: TileIndex) -> TileRect {
        TileRect {
            row0: u64::from(at.i) * u64::from(self.mb),
            col0: u64::from(at.j) * u64::from(self.nb),
            rows: self.rows(at.i),
            cols: self.cols(at.j),
        }
    }

    /// Every place, column by column.
    pub fn indices(&self) -> impl Iterator<Item = TileIndex> + use<> {
        let (mt, nt) = (self.mt(), self.nt());
        (0..nt).flat_map(move |j| (0..mt).map(move |i| TileIndex { i, j }))
    }
}

impl TileIndex {
    /// Row of tiles, from 0.
    pub fn i(&self) -> u32 {
        self.i
    }

    /// Column of tiles, from 0.
    pub fn j(&self) -> u32 {
        self.j
    }
}

/// Tiles along a side; `Tiling::new` has bounded the count.
fn tiles(length: u64, block: u32) -> u32 {
    length.div_ceil(block.into()) as u32
}

fn extent(length: u64, block: u32, at: u32) -> usize {
    let block = u64::from(block);
    let first = u64::from(at) * block;
    length.saturating_sub(first).min(block) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn refuses_what_does_not_exist() {
        assert!(matches!(
            Tiling::new(0, 1, 1, 1),
            Err(TilingError::Zero { .. })
        ));
        assert!(matches!(
            Tiling::new(1, 1, 1, 0),
            Err(TilingError::Zero { .. })
        ));
        assert!(matches!(
            Tiling::new(1 << 40, 1, 1, 1),
            Err(TilingError::TooMany { .. })
        ));
        let tiling = Tiling::new(10, 7, 4, 4).unwrap();
        let error = tiling.index(3, 0).unwrap_err();
        assert_eq!(error.to_string(), "tile [3, 0] of a matrix of 3 x 2 tiles");
        assert!(tiling.index(-1, 0).is_err());
    }

    proptest! {
        #[test]
        fn tiles_cover_the_matrix_once(m in 1u64..50, n in 1u64..50, mb in 1u32..20, nb in 1u32..20) {
            let tiling = Tiling::new(m, n, mb, nb).unwrap();
            let mut seen = vec![0u8; (m * n) as usize];
            for at in tiling.indices() {
                let rect = tiling.rect(at);
                prop_assert!(rect.rows >= 1 && rect.cols >= 1);
                prop_assert_eq!(tiling.index(at.i(), at.j()).unwrap(), at);
                for j in 0..rect.cols as u64 {
                    for i in 0..rect.rows as u64 {
                        seen[((rect.col0 + j) * m + rect.row0 + i) as usize] += 1;
                    }
                }
            }
            prop_assert!(seen.iter().all(|count| *count == 1));
        }
    }
}
