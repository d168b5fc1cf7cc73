//! Singular values and vectors of tiles and of gathered band matrices.

use proptest::prelude::*;

use crate::harness::{Dense, EPS, Flavour, Poison, Tile, orthogonality, run, try_run};
use peerwren_kernels::{KernelError, Kind, Shape};

const RATIO_MAX: f64 = 30.0;
const CLEAN: Poison = Poison {
    value: f64::NAN,
    offset: 0,
};

fn full(m: usize, n: usize) -> Shape {
    Shape::full(m as u32, n as u32)
}

/// A is U diag(s) V', U and V orthogonal, s falls.
fn check(a: &Dense, out: &[Tile], what: &str) {
    let (u, s, vt) = (out[0].dense(), &out[1].data, out[2].dense());
    assert!(
        s.iter().all(|x| *x >= 0.0) && s.is_sorted_by(|x, y| x >= y),
        "{what}: {s:?}"
    );
    for q in [&u, &vt.transposed()] {
        assert!(orthogonality(q) < RATIO_MAX, "{what}: {}", orthogonality(q));
    }
    let scale = a.amax();
    let us = Dense::new(u.rows, u.cols, |i, j| {
        if scale == 0.0 {
            0.0
        } else {
            u.at(i, j) * (s[j] / scale)
        }
    });
    let scaled = a.scaled(scale);
    let error = scaled.minus(&us.times(&vt)).norm();
    let eps = EPS.max(f64::from_bits(1) / scale);
    let ratio = error / (a.rows.max(a.cols) as f64 * eps * scaled.norm());
    assert!(error == 0.0 || ratio < RATIO_MAX, "{what}: {ratio}");
}

fn check_gesvd(m: usize, n: usize, flavour: Flavour, seed: u64) {
    let a = flavour.matrix(m, n, seed);
    let k = m.min(n);
    let out = run(
        "gesvd",
        &[&Tile::full(&a)],
        &[full(m, k), full(k, 1), full(k, n)],
    );
    check(&a, &out, &format!("gesvd {m}x{n} {flavour:?} seed {seed}"));
}

#[test]
fn gesvd_decomposes_every_kind_and_shape() {
    for (m, n) in [
        (1, 1),
        (1, 6),
        (6, 1),
        (8, 8),
        (9, 17),
        (40, 33),
        (150, 150),
        (90, 20),
    ] {
        for flavour in Flavour::ALL {
            check_gesvd(m, n, flavour, 1);
        }
    }
    // Seven values that are rounding alone: steps that do not settle on them cost digits of the vectors.
    check_gesvd(9, 24, Flavour::RankTwo, 17_153_598_814_596_001_882);
}

/// The band of a matrix, and LAPACK's storage of it with what is not the matrix's filled in.
fn band(m: &Dense, w: usize) -> (Dense, Tile) {
    let n = m.cols;
    let dense = Dense::new(
        n,
        n,
        |i, j| if i <= j && j < i + w { m.at(i, j) } else { 0.0 },
    );
    let stored = Dense::new(w, n, |at, j| match (j + at + 1).checked_sub(w) {
        Some(i) => dense.at(i, j),
        None => 0.0,
    });
    (dense, Tile::full(&stored))
}

fn check_band(n: usize, w: usize, flavour: Flavour, seed: u64) {
    let what = format!("band {n} w {w} {flavour:?} seed {seed}");
    let (dense, stored) = band(&flavour.matrix(n, n, seed), w);
    let out = run(
        "band_svd",
        &[&stored],
        &[full(n, n), full(n, 1), full(n, n)],
    );
    check(&dense, &out, &what);
    let values = run("band_values", &[&stored], &[full(n, 1)]).remove(0).data;
    let largest = out[1].data[0];
    assert!(values.is_sorted_by(|x, y| x >= y), "{what}: {values:?}");
    let tolerance = RATIO_MAX * n as f64 * EPS * largest + f64::from_bits(4);
    for (x, y) in values.iter().zip(&out[1].data) {
        assert!(
            (x - y).abs() <= tolerance,
            "{what}: {x} and {y}, largest {largest}"
        );
    }
}

