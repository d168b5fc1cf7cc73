//! Dense triangular systems in place, by recursion down to 8 x 8 triangles. Knows leading dimensions, not tiles; a
//! zero on a diagonal is the caller's to look for.

#![allow(
    clippy::needless_range_loop,
    reason = "row and column numbers are what the formulas are about"
)]

use std::ops::Range;

use pulp::{Simd, WithSimd};

use crate::micro::{Cpu, Part, Store};
use crate::panel::Matrix;
use crate::product::{Extent, View, product, product_words};

/// Rows and columns at the base of the recursion.
pub(crate) const BASE: usize = 8;

/// Diagonal entries in here are multiplied by their reciprocals, others divided by.
const PIVOT_MIN: f64 = f64::from_bits((1023 - 1000) << 52);
const PIVOT_MAX: f64 = f64::from_bits((1023 + 1000) << 52);

/// Order of the first block of a matrix of order `n`; the second is no larger.
pub(crate) fn half(n: usize) -> usize {
    n.div_ceil(2).next_multiple_of(BASE)
}

/// What is on the diagonal of a triangle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Diagonal {
    /// Its entries.
    Stored,
    /// Ones, whatever is stored.
    Ones,
    /// Its entries; where one is zero, the solution's column is zero.
    StoredOrZero,
}

/// Which triangle is solved with, on the left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Triangle {
    Lower,
    Upper,
}

/// Scratch words of [`solve_left`] for a triangle of order `n` and `cols` columns.
pub(crate) fn left_words(n: usize, cols: usize) -> usize {
    if n <= BASE {
        return 0;
    }
    let k = half(n);
    k * cols + product_words(Extent { m: k, n: cols, k })
}

/// `b` (`n` x `cols`) becomes X with L X = B or U X = B. Of `t` (leading dimension `ldt`) only the triangle is looked
/// at.
pub(crate) fn solve_left(
    cpu: Cpu,
    (t, ldt): (&[f64], usize),
    (triangle, diagonal): (Triangle, Diagonal),
    mut b: Matrix<'_>,
    (n, cols): (usize, usize),
    scratch: &mut [f64],
) {
    if cols == 0 {
        return;
    }
    if n <= BASE {
        let small = Small::new(t, ldt, n, diagonal);
        cpu.dispatch(Left {
            small,
            triangle,
            b,
            cols,
        });
        return;
    }
    let n1 = half(n);
    let (first, last) = match triangle {
        Triangle::Lower => (0..n1, n1..n),
        Triangle::Upper => (n1..n, 0..n1),
    };
    let corner =
        |rows: &Range<usize>, columns: &Range<usize>| &t[columns.start * ldt + rows.start..];
    let kind = (triangle, diagonal);
    let (count, part) = (first.len(), b.part(first.start, 0));
    solve_left(
        cpu,
        (corner(&first, &first), ldt),
        kind,
        part,
        (count, cols),
        scratch,
    );
    // The rows that are known are copied: they lie in the columns that the product changes.
    let (known, rest) = scratch.split_at_mut(count * cols);
    for (known, column) in known.chunks_exact_mut(count).zip(b.data.chunks(b.ld)) {
        known.copy_from_slice(&column[first.clone()]);
    }
    let ld = b.ld;
    let extent = Extent {
        m: last.len(),
        n: cols,
        k: count,
    };
    product(
        cpu,
        (b.part(last.start, 0).data, ld),
        extent,
        (
            View::plain(corner(&last, &first), ldt),
            View::plain(known, count),
        ),
        (Store::Sub, Part::All),
        rest,
    );
    let part = b.part(last.start, 0);
    solve_left(
        cpu,
        (corner(&last, &last), ldt),
        kind,
        part,
        (last.len(), cols),
        scratch,
    );
}

/// Scratch words of [`solve_right`] for `m` rows and a triangle of order `n`.
pub(crate) fn right_words(m: usize, n: usize) -> usize {
    if n <= BASE {
        return 0;
    }
    let k = half(n);
    product_words(Extent { m, n: k, k })
}

/// `a` (`m` x `n`) becomes X with X U = A. Of `u` (leading dimension `ldu`) only the upper triangle is looked at.
pub(crate) fn solve_right(
    cpu: Cpu,
    (u, ldu): (&[f64], usize),
    diagonal: Diagonal,
    mut a: Matrix<'_>,
    (m, n): (usize, usize),
    scratch: &mut [f64],
) {
    if n <= BASE {
        let small = Small::new(u, ldu, n, diagonal);
        cpu.dispatch(Right { small, a, rows: m });
        return;
    }
    let (n1, ld) = (half(n), a.ld);
    solve_right(cpu, (u, ldu), diagonal, a.part(0, 0), (m, n1), scratch);
    let (left, right) = a.data.split_at_mut(n1 * ld);
    let extent = Extent {
        m,
        n: n - n1,
        k: n1,
    };
    product(
        cpu,
        (&mut *right, ld),
        extent,
        (View::plain(left, ld), View::plain(&u[n1 * ldu..], ldu)),
        (Store::Sub, Part::All),
        scratch,
    );
    let rest = &u[n1 * ldu + n1..];
    solve_right(
        cpu,
        (rest, ldu),
        diagonal,
        a.part(0, n1),
        (m, n - n1),
        scratch,
    );
}

