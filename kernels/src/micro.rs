//! The one place that multiplies: a packed matrix times a few columns, in registers. A faster
//! kernel for some CPU replaces what is in here and nothing else.
//!
//! Every element of a product is one chain of fused multiply-adds over the depth in ascending order, whatever
//! the width of the vectors, so that all CPUs give the same bits.

use pulp::{Arch, Simd, WithSimd};

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

/// Columns that one pass takes through the registers.
pub(crate) const COLUMNS: usize = 8;

/// Rounds up to whole vectors of the widest CPU.
pub(crate) const fn padded(n: usize) -> usize {
    n.next_multiple_of(8)
}

/// The instruction set in use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cpu {
    arch: Arch,
    lanes: usize,
}

impl Cpu {
    /// What this machine has; asked once a process by the library.
    pub(crate) fn new() -> Cpu {
        struct Lanes;
        impl WithSimd for Lanes {
            type Output = usize;
            #[inline(always)]
            fn with_simd<S: Simd>(self, _: S) -> usize {
                S::F64_LANES
            }
        }
        let arch = Arch::new();
        Cpu { arch, lanes: arch.dispatch(Lanes) }
    }

    /// Runs `op` compiled for this machine.
    #[inline]
    pub(crate) fn dispatch<Op: WithSimd>(self, op: Op) -> Op::Output {
        self.arch.dispatch(op)
    }

    /// The first row and the height (with padding) of each panel of a packed matrix of `rows` rows.
    pub(crate) fn panels(self, rows: usize) -> Panels {
        Panels { lanes: self.lanes, next: 0, end: rows.div_ceil(self.lanes) }
    }
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
        let start = self.from.map_or(0, |from| r0.saturating_sub(from)).max(self.least);
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

/// What becomes of the destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Store {
    Set,
    Add,
    Sub,
}

/// `dst = a b`, `dst + a b` or `dst - a b` for `cols` columns of `b` and `dst`, each column-major.
pub(crate) struct Multiply<'a> {
    pub(crate) a: Packed<'a>,
    pub(crate) b: &'a [f64],
    pub(crate) ldb: usize,
    pub(crate) dst: &'a mut [f64],
    pub(crate) ldd: usize,
    pub(crate) cols: usize,
    pub(crate) store: Store,
}

impl WithSimd for Multiply<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let mut col = 0;
        while col < self.cols {
            match self.cols - col {
                8.. if S::REGISTER_COUNT >= 32 => col += self.columns::<S, 8>(simd, col),
                4.. => col += self.columns::<S, 4>(simd, col),
                2.. => col += self.columns::<S, 2>(simd, col),
                _ => col += self.columns::<S, 1>(simd, col),
            }
        }
    }
}

impl Multiply<'_> {
    /// All panels times `N` columns from `col` on.
    #[inline(always)]
    fn columns<S: Simd, const N: usize>(&mut self, simd: S, col: usize) -> usize {
        let Packed { data, rows, depth, band } = self.a;
        let panels = Panels { lanes: S::F64_LANES, next: 0, end: rows.div_ceil(S::F64_LANES) };
        for (r0, height) in panels {
            let r1 = rows.min(r0 + height);
            let (k0, k1) = band.range(r0, r1, depth);
            let a = &data[r0 * depth + k0 * height..r0 * depth + k1 * height];
            let (source, ldb) = (self.b, self.ldb);
            let b: [&[f64]; N] = std::array::from_fn(|j| {
                let start = (col + j) * ldb;
                &source[start + k0..start + k1]
            });
            let at = col * self.ldd + r0;
            let len = (N - 1) * self.ldd + (r1 - r0);
            let dst = &mut self.dst[at..at + len];
            match height / S::F64_LANES {
                3 => simd.vectorize(Tile::<3, N> { a, b, dst, ldd: self.ldd, rows: r1 - r0, store: self.store }),
                2 => simd.vectorize(Tile::<2, N> { a, b, dst, ldd: self.ldd, rows: r1 - r0, store: self.store }),
                _ => simd.vectorize(Tile::<1, N> { a, b, dst, ldd: self.ldd, rows: r1 - r0, store: self.store }),
            }
        }
        N
    }
}

/// `M` vectors of rows times `N` columns.
struct Tile<'a, const M: usize, const N: usize> {
    a: &'a [f64],
    b: [&'a [f64]; N],
    dst: &'a mut [f64],
    ldd: usize,
    rows: usize,
    store: Store,
}

impl<const M: usize, const N: usize> WithSimd for Tile<'_, M, N> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (a, _) = S::as_simd_f64s(self.a);
        let depth = a.len() / M;
        let b: [&[f64]; N] = std::array::from_fn(|j| &self.b[j][..depth]);
        let mut acc = [[simd.splat_f64s(0.0); M]; N];
        for (k, a) in a.chunks_exact(M).enumerate() {
            unroll!(N, j, {
                let b = simd.splat_f64s(b[j][k]);
                unroll!(M, i, { acc[j][i] = simd.mul_add_f64s(a[i], b, acc[j][i]) });
            });
        }
        match self.store {
            Store::Set => finish(simd, &acc, self.dst, self.ldd, self.rows, |_, sum| sum),
            Store::Add => finish(simd, &acc, self.dst, self.ldd, self.rows, |old, sum| simd.add_f64s(old, sum)),
            Store::Sub => finish(simd, &acc, self.dst, self.ldd, self.rows, |old, sum| simd.sub_f64s(old, sum)),
        }
    }
}

/// Merges the sums into the destination; loops of fixed length, so that sums stay in registers.
#[inline(always)]
fn finish<S: Simd, const M: usize, const N: usize>(
    simd: S,
    acc: &[[S::f64s; M]; N],
    dst: &mut [f64],
    ldd: usize,
    rows: usize,
    merge: impl Fn(S::f64s, S::f64s) -> S::f64s,
) {
    if rows == M * S::F64_LANES {
        unroll!(N, j, {
            let (column, _) = S::as_mut_simd_f64s(&mut dst[j * ldd..j * ldd + rows]);
            let column = &mut column[..M];
            unroll!(M, i, { column[i] = merge(column[i], acc[j][i]) });
        });
    } else {
        unroll!(N, j, {
            let column = &mut dst[j * ldd..j * ldd + rows];
            unroll!(M, i, {
                let end = rows.min((i + 1) * S::F64_LANES);
                let part = &mut column[i * S::F64_LANES..end];
                let old = simd.partial_load_f64s(part);
                simd.partial_store_f64s(part, merge(old, acc[j][i]));
            });
        });
    }
}
