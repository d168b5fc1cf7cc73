//! Reflectors one at a time, for up to 8 columns: the base of the recursion in [`crate::panel`].
//! Safe for any finite entries; never allocates.
//!
//! The columns are [top; bottom]: `top` is 8 x 8 and small, `bottom` has any number of rows. Column
//! `j` gives H = I - tau [1; v] [1; v]' with H [alpha; x] = [beta; 0], as LAPACK's dlarfg:
//! beta = -sign(alpha) |[alpha; x]|, tau = (beta - alpha) / beta, v = x / (alpha - beta).
//!
//! One pass over `bottom` scales v_j, updates the columns after j, and takes the dot products of
//! column j + 1 with all eight: with itself (its norm), with later columns (the next update) and
//! with earlier v (for T). The products use x, not v, so they can leave the range of f64; then the
//! column is done again with x scaled first.

#![allow(
    clippy::needless_range_loop,
    reason = "column and row numbers are what the formulas are about"
)]

use pulp::{Simd, WithSimd};

use crate::KernelError;
use crate::micro::Cpu;

/// Columns at the base of the recursion.
pub(crate) const BASE: usize = 8;

/// Partial sums of a dot product, on every CPU: vectors narrower than this take turns.
const LANES: usize = 8;

/// Squared norms in here are exact enough, and so is what is computed with them.
const SQUARE_MIN: f64 = f64::from_bits((1023 - 700) << 52);
const SQUARE_MAX: f64 = f64::from_bits((1023 + 900) << 52);
/// The smallest and largest absolute dot product and diagonal entry that need no second look.
const PRODUCT_MIN: f64 = f64::from_bits((1023 - 850) << 52);
const PRODUCT_MAX: f64 = f64::from_bits((1023 + 1000) << 52);
const ALPHA_MAX: f64 = f64::from_bits((1023 + 450) << 52);

/// `matrix[j][i]` is row i of column j.
pub(crate) type Square = [[f64; BASE]; BASE];

/// What of the rows on top the reflectors reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Top {
    /// Row `j` alone: V = [I; V2].
    Diagonal,
    /// Rows from `j` on: V is unit lower, its part in `top` left below the diagonal.
    Lower,
}

struct Reflector {
    tau: f64,
    beta: f64,
    /// What v is still to be multiplied with.
    scale: f64,
}

/// Factors `k` columns in place and returns T, upper triangular, zero below. `bottom` columns from
/// `k` on are ignored (any contents, all of one length).
pub(crate) fn factor(
    cpu: Cpu,
    shape: Top,
    top: &mut Square,
    bottom: &mut [&mut [f64]; BASE],
    k: usize,
) -> Result<Square, KernelError> {
    let mut t = [[0.0; BASE]; BASE];
    let mut dots = cpu.dispatch(Start { columns: bottom });
    for j in 0..k {
        // z: products of v_j with earlier v; f: tau times those of v_j with later columns
        let (mut products, square) = add_top(shape, top, &dots, j, k);
        let alpha = top[j][j];
        let easy = (SQUARE_MIN..SQUARE_MAX).contains(&square)
            && alpha.abs() < ALPHA_MAX
            && products[j + 1..k]
                .iter()
                .all(|p| (PRODUCT_MIN..PRODUCT_MAX).contains(&p.abs()));
        let reflector = if easy {
            let beta = -alpha.signum() * (alpha * alpha + square).sqrt();
            Reflector {
                tau: (beta - alpha) / beta,
                beta,
                scale: 1.0 / (alpha - beta),
            }
        } else {
            let reflector = reflect_scaled(shape, top, bottom, j, k)?;
            products = add_top(shape, top, &dots_scaled(bottom, j), j, k).0;
            reflector
        };
        let Reflector { tau, beta, scale } = reflector;
        let mut factors = [0.0; BASE];
        for i in j + 1..k {
            factors[i] = tau * (top[i][j] + scale * products[i]);
        }
        let mut z = [0.0; BASE];
        for i in 0..j {
            z[i] = scale * products[i] + if shape == Top::Lower { top[i][j] } else { 0.0 };
        }
        for i in 0..j {
            t[j][i] = -tau * (i..j).map(|l| t[l][i] * z[l]).sum::<f64>();
        }
        t[j][j] = tau;
        top[j][j] = beta;
        for i in j + 1..k {
            top[i][j] -= factors[i];
        }
        if shape == Top::Lower {
            for l in j + 1..k {
                top[j][l] *= scale;
                for i in j + 1..k {
                    top[i][l] -= factors[i] * top[j][l];
                }
            }
        }
        dots = update(cpu, j, bottom, scale, factors);
    }
    Ok(t)
}