/// A triangle of order `n <= 8`, the identity after it.
struct Small {
    n: usize,
    /// `entries[j][i]` is row i of column j.
    entries: [[f64; BASE]; BASE],
    /// The diagonal, or what to multiply with instead.
    pivots: [f64; BASE],
    /// Whether `pivots` are reciprocals.
    inverted: bool,
    /// Whether division by zero gives zero.
    zeros: bool,
}

impl Small {
    fn new(data: &[f64], ld: usize, n: usize, diagonal: Diagonal) -> Small {
        let mut small = Small {
            n,
            entries: [[0.0; BASE]; BASE],
            pivots: [1.0; BASE],
            inverted: true,
            zeros: diagonal == Diagonal::StoredOrZero,
        };
        for (j, column) in data.chunks(ld).enumerate().take(n) {
            small.entries[j][..n].copy_from_slice(&column[..n]);
            if diagonal != Diagonal::Ones {
                small.pivots[j] = column[j];
            }
        }
        let range = PIVOT_MIN..PIVOT_MAX;
        small.inverted = small
            .pivots
            .iter()
            .all(|pivot| range.contains(&pivot.abs()));
        if small.inverted {
            small.pivots = small.pivots.map(|pivot| 1.0 / pivot);
        }
        small
    }

    /// x divided by entry `j` of the diagonal.
    #[inline(always)]
    fn divide(&self, x: &mut [f64; BASE], j: usize) {
        let pivot = self.pivots[j];
        for x in x {
            *x = if self.inverted {
                *x * pivot
            } else if self.zeros && pivot == 0.0 {
                0.0
            } else {
                *x / pivot
            };
        }
    }
}

/// y - factor x.
#[inline(always)]
fn subtract(y: &mut [f64; BASE], factor: f64, x: &[f64; BASE]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y = (-factor).mul_add(*x, *y);
    }
}

/// L X = B or U X = B, eight columns of B at a time, as lanes.
struct Left<'a> {
    small: Small,
    triangle: Triangle,
    b: Matrix<'a>,
    cols: usize,
}

impl WithSimd for Left<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Left {
            small,
            triangle,
            b,
            cols,
        } = self;
        let n = small.n;
        for c0 in (0..cols).step_by(BASE) {
            let width = BASE.min(cols - c0);
            // rows[i][c]: row i of column c
            let mut rows = [[0.0; BASE]; BASE];
            for c in 0..width {
                let column = &b.data[(c0 + c) * b.ld..(c0 + c) * b.ld + n];
                for (row, x) in rows.iter_mut().zip(column) {
                    row[c] = *x;
                }
            }
            match triangle {
                Triangle::Lower => {
                    unroll!(8, j, {
                        small.divide(&mut rows[j], j);
                        let x = rows[j];
                        for i in j + 1..BASE {
                            subtract(&mut rows[i], small.entries[j][i], &x);
                        }
                    });
                }
                Triangle::Upper => {
                    unroll!(8, back, {
                        let j = BASE - 1 - back;
                        small.divide(&mut rows[j], j);
                        let x = rows[j];
                        for i in 0..j {
                            subtract(&mut rows[i], small.entries[j][i], &x);
                        }
                    });
                }
            }
            for c in 0..width {
                let column = &mut b.data[(c0 + c) * b.ld..(c0 + c) * b.ld + n];
                for (row, x) in rows.iter().zip(column) {
                    *x = row[c];
                }
            }
        }
    }
}

/// X U = A, eight rows of A at a time, as lanes.
struct Right<'a> {
    small: Small,
    a: Matrix<'a>,
    rows: usize,
}

impl WithSimd for Right<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Right { small, a, rows } = self;
        let n = small.n;
        for r0 in (0..rows).step_by(BASE) {
            let height = BASE.min(rows - r0);
            let mut columns = [[0.0; BASE]; BASE];
            for j in 0..n {
                let start = j * a.ld + r0;
                load(&mut columns[j], &a.data[start..start + height]);
            }
            unroll!(8, j, {
                for i in 0..j {
                    let x = columns[i];
                    subtract(&mut columns[j], small.entries[j][i], &x);
                }
                small.divide(&mut columns[j], j);
            });
            for j in 0..n {
                let start = j * a.ld + r0;
                let to = &mut a.data[start..start + height];
                if let Ok(to) = <&mut [f64; BASE]>::try_from(&mut *to) {
                    *to = columns[j];
                } else {
                    to.copy_from_slice(&columns[j][..height]);
                }
            }
        }
    }
}

/// Copies up to eight words.
#[inline(always)]
fn load(to: &mut [f64; BASE], from: &[f64]) {
    if let Ok(from) = <&[f64; BASE]>::try_from(from) {
        *to = *from;
    } else {
        to[..from.len()].copy_from_slice(from);
    }
}
