//! Lays matrices out in the panels that [`crate::micro`] multiplies. Copies; computes nothing.

use pulp::{Simd, WithSimd};

use crate::micro::{Band, COLUMNS, Cpu, Packed, padded};

/// The nonzero part of a matrix by columns: for column `c` its first row and its entries.
pub(crate) trait Columns {
    /// First row and entries of column `c`.
    fn column(&self, c: usize) -> (usize, &[f64]);
    /// Whether a one is implied in the row above the first.
    const UNIT: bool;
}

/// Columns of a dense matrix, `rows` of each from row 0 on, no more than `c + 1 + rise` of them.
pub(crate) struct Dense<'a> {
    pub(crate) data: &'a [f64],
    pub(crate) ld: usize,
    pub(crate) rows: usize,
    /// Rows of column 0 less one; `usize::MAX` for a matrix without zeros.
    pub(crate) rise: usize,
}

impl Columns for Dense<'_> {
    const UNIT: bool = false;
    fn column(&self, c: usize) -> (usize, &[f64]) {
        let rows = self.rows.min(self.rise.saturating_add(c + 1));
        (0, &self.data[c * self.ld..c * self.ld + rows])
    }
}

/// The part below the diagonal of a dense matrix, with ones on it.
pub(crate) struct UnitLower<'a> {
    pub(crate) data: &'a [f64],
    pub(crate) ld: usize,
    pub(crate) rows: usize,
}

impl Columns for UnitLower<'_> {
    const UNIT: bool = true;
    fn column(&self, c: usize) -> (usize, &[f64]) {
        (
            c + 1,
            &self.data[c * self.ld + c + 1..c * self.ld + self.rows],
        )
    }
}

/// Words of a packed matrix.
pub(crate) const fn packed_words(rows: usize, depth: usize) -> usize {
    padded(rows) * depth
}

/// Packs the transpose of a `depth` x `rows` matrix.
pub(crate) fn pack_transposed<'a, C: Columns>(
    cpu: Cpu,
    space: &'a mut [f64],
    (rows, depth): (usize, usize),
    band: Band,
    matrix: &C,
) -> Packed<'a> {
    /// Rows of the matrix in a pass: keeps a panel's part in the first cache.
    const STRIP: usize = 64;
    /// Columns that go side by side in one go.
    const GROUP: usize = 8;
    let space = &mut space[..packed_words(rows, depth)];
    for (c0, height) in cpu.panels(rows) {
        let panel = &mut space[c0 * depth..(c0 + height) * depth];
        for (strip, out) in panel.chunks_mut(STRIP * height).enumerate() {
            let (k0, k1) = (strip * STRIP, depth.min((strip + 1) * STRIP));
            for i0 in (0..height).step_by(GROUP) {
                let group = c0 + i0..(c0 + i0 + GROUP).min(rows);
                let dense = group.len() == GROUP
                    && height - i0 >= GROUP
                    && group.clone().all(|c| {
                        let (first, entries) = matrix.column(c);
                        first <= k0 && k1 <= first + entries.len()
                    });
                if dense {
                    let columns: [&[f64]; GROUP] = std::array::from_fn(|i| {
                        let (first, entries) = matrix.column(c0 + i0 + i);
                        &entries[k0 - first..k1 - first]
                    });
                    cpu.dispatch(Interleave {
                        out,
                        at: i0,
                        height,
                        columns,
                    });
                } else {
                    for i in i0..height.min(i0 + GROUP) {
                        scatter(
                            out,
                            i,
                            height,
                            (k0, k1),
                            matrix,
                            (c0 + i < rows).then_some(c0 + i),
                        );
                    }
                }
            }
        }
    }
    Packed {
        data: space,
        rows,
        depth,
        band,
    }
}

/// Writes eight columns side by side, `height` words from row to row.
struct Interleave<'a> {
    out: &'a mut [f64],
    at: usize,
    height: usize,
    columns: [&'a [f64]; 8],
}

impl WithSimd for Interleave<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Interleave {
            out,
            at,
            height,
            mut columns,
        } = self;
        let rows = columns[0].len();
        unroll!(8, c, { columns[c] = &columns[c][..rows] });
        for (k, row) in out.chunks_exact_mut(height).enumerate().take(rows) {
            let row = &mut row[at..at + 8];
            unroll!(8, c, { row[c] = columns[c][k] });
        }
    }
}

/// Writes rows `k0..k1` of one column, implied zeros and ones included, `height` words from row to
/// row; zeros for `None`.
fn scatter<C: Columns>(
    out: &mut [f64],
    at: usize,
    height: usize,
    (k0, k1): (usize, usize),
    matrix: &C,
    column: Option<usize>,
) {
    let (start, entries) = column.map_or((0, &[][..]), |c| matrix.column(c));
    let end = start + entries.len();
    let (first, last) = (start.clamp(k0, k1), end.clamp(k0, k1));
    let mut out = out[at..].iter_mut().step_by(height);
    let one = (C::UNIT && column.is_some()).then(|| start.wrapping_sub(1));
    for (k, out) in (k0..first).zip(&mut out) {
        *out = if one == Some(k) { 1.0 } else { 0.0 };
    }
    if first < last {
        for (x, out) in entries[first - start..last - start].iter().zip(&mut out) {
            *out = *x;
        }
    }
    for (_, out) in (last.max(first)..k1).zip(&mut out) {
        *out = 0.0;
    }
}

