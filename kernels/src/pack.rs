//! Lays matrices out in the panels that [`crate::micro`] multiplies. Copies; computes nothing.

use crate::micro::{Band, Cpu, Packed, padded};

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
        (c + 1, &self.data[c * self.ld + c + 1..c * self.ld + self.rows])
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
    let space = &mut space[..packed_words(rows, depth)];
    for (c0, height) in cpu.panels(rows) {
        let panel = &mut space[c0 * depth..(c0 + height) * depth];
        for (strip, out) in panel.chunks_mut(STRIP * height).enumerate() {
            let (k0, k1) = (strip * STRIP, depth.min((strip + 1) * STRIP));
            for i in 0..height {
                let entries: (usize, &[f64]) = if c0 + i < rows { matrix.column(c0 + i) } else { (0, &[]) };
                let (first, end) = (entries.0.clamp(k0, k1), (entries.0 + entries.1.len()).clamp(k0, k1));
                let out = &mut out[i..];
                for k in k0..first {
                    out[(k - k0) * height] = 0.0;
                }
                if first < end {
                    let part = &entries.1[first - entries.0..end - entries.0];
                    for (out, &x) in out[(first - k0) * height..].iter_mut().step_by(height).zip(part) {
                        *out = x;
                    }
                }
                for k in end.max(first)..k1 {
                    out[(k - k0) * height] = 0.0;
                }
                if C::UNIT && c0 + i < rows && (k0..k1).contains(&(entries.0 - 1)) {
                    out[(entries.0 - 1 - k0) * height] = 1.0;
                }
            }
        }
    }
    Packed { data: space, rows, depth, band }
}

/// Packs a `rows` x `depth` matrix.
pub(crate) fn pack<'a, C: Columns>(
    cpu: Cpu,
    space: &'a mut [f64],
    (rows, depth): (usize, usize),
    band: Band,
    matrix: &C,
) -> Packed<'a> {
    let space = &mut space[..packed_words(rows, depth)];
    for (r0, height) in cpu.panels(rows) {
        let panel = &mut space[r0 * depth..(r0 + height) * depth];
        for (c, out) in panel.chunks_exact_mut(height).enumerate() {
            let (first, entries) = matrix.column(c);
            let (a, b) = (first.clamp(r0, r0 + height), (first + entries.len()).clamp(r0, r0 + height));
            if b - a == height {
                out.copy_from_slice(&entries[a - first..b - first]);
            } else {
                out[..a - r0].fill(0.0);
                if a < b {
                    out[a - r0..b - r0].copy_from_slice(&entries[a - first..b - first]);
                }
                out[b.max(a) - r0..].fill(0.0);
                if C::UNIT && (r0..r0 + height).contains(&(first - 1)) {
                    out[first - 1 - r0] = 1.0;
                }
            }
        }
    }
    Packed { data: space, rows, depth, band }
}
