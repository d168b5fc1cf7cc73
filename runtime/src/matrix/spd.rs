//! Symmetric positive definite matrices that are computed, not read: entry (i, j) depends on (seed,
//! min(i, j), max(i, j)) alone.

use super::error::InputError;
use super::npy::assert_inside;
use super::random::{RandomMatrix, check_size, parse_u64};
use super::view::transpose;

/// Entry (i, j) is that of a [`RandomMatrix`] at (min(i, j), max(i, j)), and n more on the diagonal. The
/// absolute values of a row's other entries sum to less than its diagonal entry, so that by Gershgorin's
/// theorem the matrix is positive definite; its condition number stays near 1 as n grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SpdMatrix {
    /// Its entries on and above the diagonal are the matrix's, before n is added.
    upper: RandomMatrix,
}

impl SpdMatrix {
    /// Describes an `n` x `n` matrix.
    ///
    /// # Errors
    /// A zero size, or more than 2^63 - 1 bytes of entries.
    pub fn new(n: u64, seed: u64) -> Result<Self, InputError> {
        let refused = |reason| InputError::Spec {
            text: format!("spd:{n}:{seed}"),
            reason,
        };
        check_size(n, n).map_err(refused)?;
        let upper = RandomMatrix::new(n, n, seed)?;
        Ok(Self { upper })
    }

    /// Parses `spd:N[:seed]`; the seed is 0 when left out.
    ///
    /// # Errors
    /// Another form, a size out of range, or a seed that is not a number below 2^64.
    pub fn parse(text: &str) -> Result<Self, InputError> {
        let refused = |reason: String| InputError::Spec {
            text: text.escape_default().to_string(),
            reason,
        };
        let rest = text
            .strip_prefix("spd:")
            .ok_or_else(|| refused(FORM.into()))?;
        let (n, seed) = rest.split_once(':').unwrap_or((rest, "0"));
        let number = |name: &str, digits: &str| {
            parse_u64(digits)
                .ok_or_else(|| refused(format!("{name} is `{}`; {FORM}", digits.escape_default())))
        };
        let (n, seed) = (number("N", n)?, number("the seed", seed)?);
        check_size(n, n).map_err(refused)?;
        Self::new(n, seed)
    }

    /// Rows, and columns.
    pub fn n(&self) -> u64 {
        self.upper.n()
    }

    /// The seed.
    pub fn seed(&self) -> u64 {
        self.upper.seed()
    }

    /// Entry (i, j).
    pub fn entry(&self, i: u64, j: u64) -> f64 {
        let entry = self.upper.entry(i.min(j), i.max(j));
        if i == j {
            entry + self.n() as f64
        } else {
            entry
        }
    }

    /// Fills the `rows` x `cols` block whose first entry is (`row0`, `col0`), column-major.
    ///
    /// # Panics
    /// The block lies outside the matrix, or `out` is not `rows * cols` long.
    pub fn fill(&self, row0: u64, col0: u64, rows: usize, cols: usize, out: &mut [f64]) {
        let n = self.n();
        assert_inside((n, n), row0, col0, rows, cols, out.len());
        if rows == 0 || cols == 0 {
            return;
        }
        let (row_end, col_end) = (row0 + rows as u64, col0 + cols as u64);
        let (has_upper, has_lower) = (row0 < col_end, row_end > col0 + 1);
        if has_lower {
            let mut mirrored = vec![0.0; out.len()];
            self.upper.fill(col0, row0, cols, rows, &mut mirrored);
            transpose(&mirrored, cols, out);
        }
        if has_upper {
            let mut upper = vec![0.0; out.len()];
            self.upper.fill(row0, col0, rows, cols, &mut upper);
            for (j, (column, upper)) in out.chunks_mut(rows).zip(upper.chunks(rows)).enumerate() {
                // Rows 0 to the diagonal's are above it; none or all of them where it does not cross.
                let col = col0 + j as u64;
                let above = (col + 1).saturating_sub(row0).min(rows as u64) as usize;
                column[..above].copy_from_slice(&upper[..above]);
                if (row0..row_end).contains(&col) {
                    column[above - 1] += n as f64;
                }
            }
        }
    }
}

impl std::fmt::Display for SpdMatrix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "spd:{}:{}", self.n(), self.seed())
    }
}

const FORM: &str = "expected spd:N[:seed] with whole numbers, N at least 1";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn text_is_parsed_or_refused_with_a_reason() {
        let table = [
            ("spd:5", "spd:5:0"),
            ("spd:5:7", "spd:5:7"),
            ("spd:1:18446744073709551615", "spd:1:18446744073709551615"),
            ("spd:", "input `spd:`: N is ``; expected spd:N[:seed]"),
            ("spd:5x5", "input `spd:5x5`: N is `5x5`; expected"),
            ("spd:-5", "input `spd:-5`: N is `-5`; expected"),
            ("spd:5:", "input `spd:5:`: the seed is ``; expected"),
            (
                "spd:5:1:2",
                "input `spd:5:1:2`: the seed is `1:2`; expected",
            ),
            ("spd:0", "input `spd:0`: a matrix of 0 x 0 is empty"),
            (
                "spd:4294967296",
                "input `spd:4294967296`: a matrix of 4294967296 x 4294967296 has more than",
            ),
        ];
        for (text, expected) in table {
            let came = match SpdMatrix::parse(text) {
                Ok(matrix) => matrix.to_string(),
                Err(error) => error.to_string(),
            };
            assert!(came.starts_with(expected), "{text}: {came}");
        }
    }

    #[test]
    fn entries_never_change() {
        let a = SpdMatrix::new(100, 1).unwrap();
        let random = RandomMatrix::new(100, 100, 1).unwrap();
        assert_eq!(a.entry(0, 1), 0.2286063255966806);
        assert_eq!(a.entry(1, 0), 0.2286063255966806);
        assert_eq!(a.entry(0, 0), 100.0 + 0.8423560224568052);
        assert_eq!(a.entry(99, 3), random.entry(3, 99));
    }

    /// Cholesky's factorization without tiles finds no pivot that is not positive.
    #[test]
    fn matrices_are_positive_definite() {
        for n in [1, 2, 3, 20, 61] {
            let a = SpdMatrix::new(n, n).unwrap();
            let size = n as usize;
            let mut l = vec![0.0; size * size];
            a.fill(0, 0, size, size, &mut l);
            for k in 0..size {
                let pivot = l[k * size + k];
                assert!(pivot > 0.0, "pivot {k} of {n} is {pivot}");
                for j in k + 1..size {
                    let factor = l[k * size + j] / pivot;
                    for i in j..size {
                        l[j * size + i] -= l[k * size + i] * factor;
                    }
                }
            }
        }
    }

    proptest! {
        #[test]
        fn any_block_has_the_entries_that_it_covers(
            n in 1..60_u64, seed: u64, part in any::<[prop::sample::Index; 4]>(),
        ) {
            let a = SpdMatrix::new(n, seed).unwrap();
            let size = n as usize;
            let (row0, col0) = (part[0].index(size), part[1].index(size));
            let (rows, cols) = (part[2].index(size - row0 + 1), part[3].index(size - col0 + 1));
            let mut out = vec![f64::NAN; rows * cols];
            a.fill(row0 as u64, col0 as u64, rows, cols, &mut out);
            for j in 0..cols {
                for i in 0..rows {
                    let (row, col) = ((row0 + i) as u64, (col0 + j) as u64);
                    prop_assert_eq!(out[j * rows + i].to_bits(), a.entry(row, col).to_bits());
                    prop_assert_eq!(a.entry(row, col), a.entry(col, row));
                }
            }
        }
    }
}
