//! A few vectors of rows times a few columns, in registers. Columns are checked when they are taken from their slices;
//! what runs in the registers goes by address.
#![allow(
    unsafe_code,
    reason = "bounds are checked once a product instead of once a vector; each line says why it holds"
)]

use std::marker::PhantomData;
use std::ops::Range;

use pulp::Simd;

use super::Place;

/// The first `rows` entries, `step` words apart, of `N` columns of one matrix, all within its slice while that is
/// borrowed.
#[derive(Clone, Copy)]
pub(super) struct Columns<'a, const N: usize> {
    starts: [*mut f64; N],
    rows: usize,
    step: usize,
    matrix: PhantomData<&'a [f64]>,
}

impl<'a, const N: usize> Columns<'a, N> {
    /// Columns that are only read.
    #[inline(always)]
    pub(super) fn read(data: &'a [f64], place: Place, rows: usize) -> Self {
        Columns::within(data.as_ptr().cast_mut(), data.len(), place, rows)
    }

    /// Columns that may be written.
    #[inline(always)]
    pub(super) fn write(data: &'a mut [f64], place: Place, rows: usize) -> Self {
        Columns::within(data.as_mut_ptr(), data.len(), place, rows)
    }

    #[inline(always)]
    fn within(data: *mut f64, len: usize, place: Place, rows: usize) -> Self {
        let mut starts = [data; N];
        let step = place.stride.step();
        let span = rows.checked_sub(1).map_or(0, |last| last * step + 1);
        unroll!(N, j, {
            let start = place.start(j);
            assert!(
                start.checked_add(span).is_some_and(|end| end <= len),
                "a column lies within its matrix"
            );
            // SAFETY: start + span <= len, so that the address is within the slice that `data` and `len` came from,
            // or just behind it.
            starts[j] = unsafe { data.add(start) };
        });
        Columns {
            starts,
            rows,
            step,
            matrix: PhantomData,
        }
    }
}

/// `N` columns of a product, on all of which panels of rows work one after the other.
pub(super) struct Run<'a, const N: usize> {
    /// Columns of B, as many rows as the product is deep.
    pub(super) b: Columns<'a, N>,
    pub(super) dst: Columns<'a, N>,
    /// What the product is added to or subtracted from.
    pub(super) old: Option<Columns<'a, N>>,
    /// What is left of the first less the product is written to the second.
    pub(super) also: Option<(Columns<'a, N>, Columns<'a, N>)>,
}

impl<const N: usize> Run<'_, N> {
    /// Has the processor fetch what `height` rows from `row` on, in columns that come so many later, are added to. Where
    /// columns are not equally far apart it fetches what lies near.
    #[inline(always)]
    pub(super) fn fetch_old(&self, (row, columns): (usize, usize), height: usize) {
        let Some(old) = &self.old else { return };
        let apart = (old.starts[N - 1] as usize).wrapping_sub(old.starts[0] as usize);
        let bytes = row * 8 + columns * (apart / (N - 1).max(1));
        for start in old.starts {
            for line in 0..height.div_ceil(8) {
                fetch(start.wrapping_byte_add(bytes + 64 * line));
            }
        }
    }

    /// Rows `rows` of the columns, at most `M` vectors, of which `a` is the packed panel for the depths `ks`. Entries of
    /// a column of B are `STEP` words apart.
    #[inline(always)]
    pub(super) fn tile<S: Simd, const M: usize, const STEP: usize, const MINUS: bool>(
        &self,
        simd: S,
        a: &[f64],
        ks: Range<usize>,
        rows: Range<usize>,
    ) {
        let full = rows.len() == M * S::F64_LANES;
        assert!(
            rows.end <= self.dst.rows
                && rows.len() <= M * S::F64_LANES
                && ks.end <= self.b.rows
                && self.b.step == STEP
                && self.dst.step == 1
                && a.len() == ks.len() * M * S::F64_LANES,
            "a panel is one of the product's"
        );
        let mut acc = [[simd.splat_f64s(0.0); M]; N];
        if let Some(old) = &self.old {
            assert!(
                rows.end <= old.rows && old.step == 1,
                "what is added to has the product's rows"
            );
            unroll!(N, j, {
                // SAFETY: both asserts above: `rows` are rows of every column of `old`.
                acc[j] = unsafe { load::<S, M>(simd, old.starts[j], &rows, full) };
            });
        }
        let (mut a, mut b) = (a.as_ptr(), self.b.starts);
        unroll!(N, j, {
            // SAFETY: a row of B's columns where there is one to read, else nothing is added.
            b[j] = unsafe { b[j].add(if ks.is_empty() { 0 } else { ks.start * STEP }) };
        });
        for k in 0..ks.len() {
            let mut panel = [simd.splat_f64s(0.0); M];
            unroll!(M, i, {
                // SAFETY: `a` has M vectors for each of the `ks.len()` depths, and k of them have been passed.
                panel[i] = unsafe { a.cast::<S::f64s>().add(i).read_unaligned() }
            });
            // SAFETY: M vectors have just been read from here, so that their end is within `a` or just behind it.
            a = unsafe { a.add(M * S::F64_LANES) };
            unroll!(N, j, {
                // SAFETY: ks.start + k < ks.end <= the rows of B's columns, which are STEP apart.
                let b = simd.splat_f64s(unsafe { *b[j].add(k * STEP) });
                unroll!(M, i, {
                    acc[j][i] = if MINUS {
                        simd.negate_mul_add_f64s(panel[i], b, acc[j][i])
                    } else {
                        simd.mul_add_f64s(panel[i], b, acc[j][i])
                    };
                });
            });
        }
        unroll!(N, j, {
            // SAFETY: `rows` are rows of every column of `dst`, which was taken from a slice that may be written.
            unsafe { store::<S, M>(simd, self.dst.starts[j], &rows, full, &acc[j]) };
        });
        let Some((from, to)) = &self.also else { return };
        assert!(
            rows.end <= from.rows && rows.end <= to.rows && from.step == 1 && to.step == 1,
            "what loses the product too has its rows"
        );
        unroll!(N, j, {
            // SAFETY: `rows` are rows of every column of `from` by the assert above.
            let mut left = unsafe { load::<S, M>(simd, from.starts[j], &rows, full) };
            unroll!(M, i, { left[i] = simd.sub_f64s(left[i], acc[j][i]) });
            // SAFETY: and of `to`, which was taken from a slice that may be written.
            unsafe { store::<S, M>(simd, to.starts[j], &rows, full, &left) };
        });
    }
}

