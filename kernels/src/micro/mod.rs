//! The one place that multiplies: a packed matrix times a few columns, in registers. [`form`] says with which
//! instructions, [`tile`] is what runs in the registers.
//!
//! Every element of a product is one chain of fused multiply-adds over the depth in ascending order, from what it is
//! added to or subtracted from on, whatever the width of the vectors: all forms give the same bits.

/// Repeats the body for the index from 0 to `n - 1`, `n <= 8` known when compiling. Unlike a loop it
/// leaves no index behind, so that what the index selects lives in registers.
macro_rules! unroll {
    ($n:expr, $index:ident, $body:block) => {
        unroll!(@ $n, $index, $body, 0 1 2 3 4 5 6 7)
    };
    (@ $n:expr, $index:ident, $body:block, $($value:literal)*) => {
        $(if $value < $n {
            let $index: usize = $value;
            $body
        })*
    };
}

mod form;
#[cfg(test)]
mod tests;
mod tile;

pub(crate) use form::Cpu;
pub use form::Form;

use pulp::{Simd, WithSimd};

use tile::{Columns, Run};

/// Columns that one pass takes through the registers.
pub(crate) const COLUMNS: usize = 8;
/// Depth from which on a panel takes long enough for what the next one is added to to arrive from memory meanwhile.
const DEPTH_TO_FETCH: usize = 256;

/// Rounds up to whole vectors of the widest CPU.
pub(crate) const fn padded(n: usize) -> usize {
    n.next_multiple_of(8)
}

/// Panels are three vectors high; the last one or two are lower, never 3 + 1 where 2 + 2 can be.
#[derive(Clone, Debug)]
pub(crate) struct Panels {
    lanes: usize,
    next: usize,
    end: usize,
}

impl Iterator for Panels {
    type Item = (usize, usize);

    #[inline(always)]
    fn next(&mut self) -> Option<(usize, usize)> {
        let rest = self.end - self.next;
        let height = match rest {
            0 => return None,
            1 | 2 => rest,
            4 => 2,
            _ => 3,
        };
        let panel = (self.next * self.lanes, height * self.lanes);
        self.next += height;
        Some(panel)
    }
}

/// Which part of the depth a panel of rows `r0..r1` needs, the rest being zeros of the matrix.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Band {
    /// From `r0 - from` on.
    pub(crate) from: Option<usize>,
    /// Up to `r1 + to`, exclusive.
    pub(crate) to: Option<usize>,
    /// Never before this.
    pub(crate) least: usize,
}

impl Band {
    #[inline(always)]
    fn range(self, r0: usize, r1: usize, depth: usize) -> (usize, usize) {
        let end = self.to.map_or(depth, |to| r1.saturating_add(to).min(depth));
        let start = self
            .from
            .map_or(0, |from| r0.saturating_sub(from))
            .max(self.least);
        (start.min(end), end)
    }
}

/// A matrix of `rows` x `depth` packed in panels: for each `k`, the panel's rows side by side;
/// padding rows hold zeros.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packed<'a> {
    pub(crate) data: &'a [f64],
    pub(crate) rows: usize,
    pub(crate) depth: usize,
    pub(crate) band: Band,
}

/// Where the columns of a matrix begin, and how far apart a column's entries are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stride {
    /// Column `c` at `c` times this, entries side by side.
    Fixed(usize),
    /// Column `c` of a packed upper triangle: at `c (c + 1) / 2`.
    Packed,
    /// Eight columns at a time, so far apart, in which each row's eight entries lie side by side.
    Beside(usize),
}

impl Stride {
    #[inline(always)]
    pub(crate) fn start(self, col: usize) -> usize {
        match self {
            Stride::Fixed(ld) => col * ld,
            Stride::Packed => col * (col + 1) / 2,
            Stride::Beside(pitch) => col / COLUMNS * pitch + col % COLUMNS,
        }
    }

    /// From one entry of a column to the next.
    #[inline(always)]
    fn step(self) -> usize {
        match self {
            Stride::Fixed(_) | Stride::Packed => 1,
            Stride::Beside(_) => COLUMNS,
        }
    }
}

/// Columns `first..` of a matrix, rows `row..`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) stride: Stride,
    pub(crate) first: usize,
    pub(crate) row: usize,
}

impl Place {
    /// The first columns and rows of a matrix with this leading dimension.
    pub(crate) fn dense(ld: usize) -> Place {
        Place::whole(Stride::Fixed(ld))
    }

    /// The first columns and rows of a matrix that lies so.
    pub(crate) fn whole(stride: Stride) -> Place {
        Place {
            stride,
            first: 0,
            row: 0,
        }
    }

    /// The same rows, columns from `col` on.
    pub(crate) fn after(self, col: usize) -> Place {
        Place {
            first: self.first + col,
            ..self
        }
    }

