//! Applies a block of reflectors to columns: the sweep that most flops are spent in. Knows packed
//! operands only, not which kernel asks.
//!
//! With V = [I; V2] (or a unit lower V that has no identity on top) and Q = I - V T V', each 8
//! columns of C = [C1; C2] go through all four steps while they are in the first cache:
//! W = C1 + V2' C2, W = T' W (T W for Q), C1 -= W, C2 -= V2 W.

use crate::micro::{Also, Band, COLUMNS, Cpu, Multiply, Packed, Part, Place, Store, padded};
use crate::pack::{Columns, Dense, UnitLower, pack, pack_transposed, packed_words};
use crate::tile::TileRef;

/// Which of the two factors is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// Q' = I - V T' V'.
    Transposed,
    /// Q = I - V T V'.
    Plain,
}

/// Where V has its zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    /// None.
    Full,
    /// Above a unit diagonal.
    UnitLower,
    /// Column `c` has no more than `c + 1 + rise` entries.
    Upper {
        /// Rows of column 0 less one.
        rise: usize,
    },
}

impl Profile {
    fn bands(self) -> (Band, Band) {
        let (none, zero) = (None, Some(0));
        match self {
            Profile::Full => (Band::default(), Band::default()),
            Profile::UnitLower => (band(zero, none), band(none, zero)),
            Profile::Upper { rise } => (band(none, Some(rise)), band(Some(rise), none)),
        }
    }
}

fn band(from: Option<usize>, to: Option<usize>) -> Band {
    Band { from, to, least: 0 }
}

/// Packs V' of `k` reflectors over `m` rows.
pub(crate) fn transpose<'a>(
    cpu: Cpu,
    space: &'a mut [f64],
    (m, k): (usize, usize),
    profile: Profile,
    v: &impl Columns,
) -> Packed<'a> {
    pack_transposed(cpu, space, (k, m), profile.bands().0, v)
}

/// A block of `k` reflectors, packed: V both ways and T or its transpose.
pub(crate) struct Block<'a> {
    pub(crate) transposed: Packed<'a>,
    pub(crate) plain: Packed<'a>,
    pub(crate) t: Packed<'a>,
}

impl<'a> Block<'a> {
    /// Words that [`Block::new`] takes for `k` reflectors over `m` rows.
    pub(crate) const fn words(m: usize, k: usize) -> usize {
        packed_words(k, m) + Self::half_words(m, k)
    }

    /// Words that [`Block::with`] takes.
    pub(crate) const fn half_words(m: usize, k: usize) -> usize {
        packed_words(m, k) + packed_words(k, k)
    }

    /// Packs V (`m` x `k`) and T, and returns the rest of `space`.
    pub(crate) fn new(
        cpu: Cpu,
        space: &'a mut [f64],
        (m, k): (usize, usize),
        profile: Profile,
        v: &impl Columns,
        t: &impl Columns,
        side: Side,
    ) -> (Block<'a>, &'a mut [f64]) {
        let (space, rest) = space.split_at_mut(packed_words(k, m));
        let transposed = transpose(cpu, space, (m, k), profile, v);
        Block::with(cpu, transposed, rest, profile, v, t, side)
    }

    /// The same where V' is packed already.
    pub(crate) fn with(
        cpu: Cpu,
        transposed: Packed<'a>,
        space: &'a mut [f64],
        profile: Profile,
        v: &impl Columns,
        t: &impl Columns,
        side: Side,
    ) -> (Block<'a>, &'a mut [f64]) {
        let (k, m) = (transposed.rows, transposed.depth);
        let (space, rest) = space.split_at_mut(packed_words(m, k));
        let plain = pack(cpu, space, (m, k), profile.bands().1, v);
        let (space, rest) = rest.split_at_mut(packed_words(k, k));
        let t = match side {
            Side::Transposed => pack_transposed(cpu, space, (k, k), band(None, Some(0)), t),
            Side::Plain => pack(cpu, space, (k, k), band(Some(0), None), t),
        };
        (
            Block {
                transposed,
                plain,
                t,
            },
            rest,
        )
    }

    /// Words of work space that [`Block::apply`] takes.
    pub(crate) const fn apply_words(k: usize) -> usize {
        2 * COLUMNS * padded(k)
    }

