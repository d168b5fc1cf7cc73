//! Holds that what runs on our own multiplication has the same bits on every instruction set.

use crate::micro::{Cpu, Part, Store};
use crate::panel::Matrix;
use crate::product::{Extent, View, product, product_nt_words};
use crate::solve::{Diagonal, Triangle, left_words, right_words, solve_left, solve_right};
use crate::{band, cholesky, lu};

/// Entries in [-1, 1) from a linear congruence.
fn noise(words: usize, seed: u64) -> Vec<f64> {
    let mut state = seed;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
    };
    (0..words).map(|_| next()).collect()
}

/// The same with `n` on the diagonal.
fn dominant(n: usize, seed: u64) -> Vec<f64> {
    let mut data = noise(n * n, seed);
    data.iter_mut().step_by(n + 1).for_each(|x| *x = n as f64);
    data
}

fn assert_same(what: &str, compute: impl Fn(Cpu) -> Vec<f64>) {
    let bits = |cpu| compute(cpu).iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    let reference = bits(Cpu::new());
    for cpu in Cpu::all() {
        assert_eq!(bits(cpu), reference, "{what}, {cpu:?}");
    }
}

const SIZES: [usize; 6] = [1, 5, 8, 23, 50, 130];

#[test]
fn products() {
    for n in SIZES {
        let (m, k) = (n + 3, n + 530);
        let (a, b) = (noise(m * k, 1), noise(k * n, 2));
        let extent = Extent { m, n, k };
        let views = [
            (View::plain(&a, m), View::plain(&b, k)),
            (View::plain(&a, m), View::transposed(&b, n)),
            (View::transposed(&a, k), View::plain(&b, k)),
        ];
        for (form, factors) in views.into_iter().enumerate() {
            for part in [Part::All, Part::Lower { shift: 0 }] {
                assert_same(&format!("form {form} of {n}, {part:?}"), |cpu| {
                    let mut c = noise(m * n, 3);
                    let mut scratch = vec![f64::NAN; product_nt_words(extent)];
                    let how = (Store::Sub, part);
                    product(cpu, (&mut c, m), extent, factors, how, &mut scratch);
                    // What is above the diagonal may have been computed or not.
                    let lower = |at: &usize| matches!(part, Part::All) || at % m >= at / m;
                    (0..c.len()).filter(lower).map(|at| c[at]).collect()
                });
            }
        }
    }
}

#[test]
fn triangular_systems() {
    for n in SIZES {
        let (t, cols) = (dominant(n, 4), 2 * n + 1);
        for triangle in [Triangle::Lower, Triangle::Upper] {
            assert_same(&format!("{triangle:?} of {n}"), |cpu| {
                let mut data = noise(n * cols, 5);
                let mut scratch = vec![f64::NAN; left_words(n, cols)];
                let b = Matrix {
                    data: &mut data,
                    ld: n,
                };
                let kind = (triangle, Diagonal::Stored);
                solve_left(cpu, (&t, n), kind, b, (n, cols), &mut scratch);
                data
            });
        }
        assert_same(&format!("right of {n}"), |cpu| {
            let mut data = noise(n * cols, 6);
            let mut scratch = vec![f64::NAN; right_words(cols, n)];
            let a = Matrix {
                data: &mut data,
                ld: cols,
            };
            solve_right(cpu, (&t, n), Diagonal::Stored, a, (cols, n), &mut scratch);
            data
        });
    }
}

#[test]
fn factorizations() {
    for n in SIZES {
        assert_same(&format!("Cholesky of {n}"), |cpu| {
            let mut data = dominant(n, 7);
            let mut scratch = vec![f64::NAN; cholesky::factor_words(n)];
            let a = Matrix {
                data: &mut data,
                ld: n,
            };
            assert_eq!(cholesky::factor(cpu, a, n, &mut scratch), Ok(()));
            let lower = |at: &usize| at % n >= at / n;
            (0..n * n).filter(lower).map(|at| data[at]).collect()
        });
        assert_same(&format!("LU of {n}"), |cpu| {
            let m = n + 9;
            let mut data = noise(m * n, 8);
            let mut swaps = vec![0.0; n];
            let mut scratch = vec![f64::NAN; lu::factor_words(m, n)];
            let a = Matrix {
                data: &mut data,
                ld: m,
            };
            lu::factor(cpu, a, (m, n), &mut swaps, &mut scratch);
            [data, swaps].concat()
        });
    }
}

#[test]
fn singular_values_of_bands() {
    for n in SIZES {
        for w in [1, 2, 9] {
            assert_same(&format!("{n} of width {w}"), |cpu| {
                let data = noise(n * w, 9);
                let mut values = vec![0.0; n];
                let mut scratch = vec![f64::NAN; band::values_words(n, w)];
                let entry = |i: usize, j: usize| data[j * w + j - i];
                band::values(cpu, (n, w), entry, &mut values, &mut scratch);
                values
            });
        }
    }
}