/// Adds what the rows on top give to the products of column `j`, and returns its squared norm.
fn add_top(shape: Top, top: &Square, dots: &[f64; BASE], j: usize, k: usize) -> ([f64; BASE], f64) {
    let mut products = *dots;
    if shape == Top::Lower {
        for i in 0..k {
            for l in j + 1..k {
                products[i] += top[j][l] * top[i][l];
            }
        }
    }
    (products, products[j])
}

/// The reflector of a column whose norm or products leave the range: v is scaled in place.
#[cold]
fn reflect_scaled(
    shape: Top,
    top: &mut Square,
    bottom: &mut [&mut [f64]; BASE],
    j: usize,
    k: usize,
) -> Result<Reflector, KernelError> {
    let alpha = top[j][j];
    let head = if shape == Top::Lower { j + 1..k } else { 0..0 };
    let (above, below) = (&mut top[j][head], &mut *bottom[j]);
    let x = || above.iter().chain(below.iter());
    if !(alpha.is_finite() && x().all(|x| x.is_finite())) {
        return Err(KernelError::NotFinite);
    }
    let x_max = x().fold(0.0_f64, |max, x| max.max(x.abs()));
    if x_max == 0.0 {
        return Ok(Reflector {
            tau: 0.0,
            beta: alpha,
            scale: 1.0,
        });
    }
    let power = power_near(x_max.max(alpha.abs()));
    let alpha = alpha * power;
    let mut square = 0.0_f64;
    for x in above.iter_mut().chain(below.iter_mut()) {
        *x *= power;
        square += *x * *x;
    }
    let beta = -alpha.signum() * (alpha * alpha + square).sqrt();
    let divisor = alpha - beta;
    for x in above.iter_mut().chain(below.iter_mut()) {
        *x /= divisor;
    }
    Ok(Reflector {
        tau: (beta - alpha) / beta,
        beta: beta / power,
        scale: 1.0,
    })
}

/// A power of two that brings `x > 0` near 1 without leaving the range.
fn power_near(x: f64) -> f64 {
    // Subnormal numbers have exponent field 0; 2^1000 suffices for their squares.
    let exponent = ((x.to_bits() >> 52) & 0x7ff).clamp(23, 2023);
    f64::from_bits((2046 - exponent) << 52)
}

/// Products of v_j with all columns, one after the other.
#[cold]
fn dots_scaled(bottom: &[&mut [f64]; BASE], j: usize) -> [f64; BASE] {
    std::array::from_fn(|i| {
        let pairs = bottom[j].iter().zip(bottom[i].iter());
        pairs.fold(0.0, |sum, (v, a)| sum + v * a)
    })
}

fn update(
    cpu: Cpu,
    j: usize,
    columns: &mut [&mut [f64]; BASE],
    scale: f64,
    factors: [f64; BASE],
) -> [f64; BASE] {
    match j {
        0 => cpu.dispatch(Update::<0> {
            columns,
            scale,
            factors,
        }),
        1 => cpu.dispatch(Update::<1> {
            columns,
            scale,
            factors,
        }),
        2 => cpu.dispatch(Update::<2> {
            columns,
            scale,
            factors,
        }),
        3 => cpu.dispatch(Update::<3> {
            columns,
            scale,
            factors,
        }),
        4 => cpu.dispatch(Update::<4> {
            columns,
            scale,
            factors,
        }),
        5 => cpu.dispatch(Update::<5> {
            columns,
            scale,
            factors,
        }),
        6 => cpu.dispatch(Update::<6> {
            columns,
            scale,
            factors,
        }),
        _ => cpu.dispatch(Update::<7> {
            columns,
            scale,
            factors,
        }),
    }
}

/// Dot products of column 0 with all columns.
struct Start<'a, 'b> {
    columns: &'a [&'b mut [f64]; BASE],
}

impl WithSimd for Start<'_, '_> {
    type Output = [f64; BASE];

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> [f64; BASE] {
        match S::F64_LANES {
            8 => self.dots::<S, 1>(simd),
            4 => self.dots::<S, 2>(simd),
            2 => self.dots::<S, 4>(simd),
            _ => self.dots::<S, 8>(simd),
        }
    }
}

impl Start<'_, '_> {
    #[inline(always)]
    fn dots<S: Simd, const TURNS: usize>(self, simd: S) -> [f64; BASE] {
        let rows = self.columns[0].len();
        let whole = rows - rows % LANES;
        let steps = whole / S::F64_LANES;
        let mut columns: [&[S::f64s]; BASE] = [&[]; BASE];
        unroll!(BASE, i, {
            columns[i] = &S::as_simd_f64s(&self.columns[i][..whole]).0[..steps]
        });
        let mut sums = [[simd.splat_f64s(0.0); TURNS]; BASE];
        for step in 0..steps / TURNS {
            unroll!(TURNS, turn, {
                let at = step * TURNS + turn;
                let x = columns[0][at];
                unroll!(BASE, i, {
                    sums[i][turn] = simd.mul_add_f64s(x, columns[i][at], sums[i][turn])
                });
            });
        }
        let mut sums = spread::<S, TURNS>(sums);
        for row in whole..rows {
            for i in 0..BASE {
                let sum = &mut sums[i][row - whole];
                *sum = self.columns[0][row].mul_add(self.columns[i][row], *sum);
            }
        }
        sums.map(total)
    }
}

