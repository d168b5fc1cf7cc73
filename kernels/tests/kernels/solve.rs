//! Products, Cholesky and triangular systems.

use proptest::prelude::*;

use crate::harness::{Dense, EPS, Flavour, Poison, Tile, run, try_run, try_run_some};
use peerwren_kernels::{KernelError, Kind, Shape};

const RATIO_MAX: f64 = 30.0;
const CLEAN: Poison = Poison {
    value: f64::NAN,
    offset: 0,
};

fn full(m: usize, n: usize) -> Shape {
    Shape::full(m as u32, n as u32)
}

fn one(x: f64) -> Tile {
    Tile::full(&Dense::new(1, 1, |_, _| x))
}

fn negated(m: &Dense) -> Dense {
    Dense::new(m.rows, m.cols, |i, j| -m.at(i, j))
}

/// |X - Y| / (depth eps (|X| + |Y| + terms)), all scaled by the largest entry.
fn assert_near(got: &Dense, expected: &Dense, terms: f64, depth: usize, what: &str) {
    let scale = expected.amax().max(terms);
    let error = got.scaled(scale).minus(&expected.scaled(scale)).amax();
    assert!(
        error <= RATIO_MAX * (depth + 1) as f64 * EPS,
        "{what}: {error}"
    );
}

fn check_products(m: usize, n: usize, k: usize, flavour: Flavour, seed: u64) {
    let what = format!("{m}x{n}x{k} {flavour:?} seed {seed}");
    // Halves of the exponents, so that products stay in range.
    let matrix = |rows, cols, seed| {
        let m = flavour.matrix(rows, cols, seed);
        Dense::new(rows, cols, |i, j| {
            let x = m.at(i, j);
            x.signum() * x.abs().sqrt()
        })
    };
    let (c, a, b) = (
        matrix(m, n, seed),
        matrix(m, k, seed ^ 1),
        matrix(k, n, seed ^ 2),
    );
    let product = a.times(&b);
    let terms = a.amax() * b.amax();
    let tile = Tile::full;
    let (ct, at, bt) = (tile(&c), tile(&a), tile(&b));
    let (a_flipped, b_flipped) = (tile(&a.transposed()), tile(&b.transposed()));
    let plus = c.minus(&negated(&product));
    let minus = c.minus(&product);
    let cases: [(&str, [Option<&Tile>; 3], &Dense); 5] = [
        ("gemm", [None, Some(&at), Some(&bt)], &product),
        ("gemm", [Some(&ct), Some(&at), Some(&bt)], &plus),
        ("gemm_sub", [Some(&ct), Some(&at), Some(&bt)], &minus),
        (
            "gemm_sub_nt",
            [Some(&ct), Some(&at), Some(&b_flipped)],
            &minus,
        ),
        (
            "gemm_sub_tn",
            [Some(&ct), Some(&a_flipped), Some(&bt)],
            &minus,
        ),
    ];
    for (name, inputs, expected) in cases {
        let out = try_run_some(name, &inputs, &[full(m, n)], CLEAN).expect("no error");
        assert_near(
            &out[0].dense(),
            expected,
            terms,
            k,
            &format!("{name} {what}"),
        );
    }
    let out = run("mul", &[&at, &bt], &[full(m, n)]);
    assert_near(&out[0].dense(), &product, terms, k, &what);

    let square = Flavour::Random.matrix(m, m, seed);
    let lower = Shape::lower(m as u32, m as u32);
    let out = run("syrk", &[&Tile::of(Kind::Lower, &square), &at], &[lower]);
    let whole = square.minus(&a.times(&a.transposed()));
    let expected = Tile::of(Kind::Lower, &whole).dense();
    assert_near(&out[0].dense(), &expected, a.amax() * a.amax(), k, &what);
}

#[test]
fn products_of_every_kind_and_shape() {
    for (m, n, k) in [
        (1, 1, 1),
        (1, 9, 3),
        (24, 8, 1),
        (25, 17, 40),
        (130, 9, 20),
        (64, 64, 64),
        (33, 17, 530),
    ] {
        for flavour in Flavour::ALL {
            check_products(m, n, k, flavour, 1);
        }
    }
}

