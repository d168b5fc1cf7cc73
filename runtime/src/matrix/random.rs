//! Matrices that are computed, not read: entry (i, j) depends on (seed, i, j) alone.
//!
//! The generator is Philox 2x64 with 10 rounds (J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw,
//! "Parallel random numbers: as easy as 1, 2, 3", SC'11): a bijection of the counter (i / 2, j) under
//! the key `seed`, whose two words give the entries of rows 2 (i / 2) and 2 (i / 2) + 1. So any tile of
//! any tiling is made by whoever needs it, with the same bits.

use super::error::InputError;

const MULTIPLIER: u64 = 0xD2B7_4407_B1CE_6E93;
const WEYL: u64 = 0x9E37_79B9_7F4A_7C15;
const ROUNDS: u32 = 10;
/// Columns that are filled side by side, so that their multiplications overlap.
const LANES: usize = 4;

/// A matrix of independent entries, uniform in [-1, 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RandomMatrix {
    m: u64,
    n: u64,
    seed: u64,
}

impl RandomMatrix {
    /// Describes an `m` x `n` matrix.
    ///
    /// # Errors
    /// A zero size, or more than 2^63 - 1 bytes of entries.
    pub fn new(m: u64, n: u64, seed: u64) -> Result<Self, InputError> {
        check_size(m, n).map_err(|reason| InputError::Spec {
            text: format!("random:{m}x{n}:{seed}"),
            reason,
        })?;
        Ok(Self { m, n, seed })
    }

    /// Parses `random:MxN[:seed]`; the seed is 0 when left out.
    ///
    /// # Errors
    /// Another form, a size out of range, or a seed that is not a number below 2^64.
    pub fn parse(text: &str) -> Result<Self, InputError> {
        let refused = |reason: String| InputError::Spec {
            text: text.escape_default().to_string(),
            reason,
        };
        let rest = text
            .strip_prefix("random:")
            .ok_or_else(|| refused(FORM.into()))?;
        let (shape, seed) = match rest.split_once(':') {
            Some((shape, seed)) => (shape, Some(seed)),
            None => (rest, None),
        };
        let (m, n) = shape.split_once('x').ok_or_else(|| refused(FORM.into()))?;
        let size = |name: &str, digits: &str| {
            parse_u64(digits)
                .ok_or_else(|| refused(format!("{name} is `{}`; {FORM}", digits.escape_default())))
        };
        let (m, n) = (size("M", m)?, size("N", n)?);
        let seed = match seed {
            Some(digits) => size("the seed", digits)?,
            None => 0,
        };
        check_size(m, n).map_err(refused)?;
        Ok(Self { m, n, seed })
    }

    /// Rows.
    pub fn m(&self) -> u64 {
        self.m
    }

    /// Columns.
    pub fn n(&self) -> u64 {
        self.n
    }

    /// The seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Entry (i, j).
    pub fn entry(&self, i: u64, j: u64) -> f64 {
        let pair = philox([i / 2, j], self.seed);
        uniform(pair[(i % 2) as usize])
    }

    /// Fills the `rows` x `cols` block whose first entry is (`row0`, `col0`), column-major.
    ///
    /// # Panics
    /// The block lies outside the matrix, or `out` is not `rows * cols` long.
    pub fn fill(&self, row0: u64, col0: u64, rows: usize, cols: usize, out: &mut [f64]) {
        super::npy::assert_inside((self.m, self.n), row0, col0, rows, cols, out.len());
        if rows == 0 {
            return;
        }
        for (group, columns) in out.chunks_mut(LANES * rows).enumerate() {
            let col = col0 + (group * LANES) as u64;
            if columns.len() == LANES * rows {
                let (c0, rest) = columns.split_at_mut(rows);
                let (c1, rest) = rest.split_at_mut(rows);
                let (c2, c3) = rest.split_at_mut(rows);
                self.fill_lanes(row0, col, [c0, c1, c2, c3]);
            } else {
                for (j, column) in columns.chunks_mut(rows).enumerate() {
                    self.fill_lanes(row0, col + j as u64, [column]);
                }
            }
        }
    }

    /// Fills neighbouring columns of one length together.
    fn fill_lanes<const N: usize>(&self, row0: u64, col: u64, mut columns: [&mut [f64]; N]) {
        let rows = columns[0].len();
        let mut at = 0;
        while at < rows {
            let row = row0 + at as u64;
            let pairs: [[u64; 2]; N] =
                std::array::from_fn(|lane| philox([row / 2, col + lane as u64], self.seed));
            let first = (row % 2) as usize;
            let taken = (2 - first).min(rows - at);
            for (column, pair) in columns.iter_mut().zip(pairs) {
                for (entry, word) in column[at..at + taken].iter_mut().zip(&pair[first..]) {
                    *entry = uniform(*word);
                }
            }
            at += taken;
        }
    }
}

impl std::fmt::Display for RandomMatrix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "random:{}x{}:{}", self.m, self.n, self.seed)
    }
}

const FORM: &str = "expected random:MxN[:seed] with whole numbers, M and N at least 1";