    /// Applies the block to `cols` columns, 8 at a time; `top` is absent where V has no identity on
    /// top.
    pub(crate) fn apply(
        &self,
        cpu: Cpu,
        mut top: Option<Target<'_>>,
        mut bottom: Target<'_>,
        cols: usize,
        work: &mut [f64],
    ) {
        for first in (0..cols).step_by(COLUMNS) {
            let n = COLUMNS.min(cols - first);
            self.apply_columns(cpu, &mut top, &mut bottom, (first, n), work);
        }
    }

    /// Applies the block to columns `first..first + n`.
    fn apply_columns(
        &self,
        cpu: Cpu,
        top: &mut Option<Target<'_>>,
        bottom: &mut Target<'_>,
        (first, n): (usize, usize),
        work: &mut [f64],
    ) {
        let (k, m) = (self.transposed.rows, self.transposed.depth);
        let ldw = padded(k);
        let (w, rest) = work.split_at_mut(COLUMNS * ldw);
        let tw = &mut rest[..COLUMNS * ldw];
        let place_w = Place::dense(ldw);
        for j in first..first + n {
            bottom.copy_others(j, m);
        }
        let place = bottom.place.after(first);
        let top_place = top.as_ref().map(|top| top.place.after(first));
        let store = match (&top, top_place) {
            (Some(top), Some(place)) => Store::AddAt(top.input(), place),
            _ => Store::Set,
        };
        cpu.dispatch(Multiply {
            a: self.transposed,
            b: (bottom.input(), place),
            dst: (w, place_w),
            cols: n,
            store,
            part: Part::All,
            also: None,
        });
        let also = top.as_mut().zip(top_place).map(|(top, place)| Also {
            data: &mut *top.data,
            place,
            source: top.source,
        });
        cpu.dispatch(Multiply {
            a: self.t,
            b: (w, place_w),
            dst: (tw, place_w),
            cols: n,
            store: Store::Set,
            part: Part::All,
            also,
        });
        let store = bottom.source.map_or(Store::Sub, Store::SubFrom);
        let (a, b) = (self.plain, (&*tw, place_w));
        cpu.dispatch(Multiply {
            a,
            b,
            dst: (&mut *bottom.data, place),
            cols: n,
            store,
            part: Part::All,
            also: None,
        });
    }
}

/// Columns of a matrix that a block of reflectors changes.
pub(crate) struct Target<'a> {
    /// The matrix.
    pub(crate) data: &'a mut [f64],
    /// Where in it the first column's first changed row is.
    pub(crate) place: Place,
    /// What the matrix was before, of the same layout, when it has not been copied to `data` yet:
    /// then the block reads from here. Below, it copies the rows that it does not change.
    pub(crate) source: Option<&'a [f64]>,
}

impl Target<'_> {
    fn input(&self) -> &[f64] {
        self.source.unwrap_or(self.data)
    }

    /// Copies the rows of a column above and below the `rows` that change.
    fn copy_others(&mut self, col: usize, rows: usize) {
        let Some(source) = self.source else { return };
        let (start, row) = (self.place.start(col), self.place.row);
        let end = self.place.start(col + 1) - row;
        let above = start - row..start;
        let below = start + rows..end;
        for span in [above, below] {
            if !span.is_empty() {
                self.data[span.clone()].copy_from_slice(&source[span]);
            }
        }
    }
}

/// Columns `first..` of a tile, rows counted from `row`.
pub(crate) struct TileColumns<'a> {
    pub(crate) tile: TileRef<'a>,
    pub(crate) first: usize,
}

impl Columns for TileColumns<'_> {
    const UNIT: bool = false;
    fn column(&self, c: usize) -> (usize, &[f64]) {
        self.tile.column(self.first + c)
    }
}

/// Columns `first..` of a unit tile, rows counted from `first`.
pub(crate) struct UnitTileColumns<'a> {
    pub(crate) tile: TileRef<'a>,
    pub(crate) first: usize,
}

impl Columns for UnitTileColumns<'_> {
    const UNIT: bool = true;
    fn column(&self, c: usize) -> (usize, &[f64]) {
        let (row, entries) = self.tile.column(self.first + c);
        (row - self.first, entries)
    }
}

/// The `k` x `k` upper triangle of a dense matrix.
pub(crate) fn upper(data: &[f64], ld: usize, k: usize) -> Dense<'_> {
    Dense {
        data,
        ld,
        rows: k,
        rise: 0,
    }
}

/// Reflectors in the lower part of a dense matrix of `rows` rows.
pub(crate) fn unit_lower(data: &[f64], ld: usize, rows: usize) -> UnitLower<'_> {
    UnitLower { data, ld, rows }
}
