//! LU with partial pivoting inside a tile, and the playoff of two tiles' rows that tournament pivoting is made of:
//! getrf and playoff. Never exchanges rows between tiles; [`crate::exchange`] does.
//!
//! By recursion on columns: the left half, its rows exchanged in the right half, U12 = L11^-1 A12, A22 -= L21 U12, the
//! right half (Toledo, SIAM J. Matrix Anal. Appl. 18, 1997).

use pulp::{Simd, WithSimd};

use crate::micro::{Cpu, Part, Store};
use crate::op::{KernelError, KernelOp, TaskShapes, TaskTiles};
use crate::panel::Matrix;
use crate::product::{Extent, View, product, product_words};
use crate::rows::{number, word};
use crate::solve::{BASE, Diagonal, Triangle, half, left_words, solve_left};
use crate::trsm::check_finite;

pub(crate) fn ops() -> Vec<KernelOp> {
    vec![
        // P A = L U with (P A)(i) = A(p(i)). Completes where a pivot is zero: the multipliers under it are zeros.
        KernelOp::standard(
            "getrf(full(m,n)) -> index(m), unit(m,r), upper(r,n) where r = min(m,n)",
            getrf,
        )
        .with_flops(|shapes| getrf_flops(shapes.input(0)))
        .with_scratch(|shapes| {
            let (m, n) = shapes.input(0);
            let r = m.min(n);
            m * n + r + factor_words(m, r).max(left_words(r, n - r))
        }),
        // The first m rows of [A1; A2] with their indices: first the min(n, m + p) that partial pivoting takes, in its
        // order, then the others in theirs.
        KernelOp::standard(
            "playoff(full(m,n), index(m), full(p,n), index(p)) -> full(m,n), index(m)",
            playoff,
        )
        .with_version(3)
        .with_flops(|shapes| getrf_flops(stack(shapes)))
        .with_scratch(|shapes| {
            let (q, r) = stack(shapes);
            q * r + r + 2 * q + factor_words(q, r)
        }),
    ]
}

/// Rows of [A1; A2], and the columns that pivots are taken in.
fn stack(shapes: &TaskShapes<'_>) -> (usize, usize) {
    let ((m, n), (p, _)) = (shapes.input(0), shapes.input(2));
    (m + p, n.min(m + p))
}

/// 2 m n r - (m + n) r^2 + 2/3 r^3: 2/3 n^3 for a square tile.
fn getrf_flops((m, n): (usize, usize)) -> u64 {
    let (m, n, r) = (m as u64, n as u64, m.min(n) as u64);
    2 * m * n * r + 2 * r * r * r / 3 - (m + n) * r * r
}

fn getrf(tiles: &mut TaskTiles<'_, '_>) -> Result<(), KernelError> {
    let a = tiles.input(0);
    let (m, n) = a.shape.dense();
    let r = m.min(n);
    let ([p, l, u], scratch) = tiles.outputs();
    let (work, scratch) = scratch.split_at_mut(m * n);
    let (swaps, scratch) = scratch.split_at_mut(r);
    work.copy_from_slice(a.data);
    let cpu = Cpu::new();
    let (left, right) = work.split_at_mut(m * r);
    let panel = Matrix { data: left, ld: m };
    factor(cpu, panel, (m, r), swaps, scratch);
    exchange(right, m, swaps);
    let (left, rest) = (&*left, n - r);
    let kind = (Triangle::Lower, Diagonal::Ones);
    let unknowns = Matrix { data: right, ld: m };
    solve_left(cpu, (left, m), kind, unknowns, (r, rest), scratch);
    permutation(swaps, p.data);
    l.pack(work, m);
    u.pack(work, m);
    check_finite(work)
}

fn playoff(tiles: &mut TaskTiles<'_, '_>) -> Result<(), KernelError> {
    let (top, bottom) = (tiles.input(0), tiles.input(2));
    let (top_index, bottom_index) = (tiles.input(1), tiles.input(3));
    let ((m, n), (p, _)) = (top.shape.dense(), bottom.shape.dense());
    let (q, r) = (m + p, n.min(m + p));
    let ([winners, index], scratch) = tiles.outputs();
    let (work, scratch) = scratch.split_at_mut(q * r);
    let (swaps, scratch) = scratch.split_at_mut(r);
    let (taken, scratch) = scratch.split_at_mut(q);
    let (order, scratch) = scratch.split_at_mut(q);
    let columns = top.data.chunks_exact(m).zip(bottom.data.chunks_exact(p));
    for (column, (top, bottom)) in work.chunks_exact_mut(q).zip(columns) {
        column[..m].copy_from_slice(top);
        column[m..].copy_from_slice(bottom);
    }
    let panel = Matrix {
        data: &mut *work,
        ld: q,
    };
    factor(Cpu::new(), panel, (q, r), swaps, scratch);
    permutation(swaps, order);
    taken.fill(0.0);
    for row in &order[..r] {
        taken[number(*row)] = 1.0;
    }
    let rest = (0..q).filter(|row| taken[*row] == 0.0);
    for (to, row) in order[r..].iter_mut().zip(rest) {
        *to = word(row);
    }
    let pick = |to: &mut [f64], top: &[f64], bottom: &[f64]| {
        for (to, row) in to.iter_mut().zip(&*order) {
            let row = number(*row);
            *to = if row < m { top[row] } else { bottom[row - m] };
        }
    };
    let old = top.data.chunks_exact(m).zip(bottom.data.chunks_exact(p));
    for (to, (top, bottom)) in winners.data.chunks_exact_mut(m).zip(old) {
        pick(to, top, bottom);
    }
    pick(index.data, top_index.data, bottom_index.data);
    check_finite(work)
}