/// Checks that an `m` x `n` matrix of f64 has a size, and one that an `i64` counts.
pub(crate) fn check_size(m: u64, n: u64) -> Result<(), String> {
    if m == 0 || n == 0 {
        return Err(format!(
            "a matrix of {m} x {n} is empty; expected at least 1 x 1"
        ));
    }
    match m.checked_mul(n).and_then(|entries| entries.checked_mul(8)) {
        Some(bytes) if i64::try_from(bytes).is_ok() => Ok(()),
        _ => Err(format!(
            "a matrix of {m} x {n} has more than 2^63 - 1 bytes"
        )),
    }
}

/// Digits alone: no sign, no space.
pub(super) fn parse_u64(digits: &str) -> Option<u64> {
    if digits.bytes().all(|b| b.is_ascii_digit()) {
        digits.parse().ok()
    } else {
        None
    }
}

/// The counter's image under the key.
fn philox(mut counter: [u64; 2], mut key: u64) -> [u64; 2] {
    for _ in 0..ROUNDS {
        let product = u128::from(counter[0]) * u128::from(MULTIPLIER);
        counter = [(product >> 64) as u64 ^ key ^ counter[1], product as u64];
        key = key.wrapping_add(WEYL);
    }
    counter
}

/// The upper 53 bits as a multiple of 2^-52 in [-1, 1): every step is exact.
fn uniform(word: u64) -> f64 {
    const STEP: f64 = 1.0 / (1u64 << 52) as f64;
    (word >> 11) as f64 * STEP - 1.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Known answers published with the authors' Random123.
    #[test]
    fn philox_gives_the_published_words() {
        let table = [
            ([0, 0], 0, [0xca00a0459843d731, 0x66c24222c9a845b5]),
            (
                [u64::MAX; 2],
                u64::MAX,
                [0x65b021d60cd8310f, 0x4d02f3222f86df20],
            ),
            (
                [0x243f6a8885a308d3, 0x13198a2e03707344],
                0xa4093822299f31d0,
                [0x0a5e742c2997341c, 0xb0f883d38000de5d],
            ),
        ];
        for (counter, key, words) in table {
            assert_eq!(
                philox(counter, key),
                words,
                "counter {counter:x?} key {key:x}"
            );
        }
    }

    #[test]
    fn entries_never_change() {
        let a = RandomMatrix::parse("random:100x90:1").unwrap();
        for (i, j, value) in [
            (0, 0, 0.8423560224568052),
            (1, 0, -0.7644938948497451),
            (0, 1, 0.2286063255966806),
            (99, 89, 0.1706229214814312),
        ] {
            assert_eq!(a.entry(i, j), value, "entry ({i}, {j})");
        }
    }

    #[test]
    fn entries_are_uniform() {
        let (m, n) = (400, 250);
        let a = RandomMatrix::new(m, n, 7).unwrap();
        let mut values = vec![0.0; (m * n) as usize];
        a.fill(0, 0, m as usize, n as usize, &mut values);
        assert!(values.iter().all(|v| (-1.0..1.0).contains(v)));
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let square = values.iter().map(|v| v * v).sum::<f64>() / count;
        // Six standard deviations of the mean of 100,000 draws.
        assert!(mean.abs() < 0.011, "{mean}");
        assert!((square - 1.0 / 3.0).abs() < 0.006, "{square}");
        assert!(values.windows(2).all(|w| w[0] != w[1]));
    }

    #[test]
    fn parses_or_says_why() {
        let table = [
            ("random:3x4", Ok((3, 4, 0))),
            ("random:1x1:18446744073709551615", Ok((1, 1, u64::MAX))),
            (
                "random:0x4",
                Err("a matrix of 0 x 4 is empty; expected at least 1 x 1"),
            ),
            ("random:3", Err(FORM)),
            ("random:", Err(FORM)),
            (
                "random:3x",
                Err("N is ``; expected random:MxN[:seed] with whole numbers, M and N at least 1"),
            ),
            (
                "random:+3x4",
                Err("M is `+3`; expected random:MxN[:seed] with whole numbers, M and N at least 1"),
            ),
            (
                "random:3x4:-1",
                Err(
                    "the seed is `-1`; expected random:MxN[:seed] with whole numbers, M and N at least 1",
                ),
            ),
            (
                "random:3x4:",
                Err(
                    "the seed is ``; expected random:MxN[:seed] with whole numbers, M and N at least 1",
                ),
            ),
            (
                "random:4294967296x4294967296",
                Err("a matrix of 4294967296 x 4294967296 has more than 2^63 - 1 bytes"),
            ),
        ];
        for (text, expected) in table {
            match (RandomMatrix::parse(text), expected) {
                (Ok(a), Ok(shape)) => assert_eq!((a.m(), a.n(), a.seed()), shape, "{text}"),
                (Err(error), Err(reason)) => {
                    assert_eq!(error.to_string(), format!("input `{text}`: {reason}"));
                }
                (came, _) => panic!("{text}: {came:?}"),
            }
        }
    }

    proptest! {
        #[test]
        fn any_block_agrees_with_the_entries(
            seed: u64, row0 in 0u64..9, col0 in 0u64..9, rows in 1usize..12, cols in 1usize..12,
        ) {
            let a = RandomMatrix::new(20, 20, seed).unwrap();
            let mut out = vec![f64::NAN; rows * cols];
            a.fill(row0, col0, rows, cols, &mut out);
            for j in 0..cols {
                for i in 0..rows {
                    prop_assert_eq!(out[j * rows + i], a.entry(row0 + i as u64, col0 + j as u64));
                }
            }
        }
    }
}
