//! Parts of a matrix and their transposes, without moving an entry. Knows sizes only; whoever reads the
//! matrix reads the part that a view names.

use std::ops::Range;

use rkyv::{Archive, Deserialize, Serialize};

use super::npy::assert_inside;

/// Side of the squares that are transposed one after the other: 16 x 16 x 8 B = 2 KiB read and 2 KiB written stay
/// in a core's first cache.
const SQUARE: usize = 16;

/// A part of a matrix, transposed or not. A view of a view is one view.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct View {
    /// Whether rows of the part are columns of the view.
    pub transposed: bool,
    /// Row of the matrix of the part's first entry.
    pub row0: u64,
    /// Its column.
    pub col0: u64,
    /// Rows of the part in the matrix.
    pub m: u64,
    /// Columns of the part in the matrix.
    pub n: u64,
}

impl View {
    /// All of a matrix of `m` x `n`.
    #[must_use]
    pub fn whole((m, n): (u64, u64)) -> Self {
        Self {
            transposed: false,
            row0: 0,
            col0: 0,
            m,
            n,
        }
    }

    /// Whether it shows a matrix of that shape as it is.
    #[must_use]
    pub fn is_whole(&self, shape: (u64, u64)) -> bool {
        *self == Self::whole(shape)
    }

    /// Whether the part lies in a matrix of that shape and has an entry.
    #[must_use]
    pub fn is_inside(&self, (m, n): (u64, u64)) -> bool {
        let inside = |first: u64, length: u64, whole: u64| {
            length > 0 && first.checked_add(length).is_some_and(|end| end <= whole)
        };
        inside(self.row0, self.m, m) && inside(self.col0, self.n, n)
    }

    /// Rows and columns as the view shows them.
    #[must_use]
    pub fn shape(&self) -> (u64, u64) {
        if self.transposed {
            (self.n, self.m)
        } else {
            (self.m, self.n)
        }
    }

    /// The same part with rows and columns exchanged.
    #[must_use]
    pub fn transposed(mut self) -> Self {
        self.transposed = !self.transposed;
        self
    }

    /// Rows and columns of the view, counted in the view.
    ///
    /// # Errors
    /// They are none or outside of it; says which were expected.
    pub fn slice(self, rows: Range<u64>, cols: Range<u64>) -> Result<Self, String> {
        let (m, n) = self.shape();
        for (name, range, length) in [("rows", &rows, m), ("columns", &cols, n)] {
            if range.is_empty() || range.end > length {
                return Err(format!(
                    "{name} {}..{}; expected a range that is not empty within 0..{length}",
                    range.start, range.end
                ));
            }
        }
        let (rows, cols) = if self.transposed {
            (cols, rows)
        } else {
            (rows, cols)
        };
        Ok(Self {
            transposed: self.transposed,
            row0: self.row0 + rows.start,
            col0: self.col0 + cols.start,
            m: rows.end - rows.start,
            n: cols.end - cols.start,
        })
    }

    /// Reads a block of the view, column-major, by `read` of the part of the matrix that it shows: first
    /// row and column, rows, columns, and where to.
    ///
    /// # Errors
    /// Those of `read`.
    ///
    /// # Panics
    /// The block lies outside the view, or `out` is not `rows * cols` long.
    pub(super) fn read_tile<E>(
        &self,
        (row0, col0): (u64, u64),
        rows: usize,
        cols: usize,
        out: &mut [f64],
        read: impl FnOnce((u64, u64), usize, usize, &mut [f64]) -> Result<(), E>,
    ) -> Result<(), E> {
        assert_inside(self.shape(), row0, col0, rows, cols, out.len());
        let at = self.at(row0, col0);
        if !self.transposed {
            return read(at, rows, cols, out);
        }
        let mut part = vec![0.0; out.len()];
        read(at, cols, rows, &mut part)?;
        transpose(&part, cols, out);
        Ok(())
    }

    /// Where the matrix has entry (`row`, `col`) of the view.
    pub(super) fn at(&self, row: u64, col: u64) -> (u64, u64) {
        let (row, col) = if self.transposed {
            (col, row)
        } else {
            (row, col)
        };
        (self.row0 + row, self.col0 + col)
    }

    /// Shows the view of a matrix of `shape` called `name`.
    pub(super) fn show(
        &self,
        name: &str,
        shape: (u64, u64),
        f: &mut std::fmt::Formatter<'_>,
    ) -> std::fmt::Result {
        f.write_str(name)?;
        if (self.m, self.n) != shape {
            let (row, col) = (self.row0, self.col0);
            write!(f, "[{row}..{}, {col}..{}]", row + self.m, col + self.n)?;
        }
        if self.transposed {
            f.write_str(" transposed")?;
        }
        Ok(())
    }
}

/// Writes the transpose of the column-major matrix `from`, which has `rows` rows, into `to`.
///
/// # Panics
/// They are not of one length, which is a multiple of `rows`.
pub(super) fn transpose(from: &[f64], rows: usize, to: &mut [f64]) {
    assert_eq!(from.len(), to.len(), "a matrix and its transpose");
    if from.is_empty() {
        return;
    }
    assert!(from.len().is_multiple_of(rows), "whole columns");
    let cols = from.len() / rows;
    for j0 in (0..cols).step_by(SQUARE) {
        let width = SQUARE.min(cols - j0);
        for i0 in (0..rows).step_by(SQUARE) {
            for i in i0..rows.min(i0 + SQUARE) {
                let line = &mut to[i * cols + j0..][..width];
                for (j, entry) in line.iter_mut().enumerate() {
                    *entry = from[(j0 + j) * rows + i];
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transpose_has_rows_for_columns() {
        for (rows, cols) in [(1, 1), (1, 40), (40, 1), (16, 16), (17, 33), (50, 15)] {
            let from: Vec<f64> = (0..rows * cols).map(|k| k as f64).collect();
            let mut to = vec![-1.0; rows * cols];
            transpose(&from, rows, &mut to);
            for j in 0..cols {
                for i in 0..rows {
                    assert_eq!(
                        to[i * cols + j],
                        from[j * rows + i],
                        "{rows} x {cols}: {i}, {j}"
                    );
                }
            }
        }
    }

    #[test]
    fn ranges_outside_are_refused() {
        let view = View::whole((9, 4)).transposed();
        let table = [
            (0..4, 0..9, ""),
            (
                0..5,
                0..9,
                "rows 0..5; expected a range that is not empty within 0..4",
            ),
            (
                2..2,
                0..9,
                "rows 2..2; expected a range that is not empty within 0..4",
            ),
            (
                0..4,
                8..10,
                "columns 8..10; expected a range that is not empty within 0..9",
            ),
            (
                0..4,
                5..u64::MAX,
                "columns 5..18446744073709551615; expected",
            ),
        ];
        for (rows, cols, reason) in table {
            let told = view.slice(rows, cols).err().unwrap_or_default();
            assert!(
                told.starts_with(reason) && told.is_empty() == reason.is_empty(),
                "{told}"
            );
        }
        assert!(view.is_inside((9, 4)) && !view.is_inside((8, 4)));
        let far = View {
            row0: u64::MAX,
            ..view
        };
        assert!(!far.is_inside((9, 4)), "no overflow");
    }
}