/// Writes rows `r0..` of a column, implied zeros and ones included.
#[inline(always)]
fn pack_column(out: &mut [f64], r0: usize, (first, entries): (usize, &[f64]), unit: bool) {
    let end = r0 + out.len();
    let (a, b) = (first.clamp(r0, end), (first + entries.len()).clamp(r0, end));
    if b - a == out.len() && out.len().is_multiple_of(8) {
        let entries = entries[a - first..b - first].chunks_exact(8);
        for (out, x) in out.chunks_exact_mut(8).zip(entries) {
            out.copy_from_slice(x);
        }
        return;
    }
    out[..a - r0].fill(0.0);
    if a < b {
        out[a - r0..b - r0].copy_from_slice(&entries[a - first..b - first]);
    }
    out[b.max(a) - r0..].fill(0.0);
    if unit && (r0..end).contains(&(first - 1)) {
        out[first - 1 - r0] = 1.0;
    }
}

/// Packs a `rows` x `depth` matrix.
pub(crate) fn pack<'a, C: Columns>(
    cpu: Cpu,
    space: &'a mut [f64],
    (rows, depth): (usize, usize),
    band: Band,
    matrix: &C,
) -> Packed<'a> {
    /// Columns that all panels take before the next: what lies side by side in memory is read soon after.
    const STRIP: usize = 16;
    let space = &mut space[..packed_words(rows, depth)];
    for c0 in (0..depth).step_by(STRIP) {
        for (r0, height) in cpu.panels(rows) {
            let panel = &mut space[r0 * depth..(r0 + height) * depth];
            let columns = panel.chunks_exact_mut(height).enumerate();
            for (c, out) in columns.skip(c0).take(STRIP) {
                pack_column(out, r0, matrix.column(c), C::UNIT);
            }
        }
    }
    Packed {
        data: space,
        rows,
        depth,
        band,
    }
}

/// Words of [`beside`].
pub(crate) const fn beside_words(rows: usize, cols: usize) -> usize {
    rows.div_ceil(COLUMNS) * beside_pitch(cols)
}

/// From the first of eight columns to the next eight: no power of two, so that they lie in different cache sets.
pub(crate) const fn beside_pitch(depth: usize) -> usize {
    COLUMNS * (depth + 1)
}

/// Writes the transpose of a `rows` x `cols` matrix as [`Stride::Beside`](crate::micro::Stride::Beside) has it.
pub(crate) fn beside((from, ld): (&[f64], usize), (rows, cols): (usize, usize), to: &mut [f64]) {
    for c in 0..cols {
        let entries = from[c * ld..c * ld + rows].chunks(COLUMNS);
        let places = to.chunks_mut(beside_pitch(cols));
        for (entries, place) in entries.zip(places) {
            let place = &mut place[c * COLUMNS..][..COLUMNS];
            match <[f64; COLUMNS]>::try_from(entries) {
                Ok(eight) => place.copy_from_slice(&eight),
                Err(_) => place[..entries.len()].copy_from_slice(entries),
            }
        }
    }
}

/// Writes the transpose of a `rows` x `cols` matrix.
pub(crate) fn transpose(
    cpu: Cpu,
    (from, ld_from): (&[f64], usize),
    (rows, cols): (usize, usize),
    (to, ld_to): (&mut [f64], usize),
) {
    /// Rows in a pass: their cache lines stay while the columns go by.
    const STRIP: usize = 512;
    for r0 in (0..rows).step_by(STRIP) {
        let rows = r0..rows.min(r0 + STRIP);
        for c0 in (0..cols / 8 * 8).step_by(8) {
            let columns = std::array::from_fn(|c| {
                let start = (c0 + c) * ld_from;
                &from[start + rows.start..start + rows.end]
            });
            let to = &mut to[rows.start * ld_to..];
            cpu.dispatch(Flip {
                columns,
                to,
                at: c0,
                ld: ld_to,
            });
        }
        for c in cols / 8 * 8..cols {
            for r in rows.clone() {
                to[r * ld_to + c] = from[c * ld_from + r];
            }
        }
    }
}

/// Writes eight columns as eight entries of each of `ld` apart columns.
struct Flip<'a> {
    columns: [&'a [f64]; 8],
    to: &'a mut [f64],
    at: usize,
    ld: usize,
}

impl WithSimd for Flip<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, _: S) {
        let rows = self.columns[0].len();
        unroll!(8, c, { self.columns[c] = &self.columns[c][..rows] });
        for k in 0..rows {
            let start = k * self.ld + self.at;
            let to = &mut self.to[start..start + 8];
            unroll!(8, c, { to[c] = self.columns[c][k] });
        }
    }
}