/// Has the processor fetch the cache line of this address, which need not be one of this program's.
#[inline(always)]
fn fetch(address: *const f64) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint, which has no effect where nothing can be read; SSE is part of every x86-64.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(address.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

/// Rows `rows` of a column as `M` vectors, zeros behind them.
///
/// # Safety
/// All of `rows` can be read, and there are `M` vectors of them where `full`, no more otherwise.
#[inline(always)]
unsafe fn load<S: Simd, const M: usize>(
    simd: S,
    column: *const f64,
    rows: &Range<usize>,
    full: bool,
) -> [S::f64s; M] {
    let mut vectors = [simd.splat_f64s(0.0); M];
    // SAFETY: the first of `rows`, or just behind the column where there are none.
    let start = unsafe { column.add(rows.start) };
    if full {
        unroll!(M, i, {
            // SAFETY: the rows are M vectors.
            vectors[i] = unsafe { start.cast::<S::f64s>().add(i).read_unaligned() }
        });
    } else {
        // SAFETY: the rows can be read, and nobody writes them while the slice lives, which is here alone.
        let entries = unsafe { std::slice::from_raw_parts(start, rows.len()) };
        unroll!(M, i, {
            let span = (i * S::F64_LANES).min(rows.len())..rows.len().min((i + 1) * S::F64_LANES);
            vectors[i] = simd.partial_load_f64s(&entries[span]);
        });
    }
    vectors
}

/// The inverse of [`load`].
///
/// # Safety
/// All of `rows` can be written, and there are `M` vectors of them where `full`, no more otherwise.
#[inline(always)]
unsafe fn store<S: Simd, const M: usize>(
    simd: S,
    column: *mut f64,
    rows: &Range<usize>,
    full: bool,
    vectors: &[S::f64s; M],
) {
    // SAFETY: the first of `rows`, or just behind the column where there are none.
    let start = unsafe { column.add(rows.start) };
    if full {
        unroll!(M, i, {
            // SAFETY: the rows are M vectors.
            unsafe { start.cast::<S::f64s>().add(i).write_unaligned(vectors[i]) }
        });
    } else {
        // SAFETY: the rows can be written, and nothing else reads or writes them while the slice lives, which is here
        // alone.
        let entries = unsafe { std::slice::from_raw_parts_mut(start, rows.len()) };
        unroll!(M, i, {
            let span = (i * S::F64_LANES).min(rows.len())..rows.len().min((i + 1) * S::F64_LANES);
            simd.partial_store_f64s(&mut entries[span], vectors[i]);
        });
    }
}