#[test]
fn bands_of_every_kind_and_width() {
    for (n, w) in [
        (1, 1),
        (1, 4),
        (5, 1),
        (7, 2),
        (9, 3),
        (20, 7),
        (33, 33),
        (33, 40),
        (70, 17),
        (120, 33),
    ] {
        for flavour in Flavour::ALL {
            check_band(n, w, flavour, 1);
        }
    }
    // Squares of what it reflects lose digits to underflow.
    check_band(41, 8, Flavour::Wild, 15_593_291_894_586_918_897);
}

#[test]
fn values_that_are_known() {
    // Upper bidiagonal with ones: 2 sin((2k - 1) pi / (2 (2n + 1))).
    for n in [1, 2, 31, 64, 200] {
        let ones = Tile::new(full(2, n), |i| f64::from(u8::from(i != 0)));
        let values = run("band_values", &[&ones], &[full(n, 1)]).remove(0).data;
        for (k, x) in values.iter().rev().enumerate() {
            let angle = (2 * k + 1) as f64 * std::f64::consts::PI / (2 * (2 * n + 1)) as f64;
            let expected = 2.0 * angle.sin();
            assert!((x / expected - 1.0).abs() < 1e-13, "{n}: {x} {expected}");
        }
    }
    // Diagonals are their own values, however they are spread.
    let d = [1e-20, 3.0, 0.0, -2.0, 1e10, 7e-3];
    let tile = Tile::new(full(1, 6), |i| d[i]);
    let values = run("band_values", &[&tile], &[full(6, 1)]).remove(0).data;
    for (x, y) in values.iter().zip([1e10, 3.0, 2.0, 7e-3, 1e-20, 0.0]) {
        assert!((x - y).abs() <= 4.0 * EPS * y, "{x} {y}");
    }
}

#[test]
fn a_band_is_gathered_from_its_tiles() {
    // 13 x 13, tiles of 5: a block bidiagonal of R's and L's.
    let (n, nb) = (13, 5_usize);
    let a = Flavour::Random.matrix(n, n, 3);
    let dense = Dense::new(n, n, |i, j| match (i / nb, j / nb) {
        (p, q) if p == q && i <= j => a.at(i, j),
        (p, q) if p + 1 == q && i % nb >= j % nb => a.at(i, j),
        _ => 0.0,
    });
    let part = |i: usize, j: usize, kind| {
        let (rows, cols) = (nb.min(n - i * nb), nb.min(n - j * nb));
        Tile::of(
            kind,
            &Dense::new(rows, cols, |x, y| dense.at(i * nb + x, j * nb + y)),
        )
    };
    let mut gathered: Option<Tile> = None;
    for j in 0..3 {
        let (r, cols) = (part(j, j, Kind::Upper), nb.min(n - j * nb));
        let column = match j {
            0 => run("band_column", &[&r], &[full(nb + 1, cols)]),
            _ => run(
                "band_column",
                &[&r, &part(j - 1, j, Kind::Lower)],
                &[full(nb + 1, cols)],
            ),
        };
        let before = gathered.take();
        let inputs = [before.as_ref(), Some(&column[0])];
        let all = full(nb + 1, (j * nb) + cols);
        let out = crate::harness::try_run_some("append", &inputs, &[all], CLEAN);
        gathered = Some(out.expect("sizes fit").remove(0));
    }
    assert_eq!(gathered, Some(band(&dense, nb + 1).1));
    let tile = Tile::full(&a);
    let error = try_run("append", &[&tile, &tile], &[full(n, n)], CLEAN);
    assert!(matches!(error, Err(KernelError::Failed(_))));
}

#[test]
fn what_is_not_finite_is_refused() {
    for bad in [f64::NAN, f64::INFINITY] {
        let mut tile = Tile::full(&Flavour::Random.matrix(5, 5, 1));
        tile.data[12] = bad;
        let square = [full(5, 5), full(5, 1), full(5, 5)];
        for (name, outputs) in [
            ("gesvd", &square[..]),
            ("band_svd", &square),
            ("band_values", &square[1..2]),
        ] {
            let error = try_run(name, &[&tile], outputs, CLEAN);
            assert_eq!(error, Err(KernelError::NotFinite), "{name} {bad}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_tile(m in 1..50_usize, n in 1..50_usize, w in 1..30_usize, kind in 0..11_usize, seed: u64) {
        check_gesvd(m, n, Flavour::ALL[kind], seed);
        check_band(n, w, Flavour::ALL[kind], seed);
    }
}
