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
        Cpu::with(Arch::new())
    }

    fn with(arch: Arch) -> Cpu {
        struct Lanes;
        impl WithSimd for Lanes {
            type Output = usize;
            #[inline(always)]
            fn with_simd<S: Simd>(self, _: S) -> usize {
                S::F64_LANES
            }
        }
        let lanes = arch.dispatch(Lanes);
        Cpu { arch, lanes }
    }

    /// Every instruction set that this machine has.
    #[cfg(test)]
    pub(crate) fn all() -> Vec<Cpu> {
        let mut all = vec![Cpu::with(Arch::Scalar), Cpu::new()];
        #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
        if let Some(v3) = pulp::x86::V3::try_new() {
            all.push(Cpu::with(Arch::V3(v3)));
        }
        all
    }

    /// Runs `op` compiled for this machine.
    #[inline]
    pub(crate) fn dispatch<Op: WithSimd>(self, op: Op) -> Op::Output {
        self.arch.dispatch(op)
    }

    /// The first row and the height (with padding) of each panel of a packed matrix of `rows` rows.
    pub(crate) fn panels(self, rows: usize) -> Panels {
        Panels {
            lanes: self.lanes,
            next: 0,
            end: rows.div_ceil(self.lanes),
        }
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

/// Where the columns of a column-major matrix begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stride {
    /// Column `c` at `c` times this.
    Fixed(usize),
    /// Column `c` of a packed upper triangle: at `c (c + 1) / 2`.
    Packed,
}

impl Stride {
    #[inline(always)]
    pub(crate) fn start(self, col: usize) -> usize {
        match self {
            Stride::Fixed(ld) => col * ld,
            Stride::Packed => col * (col + 1) / 2,
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
        Place {
            stride: Stride::Fixed(ld),
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
        self.stride.start(self.first + col) + self.row
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
}

/// The product `a b`, or the destination plus or less it, for `cols` columns of `b` and `dst`.
pub(crate) struct Multiply<'a> {
    pub(crate) a: Packed<'a>,
    pub(crate) b: (&'a [f64], Place),
    pub(crate) dst: (&'a mut [f64], Place),
    pub(crate) cols: usize,
    pub(crate) store: Store<'a>,
    pub(crate) part: Part,
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
    fn with_simd<S: Simd>(mut self, simd: S) {
        match self.store {
            Store::Set => self.all_columns(simd, &|_, sum| sum),
            Store::Add | Store::AddFrom(_) => {
                self.all_columns(simd, &|old, sum| simd.add_f64s(old, sum))
            }
            Store::Sub | Store::SubFrom(_) => {
                self.all_columns(simd, &|old, sum| simd.sub_f64s(old, sum))
            }
        }
    }
}

impl Multiply<'_> {
    /// As many columns at a time as the registers hold.
    #[inline(always)]
    fn all_columns<S: Simd>(&mut self, simd: S, merge: &impl Fn(S::f64s, S::f64s) -> S::f64s) {
        let mut col = 0;
        while col < self.cols {
            match self.cols - col {
                8.. if S::REGISTER_COUNT >= 32 => col += self.columns::<S, 8>(simd, col, merge),
                4.. => col += self.columns::<S, 4>(simd, col, merge),
                2.. => col += self.columns::<S, 2>(simd, col, merge),
                _ => col += self.columns::<S, 1>(simd, col, merge),
            }
        }
    }

    /// All panels times `N` columns from `col` on.
    #[inline(always)]
    fn columns<S: Simd, const N: usize>(
        &mut self,
        simd: S,
        col: usize,
        merge: &impl Fn(S::f64s, S::f64s) -> S::f64s,
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
        let (source, place) = self.b;
        let (mut columns, mut starts) = ([&source[..0]; N], [0; N]);
        unroll!(N, j, {
            columns[j] = &source[place.start(col + j)..];
            starts[j] = self.dst.1.start(col + j);
        });
        for (r0, height) in panels {
            let r1 = rows.min(r0 + height);
            if let Part::Lower { shift } = self.part
                && r1 as isize <= col as isize + shift
            {
                continue;
            }
            let (k0, k1) = band.range(r0, r1, depth);
            let a = &data[r0 * depth + k0 * height..r0 * depth + k1 * height];
            let place = TilePlace {
                columns: &columns,
                starts: &starts,
                k0,
                r0,
                rows: r1 - r0,
            };
            let dst = &mut *self.dst.0;
            let from = match self.store {
                Store::AddFrom(from) | Store::SubFrom(from) => Some(from),
                Store::Set | Store::Add | Store::Sub => None,
            };
            match height / S::F64_LANES {
                3 => Tile::<3, N> {
                    a,
                    place,
                    dst,
                    from,
                }
                .run(simd, merge),
                2 => Tile::<2, N> {
                    a,
                    place,
                    dst,
                    from,
                }
                .run(simd, merge),
                _ => Tile::<1, N> {
                    a,
                    place,
                    dst,
                    from,
                }
                .run(simd, merge),
            }
        }
        N
    }
}

/// Where a register tile's operands are.
struct TilePlace<'a, const N: usize> {
    /// Columns of B from depth 0 on.
    columns: &'a [&'a [f64]; N],
    /// Where the destination's columns begin.
    starts: &'a [usize; N],
    /// First depth.
    k0: usize,
    /// First row and how many.
    r0: usize,
    rows: usize,
}

/// `M` vectors of rows times `N` columns.
struct Tile<'a, const M: usize, const N: usize> {
    a: &'a [f64],
    place: TilePlace<'a, N>,
    dst: &'a mut [f64],
    /// What the sums are merged with, if not the destination itself.
    from: Option<&'a [f64]>,
}