/// Writes the rows that a sequence of exchanges brings to each place.
fn permutation(swaps: &[f64], rows: &mut [f64]) {
    for (i, row) in rows.iter_mut().enumerate() {
        *row = word(i);
    }
    for (i, other) in swaps.iter().enumerate() {
        rows.swap(i, number(*other));
    }
}

/// Exchanges row `i` with row `swaps[i]`, in order, in every column of `m` rows.
fn exchange(data: &mut [f64], m: usize, swaps: &[f64]) {
    for column in data.chunks_exact_mut(m) {
        for (i, other) in swaps.iter().enumerate() {
            column.swap(i, number(*other));
        }
    }
}

/// Scratch words of [`factor`].
pub(crate) fn factor_words(m: usize, n: usize) -> usize {
    if n <= BASE {
        return 0;
    }
    let k = half(n);
    let extent = Extent { m, n: k, k };
    left_words(k, k).max(k * k + product_words(extent))
}

/// Factors the `m` x `n` panel `a` in place, `n <= m`. Row `i` was exchanged with row `swaps[i]`, in order.
pub(crate) fn factor(
    cpu: Cpu,
    mut a: Matrix<'_>,
    (m, n): (usize, usize),
    swaps: &mut [f64],
    scratch: &mut [f64],
) {
    if n <= BASE {
        cpu.dispatch(Base {
            a,
            size: (m, n),
            swaps,
        });
        return;
    }
    let (n1, ld) = (half(n), a.ld);
    let n2 = n - n1;
    let (first, last) = swaps.split_at_mut(n1);
    factor(cpu, a.part(0, 0), (m, n1), first, scratch);
    let (left, right) = a.data.split_at_mut(n1 * ld);
    exchange_rows(right, ld, n2, first);
    let mut right = Matrix { data: right, ld };
    let kind = (Triangle::Lower, Diagonal::Ones);
    solve_left(cpu, (left, ld), kind, right.part(0, 0), (n1, n2), scratch);
    let (known, rest) = scratch.split_at_mut(n1 * n2);
    for (known, column) in known.chunks_exact_mut(n1).zip(right.data.chunks(ld)) {
        known.copy_from_slice(&column[..n1]);
    }
    let extent = Extent {
        m: m - n1,
        n: n2,
        k: n1,
    };
    product(
        cpu,
        (right.part(n1, 0).data, ld),
        extent,
        (View::plain(&left[n1..], ld), View::plain(known, n1)),
        (Store::Sub, Part::All),
        rest,
    );
    factor(cpu, right.part(n1, 0), (m - n1, n2), last, scratch);
    exchange_rows(&mut left[n1..], ld, n1, last);
    for row in last {
        *row = word(number(*row) + n1);
    }
}

/// As [`exchange`] for the first `n` columns, `ld` words apart.
fn exchange_rows(data: &mut [f64], ld: usize, n: usize, swaps: &[f64]) {
    for column in data.chunks_mut(ld).take(n) {
        for (i, other) in swaps.iter().enumerate() {
            column.swap(i, number(*other));
        }
    }
}

/// Up to eight columns, one at a time.
struct Base<'a> {
    a: Matrix<'a>,
    size: (usize, usize),
    swaps: &'a mut [f64],
}

impl WithSimd for Base<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Base {
            a: Matrix { data, ld },
            size: (m, n),
            swaps,
        } = self;
        for (j, swap) in swaps.iter_mut().enumerate().take(n) {
            let pivot = j + largest(&data[j * ld + j..j * ld + m]);
            *swap = word(pivot);
            for column in data.chunks_mut(ld).take(n) {
                column.swap(j, pivot);
            }
            let (left, right) = data.split_at_mut(data.len().min((j + 1) * ld));
            let column = &mut left[j * ld..j * ld + m];
            divide(column, j);
            let multipliers = &column[j + 1..];
            for other in right.chunks_mut(ld).take(n - j - 1) {
                let factor = -other[j];
                for (x, l) in other[j + 1..m].iter_mut().zip(multipliers) {
                    *x = factor.mul_add(*l, *x);
                }
            }
        }
    }
}

/// Divides what is below entry `j` by it, unless all is zero.
#[inline(always)]
fn divide(column: &mut [f64], j: usize) {
    /// From here on reciprocals are finite and normal.
    const PIVOT_MIN: f64 = f64::from_bits((1023 - 1000) << 52);
    const PIVOT_MAX: f64 = f64::from_bits((1023 + 1000) << 52);
    let (pivot, below) = (column[j], &mut column[j + 1..]);
    if (PIVOT_MIN..PIVOT_MAX).contains(&pivot.abs()) {
        let inverse = 1.0 / pivot;
        below.iter_mut().for_each(|x| *x *= inverse);
    } else if pivot != 0.0 {
        below.iter_mut().for_each(|x| *x /= pivot);
    }
}

/// Where the entry of largest absolute value is, the first one of them.
#[inline(always)]
fn largest(column: &[f64]) -> usize {
    let mut max = [0.0_f64; 8];
    let (chunks, rest) = column.as_chunks::<8>();
    for chunk in chunks {
        for (max, x) in max.iter_mut().zip(chunk) {
            let x = x.abs();
            *max = if x > *max { x } else { *max };
        }
    }
    for (max, x) in max.iter_mut().zip(rest) {
        *max = max.max(x.abs());
    }
    let max = max.into_iter().fold(0.0, f64::max);
    column.iter().position(|x| x.abs() == max).unwrap_or(0)
}