    #[inline(always)]
    pub(crate) fn start(self, col: usize) -> usize {
        self.stride.start(self.first + col) + self.row * self.stride.step()
    }
}

/// What becomes of the destination.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Store<'a> {
    Set,
    Add,
    Sub,
    /// What is at the same place in here and the product.
    AddFrom(&'a [f64]),
    /// What is at the same place in here less the product.
    SubFrom(&'a [f64]),
    /// What is at that place in here and the product.
    AddAt(&'a [f64], Place),
}

/// A matrix that loses the product too, at rows and columns like the destination's.
pub(crate) struct Also<'a> {
    pub(crate) data: &'a mut [f64],
    pub(crate) place: Place,
    /// What it was, if that is not in `data` yet.
    pub(crate) source: Option<&'a [f64]>,
}

/// The product `a b`, or the destination plus or less it, for `cols` columns of `b` and `dst`.
pub(crate) struct Multiply<'a> {
    pub(crate) a: Packed<'a>,
    pub(crate) b: (&'a [f64], Place),
    pub(crate) dst: (&'a mut [f64], Place),
    pub(crate) cols: usize,
    pub(crate) store: Store<'a>,
    pub(crate) part: Part,
    pub(crate) also: Option<Also<'a>>,
}

/// Which part of the destination is computed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Part {
    All,
    /// Panels with a row `r >= c + shift` for some column `c` of those in registers; others are left as they are.
    Lower {
        shift: isize,
    },
}

impl WithSimd for Multiply<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let minus = matches!(self.store, Store::Sub | Store::SubFrom(_));
        match (self.b.1.stride.step(), minus) {
            (1, false) => self.all_columns::<S, 1, false>(simd),
            (1, true) => self.all_columns::<S, 1, true>(simd),
            (_, false) => self.all_columns::<S, COLUMNS, false>(simd),
            (_, true) => self.all_columns::<S, COLUMNS, true>(simd),
        }
    }
}

impl Multiply<'_> {
    /// As many columns at a time as the registers hold.
    #[inline(always)]
    fn all_columns<S: Simd, const STEP: usize, const MINUS: bool>(mut self, simd: S) {
        let mut col = 0;
        while col < self.cols {
            match self.cols - col {
                8.. if S::REGISTER_COUNT >= 32 => {
                    col += self.columns::<S, 8, STEP, MINUS>(simd, col)
                }
                4.. => col += self.columns::<S, 4, STEP, MINUS>(simd, col),
                2.. => col += self.columns::<S, 2, STEP, MINUS>(simd, col),
                _ => col += self.columns::<S, 1, STEP, MINUS>(simd, col),
            }
        }
    }

    /// All panels times `N` columns from `col` on.
    #[inline(always)]
    fn columns<S: Simd, const N: usize, const STEP: usize, const MINUS: bool>(
        &mut self,
        simd: S,
        col: usize,
    ) -> usize {
        let Packed {
            data,
            rows,
            depth,
            band,
        } = self.a;
        let panels = Panels {
            lanes: S::F64_LANES,
            next: 0,
            end: rows.div_ceil(S::F64_LANES),
        };
        let dst = Columns::write(self.dst.0, self.dst.1.after(col), rows);
        let old = match self.store {
            Store::Set => None,
            Store::Add | Store::Sub => Some(dst),
            Store::AddFrom(old) | Store::SubFrom(old) => {
                Some(Columns::read(old, self.dst.1.after(col), rows))
            }
            Store::AddAt(old, place) => Some(Columns::read(old, place.after(col), rows)),
        };
        let also = self.also.as_mut().map(|also| {
            let place = also.place.after(col);
            let source = also.source.map(|old| Columns::read(old, place, rows));
            let to = Columns::write(also.data, place, rows);
            (source.unwrap_or(to), to)
        });
        let run = Run::<N> {
            b: Columns::read(self.b.0, self.b.1.after(col), depth),
            dst,
            old,
            also,
        };
        // After the last panel come the next columns.
        let following = panels.clone().skip(1).map(|(row, _)| (row, 0));
        for ((r0, height), next) in panels.zip(following.chain([(0, N)])) {
            let r1 = rows.min(r0 + height);
            if let Part::Lower { shift } = self.part
                && r1 as isize <= col as isize + shift
            {
                continue;
            }
            let (k0, k1) = band.range(r0, r1, depth);
            if k1 - k0 >= DEPTH_TO_FETCH {
                run.fetch_old(next, height);
            }
            let a = &data[r0 * depth + k0 * height..r0 * depth + k1 * height];
            match height / S::F64_LANES {
                3 => run.tile::<S, 3, STEP, MINUS>(simd, a, k0..k1, r0..r1),
                2 => run.tile::<S, 2, STEP, MINUS>(simd, a, k0..k1, r0..r1),
                _ => run.tile::<S, 1, STEP, MINUS>(simd, a, k0..k1, r0..r1),
            }
        }
        N
    }
}