impl<const M: usize, const N: usize> Tile<'_, M, N> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S, merge: &impl Fn(S::f64s, S::f64s) -> S::f64s) {
        let (a, _) = S::as_simd_f64s(self.a);
        let depth = a.len() / M;
        let TilePlace {
            columns,
            starts,
            k0,
            r0,
            rows,
        } = self.place;
        let mut b = [&columns[0][..0]; N];
        unroll!(N, j, { b[j] = &columns[j][k0..k0 + depth] });
        let mut acc = [[simd.splat_f64s(0.0); M]; N];
        for (k, a) in a.chunks_exact(M).enumerate() {
            unroll!(N, j, {
                let b = simd.splat_f64s(b[j][k]);
                unroll!(M, i, { acc[j][i] = simd.mul_add_f64s(a[i], b, acc[j][i]) });
            });
        }
        if let Some(from) = self.from {
            unroll!(N, j, {
                let span = starts[j] + r0..starts[j] + r0 + rows;
                finish(
                    simd,
                    &acc[j],
                    Some(&from[span.clone()]),
                    &mut self.dst[span],
                    merge,
                );
            });
        } else {
            unroll!(N, j, {
                let span = starts[j] + r0..starts[j] + r0 + rows;
                finish(simd, &acc[j], None, &mut self.dst[span], merge);
            });
        }
    }
}

/// Merges one column's sums with `from`, or with the destination itself.
#[inline(always)]
fn finish<S: Simd, const M: usize>(
    simd: S,
    sums: &[S::f64s; M],
    from: Option<&[f64]>,
    column: &mut [f64],
    merge: &impl Fn(S::f64s, S::f64s) -> S::f64s,
) {
    let rows = column.len();
    if rows == M * S::F64_LANES {
        let (column, _) = S::as_mut_simd_f64s(column);
        let column = &mut column[..M];
        if let Some(from) = from {
            let (from, _) = S::as_simd_f64s(from);
            let from = &from[..M];
            unroll!(M, i, { column[i] = merge(from[i], sums[i]) });
        } else {
            unroll!(M, i, { column[i] = merge(column[i], sums[i]) });
        }
    } else {
        unroll!(M, i, {
            let span = i * S::F64_LANES..rows.min((i + 1) * S::F64_LANES);
            let old = simd.partial_load_f64s(&from.unwrap_or(column)[span.clone()]);
            simd.partial_store_f64s(&mut column[span], merge(old, sums[i]));
        });
    }
}