#[test]
fn sums_and_multiples() {
    let matrix = |seed| Flavour::Random.matrix(5, 7, seed);
    let tiles: Vec<Tile> = (0..4).map(|seed| Tile::full(&matrix(seed))).collect();
    let sum = |count: usize| {
        let start = matrix(0);
        (1..count).fold(start, |sum, seed| sum.minus(&negated(&matrix(seed as u64))))
    };
    for count in 1..=4 {
        let inputs: Vec<&Tile> = tiles[..count].iter().collect();
        assert_eq!(run("add", &inputs, &[full(5, 7)])[0].dense(), sum(count));
    }
    let nan = Tile::new(full(5, 7), |_| f64::NAN);
    let cases = [
        (2.0, &tiles[0], 3.0, Some(&tiles[1]), 2.0, 3.0),
        (2.0, &tiles[0], 0.0, Some(&nan), 2.0, 0.0),
        (2.0, &tiles[0], 3.0, None, 2.0, 0.0),
        (0.0, &nan, 3.0, Some(&tiles[1]), 0.0, 3.0),
        (0.0, &nan, 0.0, Some(&nan), 0.0, 0.0),
        (0.0, &nan, 1.0, None, 0.0, 0.0),
    ];
    for (alpha, x, beta, y, p, q) in cases {
        let inputs = [Some(&one(alpha)), Some(x), Some(&one(beta)), y];
        let out = try_run_some("axpby", &inputs, &[full(5, 7)], CLEAN).expect("no error");
        let (a, b) = (matrix(0), matrix(1));
        let expected = Dense::new(5, 7, |i, j| p * a.at(i, j) + q * b.at(i, j));
        assert_eq!(out[0].dense(), expected, "{alpha} {beta}");
    }
}

/// A triangle of this flavour whose diagonal has no zeros.
fn triangle(kind: Kind, flavour: Flavour, n: usize, seed: u64) -> Tile {
    let m = flavour.matrix(n, n, seed);
    let scale = if m.amax() == 0.0 { 1.0 } else { m.amax() };
    let entry = |i: usize, j: usize| {
        let x = if kind == Kind::Unit {
            m.at(i, j) / scale / n as f64
        } else {
            m.at(i, j)
        };
        if i == j && x == 0.0 { scale } else { x }
    };
    Tile::of(kind, &Dense::new(n, n, entry))
}

/// |B - T X| / (n eps |T| |X|), as LAPACK's dtrt02.
fn backward_error(t: &Dense, x: &Dense, b: &Dense) -> f64 {
    let (s, z) = (t.amax(), x.amax());
    if s == 0.0 || z == 0.0 {
        return b.amax();
    }
    let (t, x) = (t.scaled(s), x.scaled(z));
    let error = b.scaled(s).scaled(z).minus(&t.times(&x)).norm();
    error / (t.rows as f64 * EPS * t.norm() * x.norm())
}

fn check_systems(n: usize, c: usize, flavour: Flavour, seed: u64) {
    let b = Flavour::Random.matrix(n, c, seed ^ 9);
    for (name, kind, transposed) in [
        ("trsm_lower", Kind::Lower, false),
        ("trsm_lower_t", Kind::Lower, true),
        ("trsm_upper", Kind::Upper, false),
        ("trsm_upper_t", Kind::Upper, true),
        ("trsm_unit", Kind::Unit, false),
        ("trsm_unit_t", Kind::Unit, true),
        ("trsm", Kind::Lower, false),
        ("trsm_right", Kind::Upper, true),
    ] {
        let what = format!("{name} {n}x{c} {flavour:?} seed {seed}");
        let tile = triangle(kind, flavour, n, seed);
        let dense = tile.dense();
        let t = if transposed {
            dense.transposed()
        } else {
            dense
        };
        // Right-hand sides of the triangle's own size, so that solutions stay in range.
        let scale = t.amax();
        let b = t.scaled(scale).times(&b);
        let b = Dense::new(n, c, |i, j| b.at(i, j) * scale);
        let right = name == "trsm" || name == "trsm_right";
        let given = if right { b.transposed() } else { b.clone() };
        let out = try_run(
            name,
            &[&tile, &Tile::full(&given)],
            &[full(given.rows, given.cols)],
            CLEAN,
        );
        let Ok(out) = out else {
            // A wild triangle has solutions beyond the range.
            assert_eq!(out.err(), Some(KernelError::NotFinite), "{what}");
            assert!(
                matches!(
                    flavour,
                    Flavour::Wild | Flavour::Graded | Flavour::Subnormal | Flavour::Huge
                ),
                "{what}"
            );
            continue;
        };
        let x = if right {
            out[0].dense().transposed()
        } else {
            out[0].dense()
        };
        if matches!(flavour, Flavour::Wild | Flavour::Subnormal) {
            continue;
        }
        let ratio = backward_error(&t, &x, &b);
        assert!(ratio < RATIO_MAX, "{what}: {ratio}");
    }
}

#[test]
fn systems_of_every_kind_and_shape() {
    for (n, c) in [
        (1, 1),
        (3, 9),
        (8, 8),
        (9, 20),
        (17, 5),
        (40, 33),
        (100, 64),
    ] {
        for flavour in Flavour::ALL {
            check_systems(n, c, flavour, 2);
        }
    }
}