/// Scales v_J, updates the columns after it, returns the products of column J + 1 with all.
struct Update<'a, 'b, const J: usize> {
    columns: &'a mut [&'b mut [f64]; BASE],
    scale: f64,
    factors: [f64; BASE],
}

impl<const J: usize> WithSimd for Update<'_, '_, J> {
    type Output = [f64; BASE];

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> [f64; BASE] {
        match S::F64_LANES {
            8 => self.pass::<S, 1>(simd),
            4 => self.pass::<S, 2>(simd),
            2 => self.pass::<S, 4>(simd),
            _ => self.pass::<S, 8>(simd),
        }
    }
}

impl<const J: usize> Update<'_, '_, J> {
    #[inline(always)]
    fn pass<S: Simd, const TURNS: usize>(self, simd: S) -> [f64; BASE] {
        let rows = self.columns[0].len();
        let whole = rows - rows % LANES;
        let steps = whole / S::F64_LANES;
        let mut sums = [[simd.splat_f64s(0.0); TURNS]; BASE];
        {
            let [c0, c1, c2, c3, c4, c5, c6, c7] = self.columns;
            let columns: [&mut [S::f64s]; BASE] = [
                &mut S::as_mut_simd_f64s(&mut c0[..whole]).0[..steps],
                &mut S::as_mut_simd_f64s(&mut c1[..whole]).0[..steps],
                &mut S::as_mut_simd_f64s(&mut c2[..whole]).0[..steps],
                &mut S::as_mut_simd_f64s(&mut c3[..whole]).0[..steps],
                &mut S::as_mut_simd_f64s(&mut c4[..whole]).0[..steps],
                &mut S::as_mut_simd_f64s(&mut c5[..whole]).0[..steps],
                &mut S::as_mut_simd_f64s(&mut c6[..whole]).0[..steps],
                &mut S::as_mut_simd_f64s(&mut c7[..whole]).0[..steps],
            ];
            let scale = simd.splat_f64s(self.scale);
            let mut minus = [scale; BASE];
            unroll!(BASE, i, { minus[i] = simd.splat_f64s(-self.factors[i]) });
            for step in 0..steps / TURNS {
                unroll!(TURNS, turn, {
                    let at = step * TURNS + turn;
                    let mut row = [scale; BASE];
                    unroll!(BASE, i, { row[i] = columns[i][at] });
                    row[J] = simd.mul_f64s(row[J], scale);
                    columns[J][at] = row[J];
                    unroll!(BASE, i, {
                        if i > J {
                            row[i] = simd.mul_add_f64s(minus[i], row[J], row[i]);
                            columns[i][at] = row[i];
                        }
                    });
                    if J + 1 < BASE {
                        let x = row[(J + 1) % BASE];
                        unroll!(BASE, i, {
                            sums[i][turn] = simd.mul_add_f64s(x, row[i], sums[i][turn])
                        });
                    }
                });
            }
        }
        let mut sums = spread::<S, TURNS>(sums);
        for at in whole..rows {
            let v = self.columns[J][at] * self.scale;
            self.columns[J][at] = v;
            for i in J + 1..BASE {
                self.columns[i][at] = (-self.factors[i]).mul_add(v, self.columns[i][at]);
            }
            for i in 0..BASE {
                let sum = &mut sums[i][at - whole];
                *sum = self.columns[(J + 1) % BASE][at].mul_add(self.columns[i][at], *sum);
            }
        }
        sums.map(total)
    }
}

/// Partial sums as numbers: the same eight on every CPU.
#[inline(always)]
fn spread<S: Simd, const TURNS: usize>(sums: [[S::f64s; TURNS]; BASE]) -> [[f64; LANES]; BASE] {
    let mut lanes = [[0.0; LANES]; BASE];
    unroll!(BASE, i, {
        let (lanes, _) = S::as_mut_simd_f64s(&mut lanes[i]);
        unroll!(TURNS, turn, { lanes[turn] = sums[i][turn] });
    });
    lanes
}

#[inline(always)]
fn total(s: [f64; LANES]) -> f64 {
    ((s[0] + s[4]) + (s[1] + s[5])) + ((s[2] + s[6]) + (s[3] + s[7]))
}