#[test]
fn a_zero_on_the_diagonal_is_named() {
    let n = 21;
    for (name, kind) in [
        ("trsm_lower", Kind::Lower),
        ("trsm_lower_t", Kind::Lower),
        ("trsm_upper", Kind::Upper),
        ("trsm_upper_t", Kind::Upper),
        ("trsm", Kind::Lower),
    ] {
        for at in [0, 7, 8, 20] {
            let m = Flavour::Random.matrix(n, n, 3);
            let zero = Dense::new(
                n,
                n,
                |i, j| if i == j && i >= at { 0.0 } else { m.at(i, j) },
            );
            let inputs = [&Tile::of(kind, &zero), &Tile::full(&m)];
            let error = try_run(name, &inputs, &[full(n, n)], CLEAN);
            assert_eq!(
                error,
                Err(KernelError::Singular { order: at + 1 }),
                "{name}"
            );
        }
    }
}

#[test]
fn a_zero_pivot_of_lu_gives_a_column_of_zeros() {
    let n = 19;
    let (u, a) = (
        Flavour::Random.matrix(n, n, 4),
        Flavour::Random.matrix(7, n, 5),
    );
    let hole = Dense::new(n, n, |i, j| {
        if i == j && (i == 3 || i == 12) {
            0.0
        } else {
            u.at(i, j)
        }
    });
    let tile = Tile::upper(&hole);
    let x = run("trsm_right", &[&tile, &Tile::full(&a)], &[full(7, n)])[0].dense();
    let product = x.times(&tile.dense());
    for j in 0..n {
        for i in 0..7 {
            if j == 3 || j == 12 {
                assert_eq!(x.at(i, j), 0.0);
            } else {
                let scale = (0..n)
                    .map(|l| (x.at(i, l) * hole.at(l, j)).abs())
                    .sum::<f64>();
                assert!((product.at(i, j) - a.at(i, j)).abs() <= 100.0 * EPS * (scale + 1.0));
            }
        }
    }
}

#[test]
fn what_overflows_is_not_finite() {
    let tile = |kind, x| Tile::of(kind, &Dense::new(2, 2, |_, _| x));
    let b = Tile::full(&Dense::new(2, 2, |_, _| 1e300));
    for (name, kind) in [
        ("trsm_lower", Kind::Lower),
        ("trsm_right", Kind::Upper),
        ("trsm", Kind::Lower),
    ] {
        for x in [1e-300, f64::NAN] {
            let error = try_run(name, &[&tile(kind, x), &b], &[full(2, 2)], CLEAN);
            assert_eq!(error, Err(KernelError::NotFinite), "{name} {x}");
        }
    }
}

/// G G' + I scaled by 10^(-grade (i + j)), times `scale`.
fn positive(n: usize, grade: i32, scale: f64, seed: u64) -> Dense {
    let g = Flavour::Random.matrix(n, n, seed);
    let gram = g.times(&g.transposed());
    Dense::new(n, n, |i, j| {
        let shift = if i == j { 1.0 } else { 0.0 };
        (gram.at(i, j) + shift) * 10_f64.powi(-grade * ((i + j) as i32 % 60)) * scale
    })
}

fn check_potrf(n: usize, grade: i32, scale: f64, seed: u64) {
    let a = positive(n, grade, scale, seed);
    let shape = Shape::lower(n as u32, n as u32);
    let l = run("potrf", &[&Tile::of(Kind::Lower, &a)], &[shape])[0].dense();
    let root = a.amax().sqrt();
    let error = a
        .scaled(a.amax())
        .minus(&l.scaled(root).times(&l.scaled(root).transposed()));
    let ratio = error.norm() / (n as f64 * EPS * a.scaled(a.amax()).norm());
    assert!(
        ratio < RATIO_MAX,
        "potrf {n} grade {grade} scale {scale} seed {seed}: {ratio}"
    );
}

#[test]
fn potrf_factors_every_kind_and_size() {
    for n in [1, 2, 7, 8, 9, 17, 30, 33, 64, 100, 200] {
        for (grade, scale) in [(0, 1.0), (0, 1e-290), (0, 1e290), (i32::from(n <= 30), 1.0)] {
            check_potrf(n, grade, scale, 1);
        }
    }
}

#[test]
fn potrf_names_the_first_minor_that_is_not_positive() {
    for n in [1, 9, 30, 70] {
        for at in [0, n / 2, n - 1] {
            for bad in [0.0, -1.0, f64::NAN] {
                let a = Dense::new(n, n, |i, j| {
                    f64::from(i == j) * if i == at { bad } else { 2.0 }
                });
                let shape = Shape::lower(n as u32, n as u32);
                let error = try_run("potrf", &[&Tile::of(Kind::Lower, &a)], &[shape], CLEAN);
                let order = at + 1;
                assert_eq!(
                    error,
                    Err(KernelError::NotPositiveDefinite { order }),
                    "{n} {bad}"
                );
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_shape(m in 1..50_usize, n in 1..50_usize, k in 1..50_usize, kind in 0..11_usize, seed: u64) {
        check_products(m, n, k, Flavour::ALL[kind], seed);
        check_systems(m, n, Flavour::ALL[kind], seed);
        check_potrf(m, 0, 1.0, seed);
    }
}
